# SPDX-License-Identifier: Apache-2.0
"""A run as pictures."""

import re
import sys

from . import drawing, plots_control, report, scenarios, stages


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
    finish(pyplot, run, figure, axes, path, title, label, "cycles per packet (time stamp counter)")


def finish(pyplot, run, figure, axes, path, title, x, y, logarithmic=True):
    if not axes.has_data():
        pyplot.close(figure)
        return
    if logarithmic:
        axes.set_xscale("log", base=2)
    axes.set_ylim(bottom=0)
    axes.set(xlabel=x, ylabel=y)
    axes.set_title(title, fontsize=8)
    axes.legend(fontsize=7)
    drawing.save(pyplot, run, figure, path)


def ratios(pyplot, run, path):
    found = [(name, r["apus_speed_over_c"]) for name, r in run["scenarios"].items() if "apus_speed_over_c" in r]
    if not found:
        return
    figure, axes = pyplot.subplots(figsize=(7, 1 + 0.16 * len(found)))
    y = range(len(found))
    middle = [ratio["median"] for _, ratio in found]
    axes.barh(y, middle, height=0.6, color=["C0" if value >= 0.95 else "C3" for value in middle],
              xerr=drawing.reach([ratio for _, ratio in found]), error_kw={"elinewidth": 0.8, "capsize": 1})
    axes.set_yticks(y, [name for name, _ in found], fontsize=6)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.axvline(0.95, color="black", linewidth=0.8, linestyle=":")
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set(title="Speed against the same work in C, same run", xlabel="cycles of C / cycles of the library, 1 = as fast; median and range over processes")
    axes.title.set_fontsize(9)
    drawing.save(pyplot, run, figure, path)


def stacked(pyplot, run, path):
    """Packets of known flows, of every scenario whose instructions were counted."""
    found = {name: stages.split(result["instruction_places"]) for name, result in run["scenarios"].items()
             if "instruction_places" in result and result["conditions"]["flow"] == "hit"}
    figure, axes = pyplot.subplots(figsize=(8, 4.5))
    bottom = [0.0] * len(found)
    for stage in stages.STAGES:
        heights = [sums[stage] for sums in found.values()]
        axes.bar(range(len(found)), heights, bottom=bottom, label=stage, width=0.6)
        bottom = [a + b for a, b in zip(bottom, heights)]
    axes.set_xticks(range(len(found)), [name.removeprefix("core/") for name in found], rotation=30, ha="right", fontsize=7)
    finish(pyplot, run, figure, axes, path, "Where the instructions go: 64 bytes, bursts of 64, 1,024 flows, where a name does not say else", "", "instructions per packet (callgrind)", logarithmic=False)


def side_by_side(pyplot, run, path):
    """End to end: a row for each scenario, a mark for each contender."""
    found = {name: result for name, result in run["scenarios"].items() if report.is_end_to_end(result)}
    figure, axes = pyplot.subplots(figsize=(7, 1.4 + 0.3 * len(found)))
    for position, each in enumerate(report.contenders(run)):
        rows = [row for row, result in enumerate(found.values()) if each in result]
        rates = [result[each]["packets_per_second"] for result in found.values() if each in result]
        middle = [rate["median"] / 1e6 for rate in rates]
        reach = [[value / 1e6 for value in side] for side in drawing.reach(rates)]
        axes.errorbar(middle, rows, xerr=reach, fmt="os^"[position], color=f"C{position}", label=each, capsize=2)
    axes.set_yticks(range(len(found)), [name.removeprefix("dpdk/") for name in found], fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log")
    first = next(iter(found.values()))["conditions"]
    axes.set(title=f"End to end over DPDK, source and sink included: {run['machine']['cpu']['model']}, {first['pages']} pages",
             xlabel="million packets per second that the forwarding thread ran; median and range over rounds")
    axes.title.set_fontsize(9)
    axes.legend(fontsize=8)
    drawing.save(pyplot, run, figure, path)


def plot(run, directory):
    """The exit status: there is nothing to see in a run without figures."""
    if all("error" in result for result in run["scenarios"].values()):
        sys.exit("bench.py: the run has no figures")
    pyplot = drawing.library()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        sys.exit(f"bench.py: --out: {directory}: {error.strerror}")
    if report.contenders(run):
        side_by_side(pyplot, run, directory / "end-to-end.svg")
        return 0
    tunnel = scenarios.TUNNEL
    curves(pyplot, run, directory / "flows.svg", "Cost against flows: IPv4, 64 bytes, hot, bursts of 64", "flows",
           {d: rf"core/{d}/flows-(.+)" for d in scenarios.DIRECTIONS})
    for direction in tunnel:
        curves(pyplot, run, directory / f"ipv6-{direction}.svg", f"Cost against flows, {direction}: 64 bytes, hot, bursts of 64", "flows",
               {"IPv4": rf"core/{direction}/flows-(.+)", "IPv6": rf"core/{direction}/ipv6-(1|1k|64k|1M)"})
    curves(pyplot, run, directory / "records.svg", "Cost against lookup records: IPv4, 64 bytes, hot, bursts of 64, 64k flows", "lookup records",
           {d: rf"core/{d}/records-(.+)" for d in tunnel})
    curves(pyplot, run, directory / "networks.svg", "Cost against VM networks: IPv4, 64 bytes, hot, bursts of 64, 64k flows, 64k records", "VM networks",
           {d: rf"core/{d}/networks-(.+)" for d in tunnel})
    curves(pyplot, run, directory / "burst.svg", "Cost against burst size: IPv4, 64 bytes, hot", "packets in a burst",
           {"encap, 1k flows": r"core/encap/burst-(\d+)", "decap, 1k flows": r"core/decap/burst-(\d+)",
            "encap, 1M flows": r"core/encap/burst-(\d+)-1M"})
    curves(pyplot, run, directory / "packets.svg", "Cost with packets hot, in L3, in DRAM, encap: IPv4, 64 bytes, bursts of 64", "flows",
           {"hot": r"core/encap/flows-(.+)", "L3": r"core/encap/l3-(.+)", "DRAM": r"core/encap/dram-(.+)"})
    ratios(pyplot, run, directory / "swift-c.svg")
    stacked(pyplot, run, directory / "stages.svg")
    plots_control.plot(pyplot, run, directory)
    return 0
