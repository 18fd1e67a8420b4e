// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The text of a PowerShell script, in one of the encodings that Windows gives it.
struct ScriptFile {
    let name: String
    let scalars: [Unicode.Scalar]

    /// Far more than anybody writes by hand.
    private static let maximalSize = 32 << 20

    /// - Parameter path: a file, or - for standard input
    init(path: String) throws {
        name = path == "-" ? "standard input" : path
        scalars = try Self.decode(try Self.read(path, name: name), name: name)
    }

    private static func read(_ path: String, name: String) throws -> [UInt8] {
        let descriptor = path == "-" ? STDIN_FILENO : unsafe open(path, O_RDONLY | O_CLOEXEC)
        if descriptor < 0 { throw Refusal("\(name): cannot be read: \(systemError())") }
        defer { if path != "-" { close(descriptor) } }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = unsafe buffer.withUnsafeMutableBytes { unsafe Glibc.read(descriptor, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            if count < 0 { throw Refusal("\(name): cannot be read: \(systemError())") }
            if count == 0 { return bytes }
            bytes += buffer[..<count]
            if bytes.count > maximalSize { throw Refusal("\(name): is larger than \(maximalSize) bytes") }
        }
    }

    /// UTF-8, or UTF-16 with a byte order mark, which is what Windows PowerShell's `>` and Out-File write.
    private static func decode(_ bytes: [UInt8], name: String) throws -> [Unicode.Scalar] {
        let text: String?
        switch bytes.prefix(3) {
        case [0xEF, 0xBB, 0xBF]: text = String(validating: bytes.dropFirst(3), as: UTF8.self)
        case let mark where mark.starts(with: [0xFF, 0xFE]): text = utf16(bytes.dropFirst(2)) { $0 | $1 << 8 }
        case let mark where mark.starts(with: [0xFE, 0xFF]): text = utf16(bytes.dropFirst(2)) { $0 << 8 | $1 }
        default: text = String(validating: bytes, as: UTF8.self)
        }
        guard let text else {
            throw Refusal("\(name): is not text in UTF-8, nor in UTF-16 with a byte order mark")
        }
        let scalars = Array(text.unicodeScalars)
        if scalars.contains("\0") { throw Refusal("\(name): is not a script: it contains NUL characters") }
        return scalars
    }

    private static func utf16(_ bytes: ArraySlice<UInt8>, _ join: (UInt16, UInt16) -> UInt16) -> String? {
        guard bytes.count.isMultiple(of: 2) else { return nil }
        let units = stride(from: bytes.startIndex, to: bytes.endIndex, by: 2).map {
            join(UInt16(bytes[$0]), UInt16(bytes[$0 + 1]))
        }
        return String(validating: units, as: UTF16.self)
    }
}
