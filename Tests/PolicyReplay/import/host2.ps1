# SPDX-License-Identifier: Apache-2.0
# Host 2 of the "Simple setup", as a script that runs: backticks at the ends of lines.

<# Windows setup: nothing of it concerns
   the policy #>
Install-WindowsFeature -Name Hyper-V -ComputerName localhost `
  -IncludeManagementTools -Restart
New-VMSwitch "HNVSwitch" -NetAdapterName "Ethernet" -AllowManagementOS 1
New-VM -Name "Contoso3" -VHDPath "Location of VHD" -SwitchName "HNVSwitch" -Generation 2

Set-VMNetworkAdapter `
  -VMName "Contoso3" `
  -StaticMacAddress 600060000203

$iface =
  ((Get-VMSwitch -name "HNVSwitch").NetAdapterInterfaceDescription).ifIndex
New-NetVirtualizationProviderAddress `
  -ProviderAddress 192.168.0.33 `
  -MacAddress 445566778899 `
  -InterfaceIndex ((get-netadapter -InterfaceDescription $iface)) `
  -PrefixLength 24
Set-VMNetworkAdapter -VMName "Contoso3" -VirtualSubnetId 6000

$contoso = "{12345678-1000-2000-3000-123456780001}"
New-NetVirtualizationCustomerRoute -RoutingDomainID $contoso -VirtualSubnetID 6000 `
  -DestinationPrefix 10.0.1.0/24 -NextHop 0.0.0.0
New-NetVirtualizationCustomerRoute -RoutingDomainID $contoso -VirtualSubnetID 6001 `
  -DestinationPrefix 10.0.2.0/24 -NextHop 0.0.0.0
New-NetVirtualizationCustomerRoute -RoutingDomainID $contoso -VirtualSubnetID 6001 `
  -DestinationPrefix 0.0.0.0/0 -NextHop 10.0.2.2

New-NetVirtualizationLookupRecord -CustomerAddress 10.0.1.1 -VirtualSubnetID 6000 -MACAddress 600060000200 `
  -ProviderAddress 192.168.0.33 -Type Static -Rule TranslationMethodEncap
New-NetVirtualizationLookupRecord -CustomerAddress 10.0.1.101 -VirtualSubnetID 6000 -MACAddress 600060000101 `
  -ProviderAddress 192.168.0.22 -Rule TranslationMethodEncap
New-NetVirtualizationLookupRecord -CustomerAddress 10.0.1.102 -VirtualSubnetID 6000 -MACAddress 600060000102 `
  -ProviderAddress 192.168.0.22 -Rule TranslationMethodEncap
New-NetVirtualizationLookupRecord -CustomerAddress 10.0.1.103 -VirtualSubnetID 6000 -MACAddress 600060000203 `
  -ProviderAddress 192.168.0.33 -Rule TranslationMethodEncap
New-NetVirtualizationLookupRecord -CustomerAddress 10.0.2.2 -VirtualSubnetID 6001 -MACAddress 600160010301 `
  -ProviderAddress 192.168.0.11 -Rule TranslationMethodEncap
Get-vmnetworkadapter * | fl VMName,MacAddress,VirtualSubnetId,SwitchName
