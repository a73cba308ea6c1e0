// Networks: bridges and the pods on them.
#include "handles.hpp"
#include "input.hpp"
#include "output.hpp"

struct patu_attachments : patu::c::List<patu_attachment> {};
struct patu_deviations : patu::c::List<patu_deviation> {};

namespace {

using namespace patu;
using namespace patu::c;

struct Report final : patu_reconcile_report {
  patu_ids all_detached;
  patu_addresses all_released;
  patu_ids all_repaired;
};

Result<Route> read_route(const patu_route& given) {
  PATU_TRY(check_flags(given.flags, PATU_ROUTE_SCOPE, "its"));
  PATU_TRY(check_reserved(given.reserved, "its `reserved`"));
  PATU_TRY_LET(destination, read_prefix(given.destination));
  Route out{.destination = destination,
            .gateway = read_optional(given.gateway),
            .mtu = given.mtu,
            .advmss = given.advmss,
            .priority = given.priority,
            .table = given.table};
  if ((given.flags & PATU_ROUTE_SCOPE) == 0) return out;
  if (given.scope > 255) return fail(Errc::invalid_argument, "scope " + std::to_string(given.scope));
  out.scope = static_cast<std::uint8_t>(given.scope);
  return out;
}

// `bridge` has no default of its own: the rest is set field by field. Inlined, GCC 12 takes the fields for uninitialised.
[[gnu::noinline]] Result<NetworkOptions> read_options(const patu_network_options& given) {
  constexpr std::uint32_t kFlags = PATU_NETWORK_NO_GATEWAY | PATU_NETWORK_NO_DEFAULT_ROUTE |
                                   PATU_NETWORK_SOCKET_REDIRECT | PATU_NETWORK_FORCE_GATEWAY | PATU_NETWORK_HAIRPIN |
                                   PATU_NETWORK_PROMISCUOUS | PATU_NETWORK_ISOLATED |
                                   PATU_NETWORK_DUPLICATE_ADDRESS_DETECTION;
  PATU_TRY(check_flags(given.flags, kFlags, "the network's"));
  PATU_TRY_LET(name, read_text(given.bridge, "bridge"));
  PATU_TRY_LET(bridge, IfName::parse(name));
  NetworkOptions out{.bridge = bridge, .subnets = {}};
  PATU_TRY(for_each(given.subnets, given.subnet_count, "subnet", [&](const patu_subnet& subnet) -> Result<> {
    PATU_TRY_LET(known, read_subnet(subnet));
    out.subnets.push_back(std::move(known));
    return {};
  }));
  PATU_TRY(for_each(given.routes, given.route_count, "route", [&](const patu_route& route) -> Result<> {
    PATU_TRY_LET(known, read_route(route));
    out.routes.push_back(known);
    return {};
  }));
  const std::uint16_t* ports = given.redirect_excluded_ports;
  PATU_TRY(check_array(ports, given.redirect_excluded_port_count, "excluded port"));
  out.redirect_excluded_ports.assign(ports, ports + given.redirect_excluded_port_count);
  if (given.mtu != 0) out.mtu = given.mtu;
  const auto has = [&](std::uint32_t flag) { return (given.flags & flag) != 0; };
  out.gateway = !has(PATU_NETWORK_NO_GATEWAY);
  out.default_route = !has(PATU_NETWORK_NO_DEFAULT_ROUTE);
  out.socket_redirect = has(PATU_NETWORK_SOCKET_REDIRECT);
  out.force_gateway = has(PATU_NETWORK_FORCE_GATEWAY);
  out.hairpin = has(PATU_NETWORK_HAIRPIN);
  out.promiscuous = has(PATU_NETWORK_PROMISCUOUS);
  out.isolated = has(PATU_NETWORK_ISOLATED);
  out.duplicate_address_detection = has(PATU_NETWORK_DUPLICATE_ADDRESS_DETECTION);
  out.name = text_or(given.name, "");
  out.netns = read_netns(given.netns);
  return out;
}

Result<PodSpec> read_pod(const patu_pod_spec& given) {
  constexpr std::uint32_t kBothRedirects = PATU_POD_SOCKET_REDIRECT | PATU_POD_NO_SOCKET_REDIRECT;
  PATU_TRY_LET(id, read_id(given.id));
  const auto what = [&] { return id.to_string(); };
  PATU_TRY(check_given(given.netns, "netns"), what());
  PATU_TRY(check_flags(given.flags, kBothRedirects | PATU_POD_NO_SERVICES, "the pod's"), what());
  PATU_TRY(check_reserved(given.reserved, "`reserved`"), what());
  if ((given.flags & kBothRedirects) == kBothRedirects)
    return fail(Errc::invalid_argument, what() + ": socket redirection is chosen and refused");
  PATU_TRY_LET(addresses, read_addresses(given.addresses, given.address_count, "address"), what());
  PodSpec out{.id = id, .netns = read_netns(given.netns), .addresses = std::move(addresses)};
  if (const MacAddress mac = read_mac(given.mac); !mac.is_zero()) out.mac = mac;
  if ((given.flags & kBothRedirects) != 0) out.socket_redirect = (given.flags & PATU_POD_SOCKET_REDIRECT) != 0;
  out.services = (given.flags & PATU_POD_NO_SERVICES) == 0;
  return out;
}

patu_attachment convert_attachment(Arena& arena, const Attachment& attachment) {
  return {
      .struct_size = sizeof(patu_attachment),
      .id = to_c(arena, attachment.id),
      .host_ifname = arena.text(attachment.host_ifname.view()),
      .addresses = arena.array<patu_interface_address>(attachment.addresses, [](const auto& a) { return to_c(a); }),
      .address_count = attachment.addresses.size(),
      .gateways = arena.array<patu_address>(attachment.gateways, [](const auto& a) { return to_c(a); }),
      .gateway_count = attachment.gateways.size(),
      .host_ifindex = attachment.host_ifindex,
      .mtu = attachment.mtu,
      .flags = (attachment.socket_redirect ? PATU_POD_SOCKET_REDIRECT : PATU_POD_NO_SOCKET_REDIRECT) |
               (attachment.services ? 0 : PATU_POD_NO_SERVICES),
      .mac = to_c(attachment.mac),
      .host_mac = to_c(attachment.host_mac),
  };
}

static_assert(static_cast<int>(DeviationKind::attachment) == PATU_DEVIATION_ATTACHMENT);
static_assert(static_cast<int>(DeviationKind::bridge) == PATU_DEVIATION_BRIDGE);
static_assert(static_cast<int>(DeviationKind::host_interface) == PATU_DEVIATION_HOST_INTERFACE);
static_assert(static_cast<int>(DeviationKind::program) == PATU_DEVIATION_PROGRAM);
static_assert(static_cast<int>(DeviationKind::lease) == PATU_DEVIATION_LEASE);
static_assert(static_cast<int>(DeviationKind::map_entry) == PATU_DEVIATION_MAP_ENTRY);
static_assert(static_cast<int>(DeviationKind::pod_interface) == PATU_DEVIATION_POD_INTERFACE);
static_assert(static_cast<int>(DeviationKind::pod_mtu) == PATU_DEVIATION_POD_MTU);
static_assert(static_cast<int>(DeviationKind::pod_address) == PATU_DEVIATION_POD_ADDRESS);
static_assert(static_cast<int>(DeviationKind::pod_route) == PATU_DEVIATION_POD_ROUTE);

patu_deviation convert_deviation(Arena& arena, const Deviation& deviation) {
  return {
      .struct_size = sizeof(patu_deviation),
      .id = to_c(arena, deviation.id),
      .what = arena.text(deviation.what),
      .destination = deviation.destination ? arena.one(to_c(*deviation.destination)) : nullptr,
      .kind = static_cast<std::uint32_t>(deviation.kind),
      .reserved = 0,
  };
}

Result<> hand_out_report(Result<ReconcileReport>&& done, patu_reconcile_report** report) {
  if (!done) return fail(std::move(done.error()));
  if (report == nullptr) return {};
  auto out = std::make_unique<Report>();
  out->all_detached.fill(done->detached);
  out->all_released.fill(done->released);
  out->all_repaired.fill(done->repaired);
  static_cast<patu_reconcile_report&>(*out) = {sizeof(patu_reconcile_report), &out->all_detached, &out->all_released,
                                               &out->all_repaired};
  *report = out.release();
  return {};
}

Result<> open_by(Result<Network> (*open)(const Datapath&, const NetworkOptions&), const patu_datapath* datapath,
                 const patu_network_options* options, patu_network** network) {
  PATU_TRY(check_given(datapath, "datapath"));
  PATU_TRY(check_given(network, "network"));
  PATU_TRY_LET(given, read_struct(options, "options"));
  PATU_TRY_LET(known, read_options(given), "options of a network");
  return hand_out(open(datapath->datapath, known), network);
}

}  // namespace

patu_status patu_network_open(const patu_datapath* datapath, const patu_network_options* options,
                              patu_network** network, patu_error** err) {
  return guard(err, [&] { return open_by(Network::open, datapath, options, network); });
}

patu_status patu_network_adopt(const patu_datapath* datapath, const patu_network_options* options,
                               patu_network** network, patu_error** err) {
  return guard(err, [&] { return open_by(Network::adopt, datapath, options, network); });
}

void patu_network_close(patu_network* network) { delete network; }

patu_status patu_network_attach(patu_network* network, const patu_pod_spec* specs, std::size_t count,
                                patu_attachments** attachments, patu_error** err) {
  return guard(err, [&]() -> Result<> {
    PATU_TRY(check_given(network, "network"));
    std::vector<PodSpec> known;
    PATU_TRY(for_each(specs, count, "pod", [&](const patu_pod_spec& spec) -> Result<> {
      PATU_TRY_LET(pod, read_pod(spec));
      known.push_back(std::move(pod));
      return {};
    }));
    PATU_TRY_LET(attached, network->network.attach(known));
    if (attachments != nullptr) *attachments = list_of<patu_attachments>(attached, convert_attachment).release();
    return {};
  });
}

patu_status patu_network_detach(patu_network* network, const patu_attachment_id* ids, std::size_t count,
                                patu_error** err) {
  return guard(err, [&]() -> Result<> {
    PATU_TRY(check_given(network, "network"));
    PATU_TRY_LET(known, read_ids(ids, count, "id"));
    return network->network.detach(known);
  });
}

patu_status patu_network_abandon(patu_network* network, const patu_attachment_id* id, patu_error** err) {
  return guard(err, [&]() -> Result<> {
    PATU_TRY(check_given(network, "network"));
    PATU_TRY_LET(known, read_id(id, "id"));
    return network->network.abandon(known);
  });
}

patu_status patu_network_check(const patu_network* network, const patu_attachment_id* id, const patu_netns* netns,
                               patu_deviations** deviations, patu_error** err) {
  return guard(err, [&]() -> Result<> {
    PATU_TRY(check_given(network, "network"));
    PATU_TRY(check_given(deviations, "deviations"));
    if (id == nullptr && netns != nullptr)
      return fail(Errc::invalid_argument, "a namespace without an id: whose is it?");
    const auto check = [&]() -> Result<std::vector<Deviation>> {
      if (id == nullptr) return network->network.check();
      PATU_TRY_LET(known, read_id(*id));
      return network->network.check(known, read_netns(netns));
    };
    PATU_TRY_LET(found, check());
    *deviations = list_of<patu_deviations>(found, convert_deviation).release();
    return {};
  });
}

patu_status patu_network_list(const patu_network* network, patu_attachments** attachments, patu_error** err) {
  return guard(err, [&]() -> Result<> {
    PATU_TRY(check_given(network, "network"));
    PATU_TRY(check_given(attachments, "attachments"));
    PATU_TRY_LET(all, network->network.list());
    *attachments = list_of<patu_attachments>(all, convert_attachment).release();
    return {};
  });
}

patu_status patu_network_find(const patu_network* network, const patu_attachment_id* id, patu_attachments** attachments,
                              patu_error** err) {
  return guard(err, [&]() -> Result<> {
    PATU_TRY(check_given(network, "network"));
    PATU_TRY(check_given(attachments, "attachments"));
    PATU_TRY_LET(known, read_id(id, "id"));
    PATU_TRY_LET(found, network->network.find(known));
    auto out = std::make_unique<patu_attachments>();
    out->items.push_back(convert_attachment(out->memory, found));
    *attachments = out.release();
    return {};
  });
}

patu_status patu_network_reconcile(patu_network* network, patu_reconcile_report** report, patu_error** err) {
  return guard(err, [&]() -> Result<> {
    PATU_TRY(check_given(network, "network"));
    return hand_out_report(network->network.reconcile(), report);
  });
}

patu_status patu_network_reconcile_keep(patu_network* network, const patu_attachment_id* keep, std::size_t count,
                                        patu_reconcile_report** report, patu_error** err) {
  return guard(err, [&]() -> Result<> {
    PATU_TRY(check_given(network, "network"));
    PATU_TRY_LET(known, read_ids(keep, count, "id to keep"));
    return hand_out_report(network->network.reconcile(known), report);
  });
}

patu_status patu_network_remove(patu_network* network, patu_error** err) {
  return guard(err, [&]() -> Result<> {
    PATU_TRY(check_given(network, "network"));
    return network->network.remove();
  });
}

const char* patu_network_bridge(const patu_network* network) {
  return network == nullptr ? "" : network->network.bridge().c_str();
}

std::uint32_t patu_network_bridge_ifindex(const patu_network* network) {
  return network == nullptr ? 0 : network->network.bridge_ifindex();
}

patu_status patu_network_bridge_mac(const patu_network* network, patu_mac* mac, patu_error** err) {
  return guard(err, [&]() -> Result<> {
    PATU_TRY(check_given(network, "network"));
    PATU_TRY(check_given(mac, "mac"));
    *mac = to_c(network->network.bridge_mac());
    return {};
  });
}

void patu_reconcile_report_free(patu_reconcile_report* report) { delete static_cast<Report*>(report); }

std::size_t patu_attachments_count(const patu_attachments* attachments) { return count_of(attachments); }
const patu_attachment* patu_attachments_at(const patu_attachments* attachments, std::size_t index) {
  return item_of(attachments, index);
}
void patu_attachments_free(patu_attachments* attachments) { delete attachments; }

std::size_t patu_deviations_count(const patu_deviations* deviations) { return count_of(deviations); }
const patu_deviation* patu_deviations_at(const patu_deviations* deviations, std::size_t index) {
  return item_of(deviations, index);
}
void patu_deviations_free(patu_deviations* deviations) { delete deviations; }
