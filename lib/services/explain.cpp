// The same steps as resolve() in bpf/service.bpf.c, in its order; what it never asks, the sentences are made of.
#include "services/explain.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "base/boot_time.hpp"
#include "base/quote.hpp"
#include "base/try.hpp"
#include "names.hpp"
#include "services/stats.hpp"
#include "services/sweep.hpp"

namespace patu::services {
namespace {

using Verdict = Explanation::Verdict;

struct Question {
  Endpoint to;
  std::optional<std::uint64_t> from;
  patu_frontend_key key{};
  // What the maps say.
  patu_service_table table{};
  patu_address address{};  // the entry of the address, or none of it
  std::map<std::uint32_t, std::string> names;

  bool is_node() const noexcept { return (address.flags & PATU_ADDRESS_NODE) != 0; }
  bool is_from_node() const noexcept { return from && *from == table.node_cookie; }
  std::string name_of(std::uint32_t service_id) const {
    const auto name = names.find(service_id);
    return name == names.end() ? std::string() : name->second;
  }
};

struct Match {
  patu_frontend_key key{};  // under which it was found
  patu_frontend value{};
};

// Or why what looks like it is none.
struct Search {
  std::optional<Match> match;
  std::string hint;
};

std::string describe(const Question& question, const Match& match) {
  return "frontend " + to_string(match.key) + " of service " + quote(question.name_of(match.value.service_id));
}

patu_frontend_key node_key(const Question& question) noexcept {
  patu_frontend_key key = question.key;
  key.addr = address_key(question.to.address.is_v4() ? IpAddress::v4(0, 0, 0, 0) : IpAddress());
  key.scope = PATU_SCOPE_NODE;
  return key;
}

Result<std::optional<Match>> look_up(const Store& store, const patu_frontend_key& key) {
  PATU_TRY_LET(value, store.instance().frontends().lookup(key), "frontends");
  if (!value) return std::optional<Match>{};
  if (patu_word_tag(value->word) != patu_frontend_tag(&key))
    return fail(Errc::protocol, "frontend " + to_string(key) + " has another one's word");
  return std::optional<Match>({key, *value});
}

Result<Search> search_node(const Store& store, const Question& question) {
  if (question.table.wildcards == 0) return Search{};
  PATU_TRY_LET(found, look_up(store, node_key(question)));
  if (!found || question.is_node()) return Search{std::move(found), {}};
  const std::string what = describe(question, *found);
  if (!question.to.address.is_loopback())
    return Search{{}, question.to.address.to_string() + " is none of the node's addresses, which " + what + " is for"};
  if ((found->value.flags & PATU_FRONTEND_LOOPBACK) == 0) return Search{{}, what + " is not for loopback addresses"};
  if (!question.is_from_node())
    return Search{{}, "through loopback addresses " + what + " is only for processes in the node's own namespace"};
  return Search{std::move(found), {}};
}

Result<Search> search(const Store& store, const Question& question) {
  PATU_TRY_LET(exact, look_up(store, question.key));
  if (exact && (!patu_is_node_only(exact->value.flags) || question.is_node())) return Search{std::move(exact), {}};
  PATU_TRY_LET(node, search_node(store, question));
  if (!node.match && exact)
    node.hint = describe(question, *exact) + " counts only while its address is one of the node's, which it is not";
  return std::move(node);
}

void tell_unmatched(const Question& question, const std::string& hint, Explanation& out) {
  const std::string address = question.to.address.to_string();
  const std::uint32_t clusters = question.address.clusters;
  out.why = hint.empty() ? "no frontend" : hint;
  if (clusters == 0) {
    out.why += hint.empty() ? ": " + address + " is an ordinary address here" : std::string();
    return;
  }
  out.verdict = Verdict::refused;
  out.why += ", and " + address + " is a cluster address of " + std::to_string(clusters) +
             (clusters == 1 ? " frontend" : " frontends") + ": connect is refused";
}

Result<std::vector<patu_slot>> read_view(Store& store, const Match& match) {
  const std::uint64_t word = match.value.word;
  PATU_TRY_LET(slots, store.slots().read({patu_word_base(word), patu_word_count(word)}));
  for (const patu_slot& slot : slots)
    if (slot.generation != patu_word_generation(word))
      return fail(Errc::protocol, "the backends of frontend " + to_string(match.key) + " were overwritten");
  return std::move(slots);
}

Result<std::optional<Endpoint>> read_preference(const Store& store, const Question& question, const Match& match,
                                                std::span<const patu_slot> view) {
  if (match.value.affinity_timeout_s == 0 || !question.from) return std::optional<Endpoint>{};
  const patu_affinity_key key{*question.from, match.value.service_id, question.to.address.is_v6() ? 1u : 0u};
  PATU_TRY_LET(entry, store.instance().affinity().lookup(key), "affinity");
  if (!entry) return std::optional<Endpoint>{};
  if (has_timed_out(*entry, boot_time())) return std::optional<Endpoint>{};
  const bool member = std::any_of(view.begin(), view.end(), [&](const patu_slot& slot) {
    return slot.port == entry->port && std::memcmp(&slot.addr, &entry->backend, sizeof slot.addr) == 0;
  });
  if (!member) return std::optional<Endpoint>{};
  return std::optional(endpoint_of(entry->backend, entry->port));
}

void tell_empty(const Question& question, const Match& match, Explanation& out) {
  out.verdict = Verdict::refused;
  out.why = describe(question, match) + " has no " + (question.to.address.is_v4() ? "IPv4" : "IPv6") +
            " backend that can be chosen";
}

Result<> tell_match(Store& store, const Question& question, const Match& match, Explanation& out) {
  out.service = question.name_of(match.value.service_id);
  out.frontend = frontend_of({match.key, match.value.flags});
  if (patu_word_count(match.value.word) == 0) {
    tell_empty(question, match, out);
    return {};
  }
  PATU_TRY_LET(view, read_view(store, match));
  PATU_TRY_LET(preferred, read_preference(store, question, match, view));
  out.verdict = Verdict::translated;
  for (const patu_slot& slot : view) out.candidates.push_back(backend_of(slot));
  out.preferred = preferred;
  out.why = describe(question, match) + " leads to " +
            (view.size() == 1 ? "its one backend" : "one of its " + std::to_string(view.size()) + " backends");
  if (preferred) out.why += ", and affinity keeps the namespace with " + preferred->to_string();
  return {};
}

Result<bool> is_exempt(const Store& store, const Question& question) {
  if (!question.from) return false;
  PATU_TRY_LET(exempt, store.instance().exempt().lookup(*question.from), "exempt");
  return exempt.has_value();
}

Result<Question> ask(const Store& store, const Endpoint& to, Protocol protocol, std::optional<std::uint64_t> from) {
  Question question{.to = to, .from = from};
  question.key.addr = address_key(to.address);
  question.key.port = htons(to.port);
  question.key.protocol = static_cast<std::uint8_t>(protocol);
  question.key.scope = PATU_SCOPE_ADDRESS;
  PATU_TRY_LET(table, store.table());
  question.table = table;
  PATU_TRY_LET(address, store.instance().addresses().lookup(question.key.addr), "addresses");
  question.address = address.value_or(patu_address{});
  PATU_TRY_LET(names, names_of_ids(store));
  question.names = std::move(names);
  return question;
}

}  // namespace

Result<Explanation> explain(Store& store, const Endpoint& to, Protocol protocol, std::optional<std::uint64_t> from) {
  PATU_TRY_LET(held, store.instance().lock_services());
  PATU_TRY_LET(question, ask(store, to, protocol, from));
  PATU_TRY_LET(found, search(store, question));
  PATU_TRY_LET(exempt, is_exempt(store, question));
  Explanation out;
  if (exempt)
    out.why = "the network namespace is an exempt pod's, for which nothing is resolved";
  else if (found.match)
    PATU_TRY(tell_match(store, question, *found.match, out));
  else
    tell_unmatched(question, found.hint, out);
  return out;
}

}  // namespace patu::services
