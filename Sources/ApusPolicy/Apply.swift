// SPDX-License-Identifier: Apache-2.0

internal import CApus

extension PolicyFile {
    /// Add everything in the file to a dataplane, in one transaction: all of it, or nothing.
    ///
    /// - Parameter dataplane: a `struct apus_dataplane *`
    /// - Returns: the number of each port
    /// - Throws: everything that the dataplane refused, with line and object
    public func apply(to dataplane: OpaquePointer) throws(PolicyError) -> [String: UInt32] {
        var application = unsafe Application(dataplane, file: self)
        application.run()
        if let error = application.error { throw error }
        return application.ports
    }
}

/// One attempt to put a file into a dataplane.
@safe
struct Application {
    private let dataplane: OpaquePointer
    private let file: PolicyFile
    private let problems = Problems()

    /// The number of each port that was added.
    private(set) var ports: [String: UInt32] = [:]

    init(_ dataplane: OpaquePointer, file: PolicyFile) {
        unsafe self.dataplane = unsafe dataplane
        self.file = file
    }

    /// What was refused; nil if the policy is in place. After APUS_ERR_STALLED it is in place all the same.
    var error: PolicyError? { problems.isEmpty ? nil : problems.error(file: file.name) }

    mutating func run() {
        guard note(unsafe apus_transaction_begin(dataplane)) else { return }
        addPorts()
        addProviderSide()
        addCustomerSide()
        if problems.isEmpty {
            _ = note(unsafe apus_transaction_commit(dataplane))
        } else {
            // A refused call has changed nothing, so the others could be tried: one run finds all mistakes.
            _ = unsafe apus_transaction_abort(dataplane)
        }
    }

    // MARK: - Objects

    private mutating func addPorts() {
        // A port is there before those that it carries, wherever they stand in the file.
        addPorts { $0.parent == nil }
        addPorts { $0.parent != nil }
    }

    private mutating func addPorts(where isMeant: (Port) -> Bool) {
        for (index, port) in file.ports.enumerated() where isMeant(port) {
            // A parent that was refused has been reported.
            guard let parent = port.parent.map({ ports[$0] }) ?? 0 else { continue }
            var object = port.object(parent: parent)
            var id: UInt32 = 0
            if note(unsafe apus_port_add(dataplane, &object, &id), "ports", index, port.lines) { ports[port.name] = id }
        }
    }

    private func addProviderSide() {
        for (index, address) in file.providerAddresses.enumerated() {
            // A port that was refused has been reported; what needs it would only repeat that.
            guard let port = ports[address.port] else { continue }
            var object = address.object(port: port)
            note(unsafe apus_provider_address_add(dataplane, &object), "provider_addresses", index, address.lines)
        }
        for (index, route) in file.providerRoutes.enumerated() {
            guard let port = ports[route.port] else { continue }
            var object = route.object(port: port)
            note(unsafe apus_provider_route_add(dataplane, &object), "provider_routes", index, route.lines)
        }
        for (index, neighbor) in file.providerNeighbors.enumerated() {
            var object = neighbor.object
            note(unsafe apus_provider_neighbor_add(dataplane, &object), "provider_neighbours", index, neighbor.lines)
        }
        for (index, peer) in file.providerPeers.enumerated() {
            var object = peer.object
            note(unsafe apus_provider_peer_add(dataplane, &object), "provider_peers", index, peer.lines)
        }
    }

    private func addCustomerSide() {
        for (index, subnet) in file.virtualSubnets.enumerated() {
            var object = subnet.object
            note(unsafe apus_virtual_subnet_add(dataplane, &object), "virtual_subnets", index, subnet.lines)
        }
        for (index, route) in file.customerRoutes.enumerated() {
            var object = route.object
            note(unsafe apus_customer_route_add(dataplane, &object), "customer_routes", index, route.lines)
        }
        for (index, record) in file.lookupRecords.enumerated() {
            var object = record.object
            note(unsafe apus_lookup_record_add(dataplane, &object), "lookup_records", index, record.lines)
        }
    }

    // MARK: - Answers

    /// Note what a call on one object answered.
    @discardableResult
    private func note(_ result: Int32, _ section: String, _ index: Int, _ lines: SourceLines) -> Bool {
        if result >= 0 { return true }
        // The dataplane says "lookup record: mac: 00:... is ...". Here the object is known better, and its lines.
        var text = errorText(result)[...]
        _ = removeWord(&text) { _ in true }
        var path = objectPath(section, index)
        var line = lines.first
        if let field = removeWord(&text, where: { !$0.contains(" ") }) {
            path += ".\(field)"
            line = lines[String(field)]
        }
        problems.add(line, path, String(text), code: result)
        return false
    }

    /// Note what a call on the dataplane as a whole answered.
    private func note(_ result: Int32) -> Bool {
        if result >= 0 { return true }
        problems.add(0, "", errorText(result), code: result)
        return false
    }

    private func errorText(_ result: Int32) -> String {
        let text = unsafe String(cString: apus_dataplane_error_text(dataplane))
        return text.isEmpty ? unsafe String(cString: apus_strerror(result)) : text
    }
}

/// Take "word: " off the front of a text, if it begins with one that satisfies the condition.
private func removeWord(_ text: inout Substring, where condition: (Substring) -> Bool) -> Substring? {
    guard let colon = text.firstIndex(of: ":"), condition(text[..<colon]) else { return nil }
    let rest = text[text.index(after: colon)...]
    guard rest.first == " " else { return nil }
    defer { text = rest.dropFirst() }
    return text[..<colon]
}
