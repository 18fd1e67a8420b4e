#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""apusctl import-ps from outside: PowerShell in, policy files out.

    Tests/PolicyReplay/test_import.py path/to/apusctl

Needs nothing but Python. What comes out is given to `apusctl check` and, for whole hosts, to `apusctl replay`.
"""
import os
import re
import struct
import subprocess
import sys
import tempfile
import time
import unittest

APUSCTL = os.path.abspath(sys.argv.pop(1)) if len(sys.argv) > 1 else "apusctl"
FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "import")

RDID = "{12345678-1000-2000-3000-123456780001}"
ADDRESS = ("New-NetVirtualizationProviderAddress -ProviderAddress 192.168.0.22 -InterfaceIndex 12 -PrefixLength 24 "
           "-MACAddress 324455667788\n")
ROUTE = (f"New-NetVirtualizationCustomerRoute -RoutingDomainID '{RDID}' -VirtualSubnetID 6000 "
         "-DestinationPrefix 10.0.1.0/24 -NextHop 0.0.0.0\n")


def record(ca, mac, pa, more="", vsid=6000):
    return (f"New-NetVirtualizationLookupRecord -CustomerAddress {ca} -VirtualSubnetID {vsid} -MACAddress {mac} "
            f"-ProviderAddress {pa} -Rule TranslationMethodEncap {more}\n")


RECORD = record("10.0.1.101", "600060000101", "192.168.0.22", "-VMName Contoso1")
OUT_RECORD = ('  - {customer_address: 10.0.1.101, virtual_subnet_id: 6000, mac: "60:00:60:00:01:01", provider_address: '
              '192.168.0.22, rule: TranslationMethodEncap, vm_name: "Contoso1"}')


class Case(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)

    def path(self, name):
        return os.path.join(self.directory.name, name)

    def write(self, name, data):
        with open(self.path(name), "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)

    def apusctl(self, *arguments):
        return subprocess.run([APUSCTL, *arguments], cwd=self.directory.name, capture_output=True, text=True, timeout=60)

    def run_import(self, script, *options):
        self.write("a.ps1", script)
        return self.apusctl("import-ps", "a.ps1", *options)

    def convert(self, script, *options):
        """The lines of the policy, without comments and blank lines."""
        result = self.run_import(script, *options)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.stderr = result.stderr
        self.policy = result.stdout
        return [re.sub("}  #.*", "}", line) for line in result.stdout.splitlines() if line and line[0] != "#"]

    def good(self, script, *options):
        """As convert, and check finds nothing wrong."""
        lines = self.convert(script, *options)
        self.write("a.yaml", self.policy)
        check = self.apusctl("check", "--policy", "a.yaml")
        self.assertEqual(check.returncode, 0, check.stderr)
        return lines

    def refused(self, script, *problems, options=()):
        """Exactly these (line, part of the message) are reported, and nothing is written."""
        result = self.run_import(script, "--out", "out.yaml", *options)
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertEqual(result.stdout, "")
        self.assertFalse(os.path.exists(self.path("out.yaml")), "a policy was written")
        found = [line for line in result.stderr.splitlines() if ": not understood: " in line]
        self.assertEqual(len(found), len(problems), result.stderr)
        for line, (number, text) in zip(found, problems):
            self.assertTrue(line.startswith(f"a.ps1:{number}: not understood: "), line)
            self.assertIn(text, line)
        self.assertIn("not understood (--allow-partial writes the rest)", result.stderr.splitlines()[-1])
        return result.stderr


class Cmdlets(Case):
    def test_new_lookup_record(self):
        lines = self.good(ADDRESS + ROUTE + record("10.0.1.7", "60-00-60-00-01-07", "192.168.0.33",
                                                   '-VMName "a \'b\' \\" -CustomerID {x} -Context "c ""d"" ü" -Type static '
                                                   '-UseVmMACAddress $false'.replace("{x}", f"'{RDID}'")))
        self.assertEqual(lines[-1], '  - {customer_address: 10.0.1.7, virtual_subnet_id: 6000, mac: "60:00:60:00:01:07", '
                         'provider_address: 192.168.0.33, rule: TranslationMethodEncap, type: Static, '
                         f'vm_name: "a \'b\' \\\\", customer_id: "{RDID}", context: "c \\"d\\" ü"}}')

    def test_set_lookup_record(self):
        lines = self.good(ADDRESS + ROUTE + RECORD + record("10.0.1.102", "600060000102", "192.168.0.22")
                          + "Set-NetVirtualizationLookupRecord -CustomerAddress 10.0.1.101 -ProviderAddress 192.168.0.44 "
                          "-VMName New\n")
        self.assertIn("192.168.0.44", lines[-2])
        self.assertIn('vm_name: "New"', lines[-2])
        self.assertIn("192.168.0.22", lines[-1])

    def test_remove_lookup_record(self):
        other = record("10.0.1.102", "600060000102", "192.168.0.22", "-VMName Contoso2")
        third = record("10.0.1.103", "600060000103", "192.168.0.33", "-VMName Contoso3")
        for removal in ("-VMName contoso2,Contoso3", "-CustomerAddress 10.0.1.102,\n 10.0.1.103",
                        "-MACAddress '60-00-60-00-01-02', 600060000103"):
            lines = self.good(ADDRESS + ROUTE + RECORD + other + third
                              + f"Remove-NetVirtualizationLookupRecord {removal}\n")
            self.assertEqual(lines[lines.index("lookup_records:") + 1:], [OUT_RECORD])
        self.assertNotIn("lookup_records:", self.good(ADDRESS + RECORD + "Remove-NetVirtualizationLookupRecord"))
        self.convert(ADDRESS + "Remove-NetVirtualizationLookupRecord -VMName X")
        self.assertIn("a.ps1:2: note: there is no such lookup record to remove", self.stderr)

    def test_customer_route(self):
        line = (f'  - {{routing_domain_id: "{RDID}", virtual_subnet_id: 6000, destination_prefix: 10.0.1.0/24, '
                'next_hop: 0.0.0.0')
        self.assertEqual(self.good(ADDRESS + ROUTE)[-1], line + "}")
        self.assertEqual(self.good(ADDRESS + ROUTE + "Set-NetVirtualizationCustomerRoute -VirtualSubnetID 6000 -Metric 255")[-1],
                         line + ", metric: 255}")
        self.assertNotIn("customer_routes:", self.good(
            ADDRESS + ROUTE + "Remove-NetVirtualizationCustomerRoute -DestinationPrefix 10.0.1.0/24"))

    def test_ipv6(self):
        """Every address may be IPv6, in whatever form it is written; :: is on-link."""
        script = (
            "New-NetVirtualizationProviderAddress -ProviderAddress 2001:DB8:A::22 -InterfaceIndex 12 -PrefixLength 64 "
            "-MACAddress 324455667788\n"
            "New-NetVirtualizationProviderRoute -InterfaceIndex 12 -DestinationPrefix ::/0 -NextHop 2001:db8:a:0:0::1\n"
            f"$domain = '{RDID}'\n"
            "New-NetVirtualizationCustomerRoute -RoutingDomainID $domain -VirtualSubnetID 6000 "
            "-DestinationPrefix 2001:db8:1::/64 -NextHop :: -Metric 255\n"
            "New-NetVirtualizationCustomerRoute -RoutingDomainID $domain -VirtualSubnetID 6000 "
            "-DestinationPrefix '2001:db8:2::/64' -NextHop \"::\"\n"
            "New-NetVirtualizationCustomerRoute -RoutingDomainID $domain -VirtualSubnetID 6000 "
            "-DestinationPrefix fd00::/8 -NextHop 2001:db8:1::fe\n"
            "Remove-NetVirtualizationCustomerRoute -DestinationPrefix 2001:db8:2:0::/64 -NextHop 0:0::0\n"
            '$prefix = "2001:db8:1"\n'
            + record('"${prefix}::0101"', "600060000101", "2001:db8:a:0::22", "-VMName Contoso1")
            + record("10.0.1.101", "600060000101", "2001:db8:a::22", "-VMName Contoso1")
            + record("2001:db8:1::103", "600060000203", "192.168.0.33", "-VMName Contoso3")
            + "Set-NetVirtualizationLookupRecord -CustomerAddress 2001:DB8:1:0::103 -ProviderAddress 2001:db8:a::33\n"
            "Set-VMNetworkAdapter Contoso1 -VirtualSubnetId 6000\n")
        lines = self.good(script)
        self.assertEqual(lines[2:], [
            "  - {name: uplink, kind: provider}",
            '  - {name: contoso1, kind: vm, virtual_subnet_id: 6000, mac: "60:00:60:00:01:01"}',
            "provider_addresses:",
            '  - {provider_address: "2001:db8:a::22", prefix_length: 64, port: uplink, mac: "32:44:55:66:77:88"}',
            "provider_routes:", '  - {destination_prefix: "::/0", next_hop: "2001:db8:a::1", port: uplink}',
            "customer_routes:",
            f'  - {{routing_domain_id: "{RDID}", virtual_subnet_id: 6000, destination_prefix: "2001:db8:1::/64", '
            'next_hop: "::", metric: 255}',
            f'  - {{routing_domain_id: "{RDID}", virtual_subnet_id: 6000, destination_prefix: "fd00::/8", '
            'next_hop: "2001:db8:1::fe"}',
            "lookup_records:",
            '  - {customer_address: "2001:db8:1::101", virtual_subnet_id: 6000, mac: "60:00:60:00:01:01", '
            'provider_address: "2001:db8:a::22", rule: TranslationMethodEncap, vm_name: "Contoso1"}',
            '  - {customer_address: 10.0.1.101, virtual_subnet_id: 6000, mac: "60:00:60:00:01:01", '
            'provider_address: "2001:db8:a::22", rule: TranslationMethodEncap, vm_name: "Contoso1"}',
            '  - {customer_address: "2001:db8:1::103", virtual_subnet_id: 6000, mac: "60:00:60:00:02:03", '
            'provider_address: "2001:db8:a::33", rule: TranslationMethodEncap, vm_name: "Contoso3"}'])
        self.good(script + record("2001:db8:1::1", "600060000100", "2001:db8:a::33"))
        self.assertIn("2001:db8:1::1 is the gateway of virtual subnet 6000, which has machines on this host", self.stderr)

    def test_ipv6_that_cannot_be(self):
        route = (f"New-NetVirtualizationCustomerRoute -RoutingDomainID '{RDID}' -VirtualSubnetID 6000 "
                 "-DestinationPrefix ")
        self.refused(
            ADDRESS.replace("PrefixLength 24", "PrefixLength 33") + record("::ffff:10.0.0.1", "600060000101", "192.168.0.22")
            + record("fe80::1%12", "600060000101", "192.168.0.22") + record("2001:db8::1::2", "600060000101", "192.168.0.22")
            + route + "2001:db8:1::/64 -NextHop 0.0.0.0\n" + route + "10.0.1.0/24 -NextHop ::\n"
            + route + "2001:db8:1::1/64 -NextHop ::\n",
            (1, "-PrefixLength: 33 is not a number in 1-32, as 192.168.0.22 needs"),
            (2, '-CustomerAddress: "::ffff:10.0.0.1" is not an IP address'),
            (3, '-CustomerAddress: "fe80::1%12" is not an IP address'),
            (4, '-CustomerAddress: "2001:db8::1::2" is not an IP address'),
            (5, "-NextHop: 0.0.0.0 is no IPv6 address, as the prefix 2001:db8:1::/64 needs; :: is on-link"),
            (6, "-NextHop: :: is no IPv4 address, as the prefix 10.0.1.0/24 needs; 0.0.0.0 is on-link"),
            (7, '-DestinationPrefix: "2001:db8:1::1/64" is not a prefix such as 10.0.1.0/24, without bits'))

    def test_provider_address(self):
        def line(more):
            return ('  - {provider_address: 192.168.0.22, prefix_length: %s, port: uplink, mac: "32:44:55:66:77:88"%s}' % more)
        self.assertEqual(self.good(ADDRESS)[-1], line((24, "")))
        self.assertEqual(self.good(ADDRESS.strip() + " -VlanID 7")[-1], line((24, ", vlan: 7")))
        self.assertEqual(self.good(ADDRESS + "Set-NetVirtualizationProviderAddress -ProviderAddress 192.168.0.22 "
                                   "-InterfaceIndex 12 -VlanID 201 -PrefixLength 16")[-1], line((16, ", vlan: 201")))
        self.assertEqual(self.convert(ADDRESS + "Remove-NetVirtualizationProviderAddress -InterfaceIndex 12"), ["apus: 1"])
        self.assertEqual(len(self.good(ADDRESS + "Remove-NetVirtualizationProviderAddress -InterfaceIndex 13")), 5)

    def test_provider_route(self):
        route = "New-NetVirtualizationProviderRoute -DestinationPrefix 0.0.0.0/0 -InterfaceIndex 12 -NextHop 192.168.0.1\n"
        line = "  - {destination_prefix: 0.0.0.0/0, next_hop: 192.168.0.1, port: uplink"
        self.assertEqual(self.good(ADDRESS + route)[-1], line + "}")
        self.assertEqual(self.good(ADDRESS + route + "Set-NetVirtualizationProviderRoute -NextHop 192.168.0.1 -Metric 5")[-1],
                         line + ", metric: 5}")
        self.assertNotIn("provider_routes:", self.good(ADDRESS + route + "Remove-NetVirtualizationProviderRoute"))

    def test_global(self):
        self.assertNotIn("settings:", self.good(ADDRESS + "Set-NetVirtualizationGlobal -UseExternalRouter $false"))
        self.assertEqual(self.good(ADDRESS + "Set-NetVirtualizationGlobal -UseExternalRouter $true")[:3],
                         ["apus: 1", "settings:", "  use_external_router: true"])
        self.assertNotIn("settings:", self.good("Set-NetVirtualizationGlobal -UseExternalRouter $true\n" + ADDRESS
                                                + "Set-NetVirtualizationGlobal -UseExternalRouter $false"))
        self.refused("Set-NetVirtualizationGlobal -UseExternalRouter 1\nSet-NetVirtualizationGlobal",
                     (1, "-UseExternalRouter: 1 is neither $true nor $false"), (2, "it changes nothing"))

    def test_records_of_machines(self):
        """GatewayWildcard and L2Only: the machine is the key, and there is no customer address."""
        def machine(mac, type, ca="0.0.0.0"):
            return record(ca, mac, "192.168.0.33", "-Type " + type)
        lines = self.good(ADDRESS + ROUTE + machine("600060000201", "GatewayWildcard") + machine("600060000202", "l2only")
                          + machine("600060000203", "GatewayWildcard", "::")
                          + "Remove-NetVirtualizationLookupRecord -MACAddress 600060000201\n" + machine("600060000201", "L2Only")
                          + "Set-NetVirtualizationLookupRecord -MACAddress 600060000203 -ProviderAddress 192.168.0.44\n")
        self.assertEqual(
            [re.search("address: (.*), virtual_subnet_id.*(:..)\", .*(0.[34][34]), rule.*type: (.*)}", line).groups() for line in lines[-3:]],
            [("0.0.0.0", ":02", "0.33", "L2Only"), ('"::"', ":03", "0.44", "GatewayWildcard"), ("0.0.0.0", ":01", "0.33", "L2Only")])
        self.refused(machine("600060000201", "L2Only") + machine("600060000201", "L2Only")
                     + machine("600060000202", "GatewayWildcard", "10.0.1.5") + machine("600060000202", "Static"),
                     (2, "already made at a.ps1:1"), (3, "10.0.1.5 cannot be with -Type GatewayWildcard; 0.0.0.0 or :: can"),
                     (4, "0.0.0.0 needs -Type GatewayWildcard or L2Only"))

    def test_rewriting(self):
        nat = record("10.0.1.7", "600060000107", "192.168.0.77", "-UseVmMACAddress $true").replace("Encap", "Nat")
        self.assertEqual(self.good(ADDRESS + ROUTE + nat)[-1],
                         '  - {customer_address: 10.0.1.7, virtual_subnet_id: 6000, mac: "60:00:60:00:01:07", '
                         "provider_address: 192.168.0.77, rule: TranslationMethodNat, use_vm_mac_address: true}")
        self.assertNotIn("use_vm", self.good(ADDRESS + ROUTE + nat + "Set-NetVirtualizationLookupRecord -MACAddress "
                                             "600060000107 -UseVmMACAddress $false")[-1])

    def test_pipelines_of_get(self):
        for pipeline in ("Get-NetVirtualizationLookupRecord -VMName Contoso2 | Remove-NetVirtualizationLookupRecord",
                         "Get-NetVirtualizationLookupRecord |\n  Where-Object { $_.VMName -eq 'Contoso2' } |\n"
                         "  Remove-NetVirtualizationLookupRecord | Out-Null",
                         "Get-NetVirtualizationLookupRecord\n  | ? VMName -eq Contoso2 | Remove-NetVirtualizationLookupRecord"):
            lines = self.good(ADDRESS + ROUTE + RECORD + record("10.0.1.102", "600060000102", "192.168.0.22",
                                                                "-VMName Contoso2") + pipeline)
            self.assertEqual(lines[-1], OUT_RECORD)

    def test_an_object_that_exists_is_refused(self):
        self.refused(RECORD + RECORD, (2, "already made at a.ps1:1"))
        self.refused("Set-NetVirtualizationLookupRecord -CustomerAddress 10.0.0.1 -VMName X", (1, "there is no such lookup record"))


class Machines(Case):
    def ports(self, script, *options):
        lines = self.convert(ADDRESS + ROUTE + script, *options)
        return [line for line in lines if "kind: vm" in line]

    def test_by_records(self):
        self.assertEqual(
            self.ports(RECORD + "Set-VMNetworkAdapter contoso1 -VirtualSubnetId 6000"),
            ['  - {name: contoso1, kind: vm, virtual_subnet_id: 6000, mac: "60:00:60:00:01:01"}'])

    def test_by_static_address(self):
        self.assertEqual(
            self.ports(record("10.0.1.5", "600060000105", "192.168.0.22")
                       + "Set-VMNetworkAdapter -VMName 'My VM!' -StaticMacAddress 600060000104\n"
                       "Set-VMNetworkAdapter -VMName 'My VM!' -VirtualSubnetId 6000 -StaticMacAddress 600060000105"),
            ['  - {name: my-vm-, kind: vm, virtual_subnet_id: 6000, mac: "60:00:60:00:01:05"}'])

    def test_out_of_the_virtual_subnet(self):
        self.assertEqual(self.ports(RECORD + "Set-VMNetworkAdapter Contoso1 -VirtualSubnetId 6000\n"
                                    "Set-VMNetworkAdapter Contoso1 -VirtualSubnetId 0"), [])

    def test_on_another_host(self):
        script = record("10.0.1.9", "600060000109", "192.168.0.33", "-VMName Far") + "Set-VMNetworkAdapter Far -VirtualSubnetId 6000"
        self.assertEqual(self.ports(script), [])
        self.assertIn("Far is on another host by its lookup records (192.168.0.33)", self.stderr)

    def test_two_adapters(self):
        lines = self.ports(RECORD + record("10.0.1.102", "600060000102", "192.168.0.22", "-VMName Contoso1")
                           + "Set-VMNetworkAdapter Contoso1 -VirtualSubnetId 6000")
        self.assertEqual([re.search("name: ([^,]*).*mac: (.*)}", line).groups() for line in lines],
                         [("contoso1", '"60:00:60:00:01:01"'), ("contoso1-2", '"60:00:60:00:01:02"')])

    def test_the_way_of_the_sample_scripts(self):
        self.assertEqual(
            self.ports(record("10.0.1.5", "10-10-10-10-11-05", "192.168.0.22", "-VMName Blue1")
                       + 'Get-VMNetworkAdapter -VMName Blue1 | where {$_.MacAddress -eq "101010101105"} | '
                         "Set-VMNetworkAdapter -VirtualSubnetID 6000;"),
            ['  - {name: blue1, kind: vm, virtual_subnet_id: 6000, mac: "10:10:10:10:11:05"}'])
        self.assertEqual(len(self.ports(RECORD + "Get-VM Contoso1 | Get-VMNetworkAdapter | Set-VMNetworkAdapter -Virt 6000")), 1)

    def test_an_unknown_address_is_a_gap(self):
        result = self.run_import(ADDRESS + ROUTE + record("10.0.1.5", "600060000105", "192.168.0.22")
                                 + "Set-VMNetworkAdapter X -VirtualSubnetId 6000", "--out", "out.yaml")
        self.assertEqual(result.returncode, 0)
        self.assertIn("to fill in: a.ps1:4: port x: the MAC address of X is not certain (60:00:60:00:01:05?)", result.stderr)
        check = self.apusctl("check", "--policy", "out.yaml")
        self.assertEqual(check.returncode, 1)
        self.assertRegex(check.stderr, r'^out\.yaml:\d+: ports\[1\]\.mac: "FILL IN: the MAC address of X" is not a MAC')

    def test_a_record_and_an_adapter_that_disagree(self):
        self.ports(RECORD + "Set-VMNetworkAdapter Contoso1 -VirtualSubnetId 6000 -StaticMacAddress 600060000999")
        self.assertIn("not certain (60:00:60:00:01:01, 60:00:60:00:09:99?)", self.stderr)

    def test_settings_without_a_counterpart_are_named(self):
        self.ports("Set-VMNetworkAdapter -VMName X -RouterGuard On -MacAddressSpoofing Off")
        self.assertIn("a.ps1:3: note: no counterpart in a policy file, left out: -MacAddressSpoofing, -RouterGuard", self.stderr)

    def test_guards_and_limits(self):
        script = RECORD + "Set-VMNetworkAdapter Contoso1 -VirtualSubnetId 6000\n"
        port = '  - {name: contoso1, kind: vm, virtual_subnet_id: 6000, mac: "60:00:60:00:01:01"'
        both = script + "Set-VMNetworkAdapter Contoso1 -DhcpGuard on -DynamicIPAddressLimit 5\n"
        self.assertEqual(self.ports(both), [port + ", dhcp_guard: true, dynamic_address_limit: 5}"])
        self.good(ADDRESS + ROUTE + both)
        self.assertEqual(self.ports(both + "Set-VMNetworkAdapter Contoso1 -DhcpGuard Off"), [port + ", dynamic_address_limit: 5}"])
        self.assertEqual(self.ports("Set-VMNetworkAdapter Contoso1 -DhcpGuard On\nSet-VMNetworkAdapter Contoso1 -Name A -Virt 6000\n"
                                    + RECORD), [port + ", dhcp_guard: true}"])
        self.assertEqual(self.ports("Set-VMNetworkAdapter X -DhcpGuard On"), [])
        self.refused("Set-VMNetworkAdapter X -DhcpGuard yes\nSet-VMNetworkAdapter X -DynamicIPAddressLimit 65537\n"
                     "Set-VMNetworkAdapter X -DhcpGuard $guard",
                     (1, '-DhcpGuard: "yes" is neither On nor Off'), (2, '"65537" is not a number in 1-65536'), (3, "$guard is not set"))

    def test_routing_domain_mapping(self):
        script = (RECORD + "Set-VMNetworkAdapter Contoso1 -VirtualSubnetId 6000\n" + ADDRESS + ROUTE
                  + f"Add-VMNetworkAdapterRoutingDomainMapping Contoso1 -RoutingDomainID '{RDID}' -IsolationID ")
        self.good(script + "6000")
        self.refused(script + "6001", (5, "a port of a policy file is in one virtual subnet"))
        self.refused("Set-VMNetworkAdapterIsolation X -IsolationMode Vlan", (1, "-IsolationMode Vlan has no counterpart"))


class Language(Case):
    def same(self, script, *options):
        self.assertEqual(self.good(script, *options), self.good(ADDRESS + ROUTE + RECORD))

    def test_continuations(self):
        script = ADDRESS + ROUTE + RECORD
        self.same(script.replace(" -", " `\n  -"))
        self.same(script.replace(" -", " `  \r\n -"))
        self.same(script.replace(" -", "\n-"))
        self.same(script.replace(" -", "\n\n-"))
        self.same(script.replace("\n", ";"))
        self.same(script.replace("\n", "\r\n"))
        self.same(script.replace("\n", "\r"))

    def test_comments(self):
        self.same("# New-NetVirtualizationLookupRecord\n<# a\n ' b #>" + ADDRESS.strip() + " # end\n" + ROUTE
                  + RECORD.replace(" -Rule", " <# ' #> -Rule") + "#")

    def test_case_prefixes_and_colons(self):
        script = ADDRESS + ROUTE + RECORD
        self.same(script.upper().replace("CONTOSO1", "Contoso1"))
        self.same(script.replace("-VirtualSubnetID ", "-virt:").replace("-CustomerAddress", "-CustomerA")
                  .replace("-ProviderAddress ", "-Prov ").replace("-MACAddress", "-M").replace("-Rule", "-R")
                  .replace("-DestinationPrefix", "-Dest").replace("-NextHop", "-N").replace("-RoutingDomainID", "-Ro"))
        self.same("NetWNV\\" + script)
        self.same(script.replace("-Rule", "-ErrorAction Stop -Verbose -Rule"))

    def test_quotes(self):
        self.same(ADDRESS + ROUTE.replace("'", '"') + RECORD.replace("6000 ", '"6000" ').replace("10.0.1.101", "'10.0.1.101'"))
        self.same(ADDRESS + ROUTE.replace("'", "") + RECORD)
        self.same(ADDRESS + ROUTE.replace("'{", "“{").replace("}'", "}”") + RECORD.replace("-VMName", "–VMName"))
        self.same(ADDRESS + ROUTE + RECORD.replace("6000 ", "0x1770 ").replace("Contoso1", "C`o\"nto\"'so1'"))

    def test_variables(self):
        self.same('$pa = "192.168.0.22"; [string]$net = \'10.0.1\'\n$script:vsid=6000\n$redGUID = "' + RDID[1:-1] + '"\n'
                  '$redGUID = "{" + [string]$redGUID + "}"\n$vm = ("Contoso" + "1")\n'
                  + ADDRESS.replace("192.168.0.22", "$PA") + ROUTE.replace(f"'{RDID}'", "$redGUID")
                  .replace("10.0.1.0/24", '"$net.0/24"').replace("6000", "$VSID")
                  + RECORD.replace("10.0.1.101", '"${net}.101"').replace("192.168.0.22", "$pa").replace("Contoso1", "$vm"))

    def test_variables_from_the_command_line(self):
        script = "$redGUID = [system.guid]::newguid()\n" + ADDRESS + ROUTE.replace(f"'{RDID}'", "$redGUID") + RECORD
        self.refused(script, (3, "[system.guid]::newguid() is known only when the script runs"))
        self.same(script, "--variable", f"REDguid={RDID}")
        self.refused(RECORD.replace("Contoso1", "$name"), (1, "$name is not set in the script; give it with --variable name=VALUE"))

    def test_interfaces_stay_symbolic(self):
        ways = ("$iface = Get-NetAdapter 'X'\n%s$iface.InterfaceIndex", "$iface = (Get-NetAdapter \"X\").InterfaceIndex\n%s$iface",
                "%s(Get-NetAdapter \"X\").ifIndex", "%s((get-netadapter 'X'))", "%s$iface")
        for way in ways:
            head, tail = way.split("%s")
            self.same(head + ADDRESS.replace("-InterfaceIndex 12", "-InterfaceIndex " + tail) + ROUTE + RECORD)
        both = ("$a = Get-NetAdapter A\n$b = (Get-NetAdapter B).ifIndex\n"
                + ADDRESS.replace("Index 12", "Index $a.InterfaceIndex")
                + ADDRESS.replace("Index 12", "Index $b").replace("0.22", "1.22").replace("7788", "7789")
                + ADDRESS.replace("Index 12", "Index (Get-NetAdapter a).ifIndex").replace("0.22", "2.22"))
        lines = self.convert(both)
        self.assertEqual([re.search("port: (\\w+)", line).group(1) for line in lines if "port:" in line],
                         ["uplink", "uplink2", "uplink"])

    def test_utf16(self):
        script = ADDRESS + ROUTE + RECORD
        self.same(script.encode("utf-16"))
        self.same(b"\xfe\xff" + script.encode("utf-16-be"))
        self.same(b"\xef\xbb\xbf" + script.encode())

    def test_commands_about_the_host_are_listed(self):
        self.same(ADDRESS + ROUTE + RECORD + "New-VMSwitch X -NetAdapterName Y\nGet-VM | ft\n\"text\"\nWrite-Host done")
        self.convert("New-VMSwitch X\nImport-Module NetWNV")
        self.assertEqual(self.stderr, "note: without effect on a policy, left out: New-VMSwitch (line 1), Import-Module (line 2)\n")


class NotUnderstood(Case):
    def test_each_construct_with_its_line(self):
        for script, reason in (
                ("foreach ($vm in $vms) {\n  Set-VMNetworkAdapter $vm -VirtualSubnetId 6000\n}", "loops are not understood"),
                ("for ($i = 0; $i -lt 3; $i++)\n{\n}", "loops are not understood"),
                ("if ($x) { a } else { b }", "conditions are not understood"),
                ("if ($x)\n{ a }\nelse\n{ b }", "conditions are not understood"),
                ("function f { Get-VM }", "definitions are not understood"),
                ("param($a)", "--variable NAME=VALUE"),
                ("exit 1", "the rest must be deleted"),
                ("try { a } catch { b }", "try is not understood"),
                ("Invoke-Command -Session $s { New-VM }", "Invoke-Command is not understood"),
                ("& .\\x.ps1", "& is not understood"),
                (". .\\x.ps1", "only commands and assignments"),
                ("$wmi.EnableStatic('10.0.1.1')", "only commands and assignments"),
                ("$x += 'a'", "+= is not understood"),
                ("$a, $b = 1, 2", "only commands and assignments"),
                ("Get-VM > x", "redirection is not understood"),
                ("Get-VM || Get-VM", "|| is not understood"),
                ("Get-VM )", "there is a ) too many"),
                ("\\$iface = ((Get-VMSwitch X).Y)).ifIndex)", "there is a ) too many"),
                ("$x = (New-NetVirtualizationLookupRecord -Rule x)", "in brackets is not understood"),
                ('Write-Host "a $(Remove-NetVirtualizationLookupRecord)"', "in brackets is not understood"),
                ("Get-VM | Where-Object { Set-VMNetworkAdapter $_ -VirtualSubnetId 0 }", "in brackets is not understood"),
                ("$b = { Invoke-Command { x } }", "in brackets is not understood"),
                ("; | Get-VM", "a command is wanted"),
                ("Get-VM |; Get-VM", "a command's name is wanted"),
                ("f($x)", "a command's name is wanted"),
                ("if($x) { a }", "conditions are not understood"),
                ("$y = if ($x) { 1 } else { 2 }", "conditions are not understood"),
                ("Get-VM | % { $_ }", "% is not understood"),
                ("$v = Frobnicate", "Frobnicate is not understood"),
                ("Remove-VM X", "Remove-VM is not understood"),
                ("Get-VMNetworkAdapter Red* | Set-VMNetworkAdapter -VirtualSubnetId 445566", '"Red*" stands for'),
                ("Set-VMNetworkAdapter -VMNetworkAdapter $nic -VirtualSubnetId 6000", "-VMNetworkAdapter is not understood"),
                ("Set-VMNetworkAdapter -ManagementOS -VirtualSubnetId 6000", "-ManagementOS is not understood"),
                ("Set-VMNetworkAdapter X -VirtualSubnetId 17", '"17" is not a number in 4096-16777214'),
                ("Set-VMNetworkAdapter X -VirtualSubnetId 16777215", "4096-16777214"),
                ("Set-VMNetworkAdapter X -VirtualSubnetId 6000 -WhatIf", "-WhatIf changes nothing"),
                ("New-NetVirtualizationLookupRecord @parameters", "is no parameter's value"),
                ("Remove-NetVirtualizationLookupRecord -V 6000", "-V could be -VirtualSubnetID, -VMName"),
                ("Remove-NetVirtualizationLookupRecord -Colour red", "has no parameter -Colour"),
                ("Remove-NetVirtualizationLookupRecord -VMName", "-VMName has no value"),
                ("Remove-NetVirtualizationLookupRecord -VMName a -VMName b", "-VMName is given twice"),
                ("Remove-NetVirtualizationLookupRecord x", '"x" is no parameter\'s value'),
                ("Get-VM | Remove-NetVirtualizationLookupRecord", "this pipeline is not understood"),
                ("Get-NetVirtualizationLookupRecord | ? { $_.VMName -like 'a*' } | Remove-NetVirtualizationLookupRecord",
                 "only { $_.NAME -eq VALUE } is understood"),
                (RECORD.replace("-Rule TranslationMethodEncap", ""), "-Rule is missing"),
                (RECORD.replace("MethodEncap", "MethodMagic"), '"TranslationMethodMagic" is not one of'),
                (RECORD.replace("10.0.1.101", "10.1.3.2.0.1"), '"10.1.3.2.0.1" is not an IP address'),
                (RECORD.replace("600060000101", "60006000010"), "is not a MAC address"),
                (RECORD.replace("600060000101", "$nic.MACAddress"), "is known only when the script runs"),
                (RECORD.replace("-CustomerAddress 10.0.1.101", "-CustomerAddress"), "-CustomerAddress has no value"),
                (RECORD.strip() + " -UseVmMACAddress $true", "-UseVmMACAddress $true needs -Rule TranslationMethodNat"),
                (RECORD.strip() + " -UseVmMACAddress yes", "-UseVmMACAddress: yes is neither $true nor $false"),
                (ROUTE.replace(RDID, "{1234}"), '"{1234}" is not a GUID'),
                (ROUTE.replace("10.0.1.0/24", "10.0.1.1/24"), "without bits after its length"),
                (ADDRESS.replace("24", "129", 1), '"129" is not a number in 1-128'),
        ):
            with self.subTest(script):
                self.refused("# one\n\n" + ADDRESS.replace("0.22", "9.99") + "\n" + script + "\n\nGet-VM\n", (5, reason))

    def test_every_problem_is_listed(self):
        self.refused("a\n\nb c\n" + RECORD + "d\n", (1, "a is"), (3, "b c: b is"), (5, "d is"))

    def test_partial(self):
        result = self.run_import(ADDRESS + "Frobnicate\n" + ROUTE + RECORD, "--allow-partial", "--out", "out.yaml")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("a.ps1:2: not understood: Frobnicate: Frobnicate is not understood", result.stderr)
        with open(self.path("out.yaml")) as file:
            text = file.read()
        self.assertIn("# PARTIAL: ", text)
        self.assertIn("#   a.ps1:2: not understood: Frobnicate", text)
        self.assertEqual(self.apusctl("check", "--policy", "out.yaml").returncode, 0)

    def test_nothing_written_leaves_the_old_policy(self):
        self.write("out.yaml", "precious")
        self.assertEqual(self.run_import("Frobnicate", "--out", "out.yaml").returncode, 1)
        with open(self.path("out.yaml")) as file:
            self.assertEqual(file.read(), "precious")

    def test_text_cannot_leave_comments_and_quotes(self):
        name = "'a\u2028apus: 2 # \x1b[31m\u202e\x85x'"
        script = ADDRESS + ROUTE + RECORD.replace("Contoso1", name) + "Set-VMNetworkAdapter " + name + " -Virt 6000\n"
        self.convert(script + "Frobnicate 'a\u2028b\x1b'\n", "--allow-partial")
        for character in "\u2028\x1b\u202e\x85":
            self.assertNotIn(character, "".join(l for l in self.policy.split("\n") if l.startswith("#") or "kind: vm" in l))
            self.assertNotIn(character, self.stderr.replace("\n", ""))


class HostsAndOptions(Case):
    def test_hosts(self):
        script = "".join(
            ADDRESS.replace("0.22", f"0.{n}{n}").strip() + f" -CimSession Host{n}\n" + RECORD.strip() + f" -CimSession host{n}\n"
            + f"Set-VMNetworkAdapter Contoso1 -VirtualSubnetId 6000 -ComputerName HOST{n}\n" for n in (2, 3))
        self.refused(script, (1, "3 commands from here on for this host; choose it with --host Host2"), (4, "--host Host3"))
        lines = self.convert(script, "--host", "host2")
        self.assertEqual(sum("provider_address: 192.168.0.22, prefix" in line for line in lines), 1)
        self.assertEqual(sum("kind: vm" in line for line in lines), 1)
        self.assertNotIn("192.168.0.33", self.policy)
        self.assertEqual(self.convert(script, "--host", "localhost"), ["apus: 1"])
        session = "$s = New-CimSession -ComputerName Host2\n" + script.replace("-CimSession Host2", "-CimSession $s")
        self.assertEqual(self.convert(session, "--host", "host2"), lines)
        result = self.run_import(script, "--host", "Host9")
        self.assertEqual((result.returncode, result.stderr),
                         (1, "apusctl: --host Host9: no command is for this host; named are: Host2, Host3\n"))
        self.refused("$h = Get-Cluster\n" + RECORD.strip() + " -CimSession $h", (2, "which host is meant"))

    def test_provider_address_chooses(self):
        both = ADDRESS + ADDRESS.replace("0.22", "0.33")
        self.assertEqual(len([l for l in self.good(both, "--provider-address", "192.168.0.33") if "provider_address:" in l]), 1)
        self.assertIn("192.168.0.22 is another host's, left out", self.stderr)

    def test_no_provider_address(self):
        script = ROUTE + RECORD + "Set-VMNetworkAdapter Contoso1 -VirtualSubnetId 6000"
        self.run_import(script, "--out", "out.yaml")
        check = self.apusctl("check", "--policy", "out.yaml")
        self.assertEqual(check.returncode, 1)
        self.assertIn('provider_addresses[0].provider_address: "FILL IN: a provider address of this host"', check.stderr)
        self.good(script, "--provider-address", "192.168.0.22", "--prefix-length", "24", "--uplink-mac", "32:44:55:66:77:88")

    def test_uplink_and_devices(self):
        lines = self.good(ADDRESS + RECORD + "Set-VMNetworkAdapter Contoso1 -VirtualSubnetId 6000", "--uplink", "wire", "--uplink-mac",
                          "wire=02-00-00-00-00-01", "--device", "wire=net_af_packet0", "--device", "contoso1=net_tap0")
        self.assertEqual(lines[2], '  - {name: wire, kind: provider, device: "net_af_packet0"}')
        self.assertIn('device: "net_tap0"', lines[3])
        self.assertIn('mac: "02:00:00:00:00:01"', lines[5])
        self.assertNotIn("FILL IN", self.policy)

    def test_devices_are_comments_until_given(self):
        self.good(ADDRESS)
        self.assertIn("name: uplink, kind: provider}  # 12; FILL IN: device", self.policy)

    def test_options_are_checked(self):
        for options, status, message in (
                (["--uplink-mac", "334455667788"], 64, "is not an adapter's MAC address"),
                (["--provider-address", "x"], 64, "is not an IP address"),
                (["--uplink", "a b"], 64, "is not a port name"),
                (["--prefix-length", "0"], 64, "is not a prefix length"),
                (["--device", "x"], 64, "is not NAME=VALUE"),
                (["--device", "x=y"], 1, "the policy has no port of this name; its ports: uplink"),
                (["--uplink-mac", "x=324455667788"], 1, "no uplink of this name"),
                (["--host", "x"], 1, "no command names a host at all")):
            with self.subTest(options):
                result = self.run_import(ADDRESS, *options)
                self.assertEqual(result.returncode, status)
                self.assertIn(message, result.stderr)

    def test_files(self):
        self.assertIn("none.ps1: cannot be read: No such file", self.apusctl("import-ps", "none.ps1").stderr)
        self.assertEqual(self.run_import(ADDRESS, "--out", "none/x").returncode, 1)
        self.assertIn("would be overwritten", self.run_import(ADDRESS, "--out", "./a.ps1").stderr)
        self.write("b.ps1", RECORD)
        self.write("a.ps1", ADDRESS)
        self.assertIn("Contoso1", self.apusctl("import-ps", "a.ps1", "b.ps1").stdout)

    def test_help_teaches(self):
        result = self.apusctl("import-ps", "--help")
        self.assertEqual(result.returncode, 0)
        for word in ("EXAMPLES", "FILL IN", "--uplink-mac", "--allow-partial", "--variable", "--provider-address"):
            self.assertIn(word, result.stdout)


class Hostile(Case):
    def test_empty(self):
        for script in ("", "\n\n", "# only\n", " \t", "<##>", "\ufeff", "`", ";;;"):
            with self.subTest(script):
                self.assertEqual(self.good(script), ["apus: 1"])

    def test_binary(self):
        for data in (bytes(range(256)) * 64, b"\xff\xfe\x00\xd8", b"\xff\xfea", b"Get-VM\0", os.urandom(4096) + b"\xff"):
            result = self.run_import(data)
            self.assertEqual((result.returncode, result.stdout), (1, ""))
            self.assertRegex(result.stderr, "a.ps1: is not (text|a script)")

    def test_unterminated(self):
        for start, reason in (("'", "quote"), ('"', "quote"), ("“", "quote"), ("<#", "comment"), ("(", "( that"), ("{", "{ that"),
                              ("$(", "( that"), ('"$(', "( that"), ("@'\n", "text"), ('(")"', "( that"), ("('", "quote"), ("(<#", "comment")):
            with self.subTest(start):
                self.refused(f"Get-VM\n\nWrite-Host {start} a\nb", (3, reason))
        self.refused("Get-VM\n( }", (2, "} does not match"))

    def test_ten_megabytes_in_a_line(self):
        size = 10 << 20
        for data in ("x" * size, "'" + "x" * size, '"' * size, "(" * size, ")" * size, "(" * (size // 2) + ")" * (size // 2),
                     "$a=" + "(" * (size // 2) + ")" * (size // 2), "$x" * (size // 2), "-a " * (size // 3), "a|" * (size // 2),
                     "Set-VMNetworkAdapter X -VirtualSubnetId " + "9" * size, "," * size, "`" * size, "$a=" + "'a'+" * (size // 4) + "'b'",
                     "Set-VMNetworkAdapter " + "a," * (size // 2) + "b -VirtualSubnetId 6000", "#" * size, "\n" * size, "a;" * (size // 2),
                     '"' + "$a" * (size // 2) + '"', "[" * size, "{" * size, "$a." * (size // 3), "if " * (size // 3), "\u2028" * (size // 3)):
            with self.subTest(data[:20]):
                start = time.monotonic()
                self.write("a.ps1", data)
                # Memory has a limit too.
                result = subprocess.run(
                    ["sh", "-c", 'ulimit -v 4000000 && exec "$0" import-ps a.ps1', APUSCTL], cwd=self.directory.name,
                    capture_output=True, text=True, timeout=60)
                self.assertIn(result.returncode, (0, 1), result.stderr[:500])
                self.assertLess(len(result.stderr), 200_000)
                self.assertLess(time.monotonic() - start, 30)

    def test_eight_thousand_machines(self):
        """The most that one Windows installation had to bear."""
        lines = [ADDRESS]
        for n in range(8000):
            address = f"192.168.0.{22 + n // 2000}"
            lines.append(record(f"10.{n >> 8}.{n & 255}.9", f"0015{n:08x}", address, f"-VMName vm{n}", 6000 + n // 2))
            lines.append(f"Set-VMNetworkAdapter vm{n} -VirtualSubnetId {6000 + n // 2}\n" if n < 2000 else "")
            lines.append(ROUTE.replace("6000", str(6000 + n // 2)) if n % 2 else "")
        start = time.monotonic()
        policy = self.good("".join(lines))
        self.assertLess(time.monotonic() - start, 20)
        self.assertEqual([sum(word in line for line in policy) for word in ("kind: vm", "next_hop", "customer_address")],
                         [2000, 4000, 8000])

    def test_exponential_variables(self):
        script = "$a = 'xxxxxxxxxx'\n" + "$a = $a + $a\n" * 60 + '$b = "$a$a$a$a"\n' * 9 + "$c = (Get-X $b)\n" + "$c = ($c.A $c)\n" * 60
        self.assertIn(self.run_import(script + RECORD.replace("Contoso1", "$c")).returncode, (0, 1))

    def test_every_cut_of_a_script(self):
        with open(os.path.join(FIXTURES, "host2.ps1"), encoding="utf-8") as file:
            script = file.read()
        for length in range(0, len(script), 23):
            self.assertIn(self.run_import(script[:length]).returncode, (0, 1), length)


def frame(destination, source, ca, to):
    udp = struct.pack(">HHHH", 1, 2, 15, 0) + b"payload"
    header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, bytes(map(int, ca.split("."))),
                         bytes(map(int, to.split("."))))
    total = sum(struct.unpack(">10H", header))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    packet = header[:10] + struct.pack(">H", total ^ 0xFFFF) + header[12:] + udp
    return bytes.fromhex(destination) + bytes.fromhex(source) + b"\x08\0" + packet


class BookHosts(Case):
    """The three hosts of the "Simple setup": script, policy, packet."""

    def host(self, name, port, packet, *options):
        with open(os.path.join(FIXTURES, name), encoding="utf-8") as file:
            result = self.run_import(file.read(), "--out", "a.yaml", *options)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertNotIn("to fill in", result.stderr)
        check = self.apusctl("check", "--policy", "a.yaml")
        self.assertEqual(check.returncode, 0, check.stderr)
        pcap = struct.pack("<IHHiIIIIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1, 1, 0, len(packet), len(packet)) + packet
        self.write("in.pcap", pcap)
        with open(self.path("a.yaml"), "r+") as file:
            policy = file.read()
            file.write("provider_neighbours:\n" + "".join(
                f'  - {{address: 192.168.0.{n}{n}, mac: "02:00:00:00:00:{n}{n}"}}\n' for n in (1, 2, 3)
                if f"address: 192.168.0.{n}{n}, prefix" not in policy))
        replay = self.apusctl("replay", "--policy", "a.yaml", "--in", f"{port}=in.pcap", "--out-dir", "out")
        self.assertEqual(replay.returncode, 0, replay.stderr)
        with open(self.path("out/uplink.pcap"), "rb") as file:
            sent = file.read()[24:]
        self.stderr = result.stderr
        return sent[16:], replay.stdout

    def check(self, sent, source, destination, vsid, inner_destination):
        self.assertEqual(sent[26:34], bytes(map(int, (source + "." + destination).split("."))))
        self.assertEqual(sent[34:38], bytes.fromhex("20006558"))
        self.assertEqual(int.from_bytes(sent[38:41], "big"), vsid)
        self.assertEqual(sent[42:48].hex(), inner_destination)

    def test_host1(self):
        packet = frame("600060000203", "600060000101", "10.0.1.101", "10.0.1.103")
        sent, report = self.host("host1.ps1", "contoso1", packet, "--uplink-mac", "32:44:55:66:77:88")
        self.assertEqual(sent[6:12].hex(), "324455667788", report)
        self.check(sent, "192.168.0.22", "192.168.0.33", 6000, "600060000203")

    def test_host1_has_a_group_address(self):
        with open(os.path.join(FIXTURES, "host1.ps1"), encoding="utf-8") as file:
            result = self.run_import(file.read(), "--out", "a.yaml")
        self.assertIn("to fill in: a.ps1:37: provider address 192.168.0.22: 33:44:55:66:77:88 is no address", result.stderr)
        check = self.apusctl("check", "--policy", "a.yaml")
        self.assertRegex(check.stderr, r'^a\.yaml:\d+: provider_addresses\[0\]\.mac: "FILL IN: the MAC address of uplink" is not')

    def test_host2(self):
        packet = frame("600060000101", "600060000203", "10.0.1.103", "10.0.1.101")
        sent, _ = self.host("host2.ps1", "contoso3", packet)
        self.assertEqual(sent[6:12].hex(), "445566778899")
        self.check(sent, "192.168.0.33", "192.168.0.22", 6000, "600060000101")

    def test_gateway(self):
        # Through the distributed router, to the gateway of the machine's own subnet.
        packet = frame("00155d000000", "600160010301", "10.0.2.2", "10.0.1.103")
        with open(os.path.join(FIXTURES, "gateway.ps1"), encoding="utf-8") as file:
            self.assertIn("192.168.0.33", file.read())
        sent, report = self.host("gateway.ps1", "mt-gw", packet, "--prefix-length", "24")
        for note in ("10.0.2.1 is the gateway of virtual subnet 6001", "MT-GW has several adapters", "the customer routes count"):
            self.assertIn(note, self.stderr)
        # The router has the MAC address of the gateway's record.
        if not sent:
            packet = frame("600160010300", "600160010301", "10.0.2.2", "10.0.1.103")
            sent, report = self.host("gateway.ps1", "mt-gw", packet, "--prefix-length", "24")
        self.assertTrue(sent, report)
        self.check(sent, "192.168.0.11", "192.168.0.33", 6000, "600060000203")


if __name__ == "__main__":
    result = unittest.main(exit=False).result
    failed = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - failed} passed, {failed} failed")
    sys.exit(failed != 0)
