// swift-tools-version: 6.2
//===----------------------------------------------------------------------===//
// Apus: an embeddable Hyper-V Network Virtualization dataplane.
// SPDX-License-Identifier: Apache-2.0
//===----------------------------------------------------------------------===//
//
// This package builds the sources as ordinary Swift: for Swift hosts, the tools and the tests.
// The C libraries are the same sources compiled as Embedded Swift; see the Makefile.

import PackageDescription

// The baseline instruction set: x86-64-v2 with AES-NI (2010 and later). `APUS_MARCH=native` overrides the first half;
// apus_dataplane_create() refuses to run on a CPU below what was chosen.
#if arch(x86_64)
let march = Context.environment["APUS_MARCH"] ?? "x86-64-v2"
let machine = ["-Xcc", "-march=\(march)", "-Xcc", "-maes"]
#else
let machine: [String] = []
#endif

let core: [SwiftSetting] = [.strictMemorySafety(), .unsafeFlags(machine)]

let dpdkInclude = Context.environment["DPDK_INCLUDE"] ?? "/usr/include/dpdk"
let dpdkArchInclude = Context.environment["DPDK_ARCH_INCLUDE"] ?? "/usr/include/x86_64-linux-gnu/dpdk"
let dpdk: [SwiftSetting] = core + [
    .unsafeFlags(["-Xcc", "-I\(dpdkInclude)", "-Xcc", "-I\(dpdkArchInclude)", "-Xcc", "-include", "-Xcc", "rte_config.h"])
]

let package = Package(
    name: "apus",
    products: [
        .library(name: "Apus", targets: ["Apus"]),
        .library(name: "ApusDPDK", targets: ["ApusDPDK"]),
        .library(name: "ApusPolicy", targets: ["ApusPolicy"]),
        .executable(name: "apus-forwarder", targets: ["apus-forwarder"]),
        .executable(name: "apusctl", targets: ["apusctl"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    ],
    targets: [
        // The contract: the hand-written C headers.
        .systemLibrary(name: "CApus", path: "include"),
        .systemLibrary(name: "CApusIntrinsics", path: "Sources/CApusIntrinsics"),
        // The core: implements the contract, depends on nothing.
        .target(name: "Apus", dependencies: ["CApus", "CApusIntrinsics"], swiftSettings: core),
        .testTarget(
            name: "ApusTests",
            dependencies: ["CApus", "CApusIntrinsics", "Apus"],
            exclude: ["run-sanitizers.sh"],
            swiftSettings: [.unsafeFlags(machine)]
        ),
        // DPDK ports and mbufs.
        .systemLibrary(name: "CApusDPDK", path: "Sources/CApusDPDK"),
        .target(
            name: "ApusDPDK",
            dependencies: ["CApus", "CApusIntrinsics", "CApusDPDK", "Apus"],
            swiftSettings: dpdk,
            linkerSettings: ["eal", "ethdev", "mbuf", "mempool", "ring", "kvargs"].map { .linkedLibrary("rte_\($0)") }
        ),
        // Policy files, for hosts.
        .systemLibrary(name: "CLibYAML", path: "Sources/CLibYAML", providers: [.apt(["libyaml-dev"])]),
        .target(
            name: "ApusPolicy",
            dependencies: ["CApus", "CLibYAML"],
            swiftSettings: [.strictMemorySafety()],
            linkerSettings: [.linkedLibrary("yaml")]
        ),
        .testTarget(name: "ApusPolicyTests", dependencies: ["ApusPolicy", "Apus"]),
        // Programs.
        .executableTarget(
            name: "apus-forwarder",
            dependencies: [
                "Apus", "ApusDPDK", "ApusPolicy",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: dpdk
        ),
        .systemLibrary(name: "CPcap", path: "Sources/CPcap"),
        .executableTarget(
            name: "apusctl",
            dependencies: [
                "Apus", "ApusPolicy", "CPcap",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: [.strictMemorySafety()],
            linkerSettings: [.linkedLibrary("pcap")]
        ),
    ],
    swiftLanguageModes: [.v6]
)

// Builds under a sanitizer want the core and its tests alone.
if Context.environment["APUS_CORE_ONLY"] != nil {
    let kept: Set = ["CApus", "CApusIntrinsics", "Apus", "ApusTests"]
    package.targets.removeAll { !kept.contains($0.name) }
    package.products.removeAll { $0.name != "Apus" }
    package.dependencies.removeAll()
}
