"""
What must be so in every state.

What clerks are told is judged when they are told it (`tests.sim.search.outside`);
what a server does wrong by itself, its own assertions say.  Here is what only
somebody sees who looks at all servers at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tests.sim.chronicle import Violation
from tests.sim.search.config import NAMES, Config
from tests.sim.search.outside import Outside
from tests.sim.search.servers import Facts
from tests.sim.search.world import Rest
from viewservice.views import Views


def judge(
    config: Config,
    facts: Sequence[Facts | None],
    views: Views,
    outside: Outside,
    rest: Rest,
) -> None:
    """Raise `Violation` if the state is none that may be; *facts* are None for
    servers that do not run."""
    running = [fact for fact in facts if fact is not None]
    _one_identity(running)
    if config.late:
        return
    _one_history(running, outside)
    known, view = outside.known, views.view
    newest = max((fact.view.counter for fact in running), default=0)
    is_at_work = not views.settling and not views.lost
    if 0 < view.counter < newest and is_at_work:
        raise Violation(
            "one voice", f"the view service makes {view}, and view {newest} exists"
        )
    if not is_at_work and view.counter < newest:
        return  # It has an old state, in which others are eligible.
    for backup in view.members():
        at = NAMES.index(backup.name)
        fact = facts[at]
        if (
            fact is not None
            and backup.name in views.eligible
            and rest.lives[at] == backup.incarnation
            and not _holds(fact, known)
        ):
            raise Violation(
                "no empty promotion",
                f"{backup.name} is eligible in view {view.number} and holds"
                f" {fact.value!r} and {fact.tail}, and {known!r} was told",
            )


def _one_identity(running: Sequence[Facts]) -> None:
    """Two logs that hold an identity hold the same entry there, in whichever
    history it came about."""
    known: dict[tuple[int, int], bytes] = {}
    for fact in running:
        for view, index, request in fact.entries:
            if known.setdefault((view, index), request) != request:
                raise Violation(
                    "one identity",
                    f"({view}, {index}): {known[view, index]!r}, {request!r}",
                )


def _one_history(running: Sequence[Facts], outside: Outside) -> None:
    longest = max(running, key=lambda fact: len(fact.value), default=None)
    if longest is None:
        return
    chains: dict[int, int] = {}
    for fact in running:
        if not longest.value.startswith(fact.value):
            raise Violation("one history", f"{fact.value!r} and {longest.value!r}")
        if chains.setdefault(fact.commit, fact.chain) != fact.chain:
            raise Violation("same answers", f"they differ at {fact.commit}")
        if fact.diverged is not None:
            raise Violation("same answers", fact.diverged)
    value = longest.value
    if len(set(value)) != len(value):
        raise Violation("at most once", f"{value!r}")
    for token in outside.refused:
        if token in value:
            raise Violation("refusals are final", f"{token!r} was refused: {value!r}")
    for clerk in range(len(outside.clerks)):
        theirs = [each for each in value if (each - ord("a")) // 8 == clerk]
        if theirs != sorted(theirs):
            raise Violation("session order", f"{value!r}")


def _holds(fact: Facts, known: bytes) -> bool:
    """Whether what was told is there: applied, or in the log behind that."""
    value = fact.value
    if not known.startswith(value[: len(known)]):
        return False
    return _are_in_order(known[len(value) :], fact.tail)


def _are_in_order(tokens: Iterable[int], tail: Iterable[bytes]) -> bool:
    rest = iter(tail)
    return all(any(each == bytes((token,)) for each in rest) for token in tokens)
