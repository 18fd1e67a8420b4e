// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CApus

/// The command line tool of people who write policies and look for their packets.
@main
struct ApusCtl: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "apusctl",
        abstract: "Check Apus policy files, and see what they would do to recorded traffic.",
        discussion: """
            No command needs a network device, DPDK or root: check, replay and explain use
            the very dataplane that the forwarders use.

            EXAMPLES
              Is this file right?
                apusctl check --policy host1.yaml

              What would Apus do with what contoso1 sent?
                apusctl replay --policy host1.yaml --in contoso1=vm.pcap --out-dir out
                tshark -r out/uplink.pcap

              Why does contoso1 not reach 10.0.2.104?
                apusctl explain --policy host1.yaml --port contoso1 --to 10.0.2.104

              What is this Hyper-V host's policy in Apus?
                apusctl import-ps host1.ps1 --out host1.yaml --uplink-mac 32:44:55:66:77:88

            The exit status is 0 when all went well, 1 when a file is wrong, 64 when the
            command line is.
            """,
        version: unsafe String(cString: apus_build_info()),
        subcommands: [Check.self, Replay.self, Explain.self, ImportPS.self])
}
