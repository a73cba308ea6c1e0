// Lengths are written when a message or a nest has grown; libmnl's buffers are of a fixed size.
#include "nft_messages.hpp"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "failure.hpp"

namespace cni {
namespace {

// Behind every reply's header, and before its attributes.
constexpr std::size_t kHeaderBytes = sizeof(nfgenmsg);
constexpr std::uint32_t kFirstSequence = 1;

// Not the kernel's refusal of one request but of all of them.
bool concerns_all(int error) noexcept { return error != ENOENT; }

Failure refused(const std::string& step, int error) {
  if (error == EPERM) return {Code::permission_denied, "nftables: " + step + ": needs CAP_NET_ADMIN"};
  // EINVAL is how nfnetlink says that it knows no such subsystem.
  if (error == EINVAL || error == EOPNOTSUPP)
    return {Code::kernel_unsupported, "nftables: " + step + ": this kernel has no nf_tables (CONFIG_NF_TABLES)"};
  return {patu::Error::from_errno(patu::Errc::io, error, step), "nftables"};
}

// `on_refusal` is told what is refused before the answer comes.
std::uint32_t ask_for_generation(const Netlink& netlink, const std::function<void(int error)>& on_refusal) {
  NftMessages request;
  request.add(NFT_MSG_GETGEN, 0, "ask for the generation");
  netlink.send(request.bytes());
  std::uint32_t generation = 0;
  netlink.receive([&](const nlmsghdr& answer) {
    if (!request.number_of(answer)) return false;
    if (answer.nlmsg_type == NLMSG_ERROR) {
      on_refusal(error_of(answer));
      return false;
    }
    generation = Attributes(answer, kHeaderBytes).be32(NFTA_GEN_ID);
    return true;
  });
  return generation;
}

}  // namespace

void NftMessages::append(const void* bytes, std::size_t size) {
  const auto* first = static_cast<const std::byte*>(bytes);
  bytes_.insert(bytes_.end(), first, first + size);
  bytes_.resize((bytes_.size() + NLMSG_ALIGNTO - 1) / NLMSG_ALIGNTO * NLMSG_ALIGNTO);
  const auto length = static_cast<std::uint32_t>(bytes_.size() - message_);
  std::memcpy(bytes_.data() + message_ + offsetof(nlmsghdr, nlmsg_len), &length, sizeof length);
}

NftMessages& NftMessages::add_header(std::uint16_t type, std::uint16_t flags, std::uint8_t family,
                                     std::uint16_t resource) {
  struct {
    nlmsghdr header;
    nfgenmsg general;
  } message{};
  message.header.nlmsg_type = type;
  message.header.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
  message.header.nlmsg_seq = kFirstSequence + static_cast<std::uint32_t>(steps_.size() - 1);
  message.general = {family, NFNETLINK_V0, htons(resource)};
  message_ = bytes_.size();
  bytes_.resize(message_ + sizeof message);
  std::memcpy(bytes_.data() + message_, &message, sizeof message);
  append(nullptr, 0);
  return *this;
}

NftMessages& NftMessages::add(std::uint8_t type, std::uint16_t flags, std::string step) {
  steps_.push_back(std::move(step));
  return add_header(static_cast<std::uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | type), flags, NFPROTO_INET, 0);
}

NftMessages& NftMessages::begin_batch(std::uint32_t generation) {
  steps_.emplace_back("begin");
  return add_header(NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES).put_be32(NFNL_BATCH_GENID, generation);
}

NftMessages& NftMessages::end_batch() {
  steps_.emplace_back("commit");
  return add_header(NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
}

NftMessages& NftMessages::put(std::uint16_t type, Bytes payload) {
  const nlattr header{static_cast<std::uint16_t>(sizeof(nlattr) + payload.size()), type};
  append(&header, sizeof header);
  append(payload.data(), payload.size());
  return *this;
}

NftMessages& NftMessages::put(std::uint16_t type, std::string_view text) {
  const std::string terminated(text);
  return put(type, std::as_bytes(std::span(terminated.c_str(), terminated.size() + 1)));
}

NftMessages& NftMessages::put_be32(std::uint16_t type, std::uint32_t number) {
  const std::uint32_t big_endian = htonl(number);
  return put(type, std::as_bytes(std::span(&big_endian, 1)));
}

std::size_t NftMessages::open_nest(std::uint16_t type) {
  const std::size_t at = bytes_.size();
  put(static_cast<std::uint16_t>(type | NLA_F_NESTED), Bytes());
  return at;
}

NftMessages& NftMessages::close_nest(std::size_t at) {
  const std::size_t length = bytes_.size() - at;
  if (length > UINT16_MAX) throw Failure(Code::io, "nftables: more in one message than netlink takes");
  const auto length16 = static_cast<std::uint16_t>(length);
  std::memcpy(bytes_.data() + at + offsetof(nlattr, nla_len), &length16, sizeof length16);
  return *this;
}

std::optional<std::size_t> NftMessages::number_of(const nlmsghdr& answer) const noexcept {
  const std::size_t number = answer.nlmsg_seq - kFirstSequence;
  return number < steps_.size() ? std::optional(number) : std::nullopt;
}

void ask_nft(const Netlink& netlink, const NftMessages& requests,
             const std::function<void(std::size_t, const Attributes&)>& on_reply) {
  netlink.send(requests.bytes());
  netlink.receive([&](const nlmsghdr& answer) {
    const auto number = requests.number_of(answer);
    if (!number) return false;
    const bool last = *number + 1 == requests.size();
    if (answer.nlmsg_type == NLMSG_DONE) return last;
    if (answer.nlmsg_type == NLMSG_ERROR) {
      if (const int error = error_of(answer); concerns_all(error)) throw refused(requests.step(*number), error);
      return last;
    }
    on_reply(*number, Attributes(answer, kHeaderBytes));
    return false;
  });
}

std::uint32_t nft_generation(const Netlink& netlink) {
  return ask_for_generation(netlink, [](int error) { throw refused("ask for the generation", error); });
}

// A batch with nothing in it changes nothing, takes the lock of all transactions, and is answered only if it is refused: which
// it then is before what is asked next.
bool is_nft_at(const Netlink& netlink, std::uint32_t generation) {
  NftMessages nothing;
  nothing.begin_batch(generation).end_batch();
  netlink.send(nothing.bytes());
  bool is_at = true;
  (void)ask_for_generation(netlink, [&](int error) {
    if (error != ERESTART) throw refused("compare the generation", error);
    is_at = false;
  });
  return is_at;
}

std::optional<NftError> commit_nft(const Netlink& netlink, const NftMessages& batch) {
  netlink.send(batch.bytes());
  std::optional<NftError> failure;
  netlink.receive([&](const nlmsghdr& answer) {
    const auto number = batch.number_of(answer);
    if (!number || answer.nlmsg_type != NLMSG_ERROR) return false;
    if (const int error = error_of(answer); error != 0) failure = NftError{*number, error};
    // An acknowledgement can only be that of the last message.
    return true;
  });
  return failure;
}

}  // namespace cni
