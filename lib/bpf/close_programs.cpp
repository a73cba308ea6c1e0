// Loading them, and reading what they tell.
#include "bpf/close_programs.hpp"

#include <bpf/bpf.h>
#include <netinet/in.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <span>

#include "base/thread.hpp"
#include "base/try.hpp"
#include "bpf/object.hpp"

namespace patu::bpf {
namespace {

Result<UniqueFd> link_iterator(const Object& object, const char* program, int map_fd) {
  bpf_iter_link_info target{};
  target.map.map_fd = static_cast<std::uint32_t>(map_fd);
  bpf_link_create_opts options{};  // LIBBPF_OPTS is not C++ to clang
  options.sz = sizeof options;
  if (map_fd >= 0) {
    options.iter_info = &target;
    options.iter_info_len = sizeof target;
  }
  UniqueFd link(bpf_link_create(object.program_fd(program), 0, BPF_TRACE_ITER, &options));
  if (!link) return PATU_FAIL_ERRNO(std::string("make iterator ") + program);
  return link;
}

// Runs the program over all its sockets; it runs while it is read.
Result<> run(const UniqueFd& link, FunctionRef<void(std::span<const std::byte>)> on_output) {
  const UniqueFd iterator(bpf_iter_create(link.get()));
  if (!iterator) return PATU_FAIL_ERRNO("start iterator");
  std::array<std::byte, 4096> buffer;
  for (;;) {
    const ssize_t got = ::read(iterator.get(), buffer.data(), buffer.size());
    if (got == 0) return {};
    if (got > 0)
      on_output(std::span(buffer).first(static_cast<std::size_t>(got)));
    else if (errno != EINTR && errno != EAGAIN)  // kernel: EAGAIN after a million sockets that told nothing
      return PATU_FAIL_ERRNO("read iterator");
  }
}

}  // namespace

Result<ClosePrograms> ClosePrograms::load(const Instance& instance) {
  ClosePrograms programs;
  const auto work = [&]() -> Result<> {
    PATU_TRY_LET(object, Object::open(Component::close, instance.features()));
    PATU_TRY(object.reuse_map("stale", instance.map_fd(MapId::stale)));
    PATU_TRY(object.reuse_map("connected", instance.map_fd(MapId::connected)));
    PATU_TRY(object.load());
    PATU_TRY_LET(find, link_iterator(object, "find_stale", instance.map_fd(MapId::connected)));
    PATU_TRY_LET(udp, link_iterator(object, "close_udp", -1));
    PATU_TRY_LET(tcp, link_iterator(object, "close_tcp", -1));
    programs.find_ = std::move(find);
    programs.udp_ = std::move(udp);
    programs.tcp_ = std::move(tcp);
    return {};
  };
  PATU_TRY(on_thread(work));
  return programs;
}

Result<StaleSockets> ClosePrograms::find() const {
  StaleSockets found;
  std::array<std::byte, sizeof(patu_stale_socket)> bytes;
  std::size_t filled = 0;  // a read may end within one
  const auto take = [&](std::span<const std::byte> output) {
    for (const std::byte byte : output) {
      bytes[filled++] = byte;
      if (filled < bytes.size()) continue;
      filled = 0;
      patu_stale_socket socket;
      std::memcpy(&socket, bytes.data(), sizeof socket);
      if (socket.netns == 0)
        found.connecting = true;
      else
        found.places.insert({socket.netns, static_cast<std::uint8_t>(socket.protocol)});
    }
  };
  PATU_TRY(run(find_, take));
  return found;
}

Result<std::uint32_t> ClosePrograms::close_here(std::uint8_t protocol) const {
  std::size_t closed = 0;
  PATU_TRY(
      run(protocol == IPPROTO_TCP ? tcp_ : udp_, [&](std::span<const std::byte> output) { closed += output.size(); }));
  return static_cast<std::uint32_t>(closed);
}

}  // namespace patu::bpf
