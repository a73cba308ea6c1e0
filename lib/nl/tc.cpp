// RTM_NEWQDISC and RTM_NEWTFILTER with cls_bpf.
#include "nl/tc.hpp"

#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>

#include "base/try.hpp"

namespace patu::nl {
namespace {

constexpr std::string_view kKind = "bpf";
constexpr std::uint32_t kHandle = 1;
constexpr std::uint32_t kPriority = 1;

tcmsg filter_header(std::uint32_t ifindex) noexcept {
  tcmsg header{};
  header.tcm_ifindex = static_cast<int>(ifindex);
  header.tcm_handle = kHandle;
  header.tcm_parent = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS);
  header.tcm_info = TC_H_MAKE(kPriority << 16, htons(ETH_P_ALL));
  return header;
}

// Without NLM_F_EXCL the kernel takes a clsact that is there already for success, and refuses another kind.
Request add_clsact(std::uint32_t ifindex) {
  tcmsg header{};
  header.tcm_ifindex = static_cast<int>(ifindex);
  header.tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0);
  header.tcm_parent = TC_H_CLSACT;
  return Request(RTM_NEWQDISC, NLM_F_CREATE, header).put_string(TCA_KIND, "clsact");
}

Request set_filter(std::uint32_t ifindex, int program_fd) {
  Request request(RTM_NEWTFILTER, NLM_F_CREATE, filter_header(ifindex));
  request.put_string(TCA_KIND, kKind);
  return request.nest(TCA_OPTIONS, [&] {
    request.put(TCA_BPF_FD, program_fd).put_string(TCA_BPF_NAME, kFilterName);
    request.put<std::uint32_t>(TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
  });
}

}  // namespace

Result<> attach_clsact(Socket& socket, std::uint32_t ifindex, int program_fd) {
  std::array requests{add_clsact(ifindex), set_filter(ifindex, program_fd)};
  auto result = socket.batch(requests);
  if (result) return {};
  return fail(std::move(result.error().error).context(result.error().index == 0 ? "add clsact" : "add BPF filter"));
}

Result<> detach_clsact(Socket& socket, std::uint32_t ifindex) {
  PATU_TRY_LET(program, query_clsact(socket, ifindex));
  if (!program) return {};
  Request request(RTM_DELTFILTER, 0, filter_header(ifindex));
  return socket.call(request.put_string(TCA_KIND, kKind));
}

Result<std::optional<std::uint32_t>> query_clsact(Socket& socket, std::uint32_t ifindex) {
  const tcmsg wanted = filter_header(ifindex);
  tcmsg header{};
  header.tcm_ifindex = wanted.tcm_ifindex;
  header.tcm_parent = wanted.tcm_parent;
  // A dump, because it is empty where device, qdisc or filter are missing; a plain GET has an errno for each.
  Request request(RTM_GETTFILTER, NLM_F_DUMP, header);
  std::optional<std::uint32_t> out;
  const auto on_message = [&](const Message& message) -> Result<> {
    PATU_TRY_LET(filter, message.body<tcmsg>());
    if (filter.tcm_handle != wanted.tcm_handle || filter.tcm_info != wanted.tcm_info) return {};
    const AttrRange attributes = message.attributes(sizeof(tcmsg));
    const auto kind = attributes.find(TCA_KIND);
    const auto options = attributes.find(TCA_OPTIONS);
    if (!kind || kind->string() != kKind || !options) return {};
    const auto name = AttrRange(*options).find(TCA_BPF_NAME);
    const auto id = AttrRange(*options).find(TCA_BPF_ID);
    if (!name || name->string() != kFilterName || !id) return {};
    PATU_TRY_LET(program, id->as<std::uint32_t>(), "TCA_BPF_ID");
    out = program;
    return {};
  };
  PATU_TRY(socket.dump(request, on_message, [&] { out.reset(); }));
  return out;
}

}  // namespace patu::nl
