// SPDX-License-Identifier: Apache-2.0
// docs/pipeline.md 2.7.3 to 2.7.5: other addresses in a customer's packet, and every checksum that contains them.
#pragma once

#include "packet.hpp"

namespace model {

/// The addresses that a packet gets.
struct Translation {
	Ip source = 0;
	Ip destination = 0;
};

/// Translate the packet `ip` of `frame`. False: the transport checksum is not there (TRANSPORT_TRUNCATED).
bool translate(Bytes &frame, const IpPacket &ip, const Translation &to);

}  // namespace model
