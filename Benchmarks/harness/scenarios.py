# SPDX-License-Identifier: Apache-2.0
"""What is measured: names, and the command lines of apus-bench that they stand for."""

import fnmatch
import sys

SIZES = {"1": 1, "1k": 1024, "64k": 65536, "1M": 1048576, "8M": 8388608 - 65536}
DIRECTIONS = ("encap", "decap", "switch", "route", "route-encap")
TUNNEL = ("encap", "decap")
QUICK = (
    "core/encap/flows-*", "core/decap/flows-*", "core/switch/flows-1k", "core/route/flows-1k", "core/route-encap/flows-1k",
    *(f"core/{direction}/ipv6-{flows}" for direction in TUNNEL for flows in ("1k", "64k")),
    "core/*/frame-1500", "core/encap/burst-1", "core/encap/burst-32", "core/encap/l3-1k", "core/encap/miss-1M",
    "control/records-1M", "control/start-1M", "control/changes-*", "control/handover", "control/flood", "control/scale",
)
# Whose instructions are counted, and guarded against the stored baseline.
COUNTED = (
    "core/*/flows-1k", "core/encap/ipv6-1k", "core/decap/ipv6-1k", "core/encap/burst-1", "core/encap/burst-32", "core/*/frame-1500",
    "core/encap/miss-1k",
)


def arguments():
    """Every scenario: name -> words after `apus-bench`."""
    all_of = {}

    def add(name, *words):
        all_of[name] = [str(word) for word in words]

    def packets(direction, name, *words):
        add(f"core/{direction}/{name}", "packets", "--direction", direction, *words)

    for direction in DIRECTIONS:
        for label in ("1", "1k", "64k", "1M"):
            packets(direction, f"flows-{label}", "--flows", SIZES[label])
            # At once: the table has the ratio of the two.
            packets(direction, f"ipv6-{label}", "--flows", SIZES[label], "--family", 6)
    for direction in TUNNEL:
        packets(direction, "ipv4-in-ipv6-1k", "--outer", 6)
        packets(direction, "ipv6-in-ipv6-1k", "--family", 6, "--outer", 6)
        for frame in ("570", "1500", "imix"):
            packets(direction, f"frame-{frame}", "--frame", frame)
        for label in ("1k", "64k", "1M"):
            for place in ("l3", "dram"):
                packets(direction, f"{place}-{label}", "--flows", SIZES[label], "--packets", place)
        for label in ("64k", "1M"):
            packets(direction, f"zipf-{label}", "--flows", SIZES[label], "--zipf", 1)
        for label in ("1k", "64k", "1M", "8M"):
            packets(direction, f"records-{label}", "--flows", 65536, "--records", SIZES[label], "--networks", 8)
        for networks in (1, 64, 1000, 4000):
            packets(direction, f"networks-{networks}", "--flows", 65536, "--records", 65536, "--networks", networks)
        for label in ("1k", "1M"):
            packets(direction, f"miss-{label}", "--flow", "miss", "--records", SIZES[label])
        packets(direction, "ipv6-miss-1k", "--flow", "miss", "--family", 6)
        # 10 % of the packets are first ones of new flows, or 1 %.
        packets(direction, "mixed-1M", "--flow", "mixed", "--records", SIZES["1M"])
        packets(direction, "mixed-1-percent-1M", "--flow", "mixed", "--miss-share", 0.01, "--records", SIZES["1M"])
        for burst in (1, 2, 4, 8, 16, 32, 64, 128, 256):
            packets(direction, f"burst-{burst}", "--burst", burst)
    for burst in (1, 2, 4, 8, 16, 32, 64, 128, 256):
        packets("encap", f"burst-{burst}-1M", "--burst", burst, "--flows", SIZES["1M"])
    for label in ("1k", "1M", "8M"):
        add(f"control/records-{label}", "records", "--records", SIZES[label], "--networks", 8)
    add("control/start-1M", "start", "--records", SIZES["1M"], "--networks", 8)
    add("control/changes-own", "changes", "--tenant", "own")
    add("control/changes-other", "changes", "--tenant", "other")
    # At 64 million packets per second a change every 640 packets is 100,000 changes per second.
    for tenant in ("own", "other"):
        add(f"control/changes-{tenant}-every-640", "changes", "--tenant", tenant, "--every", 640)
        # A record that changes is that of 64 flows, or of one.
        for records in ("1k", "64k"):
            name = f"control/changes-{tenant}-64k-records-{records}-every-640"
            add(name, "changes", "--tenant", tenant, "--every", 640, "--flows", 65536, "--records", SIZES[records])
    add("control/handover", "handover")
    add("control/flood", "flood")
    add("control/scale", "scale")
    return all_of


def matches(name, patterns):
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def named(all_of, only):
    """Those of a name, or of names that fit a pattern; if there are none, those with it in their names."""
    chosen = [name for name in all_of if fnmatch.fnmatch(name, only)] or [name for name in all_of if only and only in name]
    if not chosen:
        sys.exit(f"bench.py: --only: no scenario is called {only!r}; `--only list` lists them")
    return {name: all_of[name] for name in chosen}


def select(quick, only):
    """The scenarios of a run; those that are named are taken from all."""
    chosen = arguments()
    if only is not None:
        return named(chosen, only)
    return {name: words for name, words in chosen.items() if not quick or matches(name, QUICK)}
