// SPDX-License-Identifier: Apache-2.0
// docs/pipeline.md sections 2, 2.1, 2.2, 3 and 6: a frame from a virtual machine.
#pragma once

#include "verdict.hpp"

namespace model {

Verdict from_vm(const Policy &policy, const Settings &settings, std::uint32_t port_id, Bytes frame);

}  // namespace model
