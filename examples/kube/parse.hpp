// One Kubernetes object from its JSON.
#pragma once

#include "node.hpp"
#include "objects.hpp"

namespace kube {

// All throw Malformed. Fields that patu-kube does not use are not looked at.
ObjectName parse_name(const Node& object);
ServiceObject parse_service(const Node& object);
SliceObject parse_slice(const Node& object);
// The service that the slice belongs to, empty if it says none.
std::string parse_service_label(const Node& slice);

}  // namespace kube
