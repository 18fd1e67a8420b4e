// SPDX-License-Identifier: Apache-2.0

public import CApus
public import CApusPolicyFile

// The functions of apus_policy_file.h.

@c @implementation
public func apus_policy_file_load(
    _ path: UnsafePointer<CChar>!, _ out: UnsafeMutablePointer<OpaquePointer?>!,
    _ error_text: UnsafeMutablePointer<CChar>!, _ error_text_size: Int
) -> Int32 {
    let report = unsafe ErrorText(error_text, size: error_text_size)
    guard let path = unsafe path else { return report.write("path is NULL", APUS_ERR_NULL) }
    let name = unsafe String(cString: path)
    return unsafe open(out, report) { () throws(PolicyError) in try PolicyFile.load(path: name) }
}

@c @implementation
public func apus_policy_file_parse(
    _ text: UnsafePointer<CChar>!, _ length: Int, _ name: UnsafePointer<CChar>!,
    _ out: UnsafeMutablePointer<OpaquePointer?>!, _ error_text: UnsafeMutablePointer<CChar>!, _ error_text_size: Int
) -> Int32 {
    let report = unsafe ErrorText(error_text, size: error_text_size)
    guard let text = unsafe text else { return report.write("text is NULL", APUS_ERR_NULL) }
    guard (0...Int(APUS_POLICY_FILE_SIZE_MAX)).contains(length) else {
        return report.write("the text is longer than \(APUS_POLICY_FILE_SIZE_MAX) bytes", APUS_ERR_RANGE)
    }
    let name = unsafe name.map { unsafe String(cString: $0) } ?? "policy"
    let bytes = unsafe UnsafeRawBufferPointer(start: text, count: length)
    return unsafe open(out, report) { () throws(PolicyError) in
        unsafe try PolicyFile.parse(bytes: bytes.bindMemory(to: UInt8.self), name: name)
    }
}

@c @implementation
public func apus_policy_file_opts(_ file: OpaquePointer!, _ opts: UnsafeMutablePointer<apus_dataplane_opts>!) -> Int32 {
    guard let file = unsafe file, let opts = unsafe opts else { return APUS_ERR_NULL.rawValue }
    guard let open = unsafe OpenFiles.find(file) else { return APUS_ERR_STALE.rawValue }
    guard unsafe hasAcceptedSize(opts.pointee.size, apus_dataplane_opts.self) else { return APUS_ERR_SIZE.rawValue }
    unsafe open.file.fill(&opts.pointee)
    return 0
}

@c @implementation
public func apus_policy_file_apply(
    _ file: OpaquePointer!, _ dataplane: OpaquePointer!,
    _ error_text: UnsafeMutablePointer<CChar>!, _ error_text_size: Int
) -> Int32 {
    let report = unsafe ErrorText(error_text, size: error_text_size)
    guard let file = unsafe file else { return report.write("file is NULL", APUS_ERR_NULL) }
    guard let dataplane = unsafe dataplane else { return report.write("dataplane is NULL", APUS_ERR_NULL) }
    // No lock is held while the dataplane works: it may wait for its workers, through the host's callback.
    guard let open = unsafe OpenFiles.find(file) else { return report.write("the file was freed", APUS_ERR_STALE) }
    var application = unsafe Application(dataplane, file: open.file)
    application.run()
    let error = application.error
    if error == nil || error?.code == APUS_ERR_STALLED.rawValue {
        let number = UInt(bitPattern: file), ports = application.ports
        OpenFiles.shared.withLock { $0[number]?.portIDs = ports }
    }
    guard let error else { return 0 }
    return report.write(error)
}

@c @implementation
public func apus_policy_file_port_count(_ file: OpaquePointer!) -> Int32 {
    guard let file = unsafe file else { return APUS_ERR_NULL.rawValue }
    guard let open = unsafe OpenFiles.find(file) else { return APUS_ERR_STALE.rawValue }
    return Int32(clamping: open.file.ports.count)
}

@c @implementation
public func apus_policy_file_port(
    _ file: OpaquePointer!, _ index: UInt32, _ out: UnsafeMutablePointer<apus_policy_file_port>!
) -> Int32 {
    guard let file = unsafe file, let out = unsafe out else { return APUS_ERR_NULL.rawValue }
    guard let open = unsafe OpenFiles.find(file) else { return APUS_ERR_STALE.rawValue }
    guard unsafe hasAcceptedSize(out.pointee.size, apus_policy_file_port.self) else { return APUS_ERR_SIZE.rawValue }
    guard index < open.file.ports.count else { return APUS_ERR_RANGE.rawValue }
    let port = open.file.ports[Int(index)], texts = open.texts[Int(index)]
    var result = unsafe apus_policy_file_port()
    unsafe result.size = unsafe out.pointee.size
    unsafe result.name = unsafe UnsafePointer(texts.name)
    unsafe result.device = unsafe UnsafePointer(texts.device)
    unsafe result.parent = unsafe UnsafePointer(texts.parent)
    unsafe result.id = open.portIDs[port.name] ?? APUS_POLICY_FILE_NO_PORT
    unsafe result.kind = port.kind.rawValue
    unsafe result.virtual_subnet_id = port.virtualSubnetID
    unsafe result.mac = port.mac
    unsafe result.mtu = port.mtu
    unsafe result.vlan = port.vlan
    unsafe result.line = UInt32(clamping: port.lines.first)
    unsafe out.pointee = unsafe result
    return 0
}

@c @implementation
public func apus_policy_file_free(_ file: OpaquePointer!) -> Int32 {
    guard let file = unsafe file else { return 0 }
    let number = UInt(bitPattern: file)
    return OpenFiles.shared.withLock { files in
        guard let open = files[number] else { return APUS_ERR_STALE.rawValue }
        files[number] = nil
        open.close()
        return 0
    }
}

// MARK: -

/// Read a file and give it a handle.
private func open(
    _ out: UnsafeMutablePointer<OpaquePointer?>?, _ report: ErrorText, _ read: () throws(PolicyError) -> PolicyFile
) -> Int32 {
    guard let out = unsafe out else { return report.write("out is NULL", APUS_ERR_NULL) }
    do throws(PolicyError) {
        let file = try read()
        let number = OpenFiles.shared.withLock { $0.add(file) }
        unsafe out.pointee = OpaquePointer(bitPattern: number)
        return 0
    } catch {
        return report.write(error)
    }
}

/// A caller's struct has at least the size of its first version, which is the present one, and no absurd one.
private func hasAcceptedSize<Struct>(_ size: Int, _: Struct.Type) -> Bool {
    (MemoryLayout<Struct>.size...4096).contains(size)
}

/// Where a caller wants to read why a call failed.
@safe
private struct ErrorText {
    private let buffer: UnsafeMutableBufferPointer<CChar>

    /// Also empties the text.
    init(_ start: UnsafeMutablePointer<CChar>?, size: Int) {
        // A size beyond the address space's half is negative here.
        unsafe buffer = unsafe UnsafeMutableBufferPointer(start: start, count: start == nil ? 0 : max(0, size))
        unsafe buffer.first.map { _ in unsafe buffer[0] = 0 }
    }

    func write(_ error: PolicyError) -> Int32 {
        write(error.description)
        return error.code
    }

    func write(_ text: String, _ code: apus_error) -> Int32 {
        write(text)
        return code.rawValue
    }

    /// Write as many whole characters as fit.
    private func write(_ text: String) {
        guard unsafe !buffer.isEmpty else { return }
        var length = 0
        for character in text.unicodeScalars {
            let bytes = UTF8.encode(character)!
            if unsafe length + bytes.count >= buffer.count { break }
            for byte in bytes {
                unsafe buffer[length] = CChar(bitPattern: byte)
                length += 1
            }
        }
        unsafe buffer[length] = 0
    }
}
