// Each port of a Service becomes a service of its own, because each has backends of its own.
#include "convert.hpp"

#include <algorithm>
#include <set>

#include "backends.hpp"

namespace kube {
namespace {

using SlicesByService = std::map<ObjectName, std::vector<const SliceObject*>>;

std::string_view to_string(Transport transport) {
  switch (transport) {
    case Transport::tcp: return "TCP";
    case Transport::udp: return "UDP";
    case Transport::sctp: return "SCTP";
  }
  return "";
}

std::string title_of(const ServiceObject& object) { return "Service " + object.name.to_string(); }

std::string title_of(const ServiceObject& object, const ServicePort& port) {
  return title_of(object) + " port " + std::to_string(port.port) + "/" + std::string(to_string(port.transport));
}

// An address that comes with several kinds keeps the first.
class Frontends final {
 public:
  Frontends(const ServicePort& port, Families families) noexcept
      : port_(port.port),
        families_(families),
        protocol_(port.transport == Transport::udp ? patu::Protocol::udp : patu::Protocol::tcp) {}

  void add(const patu::IpAddress& address, patu::FrontendKind kind) {
    if (!families_.has(address)) return;
    const patu::Frontend frontend{.endpoint = {address, port_}, .protocol = protocol_, .kind = kind};
    const auto is_there = [&](const patu::Frontend& other) { return other.endpoint == frontend.endpoint; };
    if (std::none_of(list_.begin(), list_.end(), is_there)) list_.push_back(frontend);
  }

  void add_node_port(std::uint16_t port, const ConvertOptions& options) {
    patu::Frontend frontend{.protocol = protocol_,
                            .kind = patu::FrontendKind::node_port,
                            .loopback = options.node_ports_on_loopback,
                            .reserve_port = options.reserve_node_ports};
    for (const patu::IpAddress& any : {patu::IpAddress::v4(0, 0, 0, 0), patu::IpAddress()}) {
      frontend.endpoint = {any, port};
      if (families_.has(any)) list_.push_back(frontend);
    }
  }

  std::vector<patu::Frontend> take() && { return std::move(list_); }

 private:
  std::uint16_t port_;
  Families families_;
  patu::Protocol protocol_;
  std::vector<patu::Frontend> list_;
};

class Converter final {
 public:
  Converter(const Objects& objects, const ConvertOptions& options) noexcept : objects_(objects), options_(options) {}

  Conversion run();

 private:
  void add_unreadable();
  void add_slices();
  void add_service(const ServiceObject& object);
  void add_port(const ServiceObject& object, const ServicePort& port);
  void add_notes(const ServiceObject& object);
  void add_notes_of_addresses(const ServiceObject& object);
  void add_notes_of_the_whole();
  std::vector<patu::Frontend> frontends_of(const ServiceObject& object, const ServicePort& port) const;
  const std::vector<const SliceObject*>& slices_of(const ObjectName& service) const;

  void refuse(std::string object, std::string why) { out_.not_honoured.push_back({std::move(object), std::move(why)}); }
  void note(std::string object, std::string what) { out_.notes.push_back({std::move(object), std::move(what)}); }

  const Objects& objects_;
  const ConvertOptions& options_;
  SlicesByService slices_;
  std::set<ObjectName> seen_;
  std::set<std::string> names_;
  bool wants_local_ = false;
  Conversion out_;
};

Conversion Converter::run() {
  add_unreadable();
  add_slices();
  for (const ServiceObject& object : objects_.services) add_service(object);
  add_notes_of_the_whole();
  std::sort(out_.services.begin(), out_.services.end(),
            [](const patu::Service& a, const patu::Service& b) { return a.name < b.name; });
  return std::move(out_);
}

void Converter::add_unreadable() {
  for (const Unreadable& object : objects_.unreadable) {
    refuse(object.object,
           object.reason + (object.service ? "; service " + object.service->to_string() + " stays as it is" : ""));
    if (object.service) out_.keep.insert(object.service->to_string());
  }
}

void Converter::add_slices() {
  for (const SliceObject& slice : objects_.slices) {
    const std::string title = "EndpointSlice " + slice.name.to_string();
    if (slice.service.empty())
      note(title, "has no label kubernetes.io/service-name: it is of no service");
    else if (slice.type == AddressType::fqdn)
      refuse(title, "addressType FQDN: patu translates to addresses, not to names");
    else
      slices_[{slice.name.space, slice.service}].push_back(&slice);
  }
}

const std::vector<const SliceObject*>& Converter::slices_of(const ObjectName& service) const {
  static const std::vector<const SliceObject*> kNone;
  const auto found = slices_.find(service);
  return found == slices_.end() ? kNone : found->second;
}

void Converter::add_service(const ServiceObject& object) {
  if (!seen_.insert(object.name).second) return refuse(title_of(object), "is in the list twice; the first one counts");
  // What is unreadable about it, is named already.
  if (out_.keep.count(object.name.to_string()) != 0) return;
  if (object.is_external_name) {
    ++out_.external_names;
  } else if (object.is_headless) {
    ++out_.headless;
  } else if (object.cluster_ips.empty()) {
    note(title_of(object), "has no cluster address yet");
  } else {
    for (const ServicePort& port : object.ports) add_port(object, port);
    add_notes(object);
  }
}

std::vector<patu::Frontend> Converter::frontends_of(const ServiceObject& object, const ServicePort& port) const {
  Frontends frontends(port, families_of(object));
  for (const patu::IpAddress& address : object.cluster_ips) frontends.add(address, patu::FrontendKind::cluster);
  for (const Ingress& ingress : object.ingress)
    if (ingress.ip && !ingress.is_proxy) frontends.add(*ingress.ip, patu::FrontendKind::load_balancer);
  for (const patu::IpAddress& address : object.external_ips) frontends.add(address, patu::FrontendKind::external);
  if (port.node_port != 0) frontends.add_node_port(port.node_port, options_);
  return std::move(frontends).take();
}

void Converter::add_port(const ServiceObject& object, const ServicePort& port) {
  const std::string title = title_of(object, port);
  if (port.transport == Transport::sctp) return refuse(title, "patu translates TCP and UDP only");
  patu::Service service{.name = service_name(object.name, port.name)};
  if (!names_.insert(service.name).second) return refuse(title, "another port of the Service has the same name");
  service.frontends = frontends_of(object, port);
  Backends backends = backends_of(port, families_of(object), slices_of(object.name), options_.node);
  service.backends = std::move(backends.list);
  for (Remark& remark : backends.not_honoured) out_.not_honoured.push_back(std::move(remark));
  service.internal_policy = object.internal_local ? patu::TrafficPolicy::local : patu::TrafficPolicy::cluster;
  service.affinity_timeout = object.affinity;
  wants_local_ |= object.internal_local;
  out_.services.push_back(std::move(service));
}

void Converter::add_notes(const ServiceObject& object) {
  std::string outside;
  const auto add = [&](bool is_set, std::string_view field) {
    if (is_set) outside += (outside.empty() ? "" : ", ") + std::string(field);
  };
  add(object.external_local, "externalTrafficPolicy Local");
  add(object.has_source_ranges, "loadBalancerSourceRanges");
  add(object.has_health_check_port, "healthCheckNodePort");
  if (!outside.empty())
    note(title_of(object), outside + ": concerns traffic from outside the node, which patu does not handle yet");
  const auto& slices = slices_of(object.name);
  const bool has_hints = std::any_of(slices.begin(), slices.end(), [](const SliceObject* slice) {
    return std::any_of(slice->endpoints.begin(), slice->endpoints.end(), [](const auto& e) { return e.has_hints; });
  });
  if (has_hints || !object.traffic_distribution.empty())
    note(title_of(object), "trafficDistribution and topology hints are not followed: every backend gets its share");
  add_notes_of_addresses(object);
}

void Converter::add_notes_of_addresses(const ServiceObject& object) {
  const Families families = families_of(object);
  const auto check = [&](const patu::IpAddress& address) {
    if (!families.has(address))
      note(title_of(object),
           address.to_string() + " is not translated: the Service has no cluster address of that family");
  };
  for (const patu::IpAddress& address : object.external_ips) check(address);
  for (const Ingress& ingress : object.ingress) {
    if (ingress.ip && ingress.is_proxy)
      note(title_of(object),
           ingress.ip->to_string() + " is not translated: ipMode Proxy wants traffic to reach the load balancer");
    else if (ingress.ip)
      check(*ingress.ip);
  }
}

void Converter::add_notes_of_the_whole() {
  for (const auto& [kind, count] : objects_.other_kinds)
    note(std::to_string(count) + " of kind " + kind,
         "not a Service or EndpointSlice of a version that patu-kube reads");
  for (const auto& [name, slices] : slices_)
    if (seen_.count(name) == 0) note("EndpointSlice of " + name.to_string(), "no such Service in the list");
  const auto is_local = [](const patu::Backend& backend) { return backend.local; };
  const bool has_local = std::any_of(out_.services.begin(), out_.services.end(), [&](const patu::Service& service) {
    return std::any_of(service.backends.begin(), service.backends.end(), is_local);
  });
  if (wants_local_ && !has_local)
    note("Node " + options_.node,
         "no endpoint is on it, so internalTrafficPolicy Local leaves none; is that its name (--node)?");
}

}  // namespace

Conversion convert(const Objects& objects, const ConvertOptions& options) { return Converter(objects, options).run(); }

std::string service_name(const ObjectName& name, const std::string& port) {
  return name.to_string() + (port.empty() ? "" : ":" + port);
}

bool is_of(std::string_view service_name, std::string_view object_name) {
  return service_name.substr(0, object_name.size()) == object_name &&
         (service_name.size() == object_name.size() || service_name[object_name.size()] == ':');
}

}  // namespace kube
