#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A driver needs DPDK's internal headers. Debian's libdpdk-dev leaves them out; they are taken from the source package of
# the very version that is installed, into the directory named. The system's own lists of packages stay as they are.
set -eu
destination=$1
version=$(dpkg-query -W -f '${source:Version}' libdpdk-dev)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/sources" "$work/lists/partial"
for file in /etc/apt/sources.list /etc/apt/sources.list.d/debian*.list; do
	[ -f "$file" ] && sed -n 's/^deb /deb-src /p' "$file" > "$work/sources/$(basename "$file" .list).list"
done
for file in /etc/apt/sources.list.d/debian*.sources; do
	[ -f "$file" ] && sed 's/^Types:.*/Types: deb-src/' "$file" > "$work/sources/$(basename "$file")"
done
cd "$work"
apt="apt-get -qq -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts=$work/sources \
	-o Dir::State::Lists=$work/lists -o Dir::Cache=$work -o APT::Sandbox::User=root"
$apt update
$apt source --download-only "dpdk=$version" >/dev/null
mkdir -p "$destination"
tar xf dpdk_*.orig.tar.* -C "$destination" --strip-components=1 --wildcards --no-anchored \
	'*/lib/ethdev/*.h' '*/lib/eal/include/*.h' '*/drivers/bus/vdev/*.h'
