// Bytes laid out by hand, and blocks that end where they say they do.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace patu::test {

// Host byte order, as netlink has it. Neither a builder nor a parser of the library is measured with itself.
class Bytes {
 public:
  Bytes& u8(std::initializer_list<unsigned> values) {
    for (const unsigned value : values) bytes_.push_back(static_cast<std::byte>(value));
    return *this;
  }
  Bytes& u16(std::uint16_t value) { return raw(&value, sizeof value); }
  Bytes& u32(std::uint32_t value) { return raw(&value, sizeof value); }
  Bytes& text(std::string_view value) { return raw(value.data(), value.size()); }
  Bytes& zeros(std::size_t count) {
    bytes_.resize(bytes_.size() + count);
    return *this;
  }
  Bytes& header(std::uint32_t length, std::uint16_t type, std::uint16_t flags = 0) {
    return u32(length).u16(type).u16(flags).u32(0).u32(0);
  }
  std::span<const std::byte> view() const { return bytes_; }

 private:
  Bytes& raw(const void* data, std::size_t size) {
    const auto* const first = static_cast<const std::byte*>(data);
    for (std::size_t i = 0; i < size; ++i) bytes_.push_back(first[i]);
    return *this;
  }
  std::vector<std::byte> bytes_;
};

// A block of exactly that size on the heap, so that AddressSanitizer sees the first byte too many.
class Exact {
 public:
  explicit Exact(std::span<const std::byte> bytes) : bytes_(new std::byte[bytes.size()]), size_(bytes.size()) {
    std::copy(bytes.begin(), bytes.end(), bytes_.get());
  }
  std::span<const std::byte> view() const { return {bytes_.get(), size_}; }
  bool holds(const void* data, std::size_t size) const {
    const auto* const first = static_cast<const std::byte*>(data);
    return size == 0 || (first >= bytes_.get() && first + size <= bytes_.get() + size_);
  }

 private:
  std::unique_ptr<std::byte[]> bytes_;
  std::size_t size_;
};

}  // namespace patu::test
