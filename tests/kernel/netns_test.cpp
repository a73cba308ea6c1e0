// Network namespaces are what they say they are, and the caller's stays where it was.
#include "patu/netns.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <string>

#include "base/unique_fd.hpp"
#include "sandbox.hpp"

namespace patu {
namespace {

using test::output_in;
using test::output_of;

ino_t inode_of(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 ? status.st_ino : 0;
}

ino_t inode_of(const Netns& netns) { return inode_of("/proc/self/fd/" + std::to_string(netns.fd())); }

TEST_CASE("a new namespace is empty, and the caller's own stays as it was") {
  const ino_t before = inode_of("/proc/thread-self/ns/net");
  const auto created = Netns::create();
  REQUIRE(created);
  CHECK(inode_of(*created) != before);
  CHECK(inode_of("/proc/thread-self/ns/net") == before);
  CHECK(output_in(*created, "ip -br link | grep -c .") == "1\n");
  CHECK((::fcntl(created->fd(), F_GETFD) & FD_CLOEXEC) != 0);
}

TEST_CASE("a namespace is found by path, by pid and by descriptor") {
  const auto current = Netns::current();
  REQUIRE(current);
  CHECK(inode_of(*current) == inode_of("/proc/thread-self/ns/net"));
  const auto created = Netns::create();
  REQUIRE(created);
  CHECK_FALSE(created->same_as(*current));

  const auto by_path = Netns::open("/proc/self/fd/" + std::to_string(created->fd()));
  REQUIRE(by_path);
  CHECK(by_path->same_as(*created));

  const auto by_fd = Netns::from_fd(created->fd());
  REQUIRE(by_fd);
  CHECK(by_fd->fd() != created->fd());
  CHECK(by_fd->same_as(*created));
  CHECK((::fcntl(by_fd->fd(), F_GETFD) & FD_CLOEXEC) != 0);

  const pid_t child = test::start_in(*created, false, [] { return ::pause() == 0; });
  const auto by_pid = Netns::of_pid(child);
  const auto same_inode = inode_of("/proc/" + std::to_string(child) + "/ns/net");
  ::kill(child, SIGKILL);
  test::wait_for(child);
  REQUIRE(by_pid);
  CHECK(inode_of(*by_pid) == same_inode);
}

TEST_CASE("what is not a network namespace is refused by name") {
  const auto refused = [](Result<Netns>&& result, Errc code, std::string_view what) {
    REQUIRE_FALSE(result);
    CHECK(result.error().code() == code);
    CHECK(result.error().to_string().find(what) != std::string::npos);
  };
  refused(Netns::open("/proc/self/ns/mnt"), Errc::invalid_argument, "/proc/self/ns/mnt");
  refused(Netns::open("/"), Errc::invalid_argument, "not a network namespace");
  refused(Netns::open("/dev/null"), Errc::invalid_argument, "/dev/null");
  refused(Netns::open("/nowhere/ns"), Errc::not_found, "/nowhere/ns");
  refused(Netns::open(""), Errc::not_found, "open network namespace");
  refused(Netns::open(std::string("/proc/self/ns/net\0x", 19)), Errc::invalid_argument, "zero byte");
  refused(Netns::of_pid(0), Errc::invalid_argument, "process 0");
  refused(Netns::of_pid(-1), Errc::invalid_argument, "process -1");
  refused(Netns::of_pid(0x7fffffff), Errc::not_found, "2147483647");
  refused(Netns::from_fd(-1), Errc::invalid_argument, "descriptor -1");
  const UniqueFd directory(::open("/", O_RDONLY | O_CLOEXEC));
  refused(Netns::from_fd(directory.get()), Errc::invalid_argument, "not a network namespace");
  const UniqueFd path(::open("/proc/self/ns/net", O_PATH | O_CLOEXEC));
  refused(Netns::from_fd(path.get()), Errc::invalid_argument, "not a network namespace");
}

TEST_CASE("a FIFO that nobody writes to does not hold the caller up") {
  const std::string path = "/run/patu-fifo";  // a tmpfs of the sandbox
  REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
  const auto result = Netns::open(path);
  CHECK(::unlink(path.c_str()) == 0);
  REQUIRE_FALSE(result);
  CHECK(result.error().code() == Errc::invalid_argument);
}

TEST_CASE("the cookie is the kernel's, one for each namespace") {
  const UniqueFd own(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  std::uint64_t expected = 0;
  socklen_t size = sizeof expected;
  REQUIRE(::getsockopt(own.get(), SOL_SOCKET, SO_NETNS_COOKIE, &expected, &size) == 0);
  const auto current = Netns::current();
  const auto created = Netns::create();
  REQUIRE((current && created));
  CHECK(current->cookie() == expected);
  const auto other = created->cookie();
  REQUIRE(other);
  CHECK(*other != expected);
  CHECK(created->cookie() == *other);
}

TEST_CASE("no verb leaves a descriptor or a thread behind") {
  const std::size_t descriptors = test::open_descriptors();
  const std::size_t threads = test::threads();
  {
    auto created = Netns::create();
    REQUIRE(created);
    auto copy = Netns::from_fd(created->fd());
    REQUIRE(copy);
    CHECK(copy->cookie());
    *created = std::move(*copy);
    CHECK_FALSE(Netns::open("/proc/self/ns/mnt"));
    CHECK(test::open_descriptors() > descriptors);
  }
  CHECK(test::open_descriptors() == descriptors);
  CHECK(test::threads() == threads);
}

}  // namespace
}  // namespace patu
