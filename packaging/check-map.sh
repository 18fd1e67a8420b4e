#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The functions that the headers of a library declare and the symbols of its version script are the same.
# usage: check-map.sh MAP HEADER...
set -eu
map=$1
shift
case $(basename "$map" .map) in
apus) pattern='/(version|error|address|dataplane|port|policy|subnet|provider|worker|stats|event|explain)\.h$' ;;
apus_dpdk) pattern='/apus_dpdk\.h$' ;;
apus_policy) pattern='/apus_policy_file\.h$' ;;
esac
headers=$(printf '%s\n' "$@" | grep -E "$pattern")
# A declaration: a type at the start of the line, then the name.
declared=$(grep -hE '^(int|void|u?int[0-9]+_t|const char|struct apus_[a-z_]+) .*\(' $headers |
	grep -oE '\bapus_[a-z0-9_]+\(' | tr -d '(' | sort -u)
exported=$("$(dirname "$0")/map-symbols.sh" "$map" | sort -u)
if [ "$declared" != "$exported" ]; then
	echo "$map and the headers differ (< declared, > exported):" >&2
	diff <(echo "$declared") <(echo "$exported") >&2 || true
	exit 1
fi
