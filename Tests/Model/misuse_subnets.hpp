// SPDX-License-Identifier: Apache-2.0
// Virtual subnets: everything that can be wrong with each of their fields.
#pragma once

#include "misuse_kinds.hpp"

namespace misuse {

inline Kind<struct apus_virtual_subnet> virtual_subnets(Bench &)
{
	using Object = struct apus_virtual_subnet;
	const model::Ip group = fixture::ip(239, 1, 2, 3);
	Kind<Object> kind = {VERBS(apus_virtual_subnet), objects::subnet(fixture::subnet1, {APUS_SUBNET_BROADCAST, group, 100}),
			     objects::subnet(7777, {APUS_SUBNET_BROADCAST, group, 100}), 0, 0, APUS_ERR_NOT_FOUND,
			     [](Object &object) {
				     object.flags = object.replication_rate = UINT32_MAX;
				     object.multicast_group.family = 99;
			     },
			     {}};
	wrong_vsid(kind, key);
	wrong_flags(kind, {APUS_ERR_UNKNOWN_FIELD}, APUS_SUBNET_BROADCAST | APUS_SUBNET_ALLOW_NON_IP);
	wrong_number(kind, "replication_rate", &Object::replication_rate, {10000001, UINT32_MAX}, value, APUS_ERR_RANGE, "10000000");
	kind.wrong.push_back({"multicast_group of family 7", value, {APUS_ERR_FAMILY}, {"multicast_group"},
			      [](Object &object) { object.multicast_group.family = 7; }});
	kind.wrong.push_back({"multicast_group that is none", value, {APUS_ERR_ADDRESS}, {"multicast_group", "192.168.0.33"},
			      [](Object &object) { object.multicast_group = objects::address(fixture::remote_pa); }});
	kind.wrong.push_back({"multicast_group without broadcast", value, {APUS_ERR_CONFLICT}, {"multicast_group"},
			      [](Object &object) { object.flags = APUS_SUBNET_ALLOW_NON_IP; }});
	return kind;
}

}  // namespace misuse
