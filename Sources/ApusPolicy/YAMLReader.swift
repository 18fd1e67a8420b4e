// SPDX-License-Identifier: Apache-2.0

#if canImport(CLibYAML)
internal import CLibYAML
#else
internal import CYaml
#endif

/// The YAML of a policy file as a stream of events with line numbers.
///
/// It stands directly on libyaml, the parser inside Yams, and not on Yams' `Node` trees, for three reasons:
/// an event at a time needs no memory for the tree of a million records; scalars stay the text that was written
/// (to a resolver, `60:00:60:00:01:01` is a number in base 60); and what policy files do not need and what
/// can be used to make a parser explode - anchors, aliases, tags, deep nesting - is refused where it stands.
@safe
struct YAMLReader: ~Copyable {
    /// What comes next in the file.
    enum Event: Equatable {
        /// `plain` if it is written without quotes.
        case scalar(String, plain: Bool)
        case listStart, listEnd
        case mappingStart, mappingEnd
        /// The end of the file.
        case end
    }

    /// The file is no YAML, or uses a part of YAML that is not accepted. Reading cannot go on.
    struct Failure: Error {
        let line: Int
        let message: String
    }

    /// Deep enough for every mistake that is worth a better message.
    private static let maximalDepth = 16

    private let parser: UnsafeMutablePointer<yaml_parser_t>
    private let text: UnsafeBufferPointer<UInt8>
    /// False when there was no memory for the parser; reading reports it.
    private let isReady: Bool
    private var depth = 0
    private var documents = 0

    /// The line on which the last event began, counted from 1.
    private(set) var line = 1

    /// - Parameter text: must outlive the reader
    init(_ text: UnsafeBufferPointer<UInt8>) {
        unsafe self.text = unsafe text
        unsafe parser = .allocate(capacity: 1)
        isReady = unsafe yaml_parser_initialize(parser) == 1
        guard isReady else { return }
        // Without this, libyaml would guess UTF-16 from a byte order mark.
        unsafe yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
        unsafe yaml_parser_set_input_string(parser, text.baseAddress, text.count)
    }

    deinit {
        if isReady { unsafe yaml_parser_delete(parser) }
        unsafe parser.deallocate()
    }

    /// Read the next event.
    mutating func next() throws(Failure) -> Event {
        guard isReady else { throw Failure(line: 0, message: "out of memory") }
        while true {
            var event = unsafe yaml_event_t()
            guard unsafe yaml_parser_parse(parser, &event) == 1 else { throw failure() }
            defer { unsafe yaml_event_delete(&event) }
            line = unsafe Int(event.start_mark.line) + 1

            switch unsafe event.type {
            case YAML_STREAM_START_EVENT, YAML_DOCUMENT_END_EVENT:
                continue
            case YAML_DOCUMENT_START_EVENT:
                documents += 1
                if documents > 1 { throw refused("a second YAML document begins here; a policy file has one") }
                continue
            case YAML_STREAM_END_EVENT, YAML_NO_EVENT:
                return .end
            case YAML_ALIAS_EVENT:
                throw refused("aliases (*name) are not accepted in a policy file")
            case YAML_SCALAR_EVENT:
                let scalar = unsafe event.data.scalar
                unsafe try refuse(anchor: scalar.anchor, tag: scalar.tag)
                let bytes = unsafe UnsafeBufferPointer(start: scalar.value, count: scalar.length)
                return unsafe .scalar(
                    String(decoding: bytes, as: UTF8.self), plain: scalar.style == YAML_PLAIN_SCALAR_STYLE)
            case YAML_SEQUENCE_START_EVENT:
                unsafe try refuse(anchor: event.data.sequence_start.anchor, tag: event.data.sequence_start.tag)
                return try opened(.listStart)
            case YAML_MAPPING_START_EVENT:
                unsafe try refuse(anchor: event.data.mapping_start.anchor, tag: event.data.mapping_start.tag)
                return try opened(.mappingStart)
            case YAML_SEQUENCE_END_EVENT:
                depth -= 1
                return .listEnd
            case YAML_MAPPING_END_EVENT:
                depth -= 1
                return .mappingEnd
            default:
                throw refused("this kind of YAML is not accepted in a policy file")
            }
        }
    }

    /// Read up to the end of what `event` began.
    mutating func skip(_ event: Event) throws(Failure) {
        guard event == .listStart || event == .mappingStart else { return }
        let start = line, outside = depth - 1
        while depth > outside { _ = try next() }
        line = start
    }

    private mutating func opened(_ event: Event) throws(Failure) -> Event {
        depth += 1
        if depth > Self.maximalDepth { throw refused(Self.tooDeep) }
        return event
    }

    private func refuse(anchor: UnsafeMutablePointer<UInt8>?, tag: UnsafeMutablePointer<UInt8>?) throws(Failure) {
        if unsafe anchor != nil { throw refused("anchors (&name) are not accepted in a policy file") }
        if unsafe tag != nil { throw refused("tags (!name) are not accepted in a policy file") }
    }

    /// libyaml has a limit too, which it may reach first because it looks ahead.
    private static let tooDeep = "lists and mappings are nested too deeply"

    private func refused(_ message: String) -> Failure {
        Failure(line: line, message: message)
    }

    /// What libyaml found.
    private func failure() -> Failure {
        switch unsafe parser.pointee.error {
        case YAML_MEMORY_ERROR:
            return Failure(line: 0, message: "out of memory")
        case YAML_READER_ERROR:
            // The reader runs ahead of the marks; it knows its place as a byte offset only.
            let offset = unsafe min(parser.pointee.problem_offset, text.count)
            let lines = unsafe text[..<offset].count { $0 == UInt8(ascii: "\n") }
            return Failure(line: lines + 1, message: "not a text file in UTF-8: \(problemText())")
        default:
            let problem = problemText(), line = unsafe Int(parser.pointee.problem_mark.line) + 1
            if problem.hasPrefix("Maximum nesting level") { return Failure(line: line, message: Self.tooDeep) }
            var message = "not YAML: \(problem)"
            if let context = unsafe parser.pointee.context {
                message += unsafe " (\(String(cString: context)), line \(parser.pointee.context_mark.line + 1))"
            }
            if hasDoubleColon(line: line) {
                message += #"; an IPv6 address that begins or ends with a colon needs quotes: "::""#
            }
            return Failure(line: line, message: message)
        }
    }

    /// Does YAML find something in an IPv6 address on this line, perhaps?
    private func hasDoubleColon(line: Int) -> Bool {
        let newline = UInt8(ascii: "\n"), colon = UInt8(ascii: ":")
        let bytes = unsafe text.split(separator: newline, maxSplits: line, omittingEmptySubsequences: false)
            .dropFirst(line - 1).first ?? []
        return zip(bytes, bytes.dropFirst()).contains { $0 == colon && $1 == colon }
    }

    private func problemText() -> String {
        unsafe parser.pointee.problem.map { unsafe String(cString: $0) } ?? "unknown problem"
    }
}
