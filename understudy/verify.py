"""
``understudy verify``: do all members of the view hold the same state?

Each is asked for a digest of its state at one and the same index; equal digests
are equal states, byte for byte.  While operations go on an index is passed
before the question arrives, so the question is about one further ahead until
all are asked in time; when nothing goes on, all are at the same one already
(``docs/design.md``, sections 2, S7, and 5).
"""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from collections.abc import Coroutine, Iterable
from typing import Any, Final, TypeVar

from attrs import frozen
from twisted.internet.defer import Deferred, FirstError, gatherResults

from understudy.observer import Observer
from understudy.outcome import DONE, REFUSED, UNAVAILABLE, Ended
from understudy.running import pause, run
from understudy.table import columns
from understudy.text import say, say_json
from wire.messages import (
    SERVER,
    VIEW_SERVICE,
    DigestAt,
    DigestIs,
    Member,
    View,
    ViewIs,
    Watch,
)

T = TypeVar("T")

#: How long an index ahead may take to be reached before it is assumed that the
#: operations have stopped; doubles.
_PATIENCE_S: Final = 0.5

#: How long a member that has reached the index may compute until it is asked
#: again: the connection, and with it the question, may have been lost.
_COMPUTING_S: Final = 2.0

#: How far ahead of where the members stand an index may be.
_MARGIN_MAX: Final = 1 << 40

#: How often a member may have no digest of the index at which it stands.
_SILENCES_MAX: Final = 5

#: Before a view is looked at again after a member could not be asked, seconds.
_AGAIN_S: Final = 0.1


@frozen
class Comparison:
    """What the members of one view answered about one index."""

    view: View
    index: int
    answers: dict[str, DigestIs]

    @property
    def is_same(self) -> bool:
        """Whether all hold the same state, and have given the same answers."""
        found = {(each.digest, each.chain) for each in self.answers.values()}
        return len(found) == 1


def main(options: Namespace) -> int:
    """Compare -> the exit code: 1 if they differ.  Raises `Ended`."""
    comparison = run(lambda reactor: compare(reactor, options.views, options.timeout))
    if options.json:
        say_json(_document(comparison))
    else:
        say("\n".join(_lines(comparison)))
    return DONE if comparison.is_same else REFUSED


async def compare(reactor: Any, views: Iterable[str], seconds: float) -> Comparison:
    """Ask all members.  Raises `Ended` if that is not possible within *seconds*,
    with what stood in the way last."""
    end = reactor.seconds() + seconds
    observer = Observer(reactor, VIEW_SERVICE, tuple(views))
    try:
        while True:
            asked = await observer.ask(Watch(), ViewIs, end - reactor.seconds())
            if asked.view.primary is None:
                raise Ended(UNAVAILABLE, "there is no view yet: nobody serves")
            try:
                return await _compare(reactor, asked.view, end)
            except Ended:
                # Perhaps the view has moved on; then another is to be asked.
                if reactor.seconds() + _AGAIN_S >= end:
                    raise
            await pause(reactor, _AGAIN_S)
    finally:
        observer.stop()


async def _compare(reactor: Any, view: View, end: float) -> Comparison:
    members = [_Questioned.of(reactor, member) for member in view.members()]
    margin, patience = 0, _PATIENCE_S
    silences: Counter[str] = Counter()
    try:
        while True:
            left = end - reactor.seconds()
            # A member that cannot be reached may soon be out of the view.
            where = await _all(each.position(min(left, 2.0)) for each in members)
            index = max(where) + margin
            if index == 0:
                # Nothing was ever executed, and so there is nothing to differ.
                nothing = {each.member.name: DigestIs(0, 0, b"") for each in members}
                return Comparison(view, 0, nothing)
            left = end - reactor.seconds()
            if left <= 0:
                raise Ended(
                    UNAVAILABLE, f"no index was met by all in time; last tried: {index}"
                )
            try:
                found = await _all(
                    each.digest(index, min(left, patience), left) for each in members
                )
            except Ended:
                # Nobody gets there any more, or somebody is far behind.
                if left <= patience:
                    raise
                margin, patience = 0, 2 * patience
                continue
            past = max(answer.index for answer in found)
            if past == index and all(answer.digest for answer in found):
                names = (each.member.name for each in members)
                return Comparison(view, index, dict(zip(names, found, strict=True)))
            if past == index:
                # No member has gone on, and one has no digest of where it stands: it
                # was just about to go on, or its state machine cannot tell.
                for each, answer in zip(members, found, strict=True):
                    silences[each.member.name] += not answer.digest
                name, count = silences.most_common(1)[0]
                if count >= _SILENCES_MAX:
                    raise Ended(
                        UNAVAILABLE,
                        f"{name} cannot compute the digest of its state; if its state"
                        " machine raised an error, its log has machine.failed",
                    )
                margin = 0
                continue
            margin = min(max(2 * margin, 2 * (past - index), 16), _MARGIN_MAX)
    finally:
        for each in members:
            each.observer.stop()


@frozen
class _Questioned:
    """A member of the view, and the connection to it."""

    member: Member
    observer: Observer

    @classmethod
    def of(cls, reactor: Any, member: Member) -> _Questioned:
        """Connect to *member*, and to nobody who took its place."""
        return cls(member, Observer(reactor, SERVER, [member.address], expected=member))

    async def position(self, seconds: float) -> int:
        """How far it has applied."""
        answer = await self.observer.ask(
            DigestAt(0), DigestIs, seconds, lambda found: not found.digest
        )
        return answer.index

    async def digest(self, index: int, seconds: float, left: float) -> DigestIs:
        """Its state at *index*, or an empty digest if it is past that.

        It must reach the index within *seconds*.  From then on it computes the
        digest beside its other work, which may take until *left* is over.
        """
        while True:
            try:
                return await self.observer.ask(
                    DigestAt(index),
                    DigestIs,
                    seconds,
                    # What else may come is the answer to an earlier question.
                    lambda found: found.index == index or not found.digest,
                )
            except Ended as ended:
                left -= seconds
                if left <= 0 or await self.position(min(left, 2.0)) < index:
                    name = self.member.name
                    raise Ended(
                        UNAVAILABLE,
                        f"{name} has not reached index {index}: {ended.text}",
                    ) from ended
                seconds = min(left, _COMPUTING_S)


async def _all(asking: Iterable[Coroutine[Deferred[Any], Any, T]]) -> list[T]:
    """Ask all at once; the first that fails fails all."""
    try:
        return await gatherResults(
            [Deferred.fromCoroutine(each) for each in asking], consumeErrors=True
        )
    except FirstError as error:
        error.subFailure.raiseException()


def _document(comparison: Comparison) -> dict[str, Any]:
    return {
        "same": comparison.is_same,
        "view": comparison.view.counter,
        "index": comparison.index,
        "members": [
            {
                "name": member.name,
                "incarnation": f"{member.incarnation:016x}",
                "digest": comparison.answers[member.name].digest.hex(),
                "answers": f"{comparison.answers[member.name].chain:08x}",
            }
            for member in comparison.view.members()
        ],
    }


def _lines(comparison: Comparison) -> list[str]:
    names = " and ".join(comparison.answers)
    where = f"view {comparison.view.counter}, index {comparison.index}"
    if comparison.index == 0:
        view = comparison.view.counter
        return [f"ok: no operation was executed yet, so no states differ (view {view})"]
    if len(comparison.answers) == 1:
        verdict = f"ok, but there is only {names} to compare ({where})"
    elif comparison.is_same:
        verdict = f"ok: {names} hold the same state ({where})"
    else:
        verdict = (
            f"DIFFERENT: {names} do not hold the same state ({where}). The primary's "
            "is what clerks see; restart each server that differs from it"
        )
    rows = [("server", "state", "answers")]
    rows += [
        (name, found.digest.hex()[:32], f"{found.chain:08x}")
        for name, found in comparison.answers.items()
    ]
    return [verdict, *columns(rows)]
