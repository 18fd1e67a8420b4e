// SPDX-License-Identifier: Apache-2.0

internal import CApus
internal import CApusPolicyFile
internal import Glibc

/// Read a whole file. Its size is not asked for but counted, so that pipes work and endless devices end.
func readFile(_ path: String) throws(PolicyError) -> [UInt8] {
    func refused(_ message: String) -> PolicyError {
        let problem = PolicyError.Problem(line: 0, path: "", message: message)
        return PolicyError(file: path, problems: [problem], omitted: 0, code: APUS_ERR_NOT_FOUND.rawValue)
    }
    func failed() -> PolicyError {
        refused("cannot be read: \(unsafe String(cString: strerror(errno)))")
    }
    // A NUL would silently end the name earlier.
    if path.utf8.contains(0) { throw refused("no file can have this name") }
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
    if descriptor < 0 { throw failed() }
    defer { close(descriptor) }

    let limit = Int(APUS_POLICY_FILE_SIZE_MAX)
    var contents: [UInt8] = []
    while contents.count <= limit {
        // Doubling keeps the number of copies small.
        let room = min(max(65536, contents.count), limit + 1 - contents.count)
        let start = contents.count
        contents.append(contentsOf: repeatElement(0, count: room))
        let count = unsafe contents.withUnsafeMutableBytes { unsafe read(descriptor, $0.baseAddress! + start, room) }
        contents.removeLast(room - max(0, count))
        if count == 0 { return contents }
        if count < 0 && errno != EINTR { throw failed() }
    }
    throw refused("is larger than \(limit) bytes")
}
