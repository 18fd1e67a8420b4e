# SPDX-License-Identifier: Apache-2.0
# The gateway host of the "Simple setup", with the slips of the book: the prefix length stands inside brackets, the
# gateway's record has Host 2's provider address, the routing domain of the mapping is zero, and two adapters of one
# machine are given an address by the machine's name.
New-VMSwitch "HNVSwitch" -NetAdapterName "Ethernet" -AllowManagementOS 1
New-VMSwitch "ExternalSwitch" -NetAdapterName "Ethernet2" -AllowManagementOS 1
New-VM -Name "MT-GW" -VHDPATH "Location of VHD" -Generation 2
Add-VMNetworkAdapter
  -VMName MT-GW
  -Name IntNIC
  -SwitchName "HNVSwitch"
Set-VMNetworkAdapter
  -VMName "MT-GW"
  -StaticMacAddress 600160010301
Add-VMNetworkAdapter
  -VMName MT-GW
  -Name ExtNIC
  -SwitchName "ExternalSwitch"
Set-VMNetworkAdapter
  -VMName "MT-GW"
  -StaticMacAddress 600160010302

$iface =
  ((Get-VMSwitch -name "HNVSwitch").NetAdapterInterfaceDescription).ifIndex
New-NetVirtualizationProviderAddress
  -ProviderAddress 192.168.0.11
  -MacAddress 223344556677
  -InterfaceIndex ((get-netadapter -InterfaceDescription $iface -PrefixLength
24 ))
Set-VMNetworkAdapter
  -VMName "MT-GW"
  -VirtualSubnetId 6001

New-NetVirtualizationCustomerRoute
  -RoutingDomainID "{12345678-1000-2000-3000-123456780001}"
  -VirtualSubnetID 6000
  -DestinationPrefix 10.0.1.0/24
  -NextHop 0.0.0.0
New-NetVirtualizationCustomerRoute
  -RoutingDomainID "{12345678-1000-2000-3000-123456780001}"
  -VirtualSubnetID 6001
  -DestinationPrefix 10.0.2.0/24
  -NextHop 0.0.0.0
New-NetVirtualizationCustomerRoute
  -RoutingDomainID "{12345678-1000-2000-3000-123456780001}"
  -VirtualSubnetID 6001
  -DestinationPrefix 0.0.0.0/0
  -NextHop 10.0.2.2
New-NetVirtualizationLookupRecord
  -CustomerAddress 10.0.2.1
  -VirtualSubnetID 6001
  -MACAddress 600160010300
  -ProviderAddress 192.168.0.33
  -Type Static
  -Rule TranslationMethodEncap
New-NetVirtualizationLookupRecord
-CustomerAddress 10.0.1.101
-VirtualSubnetID 6000
-MACAddress 600060000101
-ProviderAddress 192.168.0.22
-Rule TranslationMethodEncap
New-NetVirtualizationLookupRecord
-CustomerAddress 10.0.1.102
-VirtualSubnetID 6000
-MACAddress 600060000102
-ProviderAddress 192.168.0.22
-Rule TranslationMethodEncap
New-NetVirtualizationLookupRecord
-CustomerAddress 10.0.1.103
-VirtualSubnetID 6000
-MACAddress 600060000203
-ProviderAddress 192.168.0.33
-Rule TranslationMethodEncap
New-NetVirtualizationLookupRecord
-CustomerAddress 10.0.2.2
-VirtualSubnetID 6001
-MACAddress 600160010301
-ProviderAddress 192.168.0.11
-Rule TranslationMethodEncap

Set-VMNetworkAdapterIsolation
-VMName MT-GW
-VMNetworkAdapterName IntNic
-MultiTenantStack on
-IsolationMode NativeVirtualSubnet
Add-VmNetworkAdapterRoutingDomainMapping
-VMName MT-GW
-VMNetworkAdapterName IntNic
-RoutingDomainId "{00000000-0000-0000-0000-000000000000}"
-RoutingDomainName "ContosoTenant"
-IsolationId 6001
-IsolationName "ContosoGWSubnet"
