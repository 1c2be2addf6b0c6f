"""
What many worlds saw, added up.

Pure.  A clean run means little if what is rare never happened in it; so what
did not happen is said as loudly as what did.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

from attrs import define, field

from tests.sim import probes
from tests.sim.agenda import S
from tests.sim.ending import Ending
from tests.sim.excerpt import Excerpt, replay
from tests.sim.faults import KINDS
from tests.sim.run import Result


@define
class Finding:
    """A violation, and the least excerpt that is known to show it."""

    result: Result
    excerpt: Excerpt
    least: Excerpt | None = None
    shrunk: Result | None = None

    def lines(self) -> list[str]:
        """For people; each command can be pasted."""
        seed = self.result.seed
        found = [
            f"seed {seed}: {self.result.violation}",
            f"  replay: {replay(seed, self.excerpt)}",
        ]
        if self.least is not None and self.shrunk is not None:
            faults = [
                f"{fault.name} ({fault.kind}, {fault.at_us / S:.3f} s)"
                for fault in self.shrunk.struck
            ]
            found += [
                f"  least: {replay(seed, self.least)}",
                f"    {self.shrunk.violation}",
                f"    {self.shrunk.calls} calls; faults: {', '.join(faults) or 'none'}",
            ]
        options = (self.least or self.excerpt).options()
        look = f"python -m tests.sim --seed {seed}{options} --trace page.html"
        return [*found, f"  page: {look}"]

    def document(self) -> dict[str, Any]:
        """For programs."""
        violation = self.result.violation
        assert violation is not None
        found: dict[str, Any] = {
            "seed": self.result.seed,
            "rule": violation.rule,
            "text": violation.text,
            "replay": replay(self.result.seed, self.excerpt),
        }
        if self.least is not None and self.shrunk is not None:
            found["least"] = {
                "replay": replay(self.result.seed, self.least),
                "text": str(self.shrunk.violation),
                "calls": self.shrunk.calls,
                "faults": [fault._asdict() for fault in self.shrunk.struck],
            }
        return found


@define
class Tally:
    """The sums."""

    #: The kinds of faults that could have struck.
    kinds: Collection[str] = KINDS
    worlds: int = 0
    first: int | None = None
    last: int | None = None
    events: int = 0
    simulated_us: int = 0
    calls: int = 0
    unknown: int = 0
    healed_us: int = 0
    healed_seed: int | None = None
    endings: Counter[str] = field(factory=Counter)
    faults: Counter[str] = field(factory=Counter)
    counts: Counter[str] = field(factory=Counter)
    places: Counter[str] = field(factory=Counter)
    findings: list[Finding] = field(factory=list)

    def add(self, result: Result) -> None:
        """One more world."""
        self.worlds += 1
        self.first = result.seed if self.first is None else self.first
        self.last = result.seed
        self.events += result.events
        self.simulated_us += result.simulated_us
        self.calls += result.calls
        self.unknown += result.unknown
        if result.violation is None:
            self.endings[result.ending] += 1
            if result.healed_us > self.healed_us:
                self.healed_us, self.healed_seed = result.healed_us, result.seed
        self.faults.update(fault.kind for fault in result.struck)
        self.counts.update(result.counts)
        self.places.update(result.places)

    def lines(self, took_s: float) -> list[str]:
        """For people."""
        missed = [
            kind for kind in KINDS if kind in self.kinds and not self.faults[kind]
        ]
        others = {how: self.endings[how] for how in Ending if how is not Ending.WAITING}
        events_per_s = self.events / max(took_s, 1e-9)
        each_s = took_s / max(1, self.worlds)
        seconds = f"{self.simulated_us / S:.0f} simulated seconds"
        longest = f"healed within {self.healed_us / S:.1f} s, the slowest of them"
        return [
            f"{self.worlds} worlds, {seconds}, {self.events} events",
            f"calls: {self.calls}; {_listed(self.counts)}",
            f"faults: {self.faults.total()}; {_listed(self.faults)}",
            f"faults that never struck: {', '.join(missed) or 'none'}",
            f"ended: {_listed(others)}; {self.unknown} histories were not judged",
            f"{longest} (seed {self.healed_seed})",
            *self._places(),
            f"{took_s:.1f} s, {each_s:.3f} each, {events_per_s:.0f} events a second",
            f"{len(self.findings)} violations",
        ]

    def _places(self) -> list[str]:
        if not self.places:
            return []  # They were not counted.
        missed, wrong = probes.unreached(self.places), probes.wrong(self.places)
        return [
            f"rare places: {len(self.places)}; not come to: {'; '.join(missed)}",
            *([f"nobody should come to: {'; '.join(wrong)}"] if wrong else []),
        ]

    def document(self, took_s: float) -> dict[str, Any]:
        """For programs."""
        return {
            "worlds": self.worlds,
            "first_seed": self.first,
            "last_seed": self.last,
            "took_s": round(took_s, 3),
            "simulated_s": self.simulated_us / S,
            "events": self.events,
            "events_per_s": round(self.events / max(took_s, 1e-9)),
            "calls": self.calls,
            "counts": dict(sorted(self.counts.items())),
            "faults": {kind: self.faults[kind] for kind in KINDS},
            "endings": {
                how.value: self.endings[how]
                for how in Ending
                if how is not Ending.WAITING
            },
            "places": dict(sorted(self.places.items())),
            "unknown": self.unknown,
            "longest_healing_s": self.healed_us / S,
            "longest_healing_seed": self.healed_seed,
            "violations": [finding.document() for finding in self.findings],
        }


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
