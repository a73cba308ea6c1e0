// Reads every map of services and says what does not follow from the services that the table lists.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "service_lab.hpp"

namespace patu::test {

// Empty if all is as it should be; else a line for each fault. The lock is not held: nobody may be writing.
std::string faults(const ServiceLab& lab);

// The backends that the frontend leads to in the kernel, sorted; empty if the kernel has no such frontend.
std::optional<std::vector<Endpoint>> led_to(const ServiceLab& lab, const Frontend& frontend);
// The backends that its clients are to choose from, by the rules of the API.
std::vector<Endpoint> candidates(const Service& service, const Frontend& frontend);

}  // namespace patu::test
