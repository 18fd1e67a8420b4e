// SPDX-License-Identifier: Apache-2.0

internal import CApus

/// The keys of one mapping of a policy file, and the checks that a single value can be put to.
///
/// Every accessor notes a problem and returns nil if the value is wrong. The keys that were asked for are the keys
/// that the object has: ``finish()`` refuses all others, so there is no list of keys beside the code that reads them.
struct FieldReader {
    /// Whether a key may be left out.
    enum Presence { case required, optional }

    /// A key with its value.
    struct Entry {
        enum Value { case text(String, plain: Bool), list, mapping([Entry]) }

        let key: String
        let line: Int
        let value: Value
    }

    /// The object's path in messages, without its index: "lookup_records".
    let section: String
    /// Its place in the list, from 0; nil for `settings`.
    let index: Int?
    /// The line on which it begins.
    let line: Int
    let entries: [Entry]
    let problems: Problems
    private var known: [String] = []

    init(section: String, index: Int?, line: Int, entries: [Entry], problems: Problems) {
        self.section = section
        self.index = index
        self.line = line
        self.entries = entries
        self.problems = problems
    }

    var lines: SourceLines {
        SourceLines(first: line, keys: entries.map { ($0.key, $0.line) })
    }

    /// "lookup_records[3].mac"
    func path(_ key: String) -> String {
        "\(objectPath(section, index)).\(key)"
    }

    /// Is the key there, whatever its value?
    func has(_ key: String) -> Bool {
        entries.contains { $0.key == key }
    }

    /// Note a problem with a key's value.
    func refuse(_ key: String, _ message: @autoclosure () -> String) {
        let line = entries.first { $0.key == key }?.line ?? line
        problems.add(line, path(key), message())
    }

    /// Refuse the keys that nobody asked for.
    func finish() {
        for entry in entries where !known.contains(entry.key) {
            problems.add(
                entry.line, objectPath(section, index),
                "unknown key \(quoted(entry.key))\(suggestion(for: entry.key, among: known))"
                    + "; known keys: \(known.joined(separator: ", "))")
        }
    }

    // MARK: - Values

    /// Any text, at most `limit` bytes of UTF-8 without control characters.
    mutating func text(_ key: String, _ presence: Presence, limit: Int) -> String? {
        guard let text = scalar(key, presence, "text") else { return nil }
        if text.utf8.count > limit {
            refuse(key, "\(quoted(text)) is \(text.utf8.count) bytes long; accepted: at most \(limit)")
        } else if text.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }) {
            refuse(key, "\(quoted(text)) contains control characters")
        } else {
            return text
        }
        return nil
    }

    /// A whole number in decimal digits.
    mutating func number<Value: FixedWidthInteger>(
        _ key: String, _ presence: Presence, in range: ClosedRange<Value>
    ) -> Value? {
        let accepted = "\(range.lowerBound)-\(range.upperBound)"
        guard let text = digits(key, presence, accepted: accepted) else { return nil }
        guard let value = Value(text), range.contains(value) else {
            refuse(key, "\(shortened(text)) is outside \(accepted)")
            return nil
        }
        return value
    }

    /// The digits of a whole number, of whatever size.
    mutating func digits(_ key: String, _ presence: Presence, accepted: String) -> String? {
        guard let text = scalar(key, presence, "a number") else { return nil }
        let bytes = text.utf8.first == UInt8(ascii: "-") ? text.utf8.dropFirst() : text.utf8[...]
        // A leading zero would be octal to one reader and decimal to another.
        guard !bytes.isEmpty, bytes.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
            bytes.count == 1 || bytes.first != UInt8(ascii: "0")
        else {
            refuse(key, "\(quoted(text)) is not a whole number; accepted: \(accepted)")
            return nil
        }
        return text
    }

    /// `true` or `false`.
    mutating func flag(_ key: String) -> Bool? {
        guard let text = scalar(key, .optional, "true or false") else { return nil }
        switch text {
        case "true": return true
        case "false": return false
        default:
            refuse(key, "\(quoted(text)) is neither true nor false")
            return nil
        }
    }

    /// One of a few words.
    mutating func word<Value>(_ key: String, _ presence: Presence, of words: KeyValuePairs<String, Value>) -> Value? {
        guard let text = scalar(key, presence, "a word") else { return nil }
        if let match = words.first(where: { $0.key == text }) { return match.value }
        let names = words.map { $0.key }
        refuse(
            key,
            "\(quoted(text)) is not one of \(names.joined(separator: ", "))\(suggestion(for: text, among: names))")
        return nil
    }

    /// An IP address.
    mutating func address(_ key: String, _ presence: Presence) -> apus_address? {
        guard let text = scalar(key, presence, "an IP address") else { return nil }
        var address = apus_address()
        if unsafe apus_address_parse(text, &address) != 0 || text.utf8.contains(0) {
            refuse(key, "\(quoted(text)) is not an IP address such as 10.0.1.5 or 2001:db8::5")
        } else if address.isMapped {
            refuse(key, "\(quoted(text)) is an IPv4-mapped IPv6 address; accepted: \(address.unmapped.text)")
        } else {
            return address
        }
        return nil
    }

    /// A prefix without bits after its length.
    mutating func prefix(_ key: String, _ presence: Presence) -> apus_prefix? {
        guard let text = scalar(key, presence, "a prefix") else { return nil }
        var prefix = apus_prefix()
        let result = text.utf8.contains(0) ? APUS_ERR_SYNTAX.rawValue : unsafe apus_prefix_parse(text, &prefix)
        if result == 0, prefix.address.isMapped {
            refuse(
                key, "\(quoted(text)) is a prefix of IPv4-mapped IPv6 addresses; accepted: an IPv4 or an IPv6 prefix")
        } else if result == 0 {
            return prefix
        } else if result == APUS_ERR_PREFIX.rawValue, let meant = apus_prefix(clearing: text) {
            refuse(key, "\(quoted(text)) has bits after its length; the prefix would be \(meant.text)")
        } else {
            refuse(key, "\(quoted(text)) is not a prefix such as 10.0.1.0/24 or 2001:db8::/64")
        }
        return nil
    }

    /// The next hop of a route, of the family of the route's prefix; without one the destination is on-link.
    ///
    /// - Parameter prefix: nil if it is wrong, which was noted
    mutating func nextHop(_ key: String, to prefix: apus_prefix?) -> apus_address? {
        let isGiven = has(key)
        let nextHop = address(key, .optional)
        guard let prefix else { return nil }
        guard let nextHop else { return isGiven ? nil : .unspecified(prefix.address.family) }
        if nextHop.family == prefix.address.family { return nextHop }
        refuse(
            key,
            "\(nextHop.text) is an \(nextHop.familyName) address, but \(prefix.text) an \(prefix.address.familyName) "
                + "prefix; accepted: an \(prefix.address.familyName) address, "
                + "\(apus_address.unspecified(prefix.address.family).text) for on-link")
        return nil
    }

    /// A MAC address that an adapter can have.
    mutating func mac(_ key: String, _ presence: Presence) -> apus_mac? {
        guard let text = scalar(key, presence, "a MAC address") else { return nil }
        var mac = apus_mac()
        if unsafe apus_mac_parse(text, &mac) != 0 || text.utf8.contains(0) {
            refuse(key, "\(quoted(text)) is not a MAC address such as 60:00:60:00:01:01")
        } else if mac.bytes.0 & 1 != 0 {
            refuse(key, "\(text) is a group address (the first byte is odd); accepted: a unicast address")
        } else if mac.isZero {
            refuse(key, "\(text) is no adapter's address; accepted: a unicast address")
        } else {
            return mac
        }
        return nil
    }

    /// A GUID.
    mutating func guid(_ key: String, _ presence: Presence) -> apus_guid? {
        // Without quotes the braces make it a mapping: the mistake deserves its own words.
        let expected = #"a GUID in quotes, "{12345678-1000-2000-3000-123456780001}""#
        guard let text = scalar(key, presence, expected) else { return nil }
        var guid = apus_guid()
        if unsafe apus_guid_parse(text, &guid) == 0, !text.utf8.contains(0) { return guid }
        refuse(key, "\(quoted(text)) is not a GUID such as {12345678-1000-2000-3000-123456780001}")
        return nil
    }

    /// An address with the length of its prefix.
    mutating func interface(_ key: String, _ presence: Presence) -> (address: apus_address, length: UInt8)? {
        guard let text = scalar(key, presence, "an address with a prefix length") else { return nil }
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        var address = apus_address()
        guard parts.count == 2, !text.utf8.contains(0), unsafe apus_address_parse(String(parts[0]), &address) == 0 else {
            refuse(key, "\(quoted(text)) is not an address with a prefix length such as 10.9.0.2/24 or 2001:db8::2/64")
            return nil
        }
        if address.isMapped {
            refuse(key, "\(quoted(text)) is an IPv4-mapped IPv6 address; accepted: \(address.unmapped.text)")
            return nil
        }
        guard let length = UInt8(parts[1]), (1...address.bitCount).contains(length) else {
            refuse(key, "\(quoted(text)): the prefix length is outside 1-\(address.bitCount)")
            return nil
        }
        return (address, length)
    }

    // MARK: - Mappings

    /// A mapping in this one, whose reader has to be finished too.
    mutating func mapping(_ key: String, _ expected: String) -> FieldReader? {
        known.append(key)
        guard let entry = entries.first(where: { $0.key == key }) else { return nil }
        if case .mapping(let inside) = entry.value {
            return FieldReader(section: path(key), index: nil, line: entry.line, entries: inside, problems: problems)
        }
        if case .text(let text, let plain) = entry.value, !plain || !isNull(text) {
            refuse(key, "expected \(expected), found \(quoted(text))")
        } else if case .list = entry.value {
            refuse(key, "expected \(expected), found a list")
        } else {
            refuse(key, "has no value; expected \(expected)")
        }
        return nil
    }

    // MARK: - Scalars

    /// The text of a key's value; nil, and a problem where there is one, if it has none.
    private mutating func scalar(_ key: String, _ presence: Presence, _ expected: String) -> String? {
        known.append(key)
        guard let entry = entries.first(where: { $0.key == key }) else {
            if presence == .required { problems.add(line, path(key), "missing; it is required") }
            return nil
        }
        switch entry.value {
        case .text(let text, let plain) where plain && isNull(text):
            refuse(key, "has no value; expected \(expected)")
        case .text(let text, _):
            return text
        case .list:
            refuse(key, "expected \(expected), found a list")
        case .mapping:
            refuse(key, "expected \(expected), found a mapping")
        }
        return nil
    }
}

/// "ports[2]", "settings"
func objectPath(_ section: String, _ index: Int?) -> String {
    index.map { "\(section)[\($0)]" } ?? section
}

/// What YAML calls null, when it is written without quotes.
func isNull(_ text: String) -> Bool {
    text.isEmpty || text == "~" || text == "null"
}

/// A number for a message, of bounded length.
func shortened(_ digits: String) -> String {
    digits.utf8.count <= 24 ? digits : "\(digits.prefix(20))..."
}
