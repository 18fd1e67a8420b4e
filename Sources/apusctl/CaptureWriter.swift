// SPDX-License-Identifier: Apache-2.0

import CPcap

/// A pcap file, with times in nanoseconds, of what left through a port.
@safe
final class CaptureWriter {
    private let path: String
    private let format: OpaquePointer
    private let file: OpaquePointer

    /// Create the file, or empty it.
    init(path: String) throws {
        self.path = path
        let snapshot: Int32 = 262_144
        guard
            let format = unsafe pcap_open_dead_with_tstamp_precision(
                DLT_EN10MB, snapshot, UInt32(PCAP_TSTAMP_PRECISION_NANO))
        else { throw Refusal("\(path): out of memory") }
        guard let file = unsafe pcap_dump_open(format, path) else {
            let reason = unsafe String(cString: pcap_geterr(format))
            unsafe pcap_close(format)
            throw Refusal(reason.hasPrefix(path) ? reason : "\(path): \(reason)")
        }
        unsafe self.format = unsafe format
        unsafe self.file = unsafe file
    }

    deinit {
        unsafe pcap_dump_close(file)
        unsafe pcap_close(format)
    }

    /// Append a frame.
    func write(_ bytes: UnsafeRawBufferPointer, time: UInt64) {
        let (seconds, rest) = time.quotientAndRemainder(dividingBy: 1_000_000_000)
        var header = pcap_pkthdr()
        header.ts = timeval(tv_sec: Int(clamping: seconds), tv_usec: Int(rest))
        header.caplen = UInt32(bytes.count)
        header.len = header.caplen
        unsafe pcap_dump(
            UnsafeMutableRawPointer(file).assumingMemoryBound(to: UInt8.self), &header,
            bytes.baseAddress?.assumingMemoryBound(to: UInt8.self))
    }

    /// Make sure that everything is in the file; libpcap reports a full disk only here.
    func flush() throws {
        if unsafe pcap_dump_flush(file) != 0 || ferror(pcap_dump_file(file)) != 0 {
            throw Refusal("\(path): cannot be written: \(systemError())")
        }
    }
}
