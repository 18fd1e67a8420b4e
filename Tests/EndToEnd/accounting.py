# SPDX-License-Identifier: Apache-2.0
"""Where every frame went: the counters of a dataplane, and whether they add up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_SOURCES = ("received", "generated")
_ENDS = ("transmitted", "consumed", "dropped", "held")
#: Linux listens to multicast groups, which the dataplane does not carry, and asks for what nobody has.
USUAL_DROPS = {"NOT_UNICAST", "CUSTOMER_ROUTE_MISSING", "ARP_UNANSWERED", "ND_UNANSWERED"}


@dataclass(frozen=True)
class Account:
    """The counters of one host, from `apusctl replay --json` or from a forwarder's control socket."""

    totals: dict[str, int]
    drops: dict[str, int]
    ports: dict[str, dict[str, int]]

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Account:
        """Read the JSON document of counters."""
        totals = document.get("totals", {})
        return cls(
            {name: int(count) for name, count in totals.items() if not isinstance(count, dict)}
            | {name: int(totals.get(name, 0)) for name in (*_SOURCES, *_ENDS)},
            {name: int(count) for name, count in document.get("drops", totals.get("drops", {})).items()},
            document.get("ports", {}),
        )

    def faults(self) -> list[str]:
        """What does not add up, in words."""
        faults = []
        sources, ends = (sum(self.totals[name] for name in names) for names in (_SOURCES, _ENDS))
        if sources == 0:
            faults.append("nothing was counted at all")
        if sources != ends:
            faults.append(f"received + generated = {sources}, but transmitted + consumed + dropped + held = {ends}")
        if sum(self.drops.values()) != self.totals["dropped"]:
            faults.append(f"the drop reasons add up to {sum(self.drops.values())}, dropped is {self.totals['dropped']}")
        for name in ("received", "transmitted"):
            ports = sum(int(port.get(name, 0)) for port in self.ports.values())
            if ports != self.totals[name]:
                faults.append(f"the ports have {name} {ports} frames, the dataplane {self.totals[name]}")
        return faults

    def lines(self) -> list[str]:
        """A short table for people."""
        sources = " + ".join(f"{name} {self.totals[name]}" for name in _SOURCES)
        ends = " + ".join(f"{name} {self.totals[name]}" for name in _ENDS)
        lines = [f"  {sources}  =  {ends}"]
        lines += [f"    dropped {count}: {name}" for name, count in sorted(self.drops.items()) if count]
        return lines
