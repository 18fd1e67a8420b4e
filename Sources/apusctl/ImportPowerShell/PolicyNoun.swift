// SPDX-License-Identifier: Apache-2.0

import CApus

/// A kind of object that New-, Set-, Remove- and Get-NetVirtualization... work on, with the parameters that
/// the cmdlets of module NetWNV have for it.
struct PolicyNoun {
    /// What a field holds.
    enum Kind {
        case address, prefix, mac, guid, virtualSubnet
        case number(ClosedRange<UInt64>)
        case text, rule, recordType, flag
        /// A network adapter of the host. Which one it is only the host knows; it is compared by how it is written.
        case interface
    }

    /// What New- says about a field.
    enum Presence { case required, optional }

    struct Field {
        /// The name of the parameter.
        let name: String
        let kind: Kind
        let presence: Presence
        /// Is it what tells one object from another?
        let isKey: Bool
        /// Does Set- look for it, or change it? Set- does not know fields that are nil.
        let set: SetRole?

        enum SetRole { case filter, value }

        init(_ name: String, _ kind: Kind, _ presence: Presence, key: Bool = false, set: SetRole?) {
            self.name = name
            self.kind = kind
            self.presence = presence
            isKey = key
            self.set = set
        }
    }

    /// "LookupRecord"
    let name: String
    /// "lookup record"
    let words: String
    let fields: [Field]

    func field(_ name: String) -> Field? { fields.first { $0.name == name } }

    static let lookupRecord = PolicyNoun(
        name: "LookupRecord", words: "lookup record",
        fields: [
            Field("CustomerAddress", .address, .required, key: true, set: .filter),
            Field("VirtualSubnetID", .virtualSubnet, .required, key: true, set: .filter),
            Field("MACAddress", .mac, .required, set: .filter),
            Field("ProviderAddress", .address, .required, set: .value),
            Field("Rule", .rule, .required, set: .value),
            Field("Type", .recordType, .optional, set: nil),
            Field("VMName", .text, .optional, set: .value),
            Field("CustomerID", .text, .optional, set: .value),
            Field("Context", .text, .optional, set: .value),
            Field("UseVmMACAddress", .flag, .optional, set: .value),
        ])
    static let customerRoute = PolicyNoun(
        name: "CustomerRoute", words: "customer route",
        fields: [
            Field("RoutingDomainID", .guid, .required, key: true, set: .filter),
            Field("VirtualSubnetID", .virtualSubnet, .required, key: true, set: .filter),
            Field("DestinationPrefix", .prefix, .required, key: true, set: .filter),
            Field("NextHop", .address, .required, key: true, set: .filter),
            Field("Metric", .number(0...UInt64(UInt32.max)), .optional, set: .value),
        ])
    static let providerAddress = PolicyNoun(
        name: "ProviderAddress", words: "provider address",
        fields: [
            Field("ProviderAddress", .address, .required, key: true, set: .filter),
            Field("InterfaceIndex", .interface, .required, set: .filter),
            // Windows wants it too, but a book may have lost it, and an operator knows it.
            Field("PrefixLength", .number(1...128), .optional, set: .value),
            Field("VlanID", .number(0...4094), .optional, set: .value),
            Field("MACAddress", .mac, .optional, set: .value),
        ])
    static let providerRoute = PolicyNoun(
        name: "ProviderRoute", words: "provider route",
        fields: [
            Field("DestinationPrefix", .prefix, .required, key: true, set: .filter),
            Field("InterfaceIndex", .interface, .required, key: true, set: .filter),
            Field("NextHop", .address, .required, key: true, set: .filter),
            Field("Metric", .number(0...UInt64(UInt32.max)), .optional, set: .value),
        ])
    static let all = [lookupRecord, customerRoute, providerAddress, providerRoute]

    // MARK: - Values

    /// What is wrong with a value.
    struct Refused: Error {
        let reason: String
    }

    /// A value in the form of policy files.
    static func canonical(_ value: Value, _ field: Field) throws(Refused) -> String {
        if case .interface = field.kind { return Evaluator.interfaceName(value.source) }
        if case .null = value { throw Refused(reason: "-\(field.name) has no value") }
        guard let text = value.text else { throw Refused(reason: unknown(value)) }
        func accepted(_ result: String?, _ expected: String) throws(Refused) -> String {
            guard let result else { throw Refused(reason: "-\(field.name): \"\(oneLine(text))\" is not \(expected)") }
            return result
        }
        switch field.kind {
        case .address: return try accepted(Canonical.address(text), "an IP address")
        case .prefix:
            return try accepted(Canonical.prefix(text), "a prefix such as 10.0.1.0/24, without bits after its length")
        case .mac: return try accepted(Canonical.mac(text), "a MAC address")
        case .guid: return try accepted(Canonical.guid(text), "a GUID")
        case .virtualSubnet:
            return try accepted(
                number(text, in: UInt64(APUS_VSID_MIN)...UInt64(APUS_VSID_MAX)),
                "a number in \(APUS_VSID_MIN)-\(APUS_VSID_MAX)")
        case .number(let range):
            return try accepted(number(text, in: range), "a number in \(range.lowerBound)-\(range.upperBound)")
        case .text, .interface:
            return text
        case .rule:
            return try accepted(
                word(text, ["TranslationMethodEncap", "TranslationMethodNat", "TranslationMethodNone"]),
                "one of TranslationMethodEncap, TranslationMethodNat, TranslationMethodNone")
        case .recordType:
            return try accepted(
                word(text, ["Static", "Dynamic", "GatewayWildcard", "L2Only"]),
                "one of Static, Dynamic, GatewayWildcard, L2Only")
        case .flag:
            if case .flag(let flag) = value { return flag ? "true" : "" }
            throw Refused(reason: "-\(field.name): \(oneLine(value.source)) is neither $true nor $false")
        }
    }

    /// Why a value cannot be used.
    static func unknown(_ value: Value) -> String {
        if case .list = value { return "a list of values stands where one is wanted" }
        let source = oneLine(value.source)
        let isUnset = source.hasPrefix("$") && source.dropFirst().allSatisfy { $0.isLetter || $0.isNumber || $0 == "_" }
        if isUnset { return "\(source) is not set in the script; give it with --variable \(source.dropFirst())=VALUE" }
        return
            "\(source) is known only when the script runs; if a variable holds it, give it with --variable NAME=VALUE"
    }

    private static func number(_ text: String, in range: ClosedRange<UInt64>) -> String? {
        Canonical.number(text).flatMap { range.contains($0) ? String($0) : nil }
    }

    private static func word(_ text: String, _ words: [String]) -> String? {
        words.first { $0.lowercased() == text.lowercased() }
    }
}
