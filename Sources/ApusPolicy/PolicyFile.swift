// SPDX-License-Identifier: Apache-2.0

/// A policy file that was read and found well-formed: plain values, each with the line it came from.
///
/// ```swift
/// let file = try PolicyFile.load(path: "host1.yaml")
/// let ports = try unsafe file.apply(to: dataplane)     // ["uplink": 1, "contoso1": 2]
/// ```
///
/// The file's form is described in `include/apus/apus_policy_file.h`. Reading checks each value and each name of a
/// port; whether the objects make sense together is for the dataplane to say, when the file is applied to it.
public struct PolicyFile: Sendable {
    /// The file's name, as given.
    public let name: String
    public internal(set) var settings = Settings()
    public internal(set) var ports: [Port] = []
    public internal(set) var providerAddresses: [ProviderAddress] = []
    public internal(set) var providerRoutes: [ProviderRoute] = []
    public internal(set) var providerNeighbors: [ProviderNeighbor] = []
    public internal(set) var providerPeers: [ProviderPeer] = []
    public internal(set) var virtualSubnets: [VirtualSubnet] = []
    public internal(set) var customerRoutes: [CustomerRoute] = []
    public internal(set) var lookupRecords: [LookupRecord] = []

    init(name: String) {
        self.name = name
    }

    /// Read a policy file.
    public static func load(path: String) throws(PolicyError) -> PolicyFile {
        let bytes = try readFile(path)
        return unsafe try bytes.withUnsafeBufferPointer { (bytes) throws(PolicyError) in
            unsafe try parse(bytes: bytes, name: path)
        }
    }

    /// Read a policy from text; `name` stands for the file's name in errors.
    public static func parse(text: String, name: String) throws(PolicyError) -> PolicyFile {
        unsafe try Array(text.utf8).withUnsafeBufferPointer { (bytes) throws(PolicyError) in
            unsafe try parse(bytes: bytes, name: name)
        }
    }

    static func parse(bytes: UnsafeBufferPointer<UInt8>, name: String) throws(PolicyError) -> PolicyFile {
        unsafe try Decoder(bytes, name: name).decode()
    }
}
