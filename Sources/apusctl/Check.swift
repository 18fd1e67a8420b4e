// SPDX-License-Identifier: Apache-2.0

import ApusPolicy
import ArgumentParser
import CApus

/// `apusctl check`
struct Check: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Say whether a policy file is right, and if not, what is wrong on which line.",
        discussion: """
            The file is read and, if every object in it is well-formed, put into a
            dataplane that is thrown away: whatever the dataplane would refuse is found.
            Devices are not looked at. Nor is it said whether packets find their way:
            see apusctl explain.

            Up to 20 errors are reported, in the form FILE:LINE: FIELD: WHAT IS WRONG,
            which editors understand; contradictions between objects only when each
            object is well-formed.

            EXAMPLE
              apusctl check --policy host1.yaml && systemctl restart apus-forwarder
            """)

    @Option(help: ArgumentHelp("The policy file (YAML).", valueName: "file"))
    var policy: String

    func run() throws {
        try reportingRefusals {
            let file = try PolicyFile.load(path: policy)
            _ = try ScratchDataplane(file)
            let contents = [
                counted(file.ports.count, "port"), counted(file.providerAddresses.count, "provider address"),
                counted(file.providerRoutes.count, "provider route"),
                counted(file.providerNeighbors.count, "provider neighbour"),
                counted(file.providerPeers.count, "provider peer"),
                counted(file.virtualSubnets.count, "virtual subnet"),
                counted(file.customerRoutes.count, "customer route"),
                counted(file.lookupRecords.count, "lookup record"),
            ]
            StandardOutput.print("\(policy): good: \(contents.joined(separator: ", "))")
        }
    }
}

/// Print why something was refused, as it is - ArgumentParser would put "Error: " before the file name - and exit.
func reportingRefusals(_ body: () throws -> Void) throws {
    do {
        try body()
    } catch let error as PolicyError {
        StandardError.print(error.description)
        throw ExitCode.failure
    } catch let error as Refusal {
        StandardError.print("apusctl: \(error.description)")
        throw ExitCode.failure
    }
}
