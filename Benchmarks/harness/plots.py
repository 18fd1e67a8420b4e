# SPDX-License-Identifier: Apache-2.0
"""A run as pictures. Needs Debian's python3-matplotlib."""

import re
import sys

from . import report, scenarios

# What the places of the hit path are for, by source file.
STAGES = {
    "parse": ("Parse.swift", "IPv4.swift", "ProviderSide.swift", "Ethernet.swift", "GRE.swift", "Checksum.swift", "Bytes.swift", "Frame.swift"),
    "key, hash, look-up": ("FlowKey.swift", "FlowCache.swift", "apus_intrinsics.h"),
    "apply": ("Apply.swift", "Hit.swift", "Encapsulate.swift", "TranspositionTable.swift"),
    "counters": ("Counters.swift", "PortSlots.swift"),
    "rest": (),
}


def library():
    try:
        import matplotlib
        matplotlib.use("svg")
        import matplotlib.pyplot as pyplot
    except ImportError:
        sys.exit("bench.py plot: matplotlib is missing: apt-get install python3-matplotlib (and run with /usr/bin/python3)")
    matplotlib.rcParams.update({"svg.hashsalt": "apus", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3})
    return pyplot


def size_of(label):
    return scenarios.SIZES[label] if label in scenarios.SIZES else int(label)


def series(run, pattern):
    """Points (x, cycles apus, cycles C) of the scenarios whose name has one label in place of (.+)."""
    points = []
    for name, result in run["scenarios"].items():
        found = re.fullmatch(pattern, name)
        if found and report.is_packets(result):
            points.append((size_of(found[1]), result["apus"]["cycles_per_packet"], result.get("c", {}).get("cycles_per_packet")))
    return sorted(points, key=lambda point: point[0])


def curves(pyplot, run, path, title, label, patterns):
    figure, axes = pyplot.subplots(figsize=(7, 4))
    for color, (name, pattern) in enumerate(patterns.items()):
        points = series(run, pattern)
        if not points:
            continue
        x = [point[0] for point in points]
        axes.plot(x, [p[1]["median"] for p in points], f"C{color}o-", label=name)
        axes.fill_between(x, [p[1]["least"] for p in points], [p[1]["median"] for p in points], color=f"C{color}", alpha=0.15)
        if all(p[2] for p in points):
            axes.plot(x, [p[2]["median"] for p in points], f"C{color}x--", label=f"{name}, C")
    finish(pyplot, figure, axes, path, title, label, "cycles per packet")


def finish(pyplot, figure, axes, path, title, x, y, logarithmic=True):
    if not axes.has_data():
        pyplot.close(figure)
        return
    if logarithmic:
        axes.set_xscale("log", base=2)
    axes.set_ylim(bottom=0)
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    print(path)


def ratios(pyplot, run, path):
    found = [(name, r["apus_speed_over_c"]) for name, r in run["scenarios"].items() if "apus_speed_over_c" in r]
    figure, axes = pyplot.subplots(figsize=(7, 1 + 0.16 * len(found)))
    y = range(len(found))
    middle = [ratio["median"] for _, ratio in found]
    axes.barh(y, middle, height=0.6, label="library / C", color=["C0" if value >= 0.95 else "C3" for value in middle])
    axes.set_yticks(y, [name for name, _ in found], fontsize=6)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.axvline(0.95, color="black", linewidth=0.8, linestyle=":")
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set(title="Speed against the same work in C, same run", xlabel="speed, 1 = as fast")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    print(path)


def stages(pyplot, run, path):
    found = {name: r["instruction_places"] for name, r in run["scenarios"].items() if "instruction_places" in r and name.endswith("flows-1k")}
    figure, axes = pyplot.subplots(figsize=(7, 4))
    bottom = [0.0] * len(found)
    for stage, files in STAGES.items():
        others = [file for known in STAGES.values() for file in known]
        heights = [sum(value for place, value in places.items() if (place.split(":")[0] in files if files else place.split(":")[0] not in others))
                   for places in found.values()]
        axes.bar(range(len(found)), heights, bottom=bottom, label=stage, width=0.6)
        bottom = [a + b for a, b in zip(bottom, heights)]
    axes.set_xticks(range(len(found)), [name.split("/")[1] for name in found])
    finish(pyplot, figure, axes, path, "Instructions per packet, by what they are for", "", "instructions", logarithmic=False)


def side_by_side(pyplot, run, path):
    """End to end: a row for each scenario, a mark for each contender."""
    found = {name: result for name, result in run["scenarios"].items() if report.is_end_to_end(result)}
    figure, axes = pyplot.subplots(figsize=(7, 1.4 + 0.3 * len(found)))
    for position, each in enumerate(report.contenders(run)):
        rows = [row for row, result in enumerate(found.values()) if each in result]
        rates = [result[each]["packets_per_second"] for result in found.values() if each in result]
        middle = [rate["median"] / 1e6 for rate in rates]
        reach = [[(rate["median"] - rate["least"]) / 1e6 for rate in rates], [(rate["greatest"] - rate["median"]) / 1e6 for rate in rates]]
        axes.errorbar(middle, rows, xerr=reach, fmt="os^"[position], color=f"C{position}", label=each, capsize=2)
    axes.set_yticks(range(len(found)), [name.removeprefix("dpdk/") for name in found], fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log")
    first = next(iter(found.values()))["conditions"]
    axes.set(title=f"End to end over DPDK, source and sink included: {run['machine']['cpu']['model']}, {first['pages']} pages",
             xlabel="million packets per second")
    axes.title.set_fontsize(9)
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    print(path)


def plot(run, directory):
    pyplot = library()
    directory.mkdir(parents=True, exist_ok=True)
    if report.contenders(run):
        side_by_side(pyplot, run, directory / "end-to-end.svg")
        return
    tunnel = scenarios.TUNNEL
    curves(pyplot, run, directory / "flows.svg", "Cost against flows (64 bytes, hot)", "flows",
           {d: rf"core/{d}/flows-(.+)" for d in scenarios.DIRECTIONS})
    curves(pyplot, run, directory / "records.svg", "Cost against lookup records (64k flows)", "lookup records",
           {d: rf"core/{d}/records-(.+)" for d in tunnel})
    curves(pyplot, run, directory / "networks.svg", "Cost against VM networks (64k flows)", "VM networks",
           {d: rf"core/{d}/networks-(.+)" for d in tunnel})
    curves(pyplot, run, directory / "burst.svg", "Cost against burst size", "packets in a burst",
           {"encap, 1k flows": r"core/encap/burst-(\d+)", "encap, 1M flows": r"core/encap/burst-(\d+)-1M"})
    curves(pyplot, run, directory / "packets.svg", "Packets hot, in L3, in DRAM: encapsulation", "flows",
           {"hot": r"core/encap/flows-(.+)", "L3": r"core/encap/l3-(.+)", "DRAM": r"core/encap/dram-(.+)"})
    ratios(pyplot, run, directory / "swift-c.svg")
    stages(pyplot, run, directory / "stages.svg")
