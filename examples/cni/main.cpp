// patu-cni: patu as a CNI plugin; the role is the name that it is called by.
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "help.hpp"
#include "json.hpp"
#include "request.hpp"
#include "run.hpp"

namespace {

// One byte more than may be, so that too much is told from just enough.
bool read_all(int input_fd, std::string& out) {
  constexpr std::size_t kStep = 16384;
  while (out.size() <= cni::kMaxInputBytes) {
    const std::size_t before = out.size();
    out.resize(before + kStep);
    const ssize_t got = ::read(input_fd, out.data() + before, kStep);
    out.resize(before + static_cast<std::size_t>(got > 0 ? got : 0));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return got == 0;
  }
  return true;
}

bool write_all(int output_fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(output_fd, text.data(), text.size());
    if (written < 0 && errno != EINTR) return false;
    text.remove_prefix(static_cast<std::size_t>(written > 0 ? written : 0));
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view role = argc > 0 ? argv[0] : "patu-cni";
  const std::string_view option = argc > 1 ? argv[1] : "";
  if (option == "--help" || option == "-h") return write_all(STDOUT_FILENO, cni::help_text()) ? 0 : 1;
  if (option == "--version") return write_all(STDOUT_FILENO, cni::about(role)) ? 0 : 1;
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) environment.emplace_back(*entry);
  const std::string_view command = cni::variable(environment, "CNI_COMMAND");
  if (command.empty()) return write_all(STDERR_FILENO, cni::about(role)) ? 0 : 1;
  std::string input;
  // Somebody at a terminal has no configuration to give to VERSION.
  const bool has_input = command != "VERSION" || ::isatty(STDIN_FILENO) == 0;
  const bool is_read = !has_input || read_all(STDIN_FILENO, input);
  const cni::Outcome outcome = is_read ? cni::run(role, environment, input) : cni::unreadable(errno);
  (void)write_all(STDERR_FILENO, outcome.remarks);
  return write_all(STDOUT_FILENO, outcome.output) ? outcome.status : 1;
}
