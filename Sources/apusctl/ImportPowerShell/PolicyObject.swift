// SPDX-License-Identifier: Apache-2.0

/// An object that a script made.
struct PolicyObject {
    /// By parameter; in the form of policy files.
    var values: [String: String]
    /// How the interface is written in the script.
    var interfaceSource = ""
    let place: ScriptPlace

    subscript(_ field: String) -> String? { values[field] }

    /// Does it have one of the values of each filter? Texts are compared as Windows does, without regard to case.
    func matches(_ filters: [String: [String]]) -> Bool {
        filters.allSatisfy { name, accepted in
            let value = (values[name] ?? "").lowercased()
            return accepted.contains { $0.lowercased() == value }
        }
    }
}

/// The objects of one noun, in the order in which they were made.
struct PolicyObjects {
    private(set) var all: [PolicyObject] = []
    /// Where each was made, by its key.
    private var places: [[String]: ScriptPlace] = [:]

    private static func key(_ object: PolicyObject, _ noun: PolicyNoun) -> [String] {
        let key = noun.fields.filter(\.isKey).map { object.values[$0.name] ?? "" }
        // Of records without an address the machine is the key.
        let isOfMachine = object["CustomerAddress"].map(Canonical.isUnspecified) == true
        return isOfMachine ? key + [object["MACAddress"] ?? ""] : key
    }

    /// Add an object.
    ///
    /// - Returns: where the same was made before; then nothing has changed
    mutating func add(_ object: PolicyObject, _ noun: PolicyNoun) -> ScriptPlace? {
        let key = Self.key(object, noun)
        if let place = places[key] { return place }
        places[key] = object.place
        all.append(object)
        return nil
    }

    /// Change the objects that match. What tells objects apart cannot be changed.
    ///
    /// - Returns: how many they are
    mutating func change(_ filters: [String: [String]], _ changes: [String: String]) -> Int {
        var count = 0
        for index in all.indices where all[index].matches(filters) {
            all[index].values.merge(changes) { $1 }
            count += 1
        }
        return count
    }

    /// Remove the objects that match.
    ///
    /// - Returns: how many they were
    mutating func remove(_ filters: [String: [String]], _ noun: PolicyNoun) -> Int {
        let before = all.count
        all.removeAll { object in
            guard object.matches(filters) else { return false }
            places[Self.key(object, noun)] = nil
            return true
        }
        return before - all.count
    }
}
