// SPDX-License-Identifier: Apache-2.0

import CPcap

/// A capture file that is replayed into a port: pcap or pcapng, of either byte order and any time resolution.
@safe
final class CaptureReader {
    let path: String
    /// The number of the port that its frames enter.
    let port: UInt32

    /// The time of the frame that comes next, in nanoseconds since 1970; nil at the end.
    private(set) var nextTime: UInt64?
    /// That frame's bytes; valid until ``advance()``.
    private(set) var nextBytes = unsafe UnsafeRawBufferPointer(start: nil, count: 0)

    /// Frames of which the capture has only the beginning. They are left out: the rest cannot be invented.
    private(set) var partialFrames = 0
    /// Frames that are older than the one before them.
    private(set) var backwardSteps = 0
    /// Why reading ended, if it was not the end of the file.
    private(set) var damage: String?

    private let handle: OpaquePointer
    private var lastTime: UInt64 = 0

    /// Open a capture and read its first frame.
    init(path: String, port: UInt32) throws {
        self.path = path
        self.port = port
        var opened: OpaquePointer?
        let reason = unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(PCAP_ERRBUF_SIZE)) { text in
            unsafe opened = pcap_open_offline_with_tstamp_precision(
                path, UInt32(PCAP_TSTAMP_PRECISION_NANO), text.baseAddress)
            return unsafe opened == nil ? String(cString: text.baseAddress!) : ""
        }
        guard let opened = unsafe opened else {
            // libpcap names the file in some of its messages only.
            throw Refusal(reason.hasPrefix(path) ? reason : "\(path): \(reason)")
        }
        unsafe handle = unsafe opened
        let linkType = unsafe pcap_datalink(opened)
        guard linkType == DLT_EN10MB else {
            let name = unsafe pcap_datalink_val_to_name(linkType).map { unsafe String(cString: $0) }
            throw Refusal("\(path): holds frames of link type \(name ?? String(linkType)); accepted: EN10MB (Ethernet)")
        }
        advance()
    }

    deinit {
        unsafe pcap_close(handle)
    }

    /// Read the next whole frame.
    func advance() {
        while true {
            var header: UnsafeMutablePointer<pcap_pkthdr>?
            var bytes: UnsafePointer<UInt8>?
            let result = unsafe pcap_next_ex(handle, &header, &bytes)
            guard result == 1, let header = unsafe header?.pointee else {
                if result == PCAP_ERROR { damage = unsafe String(cString: pcap_geterr(handle)) }
                nextTime = nil
                return
            }
            if header.caplen < header.len {
                partialFrames += 1
                continue
            }
            let time = nanoseconds(header.ts)
            if time < lastTime { backwardSteps += 1 }
            lastTime = time
            nextTime = time
            unsafe nextBytes = unsafe UnsafeRawBufferPointer(start: bytes, count: Int(header.caplen))
            return
        }
    }
}

/// The reader was told to give nanoseconds, which stand where microseconds are otherwise. Times that cannot be, in
/// damaged files, become the nearest that can.
private func nanoseconds(_ time: timeval) -> UInt64 {
    let (seconds, overflow) = UInt64(clamping: time.tv_sec).multipliedReportingOverflow(by: 1_000_000_000)
    if overflow { return .max }
    let (sum, carry) = seconds.addingReportingOverflow(UInt64(clamping: time.tv_usec))
    return carry ? .max : sum
}
