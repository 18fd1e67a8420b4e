// SPDX-License-Identifier: Apache-2.0

/// What a script says about the adapters of virtual machines.
struct VirtualMachines {
    struct Adapter {
        /// Nil stands for all adapters of the machine, of which the script says nothing one by one.
        let name: String?
        /// "0" when the adapter was taken out of its virtual subnet.
        var subnet: String?
        /// The static addresses that it was given, in the order of the script, each once.
        var macs: [String] = []
        var hasDHCPGuard = false
        /// Nil when the script does not say.
        var dynamicAddressLimit: String?
        var place: ScriptPlace
    }

    struct Machine {
        let name: String
        /// The first stands for all adapters.
        var adapters: [Adapter]
        /// Has the script given it further adapters?
        var hasSeveralAdapters = false

        /// The adapters that the policy needs ports for.
        var virtualized: [Adapter] {
            let chosen = adapters.count > 1 ? adapters.dropFirst() : adapters[...]
            return chosen.filter { $0.subnet != nil && $0.subnet != "0" }
        }

        /// Change one adapter, or all.
        mutating func change(_ name: String?, _ place: ScriptPlace, _ body: (inout Adapter) -> Void) {
            guard let name else {
                for index in adapters.indices { body(&adapters[index]) }
                return
            }
            let wanted = name.lowercased()
            var index = adapters.firstIndex { $0.name?.lowercased() == wanted }
            if index == nil {
                // What was said of all holds for this one too.
                let all = adapters[0]
                adapters.append(
                    Adapter(
                        name: name, subnet: all.subnet, macs: all.macs, hasDHCPGuard: all.hasDHCPGuard,
                        dynamicAddressLimit: all.dynamicAddressLimit, place: place))
                index = adapters.count - 1
            }
            if let index { body(&adapters[index]) }
        }
    }

    private(set) var machines: [Machine] = []
    /// Where each is, by its name in small letters.
    private var indices: [String: Int] = [:]

    /// Change a machine; it is made when it is named for the first time.
    mutating func change(_ name: String, _ place: ScriptPlace, _ body: (inout Machine) -> Void) {
        if let index = indices[name.lowercased()] {
            body(&machines[index])
        } else {
            indices[name.lowercased()] = machines.count
            machines.append(Machine(name: name, adapters: [Adapter(name: nil, place: place)]))
            body(&machines[machines.count - 1])
        }
    }

    subscript(name: String) -> Machine? { indices[name.lowercased()].map { machines[$0] } }
}
