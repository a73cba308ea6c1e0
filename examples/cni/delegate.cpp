// Its input is a file in memory and its end is told by a pidfd: nothing can block, no SIGPIPE can come, and a grandchild that
// keeps its output open holds nobody up.
#include "delegate.hpp"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "descriptor.hpp"
#include "failure.hpp"
#include "fields.hpp"
#include "json.hpp"

namespace cni {
namespace {

constexpr std::size_t kShownBytes = 512;
// A plugin that is just being installed is open for writing (ETXTBSY).
constexpr int kBusyTries = 40;
constexpr int kBusyWaitMs = 25;
constexpr mode_t kExecutable = 0111;

std::string named(const Delegation& delegation) { return "plugin " + delegation.type; }

Failure failed(const Delegation& delegation, const char* step, int error) {
  return {patu::Error::from_errno(patu::Errc::io, error, step), named(delegation)};
}

void require_name(const std::string& type) {
  if (type.empty() || type == "." || type == ".." || type.find('/') != std::string::npos || type.size() > NAME_MAX)
    throw Failure(Code::invalid_config, "type of the delegated plugin: not a file's name");
}

std::string find_plugin(const Delegation& delegation) {
  require_name(delegation.type);
  std::string_view rest = delegation.path;
  while (!rest.empty()) {
    const std::string_view directory = rest.substr(0, rest.find(':'));
    rest.remove_prefix(std::min(directory.size() + 1, rest.size()));
    if (directory.empty() || directory.size() + delegation.type.size() + 2 > PATH_MAX) continue;
    std::string file = std::string(directory) + "/" + delegation.type;
    struct stat status;
    if (::stat(file.c_str(), &status) == 0 && S_ISREG(status.st_mode) && (status.st_mode & kExecutable) != 0)
      return file;
  }
  throw Failure(delegation.path.empty() ? Code::bad_environment : Code::invalid_config,
                named(delegation) + " is not in CNI_PATH (" + delegation.path.substr(0, kShownBytes) + ")");
}

Descriptor input_file(const Delegation& delegation) {
  Descriptor file(::memfd_create("cni-config", MFD_CLOEXEC));
  if (!file) throw failed(delegation, "memfd_create", errno);
  for (std::size_t at = 0; at < delegation.input.size();) {
    const ssize_t put =
        ::pwrite(file.get(), delegation.input.data() + at, delegation.input.size() - at, static_cast<off_t>(at));
    if (put < 0 && errno != EINTR) throw failed(delegation, "write its input", errno);
    if (put > 0) at += static_cast<std::size_t>(put);
  }
  return file;
}

struct Pipe {
  Descriptor reader;
  Descriptor writer;
};

Pipe make_pipe(const Delegation& delegation) {
  std::array<int, 2> ends{-1, -1};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw failed(delegation, "make a pipe", errno);
  Pipe pipe{Descriptor(ends[0]), Descriptor(ends[1])};
  // The reader alone: a pipe that does not block is nothing that a plugin expects.
  if (::fcntl(pipe.reader.get(), F_SETFL, O_NONBLOCK) != 0) throw failed(delegation, "make a pipe", errno);
  return pipe;
}

// What the child gets: two descriptors and the caller's standard error, no signal blocked or ignored.
class Preparation final {
 public:
  Preparation(int input_fd, int output_fd) noexcept {
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    ::posix_spawnattr_init(&attributes_);
    ::posix_spawn_file_actions_init(&actions_);
    for (const int error :
         {::posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF),
          ::posix_spawnattr_setsigmask(&attributes_, &none), ::posix_spawnattr_setsigdefault(&attributes_, &all),
          ::posix_spawn_file_actions_adddup2(&actions_, input_fd, STDIN_FILENO),
          ::posix_spawn_file_actions_adddup2(&actions_, output_fd, STDOUT_FILENO),
          ::posix_spawn_file_actions_addclosefrom_np(&actions_, STDERR_FILENO + 1)})
      if (error_ == 0) error_ = error;
  }
  ~Preparation() {
    ::posix_spawn_file_actions_destroy(&actions_);
    ::posix_spawnattr_destroy(&attributes_);
  }
  Preparation(const Preparation&) = delete;
  Preparation& operator=(const Preparation&) = delete;

  // The errno, or 0.
  int spawn(pid_t& pid, const std::string& file, char* const* environment) const noexcept {
    if (error_ != 0) return error_;
    // execve(2) has never written to its arguments.
    const std::array<char*, 2> arguments{const_cast<char*>(file.c_str()), nullptr};
    return ::posix_spawn(&pid, file.c_str(), &actions_, &attributes_, arguments.data(), environment);
  }

 private:
  posix_spawnattr_t attributes_{};
  posix_spawn_file_actions_t actions_{};
  int error_ = 0;
};

// A child that is waited for whatever happens; killed first if nobody did.
class Child final {
 public:
  explicit Child(pid_t pid) noexcept : pid_(pid), pidfd_(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))) {}
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ <= 0) return;
    // Its number may be another process's by now, where the kernel reaps this one's children.
    if (pidfd_)
      ::syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGKILL, nullptr, 0);
    else
      ::kill(pid_, SIGKILL);
    (void)wait();
  }

  int pidfd() const noexcept { return pidfd_.get(); }
  // What waitpid(2) has to tell; nothing if it was told to somebody else in this process.
  std::optional<int> wait() noexcept {
    int status = 0;
    const pid_t pid = std::exchange(pid_, -1);
    while (::waitpid(pid, &status, 0) < 0)
      if (errno != EINTR) return std::nullopt;
    return status;
  }

 private:
  pid_t pid_;
  Descriptor pidfd_;
};

// All that is there now. False: nobody can write any more.
bool read_available(const Delegation& delegation, int fd, std::string& output) {
  std::array<char, 4096> buffer;
  for (;;) {
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got == 0) return false;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return true;
    if (got < 0) throw failed(delegation, "read its output", errno);
    output.append(buffer.data(), static_cast<std::size_t>(got));
    if (output.size() > kMaxInputBytes)
      throw Failure(Code::decode, named(delegation) + " printed more than 1 MiB and was ended");
  }
}

// Until it has ended.
std::string output_of(const Delegation& delegation, const Child& child, int output_fd) {
  std::string output;
  std::array<pollfd, 2> events{pollfd{output_fd, POLLIN, 0}, pollfd{child.pidfd(), POLLIN, 0}};
  while ((events[1].revents & POLLIN) == 0) {
    if (::poll(events.data(), events.size(), -1) < 0 && errno != EINTR) throw failed(delegation, "poll", errno);
    // poll(2) leaves a negative descriptor alone.
    if (events[0].fd >= 0 && !read_available(delegation, output_fd, output)) events[0].fd = -1;
  }
  return output;
}

std::string shown(const std::string& output) {
  return output.size() <= kShownBytes ? output : output.substr(0, kShownBytes) + "...";
}

// Nothing if it is no JSON.
std::optional<Json> read_json(const std::string& output) {
  try {
    return parse_json(output);
  } catch (const Failure&) {
    return std::nullopt;
  }
}

// The error object of the specification, or nothing.
std::optional<Failure> error_object(const Delegation& delegation, const std::string& output) {
  const auto json = read_json(output);
  if (!json || !json->is_object()) return std::nullopt;
  Fields fields(&*json, "", Reading::lenient);
  const auto code = static_cast<std::uint32_t>(fields.number("code", UINT32_MAX));
  if (code == 0) return std::nullopt;
  const std::string said = fields.text("msg");
  return Failure(static_cast<Code>(code), said.empty() ? named(delegation) : said, fields.text("details"));
}

std::string judge(const Delegation& delegation, std::optional<int> status, std::string output) {
  if (!status)
    throw Failure(Code::io,
                  named(delegation) + ": how it ended was told to another thread of this process, or to nobody");
  if (WIFSIGNALED(*status))
    throw Failure(Code::io, named(delegation) + " was ended by signal " + std::to_string(WTERMSIG(*status)),
                  shown(output));
  if (WEXITSTATUS(*status) != 0) {
    if (auto failure = error_object(delegation, output)) throw std::move(*failure);
    throw Failure(Code::io,
                  named(delegation) + " ended with status " + std::to_string(WEXITSTATUS(*status)) +
                      (output.empty() ? " and printed nothing" : " and printed no error object"),
                  shown(output));
  }
  if (!output.empty() && !read_json(output))
    throw Failure(Code::decode, named(delegation) + " printed something that is not JSON", shown(output));
  return output;
}

pid_t spawn(const Delegation& delegation, const Preparation& preparation) {
  const std::string file = find_plugin(delegation);
  std::vector<char*> environment;
  for (const std::string& variable : delegation.environment) environment.push_back(const_cast<char*>(variable.c_str()));
  environment.push_back(nullptr);
  pid_t pid = -1;
  int error = ETXTBSY;
  for (int i = 0; error == ETXTBSY && i < kBusyTries; ++i) {
    if (i > 0) ::poll(nullptr, 0, kBusyWaitMs);
    error = preparation.spawn(pid, file, environment.data());
  }
  if (error != 0) throw failed(delegation, ("run " + file).c_str(), error);
  return pid;
}

}  // namespace

std::string delegate(const Delegation& delegation) {
  const Descriptor input = input_file(delegation);
  Pipe output = make_pipe(delegation);
  Child child(spawn(delegation, Preparation(input.get(), output.writer.get())));
  // It is gone where this process lets the kernel reap its children.
  if (child.pidfd() < 0 && errno == ESRCH) return judge(delegation, child.wait(), {});
  if (child.pidfd() < 0) throw failed(delegation, "pidfd_open", errno);
  output.writer = Descriptor();
  std::string printed = output_of(delegation, child, output.reader.get());
  return judge(delegation, child.wait(), std::move(printed));
}

}  // namespace cni
