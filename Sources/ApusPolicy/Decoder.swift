// SPDX-License-Identifier: Apache-2.0

/// Turns the events of a policy file into the values of a ``PolicyFile``, and finds everything that is wrong with it.
///
/// Nothing here recurses freely: an object is a mapping, of which a value may be a flat mapping; what is nested deeper is an
/// error that is skipped.
struct Decoder: ~Copyable {
    /// The sections that a file may have, in the order in which a message lists them.
    private static let sections = [
        "apus", "settings", "ports", "provider_addresses", "provider_routes", "provider_neighbours", "provider_peers",
        "virtual_subnets", "customer_routes", "lookup_records",
    ]
    /// Far more keys than any object has; those beyond it are only skipped.
    private static let maximalKeys = 64

    private var reader: YAMLReader
    private var file: PolicyFile
    private var references = References()
    private let problems = Problems()
    /// Where each section stands.
    private var seen: [String: Int] = [:]

    /// - Parameter text: must outlive the decoder
    init(_ text: UnsafeBufferPointer<UInt8>, name: String) {
        reader = unsafe YAMLReader(text)
        file = PolicyFile(name: name)
    }

    /// Read the file to its end, or to where it stops being YAML.
    consuming func decode() throws(PolicyError) -> PolicyFile {
        do throws(YAMLReader.Failure) {
            try document()
            references.resolve(settings: file.settings, problems: problems)
        } catch {
            // What the unread rest would have explained - a port's name, a setting - is not held against the file.
            problems.add(error.line, "", error.message)
        }
        if !problems.isEmpty { throw problems.error(file: file.name) }
        return file
    }

    // MARK: - Structure

    private mutating func document() throws(YAMLReader.Failure) {
        let first = try reader.next()
        guard first == .mappingStart else {
            let found =
                switch first {
                case .end: "the file is empty"
                case .scalar(let text, let plain) where plain && isNull(text): "the file is empty"
                default: "the file is not a mapping"
                }
            problems.add(reader.line, "", "\(found); a policy file begins with \"apus: 1\"")
            return
        }
        var event = try reader.next()
        while event != .mappingEnd {
            try section(event)
            event = try reader.next()
        }
        if seen["apus"] == nil { problems.add(1, "apus", "missing; a policy file begins with \"apus: 1\"") }
        // Whatever follows must at least be YAML, and not a second document.
        while event != .end { event = try reader.next() }
    }

    /// Read one top-level key and its value.
    private mutating func section(_ event: YAMLReader.Event) throws(YAMLReader.Failure) {
        guard case .scalar(let key, _) = event else {
            problems.add(reader.line, "", "a key must be a word")
            try reader.skip(event)
            try reader.skip(try reader.next())
            return
        }
        let line = reader.line
        let isFirst = seen[key] == nil
        if Self.sections.contains(key) {
            if let other = seen[key] { problems.add(line, key, "given twice, first on line \(other)") }
            seen[key] = seen[key] ?? line
        }
        switch key {
        case _ where !isFirst: try reader.skip(try reader.next())
        case "apus": try version()
        case "settings": try settings()
        case "ports":
            try list(key) { (decoder, fields) in
                if let port = Port(&fields, &decoder.references) { decoder.file.ports.append(port) }
            }
        case "provider_addresses":
            try list(key) { (decoder, fields) in
                guard let address = ProviderAddress(&fields, &decoder.references) else { return }
                decoder.file.providerAddresses.append(address)
            }
        case "provider_routes":
            try list(key) { (decoder, fields) in
                guard let route = ProviderRoute(&fields, &decoder.references) else { return }
                decoder.file.providerRoutes.append(route)
            }
        case "provider_neighbours":
            try list(key) { (decoder, fields) in
                guard let neighbor = ProviderNeighbor(&fields) else { return }
                decoder.file.providerNeighbors.append(neighbor)
            }
        case "provider_peers":
            try list(key) { (decoder, fields) in
                guard let peer = ProviderPeer(&fields) else { return }
                decoder.file.providerPeers.append(peer)
            }
        case "virtual_subnets":
            try list(key) { (decoder, fields) in
                guard let subnet = VirtualSubnet(&fields, &decoder.references) else { return }
                decoder.file.virtualSubnets.append(subnet)
            }
        case "customer_routes":
            try list(key) { (decoder, fields) in
                guard let route = CustomerRoute(&fields, &decoder.references) else { return }
                decoder.file.customerRoutes.append(route)
            }
        case "lookup_records":
            try list(key) { (decoder, fields) in
                guard let record = LookupRecord(&fields, &decoder.references) else { return }
                decoder.file.lookupRecords.append(record)
            }
        default:
            problems.add(
                line, "",
                "unknown key \(quoted(key))\(suggestion(for: key, among: Self.sections))"
                    + "; known keys: \(Self.sections.joined(separator: ", "))")
            try reader.skip(try reader.next())
        }
    }

    /// `apus: 1`
    private mutating func version() throws(YAMLReader.Failure) {
        let event = try reader.next()
        if event == .scalar("1", plain: true) { return }
        let found = if case .scalar(let text, _) = event { quoted(text) } else { "this" }
        problems.add(reader.line, "apus", "\(found) is not a version of policy files that is known; accepted: 1")
        try reader.skip(event)
    }

    private mutating func settings() throws(YAMLReader.Failure) {
        let event = try reader.next()
        if isEmpty(event) { return }
        guard event == .mappingStart else {
            problems.add(reader.line, "settings", "expected a mapping, found \(kind(of: event))")
            return try reader.skip(event)
        }
        var fields = try object("settings", nil)
        file.settings = Settings(&fields)
        fields.finish()
    }

    /// Read a list of objects.
    private mutating func list(
        _ name: String, _ body: (inout Decoder, inout FieldReader) -> Void
    ) throws(YAMLReader.Failure) {
        let event = try reader.next()
        if isEmpty(event) { return }
        guard event == .listStart else {
            problems.add(reader.line, name, "expected a list, found \(kind(of: event))")
            return try reader.skip(event)
        }
        var index = 0
        var item = try reader.next()
        while item != .listEnd {
            if item == .mappingStart {
                var fields = try object(name, index)
                body(&self, &fields)
                fields.finish()
            } else {
                problems.add(reader.line, objectPath(name, index), "expected a mapping, found \(kind(of: item))")
                try reader.skip(item)
            }
            index += 1
            item = try reader.next()
        }
    }

    /// Read the keys and values of an object whose beginning was just read.
    private mutating func object(_ section: String, _ index: Int?) throws(YAMLReader.Failure) -> FieldReader {
        let line = reader.line
        let entries = try entries(of: objectPath(section, index), isOuter: true)
        return FieldReader(section: section, index: index, line: line, entries: entries, problems: problems)
    }

    /// Read the keys and values up to the end of a mapping.
    private mutating func entries(of path: String, isOuter: Bool) throws(YAMLReader.Failure) -> [FieldReader.Entry] {
        var entries: [FieldReader.Entry] = []
        var event = try reader.next()
        while event != .mappingEnd {
            if let entry = try entry(event, of: path, isOuter: isOuter) {
                if let other = entries.first(where: { $0.key == entry.key }) {
                    problems.add(
                        entry.line, "\(path).\(shortened(entry.key))", "given twice, first on line \(other.line)")
                } else if entries.count < Self.maximalKeys {
                    entries.append(entry)
                } else {
                    problems.add(entry.line, path, "more than \(Self.maximalKeys) keys")
                }
            }
            event = try reader.next()
        }
        return entries
    }

    /// Read a value; nil if its key is none.
    private mutating func entry(
        _ key: YAMLReader.Event, of path: String, isOuter: Bool
    ) throws(YAMLReader.Failure) -> FieldReader.Entry? {
        guard case .scalar(let name, _) = key else {
            problems.add(reader.line, path, "a key must be a word")
            try reader.skip(key)
            try reader.skip(try reader.next())
            return nil
        }
        let line = reader.line
        let event = try reader.next()
        let value: FieldReader.Entry.Value
        switch event {
        case .scalar(let text, let plain): value = .text(text, plain: plain)
        case .listStart: value = .list
        case .mappingStart where isOuter:
            let inside = try entries(of: "\(path).\(shortened(name))", isOuter: false)
            return FieldReader.Entry(key: name, line: line, value: .mapping(inside))
        default: value = .mapping([])
        }
        try reader.skip(event)
        return FieldReader.Entry(key: name, line: line, value: value)
    }

    /// A section with nothing in it, "lookup_records:".
    private func isEmpty(_ event: YAMLReader.Event) -> Bool {
        if case .scalar(let text, plain: true) = event { isNull(text) } else { false }
    }

    private func kind(of event: YAMLReader.Event) -> String {
        switch event {
        case .scalar(let text, _): quoted(text)
        case .listStart: "a list"
        default: "a mapping"
        }
    }
}
