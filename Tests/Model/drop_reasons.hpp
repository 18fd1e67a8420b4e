// SPDX-License-Identifier: Apache-2.0
// The cases that IPv6 adds to drop_reasons.cpp. They start from the small policy and what fixture::Host::add_ipv6() adds.
#pragma once

#include "trial.hpp"

namespace trial {

extern const std::vector<DropCase> ipv6_drop_cases;
extern const std::vector<CounterCase> ipv6_counter_cases;

}  // namespace trial
