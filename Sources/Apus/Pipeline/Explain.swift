// SPDX-License-Identifier: Apache-2.0

import CApus
import CApusIntrinsics
import Synchronization

// What `apus_explain` is made of. The pipeline decides as it always does; with a ``Trace`` it also says which objects it
// looked at, and leaves alone what workers share.

/// One line for each object that the pipeline looked at.
struct Trace {
    var text: TextWriter
    /// The largest packet that every way into the provider network takes; 0: there was none.
    var mtu: UInt32 = 0

    mutating func begin(_ words: Words) {
        if text.length > 0 { text.put(0x0A) }
        text.put(words)
    }
}

extension Worker {
    /// Decide about one frame, step by step, as if it were the first of its flow. Returns the number of frames in `output`.
    mutating func explain(_ frame: Frame, _ output: Ref<Frame>, _ capacity: Int, _ now: UInt64) -> Int {
        begin(output, capacity, 1, now)
        processSlowly(frame)
        flushReleases()
        return outputCount
    }

    @inline(never)
    func note(_ trace: Ref<Trace>, mtu: UInt16) {
        trace.value.mtu = trace.value.mtu == 0 ? mtu.u32 : min(trace.value.mtu, mtu.u32)
    }

    @inline(never)
    func note(_ trace: Ref<Trace>, _ words: Words) { trace.value.begin(words) }

    /// "4097 (contoso1)": a policy file knows only the name.
    @inline(never)
    func put(port id: UInt32, to trace: Ref<Trace>) {
        guard let number = findPort(id) else { return trace.value.text.put(decimal: id.u64) }
        trace.value.text.put(tables.ports[number])
    }

    @inline(never)
    func note(_ trace: Ref<Trace>, port number: UInt32?, _ id: UInt32) {
        trace.value.begin("port ")
        guard let number else {
            trace.value.text.put(decimal: id.u64)
            return trace.value.text.put(": none")
        }
        let port = tables.ports[number]
        trace.value.text.put(port)
        if port.kind == Port.vm {
            trace.value.text.put(": vm, virtual subnet ")
            trace.value.text.put(decimal: port.vsid.u64)
            trace.value.text.put(", ")
            trace.value.text.put(port.mac)
            if port.isTrusted { trace.value.text.put(", trusted") }
        } else if port.kind == Port.external {
            trace.value.text.put(": external, virtual subnet ")
            trace.value.text.put(decimal: port.vsid.u64)
            trace.value.text.put(", ")
            trace.value.text.put(port.mac)
            if port.vlan != 0 {
                trace.value.text.put(", VLAN ")
                trace.value.text.put(decimal: port.vlan.u64)
            }
        } else {
            trace.value.text.put(": provider")
        }
        trace.value.text.put(", MTU ")
        trace.value.text.put(decimal: port.mtu.u64)
    }

    @inline(never)
    func note(_ trace: Ref<Trace>, record number: UInt32?, _ vsid: UInt32, _ ca: IPAddress) {
        trace.value.begin("lookup record ")
        trace.value.text.put(vsid, ca)
        guard let number else { return trace.value.text.put(": none") }
        let record = tables.records[number]
        trace.value.text.put(": ")
        trace.value.text.put(record.mac)
        trace.value.text.put(" at ")
        trace.value.text.put(record.pa)
        if record.isUnusable { trace.value.text.put(", unusable") }
        if record.isRuleNone { trace.value.text.put(", TranslationMethodNone") }
    }

    @inline(never)
    func note(_ trace: Ref<Trace>, machine number: UInt32?, _ vsid: UInt32, _ mac: MACAddress) {
        trace.value.begin("vm port with ")
        trace.value.text.put(mac)
        trace.value.text.put(" in virtual subnet ")
        trace.value.text.put(decimal: vsid.u64)
        trace.value.text.put(": ")
        if let number { trace.value.text.put(tables.ports[number]) } else { trace.value.text.put("none") }
    }

    @inline(never)
    func note(_ trace: Ref<Trace>, customerRoute number: UInt32?, to ca: IPAddress) {
        trace.value.begin("customer route to ")
        trace.value.text.put(ca)
        guard let number else { return trace.value.text.put(": none") }
        let route = tables.routes[number]
        trace.value.text.put(": ")
        trace.value.text.put(route.prefix, prefix: route.length)
        trace.value.text.put(" in virtual subnet ")
        trace.value.text.put(decimal: route.vsid.u64)
        trace.value.text.put(nextHop: route.nextHop, metric: route.metric)
    }

    @inline(never)
    func note(_ trace: Ref<Trace>, providerRoute number: UInt32?, to pa: IPAddress) {
        trace.value.begin("provider route to ")
        trace.value.text.put(pa)
        guard let number else { return trace.value.text.put(": none") }
        let route = tables.providerRoutes[number]
        trace.value.text.put(": ")
        trace.value.text.put(route.prefix, prefix: route.length)
        trace.value.text.put(" through port ")
        put(port: route.port, to: trace)
        trace.value.text.put(nextHop: route.nextHop, metric: route.metric)
    }

    @inline(never)
    func note(_ trace: Ref<Trace>, source number: UInt32?, port: UInt32) {
        trace.value.begin("provider address on port ")
        put(port: port, to: trace)
        trace.value.text.put(": ")
        guard let number else { return trace.value.text.put("none") }
        let source = tables.addresses[number]
        trace.value.text.put(source.address)
        trace.value.text.put(", ")
        trace.value.text.put(source.mac)
        if source.vlan != 0 {
            trace.value.text.put(", VLAN ")
            trace.value.text.put(decimal: source.vlan.u64)
        }
    }

    @inline(never)
    func note(_ trace: Ref<Trace>, peer: ProviderPeer) {
        trace.value.begin("provider peer ")
        trace.value.text.put(peer.address)
        trace.value.text.put(peer.isVXLAN ? ": VXLAN" : peer.hasDraftKeys ? ": NVGRE, draft-00 key" : ": NVGRE")
        if peer.mtu != 0 {
            trace.value.text.put(", MTU ")
            trace.value.text.put(decimal: peer.mtu.u64)
        }
    }

    @inline(never)
    func note(_ trace: Ref<Trace>, neighbor number: UInt32?, _ address: IPAddress, _ port: UInt32) {
        trace.value.begin(port == 0 ? "provider neighbour " : "neighbour outside ")
        trace.value.text.put(address)
        trace.value.text.put(": ")
        guard let number else { return trace.value.text.put("none") }
        let neighbor = tables.neighbors[number]
        if neighbor.isStatic != 0 {
            trace.value.text.put(neighbor.mac)
            trace.value.text.put(", static")
        } else if let mac = tables.cells[neighbor.cell].value.mac {
            trace.value.text.put(mac)
            trace.value.text.put(", resolved")
        } else {
            let isFailed = tables.cells[neighbor.cell].value.failed.load(ordering: .relaxed) != 0
            trace.value.text.put(isFailed ? "does not answer" : "not resolved yet")
        }
    }

    @inline(never)
    func note(_ trace: Ref<Trace>, source pa: IPAddress, hosts vsid: UInt32, _ isKnown: Bool) {
        trace.value.begin("provider address ")
        trace.value.text.put(pa)
        trace.value.text.put(isKnown ? " hosts " : " hosts nothing of ")
        if vsid == 0 {
            trace.value.text.put("any virtual subnet")
        } else {
            trace.value.text.put("virtual subnet ")
            trace.value.text.put(decimal: vsid.u64)
        }
    }
}

extension TextWriter {
    /// "4097 (contoso1)"
    fileprivate mutating func put(_ port: Port) {
        put(decimal: port.id.u64)
        var i = 0
        while i < 32, unsafe port.name[unchecked: i] != 0 {
            if i == 0 { put(" (") }
            put(unsafe port.name[unchecked: i])
            i &+= 1
        }
        if i > 0 { put(0x29) }
    }

    /// "(6000, 10.0.1.101)"
    fileprivate mutating func put(_ vsid: UInt32, _ ca: IPAddress) {
        put(0x28)
        put(decimal: vsid.u64)
        put(", ")
        put(ca)
        put(0x29)
    }

    fileprivate mutating func put(nextHop: IPAddress, metric: UInt32) {
        if nextHop.isUnspecified {
            put(", on-link")
        } else {
            put(", next hop ")
            put(nextHop)
        }
        put(", metric ")
        put(decimal: metric.u64)
    }
}
