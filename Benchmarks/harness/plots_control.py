# SPDX-License-Identifier: Apache-2.0
"""The control scenarios of a run as pictures: one for each unit, since what has the same unit can be compared."""

from . import drawing, report, units

# Unit -> name of the file, title, is the axis logarithmic?
PICTURES = {
    "records/s": ("control-records", "Lookup records that are added and removed", True),
    "bytes/record": ("control-memory", "Memory of a lookup record", False),
    "ms": ("control-start", "From nothing to the first packets", True),
    "changes/s": ("control-changes", "Changes of the policy while packets are forwarded", True),
    "ns": ("control-handover", "How long a change of the policy takes until the call returns", True),
    "share of 1": ("control-kept", "What is kept of throughput and hits beside changes and floods", False),
    "cycles/packet": ("control-cycles", "Cost of a packet beside changes, floods and other workers (64 bytes, hot)", True),
}


def plot(pyplot, run, directory):
    found = {}
    for name, result in run["scenarios"].items():
        if report.is_control(result):
            for key, value in report.figures(result):
                if isinstance(value, dict):
                    found.setdefault(units.unit(key), []).append((f"{name.removeprefix('control/')}: {key}", value))
    for unit, (file, title, is_logarithmic) in PICTURES.items():
        if unit in found:
            points(pyplot, run, directory / f"{file}.svg", title, unit, found[unit], is_logarithmic)


def points(pyplot, run, path, title, unit, found, is_logarithmic):
    figure, axes = pyplot.subplots(figsize=(8, 1.6 + 0.2 * len(found)))
    figures = [value for _, value in found]
    axes.errorbar([value["median"] for value in figures], range(len(found)), xerr=drawing.reach(figures), fmt="o", markersize=4, capsize=2)
    axes.set_yticks(range(len(found)), [f"{name}  {report.number(value['median'])}" for name, value in found], fontsize=7)
    axes.invert_yaxis()
    if is_logarithmic:
        axes.set_xscale("log")
    else:
        axes.set_xlim(left=0)
    axes.set_title(title, fontsize=9)
    axes.set(xlabel=f"{unit}; median and range over processes")
    drawing.save(pyplot, run, figure, path)
