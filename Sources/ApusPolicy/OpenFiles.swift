// SPDX-License-Identifier: Apache-2.0

internal import CApusPolicyFile
#if canImport(Glibc)
internal import Glibc
#else
internal import CLibYAML
#endif

/// The policy files that C programs have open.
///
/// A `struct apus_policy_file *` is a number in this table and not an address, so that one that was freed is
/// recognised.
struct OpenFiles {
    /// The one table of the process.
    static let shared = Guarded(OpenFiles())

    /// Numbers are never given twice.
    private var last: UInt = 0
    private var files: [UInt: OpenFile] = [:]

    mutating func add(_ file: PolicyFile) -> UInt {
        last += 1
        files[last] = OpenFile(file)
        return last
    }

    subscript(number: UInt) -> OpenFile? {
        get { files[number] }
        set { files[number] = newValue }
    }

    /// The open file that a C pointer stands for.
    static func find(_ handle: OpaquePointer) -> OpenFile? {
        let number = UInt(bitPattern: handle)
        return shared.withLock { $0[number] }
    }
}

/// An open policy file.
struct OpenFile: Sendable {
    /// The texts of a port, as C sees them until the file is freed. They are never written.
    @safe
    struct Texts: @unchecked Sendable {
        let name: UnsafeMutablePointer<CChar>?
        let device: UnsafeMutablePointer<CChar>?
        let parent: UnsafeMutablePointer<CChar>?
    }

    let file: PolicyFile
    let texts: [Texts]
    /// The numbers of the ports, by name, where the file was last applied.
    var portIDs: [String: UInt32] = [:]

    init(_ file: PolicyFile) {
        self.file = file
        texts = file.ports.map {
            unsafe Texts(
                name: strdup($0.name), device: $0.device.flatMap { unsafe strdup($0) },
                parent: $0.parent.flatMap { unsafe strdup($0) })
        }
    }

    /// Give the texts back.
    func close() {
        for port in texts {
            unsafe free(port.name)
            unsafe free(port.device)
            unsafe free(port.parent)
        }
    }
}
