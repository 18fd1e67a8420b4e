# SPDX-License-Identifier: Apache-2.0
"""Runs as text: a table of one, a comparison of two."""

from . import machine, processes, units


def number(value):
    if value is None:
        return "-"
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def interval(found):
    return f"{number(found['median'])} [{number(found['least'])} {number(found['greatest'])}]" if found else "-"


def columns(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        yield "  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]).rstrip()


def heading(run):
    where = run["machine"]
    git = where["git"]
    yield f"{where['cpu']['model']}, {where['cpu']['count']} CPUs{' (virtual)' if where['cpu']['virtual'] else ''}, Linux {where['kernel']}"
    yield f"{where['compilers']['swiftc']}; {where['compilers']['gcc']}"
    yield f"revision {(git['revision'] or '?')[:12]}{' with changes' if git['dirty'] else ''}, load {where['load'][0]:.1f}, {run['when']}"
    yield "Median [least greatest] over processes; end to end over passes, of one pass over its rounds."
    if not run.get("complete", True):
        yield "Interrupted: not all was measured."
    if any(is_packets(result) for result in run["scenarios"].values()):
        yield "Cycles of the time stamp counter; packets of 64 bytes, IPv4, hot, bursts of 64, 1,024 records, flows known, where a name does not say else."


def figures(result):
    """The figures of a control scenario, flat: text, or median and range."""
    for key, value in result.items():
        if key in (*processes.CONDITIONS, "processes"):
            continue
        if isinstance(value, dict) and "median" not in value:
            yield from ((f"{key}.{inner}", v) for inner, v in value.items())
        else:
            yield key, value


def setting(conditions):
    """The conditions of a control scenario, as text."""
    c = conditions
    frame = "IMIX" if c["frame"] == "imix" else f"frames of {c['frame']} bytes"
    return (f"IPv{c['ip_version']}{' in IPv6' if 'outer_ip_version' in c else ''}, {frame}, bursts of {c['burst']}, {c['flows']:,} flows, "
            f"{c['records']:,} records in {c['networks']:,} VM networks on {c['hosts']:,} hosts")


def is_packets(result):
    return result.get("scenario") == "packets"


def is_control(result):
    return "error" not in result and result["scenario"] not in ("packets", "end-to-end", "rfc2544")


def is_end_to_end(result):
    return result.get("scenario") == "end-to-end"


def contenders(run):
    """Who takes part in the end-to-end scenarios of a run."""
    return [name for name in ("apus", "ovs", "testpmd") if any(is_end_to_end(r) and name in r for r in run["scenarios"].values())]


def end_to_end(run):
    """The table of the end-to-end scenarios, its conditions above it."""
    found = {name: result for name, result in run["scenarios"].items() if is_end_to_end(result)}
    if not found:
        return
    names = contenders(run)
    first = next(iter(found.values()))["conditions"]
    yield ""
    yield (f"End to end over DPDK {run['machine']['dpdk']}: source, forwarder, sink on CPU {first['cpus'][1]}; back to back: on CPUs "
           f"{first['cpus'][1]} and {first['cpus'][0]}. Millions of packets")
    yield "in a second that the forwarding thread ran; back to back in a second by the clock, what the first cannot pass on is lost."
    yield (f"{first['pages'].capitalize()} pages; frames of 64 bytes, just written, where a name does not say else; in turns of "
           f"{first['turn_seconds']} s. Nothing is subtracted.")
    for name in names:
        yield f"{name}: {next(r['conditions'][name] for r in found.values() if name in r)}"
    rows = [("end to end", *names, *(f"apus/{name}" for name in names[1:]), "cycles apus", "least share of the core")]
    for name, result in found.items():
        rates = [result[each]["packets_per_second"] if each in result else {} for each in names]
        rows.append((name, *(interval({key: value / 1e6 for key, value in rate.items()}) for rate in rates),
                     *(interval(result.get(f"apus_speed_over_{each}")) for each in names[1:]),
                     number(result["apus"]["cycles_per_packet"]["median"]),
                     number(min(result[each]["share_of_core"]["least"] for each in names if each in result))))
    yield from columns(rows)
    for name, reason in run.get("absent", {}).items():
        yield f"{name}: not measured: {reason}"


def instructions(result, engine):
    """Counted by callgrind, else by the processor, else unknown."""
    counted = result.get("instructions_per_packet", {}).get(engine)
    return counted if counted is not None else result.get(engine, {}).get("instructions_per_packet")


def is_search(result):
    return result.get("scenario") == "rfc2544"


def searched(run):
    """The table of the searches over real ports."""
    found = {name: result for name, result in run["scenarios"].items() if is_search(result)}
    if not found:
        return
    first = next(iter(found.values()))["conditions"]
    yield ""
    yield f"RFC 2544 over the ports {', '.join(first['ports'])}; forwarder on CPU {first['cpus'][1]}, tester on CPU {first['tester_cpu']}."
    for name, goal in first["goals"].items():
        yield (f"{name.upper()}: loss at most {goal['loss_ratio']:.1%}, bounds within {goal['width']:.1%}, trials of {goal['trial_seconds']} s, "
               f"{goal['duration_sum']} s of them at a load.")
    yield "Millions of packets in a second: NDR and PDR what came through at the lower bound [lower upper bound], MRR median [least greatest]."
    rows = [("rfc2544", "contender", "NDR", "PDR", "MRR", "greatest load", "limited by")]

    def bounds(goal):
        lower, upper, throughput = (number(value / 1e6) if value is not None else "-" for value in (goal["lower"], goal["upper"], goal["throughput"]))
        return f"{throughput} [{lower} {upper}]"

    for name, result in found.items():
        for each in ("apus", "ovs", "testpmd"):
            if each in result:
                figures_of = result[each]
                rows.append((name, each, bounds(figures_of["ndr"]), bounds(figures_of["pdr"]),
                             interval({key: value / 1e6 for key, value in figures_of["mrr"].items()}),
                             number(figures_of["greatest_load"] / 1e6), figures_of["limited_by"]))
    yield from columns(rows)


# What IPv6 may cost: cycles per packet, those of IPv4 in the same run = 1.
IPV6_LIMIT = 1.35


def ipv6_ratios(run, engine):
    """Cycles for IPv6 against those for IPv4 in the same pass: name -> median and range over the passes."""
    for name, result in run["scenarios"].items():
        other = run["scenarios"].get(name.replace("/ipv6-", "/flows-"), {})
        if is_packets(result) and is_packets(other) and other is not result and engine in result and engine in other:
            pairs = [(a[engine]["cycles_per_packet"]["median"], b[engine]["cycles_per_packet"]["median"])
                     for a, b in zip(result["processes"], other["processes"])]
            yield name, processes.spread([a / b for a, b in pairs])


def families(run):
    """The table of IPv6 against IPv4."""
    ratios, reference = (dict(ipv6_ratios(run, engine)) for engine in ("apus", "c"))
    if not ratios:
        return
    yield ""
    yield f"Customers' IPv6 against IPv4, all else the same: cycles per packet, IPv4 = 1. The library is meant to need at most {IPV6_LIMIT}."
    rows = [("IPv6 / IPv4", "apus", "C", "instructions apus", "C", f"above {IPV6_LIMIT}")]
    for name, ratio in ratios.items():
        both = [run["scenarios"][each] for each in (name, name.replace("/ipv6-", "/flows-"))]
        counted = [[instructions(each, engine) for each in both] for engine in ("apus", "c")]
        rows.append((name, interval(ratio), interval(reference.get(name)), *(number(a / b if a and b else None) for a, b in counted),
                     "yes" if ratio["median"] > IPV6_LIMIT else ""))
    yield from columns(rows)


def with_conditions(run):
    """The run, a figure without its conditions replaced by that fault."""
    kept = {name: result if "error" in result or "conditions" in result else {"error": "a result without its conditions"}
            for name, result in run["scenarios"].items()}
    return {**run, "scenarios": kept}


def table(run):
    run = with_conditions(run)
    yield from heading(run)
    rows = [("cycles and instructions per packet", "apus", "C", "speed apus/C", "instructions apus", "C")]
    for name, result in run["scenarios"].items():
        if is_packets(result):
            rows.append((name, interval(result["apus"]["cycles_per_packet"]),
                         interval(result["c"]["cycles_per_packet"]) if "c" in result else "-",
                         interval(result.get("apus_speed_over_c")), number(instructions(result, "apus")), number(instructions(result, "c"))))
    if len(rows) > 1:
        yield ""
        yield from columns(rows)
        for reason in sorted({result["no_reference"] for result in run["scenarios"].values() if "no_reference" in result}):
            yield f"No figure for C: the reference does not do {reason}."
    yield from families(run)
    yield from end_to_end(run)
    yield from searched(run)
    for name, result in run["scenarios"].items():
        if is_control(result):
            yield ""
            yield f"{name}: {setting(result['conditions'])}"
            yield from columns([(f"  {key}", value, "") if isinstance(value, str) else (f"  {key}", interval(value), units.unit(key) or "?")
                                for key, value in figures(result)])
    for name, result in run["scenarios"].items():
        if "error" in result:
            yield f"{name}: no figure: {result['error']}"


def change(old, new):
    """Marked only when the ranges do not meet: then no process of one run was as the other's."""
    apart = old["greatest"] < new["least"] or new["greatest"] < old["least"]
    return f"{new['median'] / old['median'] - 1 if old['median'] else 0.0:+.1%}{' *' if apart else ''}"


def comparison(old, new):
    for text in machine.differences(old["machine"], new["machine"]):
        yield f"not the same: {text}"
    rows = [("scenario", "figure", "old", "new", "change")]
    for name in old["scenarios"]:
        a, b = old["scenarios"][name], new["scenarios"].get(name)
        if b is None or "error" in a or "error" in b:
            continue
        if a["conditions"] != b["conditions"]:
            yield f"{name}: measured under other conditions, not compared"
            continue
        if is_packets(a):
            pairs = [(f"{e} cycles", a[e]["cycles_per_packet"], b[e]["cycles_per_packet"]) for e in ("apus", "c") if e in a and e in b]
            if "apus_speed_over_c" in a and "apus_speed_over_c" in b:
                pairs.append(("speed apus/C", a["apus_speed_over_c"], b["apus_speed_over_c"]))
            counted = [instructions(r, "apus") for r in (a, b)]
            if None not in counted:
                pairs.append(("apus instructions", *(processes.spread([value]) for value in counted)))
        else:
            known = dict(figures(b))
            pairs = [(key, value, known[key]) for key, value in figures(a) if key in known and isinstance(value, dict) and "median" in value]
        rows += [(name, key, interval(x), interval(y), change(x, y)) for key, x, y in pairs]
    yield from columns(rows)
    yield "* the ranges over processes do not meet. Cycles of different runs drift with the machine; trust the speed against C, and instructions."
