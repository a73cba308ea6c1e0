// Messages for nf_tables, one behind the other in one buffer, and what the kernel answers to each.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "netlink.hpp"

namespace cni {

class NftMessages final {
 public:
  // NFT_MSG_*, for the family inet. `step` says in an error what the message was for.
  NftMessages& add(std::uint8_t type, std::uint16_t flags, std::string step);
  // NFNL_MSG_BATCH_BEGIN and NFNL_MSG_BATCH_END. What is between them happens as a whole, and only if `generation`, which
  // NFT_MSG_GETGEN told, is still the kernel's.
  NftMessages& begin_batch(std::uint32_t generation);
  NftMessages& end_batch();

  // Attributes of the message that was added last.
  NftMessages& put(std::uint16_t type, Bytes payload);
  NftMessages& put(std::uint16_t type, std::string_view text);  // with a NUL behind it
  NftMessages& put_be32(std::uint16_t type, std::uint32_t number);
  template <class Fill>
  NftMessages& nest(std::uint16_t type, const Fill& fill) {
    const std::size_t at = open_nest(type);
    fill();
    return close_nest(at);
  }

  Bytes bytes() const noexcept { return bytes_; }
  std::size_t size() const noexcept { return steps_.size(); }
  const std::string& step(std::size_t number) const { return steps_.at(number); }
  // The number of the message that this answers, if it is one of these.
  std::optional<std::size_t> number_of(const nlmsghdr& answer) const noexcept;

 private:
  NftMessages& add_header(std::uint16_t type, std::uint16_t flags, std::uint8_t family, std::uint16_t resource);
  std::size_t open_nest(std::uint16_t type);
  NftMessages& close_nest(std::size_t at);
  void append(const void* bytes, std::size_t size);

  std::vector<std::byte> bytes_;
  std::vector<std::string> steps_;
  std::size_t message_ = 0;  // where the last one begins
};

struct NftError {
  std::size_t number;  // of the message
  int error;           // errno
};

// Sends requests, the last of which is a dump, and hands over what comes, with the number of the request. Requests for what is
// not there have no reply. Throws Failure.
void ask_nft(const Netlink& netlink, const NftMessages& requests,
             const std::function<void(std::size_t number, const Attributes& reply)>& on_reply);
// The generation of the kernel's rule set: each transaction makes another one. Throws Failure.
std::uint32_t nft_generation(const Netlink& netlink);
// Whether the rule set is of that generation and nobody is at work on the next one: a transaction has its number before its
// changes are to be seen. Waits for what is under way. Throws Failure.
bool is_nft_at(const Netlink& netlink, std::uint32_t generation);
// Sends a batch; its last message before the end asks for an acknowledgement. The first error, if any: nothing was changed then.
std::optional<NftError> commit_nft(const Netlink& netlink, const NftMessages& batch);

}  // namespace cni
