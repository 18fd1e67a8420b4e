# SPDX-License-Identifier: Apache-2.0
"""One scenario in several processes.

The rounds of a process agree with each other and still may all be off: the machine has slow spells of seconds, and now and
then a process is slow for one engine only. README.md has the numbers. A figure is therefore the median of processes.
"""

import statistics

# What is a figure of each scenario, and not a condition of it.
CONDITIONS = ("conditions", "scenario", "library", "tsc_hertz")


def spread(values):
    return {"median": statistics.median(values), "least": min(values), "greatest": max(values)}


def packets(results):
    combined = dict(results[0])
    for engine in ("apus", "c"):
        if engine in combined:
            combined[engine] = dict(combined[engine], cycles_per_packet=spread(
                [result[engine]["cycles_per_packet"]["median"] for result in results]))
    if "apus_speed_over_c" in combined:
        combined["apus_speed_over_c"] = spread([result["apus_speed_over_c"]["median"] for result in results])
    return combined


def control(results):
    combined = dict(results[0])
    for key, value in combined.items():
        if key in CONDITIONS or isinstance(value, str):
            continue
        if isinstance(value, dict):
            combined[key] = {inner: spread([result[key][inner] for result in results]) for inner in value}
        else:
            combined[key] = spread([result[key] for result in results])
    return combined


def combine(results):
    """The scenario's figures, each {"median", "least", "greatest"} over the processes; what each measured is kept."""
    combined = packets(results) if results[0]["scenario"] == "packets" else control(results)
    combined["processes"] = results
    return combined
