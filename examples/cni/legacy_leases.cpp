// Every step starts from the open directory, so that no link or rename leads elsewhere.
#include "legacy_leases.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <functional>
#include <memory>
#include <optional>

#include "descriptor.hpp"
#include "failure.hpp"

namespace cni {
namespace {

constexpr int kLockWaitMs = 10'000;
constexpr int kLockPollMs = 20;
// More than the longest id that patu knows, with an interface's name: what is longer is nobody's.
constexpr std::size_t kLeaseBytes = 256;

std::string path_of(const LegacyLeases& leases) { return leases.data_dir + "/" + leases.network; }

Failure failed(const LegacyLeases& leases, const std::string& step) {
  return {patu::Error::from_errno(patu::Errc::io, errno, step), "leases of host-local in " + path_of(leases)};
}

void require_name(const std::string& network) {
  if (network.empty() || network == "." || network == ".." || network.find('/') != std::string::npos ||
      network.find('\0') != std::string::npos)
    throw Failure(Code::invalid_config, "name of the network: not a directory's name");
}

// Without a descriptor if there is no such directory.
Descriptor open_directory(const LegacyLeases& leases) {
  if (leases.data_dir.empty()) return {};
  require_name(leases.network);
  const Descriptor data(::open(leases.data_dir.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!data && errno == ENOENT) return {};
  if (!data) throw failed(leases, "open " + leases.data_dir);
  Descriptor directory(::openat(data.get(), leases.network.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!directory && errno != ENOENT) throw failed(leases, "open the directory");
  return directory;
}

// Calls back with the name and the address of everything whose name is one, but directories.
void each_lease(const LegacyLeases& leases, int directory_fd,
                const std::function<void(const char*, const patu::IpAddress&)>& visit) {
  // A position of its own: the same descriptor may be read twice.
  Descriptor own(::openat(directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!own) throw failed(leases, "open the directory");
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(own.get()), ::closedir);
  if (!stream) throw failed(leases, "read the directory");
  (void)own.release();
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(stream.get());
    if (entry == nullptr && errno != 0) throw failed(leases, "read the directory");
    if (entry == nullptr) return;
    if (entry->d_type == DT_DIR) continue;
    if (const auto address = patu::IpAddress::parse(entry->d_name)) visit(entry->d_name, *address);
  }
}

// The beginning of what is in a lease's file; empty for no bytes. Nothing for what is no file, or has gone.
std::optional<std::string> read_lease(const LegacyLeases& leases, int directory_fd, const char* name) {
  // Not to block at a FIFO of that name.
  const Descriptor file(::openat(directory_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!file && (errno == ENOENT || errno == ELOOP || errno == ENXIO)) return std::nullopt;
  if (!file) throw failed(leases, std::string("open ") + name);
  struct stat status;
  if (::fstat(file.get(), &status) != 0) throw failed(leases, std::string("look at ") + name);
  if (!S_ISREG(status.st_mode)) return std::nullopt;
  static_assert(kLeaseBytes > patu::AttachmentId::kMaxContainerIdLength + 2 + IFNAMSIZ);
  std::array<char, kLeaseBytes> buffer;
  const ssize_t got = ::pread(file.get(), buffer.data(), buffer.size(), 0);
  if (got < 0) throw failed(leases, std::string("read ") + name);
  constexpr std::string_view kSpace = " \t\r\n";
  const std::string_view text(buffer.data(), static_cast<std::size_t>(got));
  const std::size_t begin = text.find_first_not_of(kSpace);
  if (begin == text.npos) return std::string();
  return std::string(text.substr(begin, text.find_last_not_of(kSpace) + 1 - begin));
}

std::string line_of(const patu::AttachmentId& id) { return id.container_id() + "\r\n" + id.ifname().to_string(); }

// host-local's own lock.
Descriptor lock(const LegacyLeases& leases, int directory_fd) {
  Descriptor file(::openat(directory_fd, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file) throw failed(leases, "open the lock");
  for (int waited = 0; ::flock(file.get(), LOCK_EX | LOCK_NB) != 0; waited += kLockPollMs) {
    if (errno != EWOULDBLOCK && errno != EINTR) throw failed(leases, "lock");
    if (waited >= kLockWaitMs)
      throw Failure(Code::try_again,
                    "the lock of host-local's leases in " + path_of(leases) + " is held by another process");
    ::poll(nullptr, 0, kLockPollMs);
  }
  return file;
}

using Condition = std::function<bool(const std::string& lease)>;

std::vector<std::string> names_where(const LegacyLeases& leases, int directory_fd, const Condition& holds) {
  std::vector<std::string> names;
  each_lease(leases, directory_fd, [&](const char* name, const patu::IpAddress&) {
    if (const auto lease = read_lease(leases, directory_fd, name); lease && holds(*lease)) names.emplace_back(name);
  });
  return names;
}

// Looks without the lock first: where nothing is to be deleted, nobody is waited for. True if something was.
bool delete_where(const LegacyLeases& leases, int directory_fd, const Condition& holds) {
  if (names_where(leases, directory_fd, holds).empty()) return false;
  const Descriptor locked = lock(leases, directory_fd);
  const auto names = names_where(leases, directory_fd, holds);
  for (const std::string& name : names)
    if (::unlinkat(directory_fd, name.c_str(), 0) != 0 && errno != ENOENT) throw failed(leases, "delete " + name);
  return !names.empty();
}

// An older host-local wrote no interface.
bool is_of(const std::string& lease, const patu::AttachmentId& id) {
  return lease == line_of(id) || lease == id.container_id();
}

}  // namespace

std::vector<patu::IpAddress> legacy_addresses(const LegacyLeases& leases) {
  std::vector<patu::IpAddress> addresses;
  if (const Descriptor directory = open_directory(leases))
    each_lease(leases, directory.get(),
               [&](const char*, const patu::IpAddress& address) { addresses.push_back(address); });
  return addresses;
}

bool release_legacy(const LegacyLeases& leases, const patu::AttachmentId& id) {
  const Descriptor directory = open_directory(leases);
  if (!directory) return false;
  return delete_where(leases, directory.get(), [&](const std::string& lease) { return lease == line_of(id); }) ||
         delete_where(leases, directory.get(), [&](const std::string& lease) { return lease == id.container_id(); });
}

void collect_legacy(const LegacyLeases& leases, const std::vector<patu::AttachmentId>& keep) {
  const Descriptor directory = open_directory(leases);
  if (!directory) return;
  delete_where(leases, directory.get(), [&](const std::string& lease) {
    return std::none_of(keep.begin(), keep.end(), [&](const patu::AttachmentId& id) { return is_of(lease, id); });
  });
}

}  // namespace cni
