// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A UNIX socket that takes commands, one a line, and answers each with one line. Served between other work and never
/// waited for: a client that does not read its answer is cut off.
final class ControlSocket {
    private let path: String
    private let commands: Commands
    private let listener: Int32
    private var clients: [Client] = []
    private var isClosed = false

    private struct Client {
        let file: Int32
        var line: [UInt8] = []
    }

    static let clientsMax = 8
    static let lineMax = 256

    /// Listen. Only the owner of the process may connect.
    init(path: String, commands: Commands) throws {
        self.path = path
        self.commands = commands
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let room = MemoryLayout.size(ofValue: address.sun_path) - 1
        guard path.utf8.count <= room else { throw HostError("--control: the path is longer than \(room) bytes") }
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: path.utf8) }

        // A socket on which nobody listens was left behind by a process that was killed.
        let probe = try Self.makeSocket(flags: 0)
        let connected = unsafe Self.call(connect, probe, address)
        let reason = errno
        _ = Glibc.close(probe)
        if connected == 0 { throw HostError("--control: another process listens on \(path)") }
        if reason == ECONNREFUSED { unsafe unlink(path) }

        listener = try Self.makeSocket(flags: Int32(SOCK_NONBLOCK.rawValue))
        let mask = umask(0o177)
        let bound = unsafe Self.call(bind, listener, address)
        let why = errno
        umask(mask)
        guard bound == 0, listen(listener, Int32(Self.clientsMax)) == 0 else {
            _ = Glibc.close(listener)
            throw HostError("--control: \(path): \(unsafe String(cString: strerror(why)))")
        }
    }

    private static func makeSocket(flags: Int32) throws -> Int32 {
        let file = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | flags, 0)
        if file < 0 { throw HostError("socket: \(unsafe String(cString: strerror(errno)))") }
        return file
    }

    private static func call(
        _ function: (Int32, UnsafePointer<sockaddr>, socklen_t) -> Int32, _ file: Int32, _ address: sockaddr_un
    ) -> Int32 {
        unsafe withUnsafePointer(to: address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe function(file, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
    }

    func close() {
        if isClosed { return }
        isClosed = true
        for client in clients { _ = Glibc.close(client.file) }
        _ = Glibc.close(listener)
        unsafe unlink(path)
    }

    // MARK: - Service

    /// Do what can be done without waiting.
    func serve() {
        var files = clients.map { pollfd(fd: $0.file, events: Int16(POLLIN), revents: 0) }
        files.append(pollfd(fd: listener, events: Int16(POLLIN), revents: 0))
        guard unsafe poll(&files, nfds_t(files.count), 0) > 0 else { return }
        for index in clients.indices.reversed() where files[index].revents != 0 && !serve(&clients[index]) {
            _ = Glibc.close(clients[index].file)
            clients.remove(at: index)
        }
        if files[files.count - 1].revents & Int16(POLLIN) != 0 { accept() }
    }

    private func accept() {
        let file = Glibc.accept(listener, nil, nil)
        if file < 0 { return }
        _ = fcntl(file, F_SETFD, FD_CLOEXEC)
        if clients.count < Self.clientsMax {
            clients.append(Client(file: file))
        } else {
            _ = Glibc.close(file)
        }
    }

    /// Answer every complete line. False: the client is to be closed.
    private func serve(_ client: inout Client) -> Bool {
        var bytes = [UInt8](repeating: 0, count: Self.lineMax)
        let count = unsafe recv(client.file, &bytes, bytes.count, Int32(MSG_DONTWAIT))
        if count < 0 { return errno == EAGAIN || errno == EINTR }
        if count == 0 { return false }
        client.line += bytes.prefix(count)
        while let end = client.line.firstIndex(of: UInt8(ascii: "\n")) {
            let line = String(decoding: client.line[..<end], as: UTF8.self).filter { $0 != "\r" }
            client.line.removeSubrange(...end)
            let answer = Array("\(commands.answer(line))\n".utf8)
            let sent = unsafe send(client.file, answer, answer.count, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL))
            if sent != answer.count { return false }
        }
        return client.line.count <= Self.lineMax
    }
}
