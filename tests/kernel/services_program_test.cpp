// The connect programs alone: what they do with a table that is not as it should be, and on kernels that lack a helper.
#include <bpf/bpf.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "bpf/instance.hpp"
#include "bpf/object.hpp"
#include "bpf/probe.hpp"
#include "service_lab.hpp"
#include "services/plan.hpp"

using namespace patu;
using namespace patu::test;

namespace {

const Endpoint kFrontend = endpoint("10.96.0.1:80");

patu_frontend_key key_of(const Endpoint& endpoint) {
  auto plan = services::plan_of({"any", {{endpoint}}, {}});
  REQUIRE(plan);
  return plan->frontends[0].key;
}

Connected connect_from(const ServiceLab& lab, const Endpoint& to) {
  Shared<Connected> out;
  CHECK(lab.as_client([&] {
    *out = connect_once(Socket::v4, to, lab.listener_fd());
    return true;
  }));
  return *out;
}

// The service object by itself, attached to the sandbox's cgroup.
struct Attached {
  explicit Attached(std::uint32_t features) : object(load(features)) {
    const UniqueFd cgroup(::open(cgroup_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    const int program = object.program_fd("sock4_connect");
    link = UniqueFd(bpf_link_create(program, cgroup.get(), BPF_CGROUP_INET4_CONNECT, nullptr));
    REQUIRE(link);
    // clang's {} leaves unnamed bit-fields as they were, and the kernel refuses what is not zero there.
    std::memset(&info, 0, sizeof info);
    std::uint32_t size = sizeof info;
    REQUIRE(bpf_obj_get_info_by_fd(program, &info, &size) == 0);
  }
  static bpf::Object load(std::uint32_t features) {
    auto object = bpf::Object::open(bpf::Component::service, features);
    REQUIRE(object);
    const auto loaded = object->load();
    REQUIRE_MESSAGE(loaded, loaded.error().to_string());
    return std::move(*object);
  }

  bpf::Object object;
  UniqueFd link;
  bpf_prog_info info;
};

// The errno of a connect to a frontend that has no backend.
int refusal_of(const Attached& attached) {
  const patu_frontend_key key = key_of(kFrontend);
  patu_frontend value{};
  value.word = patu_word(0, 0, 1, patu_frontend_tag(&key));
  REQUIRE(bpf::map_update(attached.object.map_fd("frontends"), &key, &value, BPF_ANY));
  auto netns = Netns::current();
  REQUIRE(netns);
  Shared<int> error;
  CHECK(run_in(*netns, true, [&] {
          const UniqueFd socket = new_socket(Socket::v4, SOCK_STREAM, 0);
          *error = connect_socket(socket.get(), Socket::v4, kFrontend);
          return true;
        }) == 0);
  return *error;
}

}  // namespace

TEST_CASE("without bpf_set_retval the program is loaded without that call, and a refusal is EPERM") {
  const Attached without(0);
  CHECK(refusal_of(without) == EPERM);
}

TEST_CASE("with bpf_set_retval a refusal is ECONNREFUSED, as of a closed port") {
  const auto features = bpf::probe_features();
  REQUIRE(features);
  if ((*features & PATU_FEATURE_SET_RETVAL) == 0) {
    WARN_MESSAGE(false, "this kernel has no bpf_set_retval in connect programs (Linux 6.1): nothing to try");
    return;
  }
  const Attached with(PATU_FEATURE_SET_RETVAL);
  CHECK(refusal_of(with) == ECONNREFUSED);
  const Attached without(0);
  CHECK(without.info.xlated_prog_len < with.info.xlated_prog_len);
}

TEST_CASE("a frontend's word that was written for another frontend is never followed") {
  ServiceLab lab;
  auto table = lab.open_table();
  REQUIRE(table.upsert({"web", {{kFrontend}}, backends_v4(1, 3)}));
  CHECK(connect_from(lab, kFrontend).peer.has_value());
  const auto frontends = lab.datapath().instance()->frontends();
  const patu_frontend_key key = key_of(kFrontend);
  const auto before = frontends.lookup(key);
  REQUIRE(before);
  REQUIRE(*before);
  for (const unsigned bit : {48u, 55u, 63u}) {
    patu_frontend value = **before;
    value.word ^= std::uint64_t{1} << bit;
    REQUIRE(frontends.put(key, value));
    CHECK(connect_from(lab, kFrontend).error == lab.refusal());
  }
  REQUIRE(frontends.put(key, **before));
  CHECK(connect_from(lab, kFrontend).peer.has_value());
}

TEST_CASE("a slot of another generation is never used, and one that does not exist neither") {
  ServiceLab lab;
  auto table = lab.open_table();
  REQUIRE(table.upsert({"web", {{kFrontend}}, backends_v4(1, 1)}));
  const auto frontends = lab.datapath().instance()->frontends();
  const patu_frontend_key key = key_of(kFrontend);
  const auto before = frontends.lookup(key);
  REQUIRE(before);
  REQUIRE(*before);
  const std::uint64_t word = (*before)->word;
  const auto put_word = [&](std::uint32_t base, std::uint32_t count, std::uint32_t generation) {
    patu_frontend value = **before;
    value.word = patu_word(base, count, generation, patu_word_tag(word));
    REQUIRE(frontends.put(key, value));
  };
  const std::uint32_t base = patu_word_base(word);
  const std::uint32_t generation = patu_word_generation(word);
  put_word(base, 1, generation + 1);
  CHECK(connect_from(lab, kFrontend).error == lab.refusal());
  put_word(base + 1, 1, generation);  // in the chunk, never written
  CHECK(connect_from(lab, kFrontend).error == lab.refusal());
  put_word(PATU_CHUNK_SLOTS * 7, 1, generation);  // a chunk that was never made
  CHECK(connect_from(lab, kFrontend).error == lab.refusal());
  put_word(PATU_CHUNK_SLOTS * PATU_CHUNKS - 1, 1024, generation);  // beyond the last one
  CHECK(connect_from(lab, kFrontend).error == lab.refusal());
  put_word(base, 1, generation);
  CHECK(connect_from(lab, kFrontend).peer == backend_v4(1));
}
