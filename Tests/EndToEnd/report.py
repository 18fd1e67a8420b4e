# SPDX-License-Identifier: Apache-2.0
"""What people read: tables, colours, and one frame taken apart."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from frames import Captured, Frame, MalformedFrame, parse, write_pcap
from topology import Outcome

_COLOURS = {"bold": "1", "green": "32", "red": "31", "dim": "2"}


def paint(text: str, colour: str) -> str:
    """Text in a colour, on terminals that want it."""
    wanted = sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    return f"\033[{_COLOURS[colour]}m{text}\033[0m" if wanted else text


def heading(text: str) -> None:
    """Print the title of a section."""
    print(f"\n{paint(text, 'bold')}\n", flush=True)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> list[str]:
    """Lines of a table; the columns numbered in `right` are aligned to the right."""
    widths = [max(len(row[index]) for row in (columns, *rows)) for index in range(len(columns))]

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(cells, widths))
        )
        return "  " + "  ".join(padded).rstrip()

    return [line(columns), line(["-" * width for width in widths]), *(line(row) for row in rows)]


def outcome_table(outcomes: Sequence[Outcome]) -> list[str]:
    """Who pinged whom, what had to happen, what happened."""
    rows = []
    for outcome in outcomes:
        trial, ping = outcome.trial, outcome.ping
        if trial.answers == "gateway":
            expected, by = "answers from Apus", ", from Apus" if not outcome.answered_by else ""
        elif trial.answers:
            expected, by = f"answers from {trial.answers}", ""
        else:
            expected, by = "no answer", ""
        if outcome.answered_by:
            by = ", from " + " and ".join(outcome.answered_by)
        got = f"{ping.received} of {ping.sent}{by}" if ping.received or outcome.answered_by else f"none of {ping.sent}"
        milliseconds = f"{ping.milliseconds:.2f}" if ping.milliseconds is not None else "-"
        verdict = "ok" if outcome.as_expected else "WRONG"
        rows.append((trial.source.name, trial.address, trial.shows, expected, got, milliseconds, verdict))
    lines = table(("from", "to", "which is", "expected", "got", "ms", ""), rows, right=(5,))
    result = lines[:2]
    group = None
    for outcome, line in zip(outcomes, lines[2:]):
        # A blank line between the tenants, and before what must fail.
        following = outcome.trial.source.tenant if outcome.trial.must_work else "nobody"
        if group not in (None, following):
            result.append("")
        group = following
        word, colour = ("ok", "green") if outcome.as_expected else ("WRONG", "red")
        result.append(line.removesuffix(word) + paint(word, colour))
    return result


# --- one frame ---------------------------------------------------------------------------------

_TELLING_LINE = re.compile(
    r"^(Ethernet II|Internet Protocol|Generic Routing|Internet Control)"
    r"|^    (Time to Live|Protocol|Flags and Version|Protocol Type|Key|Header Checksum|Checksum):"
    r"|^    Type: \d+ "
    r"|^    (\.{3}\d|\d{3}\.) .*Flags: "
)


def find_echo_request(frames: Sequence[Captured], vsid: int, source: str, destination: str) -> Captured | None:
    """The first NVGRE frame of a virtual subnet that carries an echo request between these customer addresses."""
    for captured in frames:
        try:
            outer = parse(captured.data)
        except MalformedFrame:
            continue
        if outer.nvgre is None or outer.nvgre.vsid != vsid:
            continue
        inner = outer.nvgre.inner
        if (inner.ip_source, inner.ip_destination) == (source, destination) and inner.echo and inner.echo.is_request:
            return captured
    return None


def decode_with_tshark(frame: Captured) -> list[str] | None:
    """What tshark says about a frame, shortened to the lines that tell the story; None without tshark."""
    if shutil.which("tshark") is None:
        return None
    with tempfile.TemporaryDirectory(prefix="apus-") as directory:
        file = Path(directory) / "frame.pcap"
        write_pcap(file, [frame])
        result = subprocess.run(
            ["tshark", "-n", "-V", "-o", "ip.check_checksum:TRUE", "-r", str(file)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=30,
            check=False,
        )
    if result.returncode != 0:
        return None
    lines = [line for line in result.stdout.splitlines() if _TELLING_LINE.match(line)]
    nvgre = parse(frame.data).nvgre
    if nvgre is not None:
        meaning = f"   <- VSID {nvgre.vsid}, FlowID {nvgre.flow_id:#04x}"
        lines = [line + meaning if line.startswith("    Key:") else line for line in lines]
    return lines


def decode_here(frame: Captured) -> list[str]:
    """The same without tshark, in this program's own words."""

    def describe(part: Frame) -> list[str]:
        lines = [f"Ethernet {part.source} -> {part.destination}"]
        if part.ip_source:
            lines.append(f"IPv4 {part.ip_source} -> {part.ip_destination}, TTL {part.ttl}")
        if part.nvgre:
            lines.append(f"GRE key {part.nvgre.key:#010x}: VSID {part.nvgre.vsid}, FlowID {part.nvgre.flow_id:#04x}")
            lines += ["    " + line for line in describe(part.nvgre.inner)]
        if part.echo:
            lines.append(f"ICMP echo {'request' if part.echo.is_request else 'reply'}")
        return lines

    return describe(parse(frame.data))
