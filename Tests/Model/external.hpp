// SPDX-License-Identifier: Apache-2.0
// The cases of external ports: docs/pipeline.md section 9.
#pragma once

#include "trial.hpp"

namespace external {

extern const std::vector<trial::DropCase> drop_cases;
extern const std::vector<trial::CounterCase> counter_cases;

}  // namespace external
