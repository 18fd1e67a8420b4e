// SPDX-License-Identifier: Apache-2.0

internal import CApus
internal import CApusPolicyFile
#if canImport(Glibc)
internal import Glibc
#else
internal import CLibYAML
#endif

/// Read a whole file. Its size is not asked for but counted, so that pipes work and endless devices end.
func readFile(_ path: String) throws(PolicyError) -> [UInt8] {
    func refused(_ message: String) -> PolicyError {
        let problem = PolicyError.Problem(line: 0, path: "", message: message)
        return PolicyError(file: path, problems: [problem], omitted: 0, code: APUS_ERR_NOT_FOUND.rawValue)
    }
    func failed() -> PolicyError {
        // `errno` is a macro that only the Glibc module translates.
        refused("cannot be read: \(unsafe String(cString: strerror(__errno_location().pointee)))")
    }
    // A NUL would silently end the name earlier.
    if path.utf8.contains(0) { throw refused("no file can have this name") }
    guard let file = unsafe fopen(path, "rbe") else { throw failed() }
    defer { _ = unsafe fclose(file) }

    let limit = Int(APUS_POLICY_FILE_SIZE_MAX)
    var contents: [UInt8] = []
    while contents.count <= limit {
        // Doubling keeps the number of copies small.
        let start = contents.count, room = min(max(65536, start), limit + 1 - start)
        contents.append(contentsOf: repeatElement(0, count: room))
        let count = unsafe contents.withUnsafeMutableBytes { unsafe fread($0.baseAddress! + start, 1, room, file) }
        contents.removeLast(room - count)
        if count < room {
            if unsafe ferror(file) != 0 { throw failed() }
            return contents
        }
    }
    throw refused("is larger than \(limit) bytes")
}
