// One call of the plugin, read; and what each role does with it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <patu/netns.hpp>

#include "config.hpp"
#include "request.hpp"
#include "result.hpp"

namespace cni {

struct Call {
  Request request;
  std::string_view input;  // the configuration, as it came
  Config config;

  const patu::AttachmentId& id() const { return *request.id; }
  const std::string& name() const { return config.network.name; }
};

struct Added {
  Result result;
  std::vector<std::string> remarks = {};  // for people, on standard error
};

// What a plugin can be. Each verb throws Failure.
struct Role {
  Added (*add)(const Call&);
  void (*del)(const Call&);
  void (*check)(const Call&);
  void (*gc)(const Call&);
  void (*status)(const Call&);
};

extern const Role kBridgeRole;
extern const Role kHostLocalRole;
extern const Role kLoopbackRole;

// The pod's namespace, which is not the plugin's own. Throws Failure: invalid_netns.
patu::Netns open_pod(const Request& request);
// The same for DEL: none where it is gone, or was not given, or is no namespace any more.
std::optional<patu::Netns> find_pod(const Request& request);

// The instance, if it is loaded. Throws Failure for one that is there and cannot be adopted.
std::optional<patu::Datapath> find_datapath(const Config& config);
// The same for DEL and GC: none also where nothing can have been loaded with such options, as an ADD says.
std::optional<patu::Datapath> find_datapath_to_clear(const Config& config);

// Whether the pod's namespace is the plugin's, as CNI_NETNS_OVERRIDE allows: nothing foreign may be deleted there.
bool is_own(const patu::Netns& pod);

// The valid attachments of a GC: without the list nothing is known to be stale. Throws Failure.
const std::vector<patu::AttachmentId>& valid_attachments(const Call& call);
// What there is to check against. Throws Failure.
const Result& previous_result(const Call& call);

// Runs every step and throws the first failure, with the messages of the others behind it.
class Steps final {
 public:
  template <class Step>
  void run(const Step& step) {
    try {
      step();
    } catch (const Failure& failure) {
      note(failure);
    }
  }
  void finish() const;

 private:
  void note(const Failure& failure);
  std::vector<Failure> failures_;
};

}  // namespace cni
