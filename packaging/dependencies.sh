#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Install the Debian packages that are missing when root (or with sudo that asks nothing); otherwise print the one
# line that does, and fail.
set -eu
packages=(make gcc g++ pkg-config binutils libdpdk-dev libyaml-dev libpcap-dev
	iproute2 iputils-ping ethtool tcpdump tshark openvswitch-switch python3 python3-scapy cmake valgrind)
missing=()
for package in "${packages[@]}"; do
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
command -v swiftc >/dev/null || {
	echo "swiftc is not on the PATH: install Swift 6.3 from swift.org." >&2
	exit 1
}
[ ${#missing[@]} -eq 0 ] && exit 0
install="apt-get install -y --no-install-recommends ${missing[*]}"
if [ "$(id -u)" -eq 0 ]; then
	run=""
elif sudo -n true 2>/dev/null; then
	run="sudo"
else
	echo "Debian packages are missing. Install them with:" >&2
	echo "    sudo $install" >&2
	exit 1
fi
echo "Installing Debian packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
$run apt-get update -qq
$run env DEBIAN_FRONTEND=noninteractive $install -qq >/dev/null
# The tests run an Open vSwitch of their own: the service that came with the package is not wanted, now or after a boot.
if [[ " ${missing[*]} " == *" openvswitch-switch "* ]]; then
	$run update-rc.d openvswitch-switch disable
	$run invoke-rc.d --quiet openvswitch-switch stop || true
fi
