"""
How steadily answers come: rates, and how long anybody had to wait.

Pure.  A gap is the time in which one clerk, which calls without pause, got no
answer; the longest gap of a strike is what the unluckiest clerk saw of it.
Times are nanoseconds of one clock.
"""

from __future__ import annotations

from typing import Final

from attrs import define, field

#: The width of one bin of the rate, seconds.
BIN_S: Final = 0.1
_BIN_NS: Final = 100_000_000


@define
class Pulse:
    """The answers of several clerks, as they come."""

    began_ns: int
    #: Answers per bin, from the beginning.
    bins: list[int] = field(factory=list, init=False)
    answers: int = field(default=0, init=False)
    #: The longest gap of all, nanoseconds.
    longest_ns: int = field(default=0, init=False)
    _last_ns: dict[str, int] = field(factory=dict, init=False)
    #: When each clerk made the last call that was answered.
    _called_ns: dict[str, int] = field(factory=dict, init=False)
    #: The longest gap since `mark`.
    _gap_ns: int = field(default=0, init=False)

    def beat(self, clerk: str, began_ns: int, ended_ns: int) -> None:
        """*clerk* got an answer at *ended_ns*, having called at *began_ns*."""
        at = (ended_ns - self.began_ns) // _BIN_NS
        while len(self.bins) <= at:
            self.bins.append(0)
        self.bins[at] += 1
        self.answers += 1
        gap_ns = ended_ns - self._last_ns.get(clerk, began_ns)
        self._last_ns[clerk] = ended_ns
        self.longest_ns = max(self.longest_ns, gap_ns)
        self._gap_ns = max(self._gap_ns, gap_ns)
        self._called_ns[clerk] = max(began_ns, self._called_ns.get(clerk, 0))

    def mark(self) -> None:
        """From here on, gaps are counted anew."""
        self._gap_ns = 0

    def all_answered(self, since_ns: int) -> bool:
        """Whether every clerk has made a call since then that was answered."""
        return min(self._called_ns.values(), default=0) >= since_ns

    def gap_ms(self) -> float:
        """The longest gap that ended after the mark, milliseconds."""
        return self._gap_ns / 1e6

    def rate(self, now_ns: int, seconds: float = 0.5) -> float:
        """Answers per second of late."""
        whole = (now_ns - self.began_ns) // _BIN_NS
        count = max(1, round(seconds / BIN_S))
        recent = self.bins[max(0, whole - count) : whole]
        return sum(recent) / (count * BIN_S)
