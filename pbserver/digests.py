"""
Requests for the digest of the state at one index, and the digest being computed.

Pure.  A digest is of the state at one exact index.  It begins when that index is
applied, and is computed piece by piece while more is applied.  One is computed
at a time: a question whose index comes meanwhile waits as long as the state
stands there, and is answered without a digest when it moves on.

Questions are short, and one read brings thousands.  So one question of a link
waits, and any other is answered without a digest: once for each link and turn.
"""

from __future__ import annotations

from typing import Final

from attrs import define, field

from pbserver.outbox import Link
from pbserver.sessions import Sessions, SessionsDigest
from wire.messages import DigestIs

#: How many questions may wait; one more is answered at once, without a digest.
DIGESTS_MAX: Final = 64


@define
class Digests:
    """The questions that wait, and the digest that is being computed."""

    #: index -> who wants the digest of the state there.
    waiting: dict[int, list[Link]] = field(factory=dict, init=False)
    #: Who has a question that waits -> about which index.
    _asked: dict[Link, int] = field(factory=dict, init=False)
    #: The digests that are to be sent.
    _told: list[tuple[Link, DigestIs]] = field(factory=list, init=False)
    #: Who is to be answered without one when this turn ends: how far the state was
    #: at the newest question.
    _refused: dict[Link, tuple[int, int]] = field(factory=dict, init=False)

    #: What the state machine raised instead of computing one, until it is logged.
    faults: list[str] = field(factory=list, init=False)

    #: What is being computed.
    cut: SessionsDigest | None = field(default=None, init=False)
    #: Who gets it.
    _links: list[Link] = field(factory=list, init=False)

    def ask(self, link: Link, index: int, state: Sessions) -> None:
        """*link* wants the digest at *index*; 0: only how far *state* is."""
        asked = self._asked.get(link)
        if asked == index:
            return
        if asked is not None or not self._takes(index, state):
            self._refuse(link, state)
            return
        self._asked[link] = index
        if self.cut is not None and self.cut.index == index:
            self._links.append(link)
        else:
            self.waiting.setdefault(index, []).append(link)
            self.reached(state)

    def _takes(self, index: int, state: Sessions) -> bool:
        """Whether one more question about *index* may wait."""
        is_computed = self.cut is not None and self.cut.index == index
        return (
            index != 0
            and (is_computed or index >= state.index)
            and self._makes_room(index, state)
        )

    def _makes_room(self, index: int, state: Sessions) -> bool:
        """Whether one more may wait for *index*; those who wait for one that is further
        away give way, or requests for what never comes would keep out others."""
        if len(self._asked) < DIGESTS_MAX:
            return True
        furthest = max(self.waiting, default=0)
        if furthest <= index:
            return False
        self._give_up(furthest, state)
        return True

    def reached(self, state: Sessions) -> None:
        """*state* is at an index for which somebody may wait: begin, unless a
        digest of another index is being computed."""
        if self.cut is not None or state.index not in self.waiting:
            return
        links = self.waiting.pop(state.index)
        try:
            self.cut = state.digest_cut()
        except Exception as error:  # noqa: BLE001 - only the questioner is harmed
            self._fault(error)
            self._answer(links, DigestIs(state.index, state.chain, b""))
        else:
            self._links = links

    def leaving(self, state: Sessions) -> None:
        """*state* is about to move on: it was not waited for in time."""
        for index in [index for index in self.waiting if index <= state.index]:
            self._give_up(index, state)

    def step(self, bytes_max: int, state: Sessions) -> None:
        """Compute on, for about that many bytes of the state."""
        cut = self.cut
        if cut is None:
            return
        try:
            digest = cut.step(bytes_max)
        except Exception as error:  # noqa: BLE001 - as above
            self._fault(error)
            digest = b""
        if digest is None:
            return
        self._answer(self._links, DigestIs(cut.index, cut.chain, digest))
        self._drop()
        self.reached(state)

    def link_lost(self, link: Link) -> None:
        """Nobody listens there any more."""
        self._refused.pop(link, None)
        if self._asked.pop(link, None) is None:
            return
        for index, links in list(self.waiting.items()):
            left = [each for each in links if each != link]
            if left:
                self.waiting[index] = left
            else:
                del self.waiting[index]
        if link in self._links:
            self._links = [each for each in self._links if each != link]
            if not self._links:
                self._drop()

    def _drop(self) -> None:
        if self.cut is not None:
            self.cut.close()
        self.cut, self._links = None, []

    def _fault(self, error: Exception) -> None:
        self.faults.append(f"the state machine raised in its digest: {error!r}")

    @property
    def has_told(self) -> bool:
        """Is anything to be sent?"""
        return bool(self._told or self._refused)

    def take_told(self) -> list[tuple[Link, DigestIs]]:
        """The answers that are to be sent when this turn ends."""
        told, self._told = self._told, []
        for link, (index, chain) in self._refused.items():
            told.append((link, DigestIs(index, chain, b"")))
        self._refused.clear()
        return told

    def _give_up(self, index: int, state: Sessions) -> None:
        for link in self.waiting.pop(index):
            del self._asked[link]
            self._refuse(link, state)

    def _refuse(self, link: Link, state: Sessions) -> None:
        self._refused[link] = state.index, state.chain

    def _answer(self, links: list[Link], digest: DigestIs) -> None:
        for link in links:
            del self._asked[link]
            self._told.append((link, digest))
