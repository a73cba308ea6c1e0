// Lease files as host-local leaves them: which are taken, which go, and which are nobody's business.
#include <doctest/doctest.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>

#include "descriptor.hpp"
#include "failure.hpp"
#include "legacy_leases.hpp"

using namespace cni;
namespace fs = std::filesystem;

namespace {

class Directory final {
 public:
  Directory() {
    char path[] = "/tmp/patu-cni-legacy-XXXXXX";
    REQUIRE(::mkdtemp(path) != nullptr);
    path_ = path;
    fs::create_directories(path_ / "net");
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  ~Directory() { fs::remove_all(path_); }

  fs::path operator/(const std::string& name) const { return path_ / "net" / name; }
  const fs::path& top() const { return path_; }
  LegacyLeases leases(const std::string& network = "net") const { return {path_.string(), network}; }
  void put(const std::string& name, const std::string& text) const { std::ofstream(*this / name) << text; }
  std::set<std::string> names() const {
    std::set<std::string> found;
    for (const auto& entry : fs::directory_iterator(path_ / "net")) found.insert(entry.path().filename());
    return found;
  }

 private:
  fs::path path_;
};

patu::AttachmentId id(const char* container, const char* ifname = "eth0") {
  return *patu::AttachmentId::parse(container, ifname);
}

std::set<std::string> taken(const LegacyLeases& leases) {
  std::set<std::string> text;
  for (const patu::IpAddress& address : legacy_addresses(leases)) text.insert(address.to_string());
  return text;
}

using Names = std::set<std::string>;

}  // namespace

TEST_CASE("addresses are the names that are one, whatever is in the files") {
  const Directory directory;
  directory.put("10.0.0.2", "web-1\r\neth0");
  directory.put("10.0.0.3", "");
  directory.put("fd00::5", "web-2");
  directory.put("last_reserved_ip.0", "10.0.0.3");
  directory.put("lock", "");
  directory.put("10.0.0", "web-1\r\neth0");
  directory.put("10.0.0.4.tmp", "web-1\r\neth0");
  fs::create_directories(directory / "10.0.0.9");
  CHECK(taken(directory.leases()) == Names{"10.0.0.2", "10.0.0.3", "fd00::5"});
}

TEST_CASE("where there is no directory there is nothing, and nothing comes to be") {
  const Directory directory;
  for (const LegacyLeases& leases : {directory.leases("other"), LegacyLeases{"/tmp/patu-cni-no-such", "net"}}) {
    CHECK(legacy_addresses(leases).empty());
    release_legacy(leases, id("web-1"));
    collect_legacy(leases, {});
  }
  CHECK_FALSE(fs::exists(directory.top() / "other"));
  CHECK_FALSE(fs::exists("/tmp/patu-cni-no-such"));
}

TEST_CASE("a release takes the attachment's files of both families, and those of no other one") {
  const Directory directory;
  directory.put("10.0.0.2", "web-1\r\neth0");
  directory.put("fd00::2", "web-1\r\neth0");
  directory.put("10.0.0.3", "web-1\r\nnet1");
  directory.put("10.0.0.4", "web-10\r\neth0");
  directory.put("10.0.0.5", "web-\r\neth0");
  directory.put("10.0.0.6", "");
  directory.put("10.0.0.7", "web-1\r\neth0\r\nmore");
  directory.put("10.0.0.8", "web-1");
  CHECK(release_legacy(directory.leases(), id("web-1")));
  CHECK(directory.names() == Names{"10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.7", "10.0.0.8", "lock"});
  release_legacy(directory.leases(), id("web-1"));
  CHECK_FALSE(directory.names().contains("10.0.0.8"));
}

TEST_CASE("a file of an older host-local, with the id alone, is the attachment's if it has no other") {
  const Directory directory;
  directory.put("10.0.0.2", "web-1\n");
  directory.put("10.0.0.3", "web-2");
  release_legacy(directory.leases(), id("web-1"));
  CHECK(directory.names() == Names{"10.0.0.3", "lock"});
}

TEST_CASE("a collection keeps what is listed, and takes what is not, empty files included") {
  const Directory directory;
  directory.put("10.0.0.2", "web-1\r\neth0");
  directory.put("10.0.0.3", "web-1\r\nnet1");
  directory.put("10.0.0.4", "web-2");
  directory.put("10.0.0.5", "web-3\r\neth0");
  directory.put("10.0.0.6", "");
  directory.put("10.0.0.7", std::string(4096, 'x'));
  directory.put("last_reserved_ip.0", "10.0.0.5");
  collect_legacy(directory.leases(), {id("web-1"), id("web-2")});
  CHECK(directory.names() == Names{"10.0.0.2", "10.0.0.4", "last_reserved_ip.0", "lock"});
  collect_legacy(directory.leases(), {});
  CHECK(directory.names() == Names{"last_reserved_ip.0", "lock"});
}

TEST_CASE("what is no file is left alone, and no link is followed") {
  const Directory directory;
  std::ofstream(directory.top() / "victim") << "web-1\r\neth0";
  fs::create_symlink(directory.top() / "victim", directory / "10.0.0.2");
  REQUIRE(::mkfifo((directory / "10.0.0.3").c_str(), 0600) == 0);
  fs::create_directories(directory / "10.0.0.4");
  release_legacy(directory.leases(), id("web-1"));
  collect_legacy(directory.leases(), {});
  CHECK(directory.names() == Names{"10.0.0.2", "10.0.0.3", "10.0.0.4"});
  CHECK(fs::exists(directory.top() / "victim"));
  fs::create_directory_symlink(directory.top() / "net", directory.top() / "linked");
  CHECK_THROWS_AS(legacy_addresses(directory.leases("linked")), Failure);
  for (const char* network : {"", ".", "..", "a/b", "../net"})
    CHECK_THROWS_AS(legacy_addresses(directory.leases(network)), Failure);
}

TEST_CASE("a release of nothing asks for no lock; of something, for host-local's own") {
  const Directory directory;
  directory.put("10.0.0.2", "web-1\r\neth0");
  release_legacy(directory.leases(), id("web-2"));
  CHECK(directory.names() == Names{"10.0.0.2"});
  const Descriptor held(::open((directory / "lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  REQUIRE(::flock(held.get(), LOCK_EX) == 0);
  release_legacy(directory.leases(), id("web-2"));
  try {
    release_legacy(directory.leases(), id("web-1"));
    FAIL("the lock was not asked for");
  } catch (const Failure& failure) {
    CHECK(failure.code() == Code::try_again);
  }
  CHECK(directory.names().contains("10.0.0.2"));
}
