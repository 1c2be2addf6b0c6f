"""
Is what the clerks saw linearizable?

Pure.  A history is legal if there is one order of its operations that gives
every answer that was given, and in which none comes before another that had
ended when it was called.  The search is Wing and Gong's with Lowe's memory of
what was tried; histories are cut by key first, since each key is a world of
its own (Herlihy and Wing, locality).

An operation without an answer may have happened at any time after its call, or
never.  Two things keep the exponential away in practice and change no verdict:
what only observes is put first as soon as it fits, and the order in which the
log has the writes is tried before any other.  With that witness a history
costs one step for each operation, and each step looks only at the operations
that overlap there, however long the history is.
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


#: State and command -> the state after it, and the answer.
Step = Callable[[Any, Any], tuple[Any, Any]]

#: Command and answer -> does it change nothing, whenever it is answered so?
Observes = Callable[[Any, Any], bool]


def check(
    history: Sequence[Operation],
    step: Step,
    observes: Observes,
    steps_max: int = STEPS_MAX,
) -> Finding:
    """Search an order for *history*, all of one key, which begins as None."""
    return _Search(history, step, observes).run(steps_max)


class LogPosition(NamedTuple):
    """How far an order has come, and the state that this leads to."""

    #: Of the operations with an answer: how many of the first are placed, and,
    #: as bits, which of those that follow.  The lowest bit is never set.
    first: int
    beyond: int
    #: Of those without an answer: which are placed, as bits.
    doubtful: int
    state: Any

    def with_placed(self, n: int, state: Any) -> LogPosition:
        """The *n*-th with an answer comes next, and leads to *state*."""
        beyond = self.beyond | 1 << n - self.first
        full = (~beyond & (beyond + 1)).bit_length() - 1
        return LogPosition(self.first + full, beyond >> full, self.doubtful, state)

    def with_doubtful(self, n: int, state: Any) -> LogPosition:
        """The *n*-th without an answer has happened here."""
        return self._replace(doubtful=self.doubtful | 1 << n, state=state)

    @property
    def count(self) -> int:
        """How many are placed."""
        return self.first + self.beyond.bit_count() + self.doubtful.bit_count()


class _Search:
    """One search, depth first, with a memory of what was tried."""

    def __init__(
        self, history: Sequence[Operation], step: Step, observes: Observes
    ) -> None:
        ops = sorted(history, key=lambda op: op.called)
        self.answered = [op for op in ops if op.ended is not None]
        self.doubtful = [op for op in ops if op.ended is None]
        self.ends = [op.ended or 0 for op in self.answered]
        self.step, self.observes = step, observes

    def run(self, steps_max: int) -> Finding:
        tried: set[LogPosition] = set()
        furthest = start = LogPosition(0, 0, 0, None)
        branches: list[Iterator[LogPosition]] = [iter([start])]
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
            if position.first == len(self.answered):
                return Finding(Verdict.OK, steps=steps)
            if steps > steps_max:
                return Finding(Verdict.UNKNOWN, steps=steps)
            if position.count > furthest.count:
                furthest = position
            branches.append(self._after(position))
        free, bound = self._free(furthest)
        stuck = [self.answered[n] for n in free]
        stuck += [self.doubtful[n] for n in self._free_doubtful(furthest, bound)]
        return Finding(Verdict.ILLEGAL, tuple(stuck), furthest.state, steps)

    def _free(self, position: LogPosition) -> tuple[list[int], float]:
        """Those with an answer that may come next, called before any that is not
        yet placed had ended; and when the first of these did."""
        first, beyond = position.first, position.beyond
        free: list[int] = []
        bound = _NEVER
        for n in range(first, len(self.answered)):
            if beyond >> n - first & 1:
                continue
            if self.answered[n].called > bound:
                break
            free.append(n)
            bound = min(bound, self.ends[n])
        return [n for n in free if self.answered[n].called < bound], bound

    def _free_doubtful(self, position: LogPosition, bound: float) -> Iterator[int]:
        for n, op in enumerate(self.doubtful):
            if op.called > bound:
                return
            if not position.doubtful >> n & 1:
                yield n

    def _after(self, position: LogPosition) -> Iterator[LogPosition]:
        """The positions that can follow, the most promising first."""
        state = position.state
        ranked: list[tuple[float, float, LogPosition]] = []
        free, bound = self._free(position)
        for n in free:
            op = self.answered[n]
            after, answer = self.step(state, op.command)
            if answer == op.answer:
                follows = position.with_placed(n, after)
                if self.observes(op.command, answer):
                    # Nothing is lost by placing it here.  (A write that happens
                    # to change nothing may be needed later.)
                    yield follows
                    return
                rank = -1 if op.index is None else op.index
                ranked.append((rank, op.called, follows))
        unlikely = []
        for n in self._free_doubtful(position, bound):
            op = self.doubtful[n]
            if op.index is None:
                unlikely.append(n)
                continue
            after, _ = self.step(state, op.command)
            ranked.append((op.index, op.called, position.with_doubtful(n, after)))
        ranked.sort(key=lambda each: each[:2])
        for _, _, follows in ranked:
            yield follows
        for n in unlikely:
            after, _ = self.step(state, self.doubtful[n].command)
            if after != state:
                yield position.with_doubtful(n, after)
