// The table itself: what is read back, what is refused with nothing changed, what grows and what does not.
#include <doctest/doctest.h>

#include <algorithm>
#include <cerrno>

#include "bpf/instance.hpp"
#include "instance.hpp"
#include "service_lab.hpp"

using namespace patu;
using namespace patu::test;

namespace {

std::string text(const Result<>& result) { return result ? "success" : result.error().to_string(); }

void drop(ServiceTable& table, const std::string& name) {
  const auto done = table.remove(name);
  REQUIRE_MESSAGE(done, text(done));
}

Service found(const ServiceTable& table, const std::string& name) {
  auto service = table.find(name);
  REQUIRE(service);
  return *service;
}

std::vector<Service> listed(const ServiceTable& table) {
  auto services = table.list();
  REQUIRE(services);
  return std::move(*services);
}

void check_refused(const Result<>& result, Errc code, std::string_view says) {
  REQUIRE_FALSE(result);
  CHECK(result.error().code() == code);
  CHECK_MESSAGE(result.error().to_string().find(says) != std::string::npos, text(result));
}

std::vector<Frontend> frontends(std::uint32_t first, std::uint32_t count) {
  std::vector<Frontend> out;
  for (std::uint32_t i = first; i < first + count; ++i)
    out.push_back({{IpAddress::v4(10, 96, static_cast<std::uint8_t>(i >> 8), static_cast<std::uint8_t>(i)), 80}});
  return out;
}

std::string numbered(std::uint32_t i) { return std::string("s").append(std::to_string(i)); }

DatapathOptions small(std::uint32_t max_services) {
  DatapathOptions options = datapath_options();
  options.max_services = max_services;
  return options;
}

// The programs' view: where a client of each frontend arrives, for services of one backend.
bool leads_to(const ServiceLab& lab, const std::vector<Frontend>& from, const Endpoint& backend) {
  return lab.as_client([&] {
    return std::all_of(from.begin(), from.end(), [&](const Frontend& frontend) {
      return connect_once(kind_for(frontend.endpoint), frontend.endpoint, lab.listener_fd()).peer == backend;
    });
  });
}

}  // namespace

TEST_CASE("services are read back exactly, by name and all of them in order") {
  ServiceLab lab;
  auto table = lab.open_table();
  CHECK(listed(table).empty());
  const Service empty{"a/empty", frontends(1, 1), {}};
  const Service wide{"b/wide", frontends(100, 9), backends_v4(1, 1024)};
  const Service dual{"c/dual",
                     {{endpoint("10.96.0.2:80")}, {endpoint("[fd00:96::2]:443")}},
                     {backend_v4(1), backend_v4(2, 9), backend_v6(1)}};
  const Service long_name{std::string(187, 'z'), frontends(3, 1), {backend_v6(9)}};
  for (const Service* service : {&long_name, &dual, &empty, &wide}) put(table, *service);
  CHECK(listed(table) == std::vector<Service>{empty, wide, dual, long_name});
  for (const Service* service : {&long_name, &dual, &empty, &wide}) CHECK(found(table, service->name) == *service);
  // Another handle, which has written nothing, sees the same.
  const auto other = lab.open_table();
  CHECK(listed(other) == listed(table));

  CHECK(table.find("a/other").error().code() == Errc::not_found);
  CHECK(table.find("").error().code() == Errc::not_found);
  CHECK(table.find(std::string(188, 'z')).error().code() == Errc::not_found);
}

TEST_CASE("what is removed is gone, and removing it again is a success") {
  ServiceLab lab;
  auto table = lab.open_table();
  put(table, {"one", frontends(1, 9), backends_v4(1, 3)});
  put(table, {"two", frontends(20, 1), backends_v4(1, 3)});
  drop(table, "one");
  drop(table, "one");
  drop(table, "never");
  drop(table, std::string(500, 'x'));
  CHECK(listed(table) == std::vector<Service>{{"two", frontends(20, 1), backends_v4(1, 3)}});
  drop(table, "two");
  CHECK(lab.entries("frontends") == 0);
  CHECK(lab.entries("services") == 0);
}

TEST_CASE("the same service once more is a success that writes nothing, in whichever order it is given") {
  ServiceLab lab;
  auto table = lab.open_table();
  Service service{"web", frontends(1, 6), backends_v4(1, 5)};
  service.backends.push_back(backend_v6(1));
  put(table, service);
  const std::string before = lab.dump();
  put(table, service);
  std::reverse(service.frontends.begin(), service.frontends.end());
  std::reverse(service.backends.begin(), service.backends.end());
  put(table, service);
  auto other = lab.open_table();
  put(other, service);
  CHECK(lab.dump() == before);
}

TEST_CASE("frontends are added and given up, over any number of record parts") {
  ServiceLab lab;
  auto table = lab.open_table();
  const Service neighbour{"neighbour", frontends(200, 5), {backend_v4(9)}};
  put(table, neighbour);
  for (const auto& [first, count] :
       {std::pair{1u, 1u}, {1u, 4u}, {1u, 5u}, {3u, 9u}, {1u, 30u}, {40u, 30u}, {1u, 9u}, {2u, 4u}, {9u, 1u}}) {
    const Service service{"web", frontends(first, count), {backend_v4(1)}};
    put(table, service);
    CHECK(found(table, "web") == service);
    CHECK(lab.entries("frontends") == count + 5);
    CHECK(lab.entries("services") == (count + 3) / 4 + 2);
    CHECK(leads_to(lab, service.frontends, backend_v4(1)));
  }
  CHECK(found(table, "neighbour") == neighbour);
  CHECK(leads_to(lab, neighbour.frontends, backend_v4(9)));
}

TEST_CASE("frontends and backends change in one step") {
  ServiceLab lab;
  auto table = lab.open_table();
  put(table, {"web", frontends(1, 6), {backend_v4(1)}});
  put(table, {"web", frontends(4, 6), {backend_v4(2)}});
  CHECK(leads_to(lab, frontends(4, 6), backend_v4(2)));
  CHECK(lab.as_client(
      [&] { return connect_once(Socket::v4, frontends(1, 1)[0].endpoint, lab.listener_fd()).error == ENETUNREACH; }));
}

TEST_CASE("a frontend of another service is refused, the other is named, and nothing is changed") {
  ServiceLab lab;
  auto table = lab.open_table();
  put(table, {"first", frontends(1, 3), {backend_v4(1)}});
  put(table, {"second", frontends(4, 3), {backend_v4(2)}});
  const std::string before = lab.dump();
  check_refused(table.upsert({"second", frontends(3, 3), {backend_v4(3)}}), Errc::already_exists,
                "frontend 10.96.0.3:80/TCP belongs to service \"first\"");
  check_refused(table.upsert({"third", frontends(6, 2), {}}), Errc::already_exists, "\"second\"");
  CHECK(lab.dump() == before);
  // It can move once it was given up.
  put(table, {"first", frontends(1, 2), {backend_v4(1)}});
  put(table, {"second", frontends(3, 3), {backend_v4(3)}});
  CHECK(leads_to(lab, frontends(3, 3), backend_v4(3)));
}

TEST_CASE("what is wrong with the input is refused before the kernel is asked") {
  ServiceLab lab;
  auto table = lab.open_table();
  put(table, {"web", frontends(1, 1), {backend_v4(1)}});
  const std::string before = lab.dump();
  check_refused(table.upsert({"web", {}, {backend_v4(1)}}), Errc::invalid_argument,
                "service \"web\": a service has at least one frontend");
  check_refused(table.upsert({"web", {{endpoint("10.96.0.1:80"), static_cast<Protocol>(132)}}, {}}), Errc::unsupported,
                "protocol 132");
  check_refused(table.upsert({"a\nb", frontends(2, 1), {}}), Errc::invalid_argument, "service \"a\\nb\"");
  check_refused(table.upsert({"web", frontends(1, 1), {endpoint("127.0.0.1:80")}}), Errc::invalid_argument,
                "127.0.0.1:80");
  CHECK(lab.dump() == before);
}

TEST_CASE("a service that does not fit is refused, the full map is named, and the others stay as they are") {
  ServiceLab lab(small(4));  // two entries of either map a service
  auto table = lab.open_table();
  for (std::uint32_t i = 0; i < 8; ++i) put(table, {numbered(i), frontends(i, 1), backends_v4(i, 1)});
  const auto full = listed(table);
  const std::string before = lab.dump();
  check_refused(table.upsert({"s8", frontends(8, 1), {backend_v4(1)}}), Errc::exhausted, "is full: 8 of 8 entries");
  check_refused(table.upsert({"s0", frontends(100, 200), {backend_v4(1)}}), Errc::exhausted, "map frontends is full");
  CHECK(lab.dump() == before);
  CHECK(listed(table) == full);
  for (std::uint32_t i = 0; i < 8; ++i) CHECK(leads_to(lab, frontends(i, 1), backend_v4(i)));

  // Backends change in a full table, and what was given up is room.
  put(table, {"s3", frontends(3, 1), backends_v4(50, 1)});
  CHECK(leads_to(lab, frontends(3, 1), backend_v4(50)));
  drop(table, "s0");
  put(table, {"s8", frontends(8, 1), backends_v4(8, 1)});
  CHECK(leads_to(lab, frontends(8, 1), backend_v4(8)));
}

TEST_CASE("slots are used again: memory does not grow with changes, beyond the wrap of the generation") {
  ServiceLab lab;
  auto table = lab.open_table();
  const std::vector<Frontend> address = frontends(1, 1);
  put(table, {"still", frontends(2, 1), {backend_v4(77)}});
  for (std::uint32_t i = 0; i < 20'000; ++i) {
    const auto done = table.upsert({"web", address, backends_v4(1 + i % 2, 1 + i % 7)});
    REQUIRE_MESSAGE(done, text(done));
  }
  CHECK(lab.chunks() == 1);
  CHECK(found(table, "web").backends == backends_v4(2, 1 + 19'999 % 7));
  CHECK(leads_to(lab, frontends(2, 1), backend_v4(77)));
}

TEST_CASE("the table grows by chunks, extents cross them, and each service keeps its own backends") {
  ServiceLab lab;
  auto table = lab.open_table();
  CHECK(lab.chunks() == 0);
  for (std::uint32_t i = 0; i < 12; ++i) put(table, {numbered(i), frontends(i, 1), backends_v4(1 + i * 1000, 300)});
  CHECK(lab.chunks() == 4);
  for (std::uint32_t i = 0; i < 12; ++i) {
    CHECK(found(table, numbered(i)).backends == backends_v4(1 + i * 1000, 300));
    CHECK(lab.as_client([&] {
      for (int n = 0; n < 100; ++n) {
        const auto peer = connect_once(Socket::v4, frontends(i, 1)[0].endpoint, lab.listener_fd()).peer;
        if (!peer || *peer < backend_v4(1 + i * 1000) || backend_v4(i * 1000 + 300) < *peer) return false;
      }
      return true;
    }));
  }
}

TEST_CASE("two handles that take turns never use the same slots") {
  ServiceLab lab;
  auto one = lab.open_table();
  auto two = lab.open_table();
  for (std::uint32_t i = 0; i < 60; ++i) {
    put(one, {"one", frontends(1, 1), backends_v4(1000 + i * 16, 1 + i % 16)});
    put(two, {"two", frontends(2, 5), backends_v4(100'000 + i * 16, 1 + i % 13)});
    if (i % 10 == 0) drop(i % 20 == 0 ? one : two, i % 20 == 0 ? "two" : "one");
  }
  put(one, {"one", frontends(1, 1), {backend_v4(1)}});
  put(two, {"two", frontends(2, 5), {backend_v4(2)}});
  CHECK(leads_to(lab, frontends(1, 1), backend_v4(1)));
  CHECK(leads_to(lab, frontends(2, 5), backend_v4(2)));
  CHECK(lab.chunks() <= 2);
}

TEST_CASE("a change of backends rewrites frontends where they are, so that no reader of their bucket misses them") {
  ServiceLab lab(small(32));
  auto table = lab.open_table();
  put(table, {"below", frontends(1, 31), backends_v4(1, 1)});
  put(table, {"above", frontends(101, 31), backends_v4(2, 1)});
  // kernel: an ordinary update puts a new element at the head of its bucket and takes the old one out, and a reader who is
  // behind the head by then finds neither. The order that the kernel lists the keys in would tell.
  const auto order = [&] {
    std::vector<std::string> keys;
    REQUIRE(lab.datapath().instance()->frontends().visit(
        [&](const patu_frontend_key& key, const patu_frontend&) -> Result<> {
          keys.emplace_back(reinterpret_cast<const char*>(&key), sizeof key);
          return {};
        }));
    return keys;
  };
  const auto before = order();
  CHECK(before.size() == 62);
  put(table, {"below", frontends(1, 31), backends_v4(3, 2)});
  CHECK(order() == before);
}

TEST_CASE("a handle that is used and dropped leaves no descriptor") {
  ServiceLab lab;
  const std::size_t before = open_descriptors();
  {
    auto table = lab.open_table();
    for (std::uint32_t i = 0; i < 12; ++i) put(table, {numbered(i), frontends(i, 1), backends_v4(1, 1024)});
    CHECK(listed(table).size() == 12);
    // The chunks that are kept open are few, however many there are; and there is a socket in the node's namespace.
    CHECK(open_descriptors() <= before + 9);
  }
  CHECK(open_descriptors() == before);
}
