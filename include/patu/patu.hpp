// Everything: container networking for edge devices, as a library.
#pragma once

#include "patu/datapath.hpp"
#include "patu/error.hpp"
#include "patu/ipam.hpp"
#include "patu/netns.hpp"
#include "patu/network.hpp"
#include "patu/services.hpp"
#include "patu/types.hpp"
