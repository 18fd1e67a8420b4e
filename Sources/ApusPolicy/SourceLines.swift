// SPDX-License-Identifier: Apache-2.0

/// Where an object of a policy file was written, for messages.
public struct SourceLines: Sendable {
    /// The line on which the object begins, counted from 1.
    public let first: Int
    /// The keys that are on other lines. Empty, and without memory of its own, for an object on one line.
    private let others: [(key: String, line: Int)]

    init(first: Int, keys: [(key: String, line: Int)]) {
        self.first = first
        self.others = keys.filter { $0.line != first }
    }

    /// The line of one key of the object.
    public subscript(key: String) -> Int {
        others.first { $0.key == key }?.line ?? first
    }
}
