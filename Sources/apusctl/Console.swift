// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Something that ends a command, in words for the person who gave it.
struct Refusal: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

/// Standard error.
enum StandardError {
    static var isTerminal: Bool { isatty(STDERR_FILENO) == 1 }

    static func print(_ text: String, terminator: String = "\n") {
        writeAll(STDERR_FILENO, text + terminator)
    }
}

/// Standard output, for text that was made as one piece.
enum StandardOutput {
    static func print(_ text: String, terminator: String = "\n") {
        writeAll(STDOUT_FILENO, text + terminator)
    }
}

/// Write a text to a descriptor. If nobody reads it any more there is nobody to tell.
@discardableResult
func writeAll(_ descriptor: Int32, _ text: String) -> Bool {
    var bytes = Array(text.utf8)[...]
    while !bytes.isEmpty {
        let count = unsafe bytes.withUnsafeBytes { unsafe write(descriptor, $0.baseAddress, $0.count) }
        if count < 0 && errno == EINTR { continue }
        if count <= 0 { return false }
        bytes = bytes.dropFirst(count)
    }
    return true
}

/// The text of the last system call's error.
func systemError() -> String {
    unsafe String(cString: strerror(errno))
}

/// "1 port", "3 ports"
func counted(_ count: Int, _ noun: String) -> String {
    if count == 1 { return "1 \(noun)" }
    return noun.hasSuffix("ss") ? "\(count) \(noun)es" : "\(count) \(noun)s"
}
