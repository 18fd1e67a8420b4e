// SPDX-License-Identifier: Apache-2.0
// The cases of provider peers, path MTU and IP rewrite that drop_reasons.cpp runs; from the same start as those of IPv6.
#pragma once

#include "trial.hpp"

namespace trial {

extern const std::vector<DropCase> peer_drop_cases;
extern const std::vector<CounterCase> peer_counter_cases;

}  // namespace trial
