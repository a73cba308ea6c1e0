// Values to and from text.
#include <cstring>

#include "input.hpp"
#include "output.hpp"

namespace {

using namespace patu;
using namespace patu::c;

template <class Value, class Out>
patu_status parse(const char* text, Out* out, patu_error** err) noexcept {
  return guard(err, [&]() -> Result<> {
    PATU_TRY(check_given(out, "the output"));
    PATU_TRY_LET(view, read_text(text, "text"));
    PATU_TRY_LET(value, Value::parse(view));
    *out = to_c(value);
    return {};
  });
}

Result<> put(const std::string& value, char* text, std::size_t size) {
  PATU_TRY(check_given(text, "text"));
  if (size <= value.size())
    return fail(Errc::invalid_argument,
                "the text takes " + std::to_string(value.size() + 1) + " bytes; there are " + std::to_string(size));
  std::memcpy(text, value.c_str(), value.size() + 1);
  return {};
}

}  // namespace

patu_status patu_address_parse(const char* text, patu_address* address, patu_error** err) {
  return parse<IpAddress>(text, address, err);
}

patu_status patu_address_format(const patu_address* address, char* text, std::size_t size, patu_error** err) {
  return guard(err, [&]() -> Result<> {
    PATU_TRY(check_given(address, "address"));
    return put(read_address(*address).to_string(), text, size);
  });
}

std::int32_t patu_address_is_v4(const patu_address* address) {
  return address != nullptr && read_address(*address).is_v4() ? 1 : 0;
}

patu_status patu_prefix_parse(const char* text, patu_prefix* prefix, patu_error** err) {
  return parse<Prefix>(text, prefix, err);
}

patu_status patu_prefix_format(const patu_prefix* prefix, char* text, std::size_t size, patu_error** err) {
  return guard(err, [&]() -> Result<> {
    PATU_TRY(check_given(prefix, "prefix"));
    PATU_TRY_LET(value, read_prefix(*prefix));
    return put(value.to_string(), text, size);
  });
}

patu_status patu_endpoint_parse(const char* text, patu_endpoint* endpoint, patu_error** err) {
  return parse<Endpoint>(text, endpoint, err);
}

patu_status patu_endpoint_format(const patu_endpoint* endpoint, char* text, std::size_t size, patu_error** err) {
  return guard(err, [&]() -> Result<> {
    PATU_TRY(check_given(endpoint, "endpoint"));
    return put(read_endpoint(*endpoint).to_string(), text, size);
  });
}

patu_status patu_mac_parse(const char* text, patu_mac* mac, patu_error** err) {
  return parse<MacAddress>(text, mac, err);
}

patu_status patu_mac_format(const patu_mac* mac, char* text, std::size_t size, patu_error** err) {
  return guard(err, [&]() -> Result<> {
    PATU_TRY(check_given(mac, "mac"));
    return put(read_mac(*mac).to_string(), text, size);
  });
}
