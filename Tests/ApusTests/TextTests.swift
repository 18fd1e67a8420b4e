// SPDX-License-Identifier: Apache-2.0

import CApus
import Testing

@testable import Apus

@Suite struct TextTests {
    private func parseAddress(_ text: String) -> IPAddress? {
        var address = apus_address()
        return apus_address_parse(text, &address) == 0 ? IPAddress(address) : nil
    }

    private func format(_ address: apus_address) -> String {
        var copy = address
        return format { apus_address_format(&copy, $0, $1) }
    }

    private func format(_ call: (UnsafeMutablePointer<CChar>, Int) -> Int32) -> String {
        let text = UnsafeMutablePointer<CChar>.allocate(capacity: Int(APUS_TEXT_SIZE))
        defer { text.deallocate() }
        let length = call(text, Int(APUS_TEXT_SIZE))
        let string = String(cString: text)
        #expect(length == string.utf8.count)
        return string
    }

    private func v6(_ groups: [UInt16]) -> apus_address {
        var address = apus_address()
        address.family = UInt8(APUS_IPV6)
        withUnsafeMutableBytes(of: &address.bytes) {
            for (index, group) in groups.enumerated() {
                $0[2 * index] = UInt8(group >> 8)
                $0[2 * index + 1] = UInt8(group & 255)
            }
        }
        return address
    }

    // MARK: - Addresses

    @Test(
        arguments: [
            ("0.0.0.0", 0), ("255.255.255.255", 0xFFFF_FFFF), ("10.0.1.5", 0x0A00_0105), ("192.168.0.1", 0xC0A8_0001),
        ] as [(String, UInt32)])
    func addressesOfV4(_ text: String, _ value: UInt32) {
        #expect(parseAddress(text) == IPAddress(v4: value))
        #expect(format(address(value)) == text)
    }

    /// RFC 5952 section 4 and the forms of RFC 4291 section 2.2: what is read, and how it is written.
    @Test(arguments: [
        ("2001:db8::5", "2001:db8::5"), ("2001:0DB8:0:0:0:0:0:5", "2001:db8::5"), ("::", "::"), ("::1", "::1"),
        ("1::", "1::"), ("2001:db8::1:0:0:1", "2001:db8::1:0:0:1"), ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
        ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"), ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"),
        ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"), ("0:0:1::", "0:0:1::"), ("0:1:0:0:0:0:0:0", "0:1::"),
        ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"), ("::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"),
        ("64:ff9b::192.0.2.33", "64:ff9b::c000:221"), ("1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"),
        ("FE80::ABCD", "fe80::abcd"), ("1:0:0:2:0:0:0:3", "1:0:0:2::3"), ("1:0:0:0:2:0:0:0", "1::2:0:0:0"),
        ("::1.2.3.4", "::102:304"),
    ])
    func addressesOfV6(_ text: String, _ canonical: String) throws {
        let address = try #require(parseAddress(text))
        #expect(format(address.c) == canonical)
        #expect(parseAddress(canonical) == address)
    }

    @Test(arguments: [
        "", " ", "1", "1.2.3", "1.2.3.", "1.2.3.4.", "1.2.3.4.5", ".1.2.3", "1..2.3", "256.1.1.1", "1.2.3.256",
        "01.2.3.4",
        "1.2.3.00", "1.2.3.4 ", " 1.2.3.4", "1.2.3.-4", "+1.2.3.4", "1.2.3.0x4", "1.2.3.4/24", "1,2,3,4", "1.2.3.1234",
        ":",
        ":::", "1:", ":1", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "::1:2:3:4:5:6:7:8", "1::2::3",
        "12345::", "g::", "fe80::1%eth0", "::1.2.3", "1.2.3.4::", "1:2:3:4:5:6:7:1.2.3.4", "::1.2.3.4:5",
        "2001:db8::/32", "1:::2",
        "::ffff:1.2.3.400", "::01.2.3.4",
    ])
    func refusedAddresses(_ text: String) {
        var address = apus_address()
        address.family = 99
        #expect(apus_address_parse(text, &address) == APUS_ERR_SYNTAX.rawValue)
        #expect(address.family == 99)
    }

    /// Every pattern of zero and nonzero groups: written as the standard wants it, and read back.
    @Test func everyPatternOfZeroGroups() {
        for pattern in 0..<256 {
            let groups = (0..<8).map { (group: Int) -> UInt16 in
                pattern >> group & 1 == 1 ? UInt16(0xA0 + group) : 0
            }
            let text = format(v6(groups))
            #expect(text == canonical(groups))
            #expect(parseAddress(text)?.c.bytesAsArray == v6(groups).bytesAsArray)
        }
    }

    /// RFC 5952 section 4.2 by definition: the longest run of zero groups, the first of equals, not a single one.
    private func canonical(_ groups: [UInt16]) -> String {
        var best = 0..<0
        for start in 0..<8 {
            var end = start
            while end < 8, groups[end] == 0 { end += 1 }
            if end - start > best.count { best = start..<end }
        }
        func join(_ part: ArraySlice<UInt16>) -> String {
            part.map { String($0, radix: 16) }.joined(separator: ":")
        }
        if best.count < 2 { return join(groups[...]) }
        return join(groups[..<best.lowerBound]) + "::" + join(groups[best.upperBound...])
    }

    @Test func randomAddressesRoundTrip() {
        var random = SeededGenerator(7)
        for _ in 0..<2000 {
            let v4 = UInt32(truncatingIfNeeded: random.next())
            #expect(parseAddress(format(address(v4))) == IPAddress(v4: v4))
            let groups = (0..<8).map { (_: Int) -> UInt16 in
                random.below(3) == 0 ? 0 : UInt16(truncatingIfNeeded: random.next())
            }
            let v6 = v6(groups)
            #expect(parseAddress(format(v6))?.c.bytesAsArray == v6.bytesAsArray)
        }
    }

    // MARK: - Prefixes

    @Test(arguments: [
        ("10.0.1.0/24", "10.0.1.0/24"), ("0.0.0.0/0", "0.0.0.0/0"), ("10.0.0.1/32", "10.0.0.1/32"),
        ("2001:db8::/32", "2001:db8::/32"), ("::/0", "::/0"), ("::1/128", "::1/128"),
    ])
    func prefixes(_ text: String, _ canonical: String) {
        var prefix = apus_prefix()
        #expect(apus_prefix_parse(text, &prefix) == 0)
        #expect(format { apus_prefix_format(&prefix, $0, $1) } == canonical)
    }

    @Test(arguments: [
        ("10.0.1.0", APUS_ERR_SYNTAX), ("10.0.1.0/", APUS_ERR_SYNTAX), ("10.0.1.0/024", APUS_ERR_SYNTAX),
        ("10.0.1.0/24 ", APUS_ERR_SYNTAX), ("10.0.1.0/x", APUS_ERR_SYNTAX), ("10.0.1.0/-1", APUS_ERR_SYNTAX),
        ("/24", APUS_ERR_SYNTAX), ("10.0.1.0/33", APUS_ERR_PREFIX), ("10.0.1.0/999", APUS_ERR_PREFIX),
        ("10.0.1.1/24", APUS_ERR_PREFIX), ("::/129", APUS_ERR_PREFIX), ("::1/127", APUS_ERR_PREFIX),
        ("10.0.1.0/256", APUS_ERR_PREFIX), ("10.0.1.0/1000", APUS_ERR_SYNTAX),
    ])
    func refusedPrefixes(_ text: String, _ code: apus_error) {
        var prefix = apus_prefix()
        prefix.length = 99
        #expect(apus_prefix_parse(text, &prefix) == code.rawValue)
        #expect(prefix.length == 99)
    }

    // MARK: - MAC addresses and GUIDs

    @Test(arguments: ["60:00:60:00:01:01", "60-00-60-00-01-01", "600060000101"])
    func macs(_ text: String) {
        var mac = apus_mac()
        #expect(apus_mac_parse(text, &mac) == 0)
        #expect(MACAddress(mac).value == 0x6000_6000_0101)
        #expect(format { apus_mac_format(&mac, $0, $1) } == "60:00:60:00:01:01")
    }

    @Test(arguments: [
        "", "60:00:60:00:01", "60:00:60:00:01:01:02", "60:00:60:00:01-01", "60:00-60:00-01:01", "6:0:60:0:1:1",
        "60:00:60:00:01:0g",
        "6000600001011", "60006000010", "6000.6000.0101", "60:00:60:00:01:01 ", ":60:00:60:00:01:01",
        "6000:60:00:01:01",
    ])
    func refusedMACs(_ text: String) {
        var mac = apus_mac()
        #expect(apus_mac_parse(text, &mac) == APUS_ERR_SYNTAX.rawValue)
        #expect(MACAddress(mac).value == 0)
    }

    @Test(arguments: ["{12345678-1000-2000-3000-123456780001}", "12345678-1000-2000-3000-123456780001"])
    func guids(_ text: String) {
        var guid = apus_guid()
        #expect(apus_guid_parse(text, &guid) == 0)
        #expect(GUID(guid) == GUID(high: 0x1234_5678_1000_2000, low: 0x3000_1234_5678_0001))
        #expect(format { apus_guid_format(&guid, $0, $1) } == "{12345678-1000-2000-3000-123456780001}")
    }

    @Test(arguments: [
        "", "{}", "{12345678-1000-2000-3000-123456780001", "12345678-1000-2000-3000-123456780001}",
        "12345678100020003000123456780001", "{12345678-1000-2000-3000-12345678001}",
        "{1234567-1000-2000-3000-1234567800010}",
        "{12345678-1000-2000-3000-123456780001} ", "{{12345678-1000-2000-3000-123456780001}}",
        "{12345678-1000-2000-3000-12345678000g}",
    ])
    func refusedGUIDs(_ text: String) {
        var guid = apus_guid()
        #expect(apus_guid_parse(text, &guid) == APUS_ERR_SYNTAX.rawValue)
    }

    @Test func randomMACsAndGUIDsRoundTrip() {
        var random = SeededGenerator(8)
        for _ in 0..<1000 {
            var mac = MACAddress(random.next() & 0xFFFF_FFFF_FFFF).c
            var readMAC = apus_mac()
            #expect(apus_mac_parse(format { apus_mac_format(&mac, $0, $1) }, &readMAC) == 0)
            #expect(MACAddress(readMAC) == MACAddress(mac))
            var guid = GUID(high: random.next(), low: random.next()).c
            var readGUID = apus_guid()
            #expect(apus_guid_parse(format { apus_guid_format(&guid, $0, $1) }, &readGUID) == 0)
            #expect(GUID(readGUID) == GUID(guid))
        }
    }

    // MARK: - Room

    /// At every size: never a byte behind it, always NUL-terminated, the start of the text, the right answer.
    @Test func everySizeOfTheBuffer() {
        var guid = GUID(high: 1, low: 2).c
        let full = format { apus_guid_format(&guid, $0, $1) }
        for size in 0...Int(APUS_TEXT_SIZE) {
            // The heap block ends where the text may: the address sanitizer sees one byte too many.
            let text = UnsafeMutablePointer<CChar>.allocate(capacity: max(size, 1))
            defer { text.deallocate() }
            text[0] = 0x55
            let code = apus_guid_format(&guid, text, size)
            if size == 0 {
                #expect(code == APUS_ERR_RANGE.rawValue)
                #expect(text[0] == 0x55)
                continue
            }
            #expect(code == (size > full.utf8.count ? Int32(full.utf8.count) : APUS_ERR_RANGE.rawValue))
            #expect(String(cString: text) == String(full.prefix(size - 1)))
        }
    }

    @Test func familiesAndNULL() {
        var address = apus_address()
        let text = UnsafeMutablePointer<CChar>.allocate(capacity: Int(APUS_TEXT_SIZE))
        defer { text.deallocate() }
        #expect(apus_address_format(&address, text, 64) == APUS_ERR_FAMILY.rawValue)
        #expect(apus_address_format(nil, text, 64) == APUS_ERR_NULL.rawValue)
        address.family = 4
        #expect(apus_address_format(&address, nil, 64) == APUS_ERR_NULL.rawValue)
        #expect(apus_address_parse(nil, &address) == APUS_ERR_NULL.rawValue)
        #expect(apus_address_parse("1.2.3.4", nil) == APUS_ERR_NULL.rawValue)
    }

    /// No text is read beyond its NUL: every start of every form, each in a heap block of its own size.
    @Test func everyStartOfEveryForm() {
        let forms = [
            "255.255.255.255/32", "1:2:3:4:5:6:1.2.3.4", "2001:db8::ffff:192.0.2.33/128", "60-00-60-00-01-01",
            "{12345678-1000-2000-3000-123456780001}",
        ]
        for form in forms {
            for length in 0...form.utf8.count {
                let text = UnsafeMutablePointer<CChar>.allocate(capacity: length + 1)
                defer { text.deallocate() }
                for (index, byte) in form.utf8.prefix(length).enumerated() { text[index] = CChar(byte) }
                text[length] = 0
                var (address, prefix, mac, guid) = (apus_address(), apus_prefix(), apus_mac(), apus_guid())
                #expect(apus_address_parse(text, &address) <= 0)
                #expect(apus_prefix_parse(text, &prefix) <= 0)
                #expect(apus_mac_parse(text, &mac) <= 0)
                #expect(apus_guid_parse(text, &guid) <= 0)
            }
        }
    }
}

extension apus_address {
    fileprivate var bytesAsArray: [UInt8] { [family] + withUnsafeBytes(of: bytes) { Array($0) } }
}
