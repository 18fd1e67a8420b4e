// SPDX-License-Identifier: Apache-2.0

import CApus

/// The next hop that `explain` puts wherever a frame waits for one: it answers ARP and neighbour discovery.
enum AnsweringNeighbor {
    static let mac = apus_mac(bytes: (2, 0, 0, 0, 0, 1))

    /// Its answer to a frame that was sent, if that asks for somebody.
    static func answer(to frame: [UInt8]) -> [UInt8]? {
        guard frame.count >= 18 else { return nil }
        // The tag, if there is one, and the EtherType behind it.
        let tag = frame[12] == 0x81 && frame[13] == 0 ? Array(frame[12..<16]) : []
        let rest = Array(frame[(12 + tag.count)...])
        let own = Sender.bytes(mac), asker = Array(frame[6..<12])
        let link = asker + own + tag
        if rest.starts(with: [8, 6]), rest.count >= 30, rest[9] == 1 {
            return link + [8, 6, 0, 1, 8, 0, 6, 4, 0, 2] + own + rest[26..<30] + asker + rest[16..<20]
        }
        guard rest.starts(with: [0x86, 0xDD]), rest.count >= 66, rest[8] == 58, rest[42] == 135 else { return nil }
        let target = Octets(Array(rest[50..<66])), source = Octets(Array(rest[10..<26]))
        var message: [UInt8] = [136, 0, 0, 0, 0x60, 0, 0, 0] + target.bytes + [2, 1] + own
        Sender.fillChecksum(of: &message, from: target, to: source)
        return link + Sender.header(from: target, to: source, 58, message.count, ttl: 255) + message
    }
}
