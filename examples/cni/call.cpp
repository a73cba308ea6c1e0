// What the roles have in common.
#include "call.hpp"

namespace cni {
namespace {

void refuse_own(const Request& request, const patu::Netns& pod) {
  if (!request.own_netns_allowed && is_own(pod))
    throw Failure(Code::invalid_netns, "CNI_NETNS: plugin's netns and netns from CNI_NETNS should not be the same",
                  request.netns);
}

std::optional<patu::Datapath> found(patu::Result<patu::Datapath>&& datapath, const Config& config) {
  if (datapath) return std::move(*datapath);
  if (datapath.error().code() == patu::Errc::not_found) return std::nullopt;
  throw Failure(datapath.error(), "instance '" + config.datapath.instance + "'");
}

}  // namespace

bool is_own(const patu::Netns& pod) {
  return pod.same_as(expect(patu::Netns::current(), "the plugin's own network namespace"));
}

patu::Netns open_pod(const Request& request) {
  auto pod = patu::Netns::open(request.netns);
  if (!pod) {
    const auto code = pod.error().code();
    if (code == patu::Errc::not_found || code == patu::Errc::invalid_argument)
      throw Failure(Code::invalid_netns, "CNI_NETNS: " + pod.error().to_string());
    throw Failure(pod.error(), "CNI_NETNS");
  }
  refuse_own(request, *pod);
  return std::move(*pod);
}

std::optional<patu::Netns> find_pod(const Request& request) {
  if (request.netns.empty()) return std::nullopt;
  auto pod = patu::Netns::open(request.netns);
  if (!pod) return std::nullopt;
  refuse_own(request, *pod);
  return std::move(*pod);
}

std::optional<patu::Datapath> find_datapath(const Config& config) {
  return found(patu::Datapath::adopt(config.datapath), config);
}

std::optional<patu::Datapath> find_datapath_to_clear(const Config& config) {
  auto datapath = patu::Datapath::adopt(config.datapath);
  if (!datapath && datapath.error().code() == patu::Errc::invalid_argument) return std::nullopt;
  return found(std::move(datapath), config);
}

const std::vector<patu::AttachmentId>& valid_attachments(const Call& call) {
  if (!call.config.attachments)
    throw Failure(Code::invalid_config, "cni.dev/valid-attachments: is missing, so nothing is collected");
  return *call.config.attachments;
}

const Result& previous_result(const Call& call) {
  if (!call.config.previous) throw Failure(Code::invalid_config, "prevResult: is missing, and CHECK needs it");
  return *call.config.previous;
}

void Steps::note(const Failure& failure) { failures_.push_back(failure); }

void Steps::finish() const {
  if (failures_.empty()) return;
  std::string message = failures_.front().message();
  for (std::size_t i = 1; i < failures_.size(); ++i) message += "; also " + failures_[i].message();
  throw Failure(failures_.front().code(), std::move(message), failures_.front().details());
}

}  // namespace cni
