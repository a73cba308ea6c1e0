// Plugins of all kinds, as shell scripts: what they get, what is made of what they print, and how they may end.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "delegate.hpp"
#include "descriptor.hpp"
#include "failure.hpp"

using namespace cni;
namespace fs = std::filesystem;

namespace {

class Plugins final {
 public:
  Plugins() {
    char path[] = "/tmp/patu-cni-delegate-XXXXXX";
    REQUIRE(::mkdtemp(path) != nullptr);
    path_ = path;
  }
  Plugins(const Plugins&) = delete;
  Plugins& operator=(const Plugins&) = delete;
  ~Plugins() { fs::remove_all(path_); }

  const fs::path& path() const { return path_; }
  void put(const std::string& name, const std::string& script) const {
    std::ofstream(path_ / name) << "#!/bin/sh\n" << script << "\n";
    fs::permissions(path_ / name, fs::perms::owner_all);
  }
  Delegation call(const std::string& type, std::string_view input = "{}") const {
    return {type, path_.string(), {"PATH=/usr/bin:/bin", "CNI_COMMAND=ADD"}, input};
  }

 private:
  fs::path path_;
};

Failure failure_of(const Delegation& delegation) {
  try {
    const std::string printed = delegate(delegation);
    FAIL("no failure, but: " << printed);
  } catch (const Failure& failure) {
    return failure;
  }
  throw std::logic_error("unreachable");
}

bool says(const Failure& failure, const char* part) { return failure.message().find(part) != std::string::npos; }

}  // namespace

TEST_CASE("a plugin gets the configuration and the environment that were given, and nothing else") {
  const Plugins plugins;
  plugins.put("echo",
              R"(config=$(cat); echo "{\"config\": $config, \"command\": \"$CNI_COMMAND\", \"home\": \"$HOME\"}")");
  CHECK(delegate(plugins.call("echo", R"({"name": "n"})")) ==
        "{\"config\": {\"name\": \"n\"}, \"command\": \"ADD\", \"home\": \"\"}\n");
}

TEST_CASE("its input can be opened again by name, and is read from its beginning") {
  const Plugins plugins;
  plugins.put("reopen", "cat /dev/stdin");
  CHECK(delegate(plugins.call("reopen", "[1]")) == "[1]");
}

TEST_CASE("much input and much output at once do not wait for each other") {
  const Plugins plugins;
  plugins.put("cat", "cat");
  const std::string big = "\"" + std::string(900'000, 'x') + "\"";
  CHECK(delegate(plugins.call("cat", big)) == big);
}

TEST_CASE("a plugin that does not read its input is none the worse, nor is the caller") {
  const Plugins plugins;
  plugins.put("deaf", "echo '{}'");
  CHECK(delegate(plugins.call("deaf", std::string(900'000, ' '))) == "{}\n");
  plugins.put("silent", "exit 0");
  CHECK(delegate(plugins.call("silent")).empty());
}

TEST_CASE("a plugin has no descriptor but the three, no blocked and no ignored signal") {
  const Plugins plugins;
  const Descriptor leaking(::fcntl(STDIN_FILENO, F_DUPFD, 77));  // without O_CLOEXEC
  REQUIRE(leaking.get() >= 77);
  plugins.put("look", R"([ -e /proc/$$/fd/77 ] && exit 1; . /dev/stdin)");
  const std::string script = R"(echo "[\"$(grep -E 'Sig(Blk|Ign)' /proc/$$/status | tr -d '\n\t')\"]")";
  sigset_t term;
  sigset_t before;
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  REQUIRE(pthread_sigmask(SIG_BLOCK, &term, &before) == 0);
  const auto handler = ::signal(SIGPIPE, SIG_IGN);
  const std::string seen = delegate(plugins.call("look", script));
  ::signal(SIGPIPE, handler);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  // glibc keeps 32 and 33 for itself.
  CHECK(seen.starts_with("[\"SigBlk:0000000000000000SigIgn:"));
  CHECK((std::stoull(seen.substr(seen.find("Ign:") + 4, 16), nullptr, 16) & 0x7fffffff) == 0);
}

TEST_CASE("the error object of a plugin is the failure, code and text kept") {
  const Plugins plugins;
  plugins.put("full", R"(echo '{"cniVersion": "1.0.0", "code": 11, "msg": "try later", "details": "why"}'; exit 1)");
  const Failure failure = failure_of(plugins.call("full"));
  CHECK(failure.code() == Code::try_again);
  CHECK(failure.message() == "try later");
  CHECK(failure.details() == "why");
  plugins.put("own", R"(echo '{"code": 4711}'; exit 3)");
  CHECK(static_cast<unsigned>(failure_of(plugins.call("own")).code()) == 4711);
  CHECK(says(failure_of(plugins.call("own")), "plugin own"));
}

TEST_CASE("what else a failing plugin prints is told, in part") {
  const Plugins plugins;
  plugins.put("plain", "echo oh no; exit 2");
  const Failure failure = failure_of(plugins.call("plain"));
  CHECK(failure.code() == Code::io);
  CHECK(says(failure, "plugin plain ended with status 2 and printed no error object"));
  CHECK(failure.details() == "oh no\n");
  for (const char* object :
       {"[]", "{}", R"({"code": "7"})", R"({"code": 0})", R"({"code": -1})", R"({"code": 99999999999})"}) {
    plugins.put("odd", std::string("echo '") + object + "'; exit 1");
    CHECK(says(failure_of(plugins.call("odd")), "printed no error object"));
  }
  plugins.put("mute", "exit 9");
  CHECK(says(failure_of(plugins.call("mute")), "status 9 and printed nothing"));
  plugins.put("long", "head -c 5000 /dev/zero | tr '\\0' x; exit 1");
  CHECK(failure_of(plugins.call("long")).details().size() < 600);
}

TEST_CASE("a plugin that is killed, that prints no JSON, or too much of it, fails") {
  const Plugins plugins;
  plugins.put("killed", "kill -9 $$");
  CHECK(says(failure_of(plugins.call("killed")), "was ended by signal 9"));
  plugins.put("noise", "echo hello");
  CHECK(failure_of(plugins.call("noise")).code() == Code::decode);
  plugins.put("endless", "exec cat /dev/zero");
  CHECK(says(failure_of(plugins.call("endless")), "more than 1 MiB"));
}

TEST_CASE("a grandchild that keeps the output open holds nobody up") {
  const Plugins plugins;
  plugins.put("daemon", "sleep 600 & echo \"[$!]\"");
  const std::string printed = delegate(plugins.call("daemon"));
  REQUIRE(printed.size() > 2);
  const pid_t grandchild = std::stoi(printed.substr(1));
  CHECK(::kill(grandchild, SIGKILL) == 0);
}

TEST_CASE("a plugin is found in the first directory that has it, and only as a file that can be run") {
  const Plugins first;
  const Plugins second;
  second.put("which", "echo '[2]'");
  Delegation delegation = first.call("which");
  delegation.path = "/no-such:" + first.path().string() + "::" + second.path().string();
  CHECK(delegate(delegation) == "[2]\n");
  first.put("which", "echo '[1]'");
  CHECK(delegate(delegation) == "[1]\n");
  fs::permissions(first.path() / "which", fs::perms::owner_read);
  CHECK(delegate(delegation) == "[2]\n");
  fs::remove(first.path() / "which");
  fs::create_directory(first.path() / "which");
  CHECK(delegate(delegation) == "[2]\n");
}

TEST_CASE("a plugin that is not there is named, and so is the path") {
  const Plugins plugins;
  const Failure failure = failure_of(plugins.call("absent"));
  CHECK(failure.code() == Code::invalid_config);
  CHECK(says(failure, "plugin absent is not in CNI_PATH"));
  CHECK(says(failure, plugins.path().c_str()));
  Delegation nowhere = plugins.call("absent");
  nowhere.path.clear();
  CHECK(failure_of(nowhere).code() == Code::bad_environment);
  for (const char* type : {"", ".", "..", "../absent", "/bin/sh"})
    CHECK(says(failure_of(plugins.call(type)), "not a file's name"));
  CHECK(says(failure_of(plugins.call(std::string(300, 'x'))), "not a file's name"));
  std::ofstream(plugins.path() / "broken") << "#!/no/such/interpreter\n";
  fs::permissions(plugins.path() / "broken", fs::perms::owner_all);
  CHECK(says(failure_of(plugins.call("broken")), "plugin broken: run "));
}

TEST_CASE("a plugin that is just being written is tried again") {
  const Plugins plugins;
  plugins.put("fresh", "echo '[]'");
  Descriptor writing(::open((plugins.path() / "fresh").c_str(), O_WRONLY | O_CLOEXEC));
  REQUIRE(writing);
  std::thread installer([&] {
    ::usleep(100'000);
    writing = Descriptor();
  });
  std::string printed;
  CHECK_NOTHROW(printed = delegate(plugins.call("fresh")));
  installer.join();
  CHECK(printed == "[]\n");
}

TEST_CASE("a call leaves no descriptor and no child behind, however it ends") {
  const Plugins plugins;
  plugins.put("good", "echo '{}'");
  plugins.put("endless", "exec cat /dev/zero");
  const auto descriptors = [] {
    return std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator());
  };
  const auto before = descriptors();
  for (int i = 0; i < 5; ++i) {
    (void)delegate(plugins.call("good"));
    (void)failure_of(plugins.call("endless"));
    (void)failure_of(plugins.call("absent"));
  }
  CHECK(descriptors() == before);
  CHECK(::waitpid(-1, nullptr, WNOHANG) == -1);
  CHECK(errno == ECHILD);
}

TEST_CASE("a process that lets the kernel reap its children is told why it learns nothing") {
  const Plugins plugins;
  plugins.put("good", "echo '{}'");
  const auto handler = ::signal(SIGCHLD, SIG_IGN);
  CHECK(says(failure_of(plugins.call("good")), "how it ended"));
  ::signal(SIGCHLD, handler);
}
