// SPDX-License-Identifier: Apache-2.0

import ApusPolicy
import CApus
import CApusPolicyFile
import Glibc
import Testing

/// apus_policy_file.h, as a C program uses and misuses it.
@Suite struct CInterfaceTests {
    private func parse(_ text: String, _ file: inout OpaquePointer?, _ why: inout [CChar]) -> Int32 {
        unsafe apus_policy_file_parse(text, text.utf8.count, "p", &file, &why, why.count)
    }

    private func string(_ characters: [CChar]) -> String {
        String(decoding: characters.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private func port(_ file: OpaquePointer?, _ index: UInt32) throws -> apus_policy_file_port {
        var port = unsafe apus_policy_file_port()
        unsafe port.size = MemoryLayout<apus_policy_file_port>.size
        try #require(unsafe apus_policy_file_port(file, index, &port) == 0)
        return unsafe port
    }

    @Test func fromFileToPorts() throws {
        var path = Array("/tmp/apus-policy-XXXXXX".utf8CString)
        let descriptor = unsafe mkstemp(&path)
        defer { unsafe unlink(path) }
        #expect(unsafe write(descriptor, example, example.utf8.count) == example.utf8.count)
        close(descriptor)

        var file: OpaquePointer?
        var why = [CChar](repeating: 1, count: 256)
        #expect(unsafe apus_policy_file_load(path, &file, &why, why.count) == 0, "\(string(why))")
        #expect(why[0] == 0)
        #expect(unsafe apus_policy_file_port_count(file) == 3)

        let before = try unsafe port(file, 1)
        #expect(unsafe String(cString: before.name) == "contoso1")
        #expect(unsafe String(cString: before.device) == "net_tap0")
        #expect(unsafe before.id == APUS_POLICY_FILE_NO_PORT)
        #expect(unsafe before.kind == APUS_PORT_VM.rawValue)
        #expect(unsafe before.virtual_subnet_id == 6000)
        #expect(unsafe bytes(before.mac) == [0x60, 0, 0x60, 0, 1, 1])
        #expect(unsafe before.mtu == 1400)
        #expect(unsafe before.line == 5)
        #expect(unsafe try port(file, 2).device == nil)

        var options = unsafe apus_dataplane_opts()
        unsafe options.size = MemoryLayout<apus_dataplane_opts>.size
        #expect(unsafe apus_policy_file_opts(file, &options) == 0)
        #expect(unsafe options.flags == APUS_DATAPLANE_FLOW_ID_ZERO)
        var dataplane: OpaquePointer?
        #expect(unsafe apus_dataplane_create(&options, &dataplane) == 0)
        defer { unsafe apus_dataplane_destroy(dataplane) }

        #expect(unsafe apus_policy_file_apply(file, dataplane, &why, why.count) == 0, "\(string(why))")
        #expect(Set(try (0..<3).map { unsafe try port(file, $0).id }).count == 3)
        #expect(unsafe try port(file, 0).id != APUS_POLICY_FILE_NO_PORT)

        // The same file once more: every object exists.
        #expect(unsafe apus_policy_file_apply(file, dataplane, &why, why.count) < 0)
        #expect(string(why).contains(": lookup_records[0]") || string(why).contains(": ports[1]"))
        #expect(unsafe apus_policy_file_free(file) == 0)
        #expect(unsafe apus_policy_file_free(file) == APUS_ERR_STALE.rawValue)
    }

    @Test func portsThatOthersCarry() throws {
        var file: OpaquePointer?
        var why = [CChar](repeating: 0, count: 256)
        #expect(unsafe parse(exampleOfGateway, &file, &why) == 0, "\(string(why))")
        defer { unsafe apus_policy_file_free(file) }
        let contoso = try unsafe port(file, 0), trunk = try unsafe port(file, 1)
        #expect(unsafe contoso.kind == APUS_PORT_EXTERNAL.rawValue)
        #expect(unsafe String(cString: contoso.parent) == "trunk")
        #expect(unsafe contoso.device == nil)
        #expect(unsafe contoso.vlan == 101)
        #expect(unsafe bytes(contoso.mac) == [0x60, 0, 0x60, 0, 0x0F, 1])
        #expect(unsafe trunk.parent == nil)
        #expect(unsafe trunk.vlan == 0)
    }

    @Test func errorTextsFitTheirBuffers() {
        let text = "apus: 1\nports: [{name: é}]"
        let full = #"p:2: ports[0].name: "é" is not a port name"#
        for size in 0...80 {
            var file: OpaquePointer?
            var why = [CChar](repeating: 1, count: 100)
            let result = unsafe apus_policy_file_parse(text, text.utf8.count, "p", &file, &why, size)
            #expect(result == APUS_ERR_SYNTAX.rawValue)
            #expect(file == nil)
            #expect(why[size] == 1, "written beyond \(size) bytes")
            guard size > 0 else { continue }
            let written = why.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
            #expect(written.count < size)
            // Cut between characters, never inside one.
            let cut = String(validating: written, as: UTF8.self)
            #expect(cut.map { full.hasPrefix($0) || $0.hasPrefix(full) } == true)
        }
    }

    @Test func misuse() {
        let null = APUS_ERR_NULL.rawValue, stale = APUS_ERR_STALE.rawValue
        var file: OpaquePointer?
        var why = [CChar](repeating: 1, count: 256)
        #expect(unsafe apus_policy_file_load(nil, &file, nil, 0) == null)
        #expect(unsafe apus_policy_file_load("/no/such/file", nil, nil, 0) == null)
        #expect(unsafe apus_policy_file_load("/no/such/file", &file, nil, 100) == APUS_ERR_NOT_FOUND.rawValue)
        #expect(unsafe apus_policy_file_parse(nil, 3, nil, &file, &why, why.count) == null)
        #expect(string(why) == "text is NULL")
        #expect(unsafe apus_policy_file_parse("apus: 1", -1, nil, &file, &why, why.count) == APUS_ERR_RANGE.rawValue)
        #expect(unsafe apus_policy_file_parse("apus: 1", 7, nil, nil, &why, why.count) == null)
        #expect(unsafe apus_policy_file_parse("nothing", 7, nil, &file, &why, why.count) == APUS_ERR_SYNTAX.rawValue)
        #expect(string(why).hasPrefix("policy:1: "))
        #expect(unsafe apus_policy_file_parse("", 0, nil, &file, &why, -1) == APUS_ERR_SYNTAX.rawValue)
        #expect(file == nil)
        #expect(apus_policy_file_free(nil) == 0)

        for handle in unsafe [OpaquePointer(bitPattern: 8), OpaquePointer(bitPattern: UInt.max)] {
            var port = unsafe apus_policy_file_port()
            unsafe port.size = MemoryLayout<apus_policy_file_port>.size
            var options = unsafe apus_dataplane_opts()
            unsafe options.size = MemoryLayout<apus_dataplane_opts>.size
            #expect(unsafe apus_policy_file_free(handle) == stale)
            #expect(unsafe apus_policy_file_port_count(handle) == stale)
            #expect(unsafe apus_policy_file_port(handle, 0, &port) == stale)
            #expect(unsafe apus_policy_file_opts(handle, &options) == stale)
            #expect(unsafe apus_policy_file_apply(handle, handle, nil, 0) == stale)
        }
        #expect(apus_policy_file_port_count(nil) == null)
        #expect(apus_policy_file_port(nil, 0, nil) == null)
        #expect(apus_policy_file_opts(nil, nil) == null)
        #expect(apus_policy_file_apply(nil, nil, nil, 0) == null)

        #expect(unsafe parse("apus: 1\nports: [{name: a, kind: provider}]", &file, &why) == 0)
        defer { unsafe apus_policy_file_free(file) }
        var port = unsafe apus_policy_file_port()
        #expect(unsafe apus_policy_file_port(file, 0, nil) == null)
        #expect(unsafe apus_policy_file_port(file, 0, &port) == APUS_ERR_SIZE.rawValue)
        unsafe port.size = MemoryLayout<apus_policy_file_port>.size
        #expect(unsafe apus_policy_file_port(file, 1, &port) == APUS_ERR_RANGE.rawValue)
        #expect(unsafe apus_policy_file_port(file, .max, &port) == APUS_ERR_RANGE.rawValue)
        var options = unsafe apus_dataplane_opts()
        #expect(unsafe apus_policy_file_opts(file, nil) == null)
        #expect(unsafe apus_policy_file_opts(file, &options) == APUS_ERR_SIZE.rawValue)
        unsafe options.size = .max
        #expect(unsafe apus_policy_file_opts(file, &options) == APUS_ERR_SIZE.rawValue)
        #expect(unsafe apus_policy_file_apply(file, nil, nil, 0) == null)
        // A dataplane that was destroyed.
        var dataplane: OpaquePointer?
        #expect(unsafe apus_dataplane_create(nil, &dataplane) == 0)
        #expect(unsafe apus_dataplane_destroy(dataplane) == 0)
        #expect(unsafe apus_policy_file_apply(file, dataplane, &why, why.count) == stale)
        #expect(string(why).hasPrefix("p: "))
    }
}
