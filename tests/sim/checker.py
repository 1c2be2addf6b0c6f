"""
Is what the clerks saw linearizable?

Pure.  A history is legal if there is one order of its operations that gives
every answer that was given, and in which none comes before another that had
ended when it was called.  The search is Wing and Gong's with Lowe's memory of
what was tried; histories are cut by key first, since each key is a world of
its own (Herlihy and Wing, locality).

An operation without an answer may have happened at any time after its call, or
never.  Two things keep the exponential away in practice and change no verdict:
what changes nothing is put first as soon as it fits, and the order in which
the log has the writes is tried before any other.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

#: Positions that the search looks at before it gives up.
STEPS_MAX = 200_000

_NEVER = float("inf")


class Verdict(enum.Enum):
    """What the search has found."""

    OK = "ok"
    ILLEGAL = "illegal"
    #: It gave up; that is no verdict.
    UNKNOWN = "unknown"


class Operation(NamedTuple):
    """One call.  Moments are numbers of events, all different."""

    clerk: str
    command: Any
    called: int
    #: None: no answer was seen; *answer* means nothing then.
    ended: int | None = None
    answer: Any = None
    #: Where the log has it, if it has it.  A hint, no evidence.
    index: int | None = None


class Finding(NamedTuple):
    """A verdict, and what there is to say for it."""

    verdict: Verdict
    #: Of the order that came furthest: what could not follow it.
    stuck: tuple[Operation, ...] = ()
    state: Any = None
    steps: int = 0


Step = Callable[[Any, Any], tuple[Any, Any]]


def check(
    history: Sequence[Operation], step: Step, steps_max: int = STEPS_MAX
) -> Finding:
    """Search an order for *history*, all of one key, which begins as None."""
    return _Search(history, step).run(steps_max)


class _Search:
    """One search.  A position is the set of operations that are placed, as the
    bits of a number, and the state that they lead to."""

    def __init__(self, history: Sequence[Operation], step: Step) -> None:
        self.ops = sorted(history, key=lambda op: op.called)
        self.ends = [_NEVER if op.ended is None else op.ended for op in self.ops]
        self.step = step
        self.wanted = sum(1 << n for n, op in enumerate(self.ops) if op.ended)
        self.furthest: tuple[int, int, Any] = (-1, 0, None)

    def run(self, steps_max: int) -> Finding:
        tried: set[tuple[int, Any]] = set()
        branches: list[Iterator[tuple[int, Any]]] = [iter([(0, None)])]
        steps = 0
        while branches:
            position = next(branches[-1], None)
            if position is None:
                branches.pop()
                continue
            if position in tried:
                continue
            tried.add(position)
            steps += 1
            placed, state = position
            if placed & self.wanted == self.wanted:
                return Finding(Verdict.OK, steps=steps)
            if steps > steps_max:
                return Finding(Verdict.UNKNOWN, steps=steps)
            count = placed.bit_count()
            if count > self.furthest[0]:
                self.furthest = (count, placed, state)
            branches.append(iter(self._after(placed, state)))
        _, placed, state = self.furthest
        stuck = tuple(self.ops[n] for n in self._free(placed))
        return Finding(Verdict.ILLEGAL, stuck, state, steps)

    def _free(self, placed: int) -> list[int]:
        """The operations that may come next: called before any that is not yet
        placed had ended."""
        free: list[int] = []
        bound = _NEVER
        for n in range((~placed & (placed + 1)).bit_length() - 1, len(self.ops)):
            if placed >> n & 1:
                continue
            if self.ops[n].called > bound:
                break
            free.append(n)
            bound = min(bound, self.ends[n])
        return [n for n in free if self.ops[n].called < bound]

    def _after(self, placed: int, state: Any) -> list[tuple[int, Any]]:
        """The positions that can follow, the most promising first."""
        found: list[tuple[float, float, int, Any]] = []
        for n in self._free(placed):
            op = self.ops[n]
            after, answer = self.step(state, op.command)
            if op.ended is None:
                if after != state:
                    rank = _NEVER if op.index is None else op.index
                    found.append((rank, op.called, n, after))
            elif answer == op.answer:
                if after == state:
                    # Nothing is lost by placing it here.
                    return [(placed | 1 << n, state)]
                rank = -1 if op.index is None else op.index
                found.append((rank, op.called, n, after))
        found.sort(key=lambda each: each[:2])
        return [(placed | 1 << n, after) for _, _, n, after in found]
