// The words that tables and differences are made of.
#pragma once

#include <string>

#include <patu/services.hpp>

namespace kube {

std::string address_of(const patu::Frontend& frontend);  // "10.96.0.1:443/TCP"
std::string kind_of(const patu::Frontend& frontend);     // "node_port,loopback"
std::string state_of(const patu::Backend& backend);      // "active,local"
std::string options_of(const patu::Service& service);    // "affinity=300s,internal=local", or empty

}  // namespace kube
