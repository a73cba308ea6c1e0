// Network namespaces.
#include "handles.hpp"
#include "input.hpp"

using namespace patu;
using namespace patu::c;

patu_status patu_netns_open_fd(std::int32_t netns_fd, patu_netns** netns, patu_error** err) {
  return guard(err, [&]() -> Result<> {
    PATU_TRY(check_given(netns, "netns"));
    return hand_out(Netns::from_fd(netns_fd), netns);
  });
}

patu_status patu_netns_open_path(const char* path, patu_netns** netns, patu_error** err) {
  return guard(err, [&]() -> Result<> {
    PATU_TRY(check_given(netns, "netns"));
    PATU_TRY_LET(text, read_text(path, "path"));
    return hand_out(Netns::open(std::string(text)), netns);
  });
}

patu_status patu_netns_open_pid(std::int32_t pid, patu_netns** netns, patu_error** err) {
  return guard(err, [&]() -> Result<> {
    PATU_TRY(check_given(netns, "netns"));
    return hand_out(Netns::of_pid(pid), netns);
  });
}

patu_status patu_netns_open_current(patu_netns** netns, patu_error** err) {
  return guard(err, [&]() -> Result<> {
    PATU_TRY(check_given(netns, "netns"));
    return hand_out(Netns::current(), netns);
  });
}

patu_status patu_netns_create(patu_netns** netns, patu_error** err) {
  return guard(err, [&]() -> Result<> {
    PATU_TRY(check_given(netns, "netns"));
    return hand_out(Netns::create(), netns);
  });
}

void patu_netns_close(patu_netns* netns) { delete netns; }

std::int32_t patu_netns_fd(const patu_netns* netns) { return netns == nullptr ? -1 : netns->netns.fd(); }

std::int32_t patu_netns_same(const patu_netns* a, const patu_netns* b) {
  return a != nullptr && b != nullptr && a->netns.same_as(b->netns) ? 1 : 0;
}

patu_status patu_netns_cookie(const patu_netns* netns, std::uint64_t* cookie, patu_error** err) {
  return guard(err, [&]() -> Result<> {
    PATU_TRY(check_given(netns, "netns"));
    PATU_TRY(check_given(cookie, "cookie"));
    PATU_TRY_LET(value, netns->netns.cookie());
    *cookie = value;
    return {};
  });
}
