"""
Every rule about views, as stories.

A story is a line of moves, of a view service for which three silent ticks mean
death:

    A1       server A pings; the newest view that it knows is 1
    A2+BC    ... and B and C are synced, says A
    A2-B     ... and B is unreachable, says A
    A2~      ... and A is stopping
    A'0      the same name under a new incarnation
    .        one tick
    !A       the connection of A is lost; its next ping comes on a new one
    ^A1      the ping arrives late, on the connection that A had before
    zz       the view service itself has stood still

and ends in a view: "3 B! =A C" is view 3 with primary B, who has acknowledged
it, and the backups A and C, of whom A is eligible.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from viewservice import causes, roster, waits
from viewservice import views as rules
from viewservice.memory import Memory
from viewservice.roster import Roster
from viewservice.server import NO_LINK, SUPERSEDED_MAX
from viewservice.views import Views
from wire.messages import CLERK, GOODBYES, OBSERVER, SERVER, VERSION
from wire.messages import Goodbye, Hello, Member, Ping, View, ViewIs

CLUSTER = b"c" * 16
OTHER = b"o" * 16
MOVE = re.compile(r"(\^?)([A-Z]'*)(\d+)(?:\+([A-Z]*))?(?:-([A-Z]+))?(~?)")


def member(who: str, address: str = "") -> Member:
    """Primes count incarnations: "A''" is the third process of name A."""
    name = who.rstrip("'")
    return Member(name, who.count("'"), address or f"tcp:{name.lower()}:1")


class Story:
    """A view service, and the connections of those who call it."""

    def __init__(self, *, dead_pings: int = 3, grace: int = 0, **settings: Any) -> None:
        self.views = Views(CLUSTER, Roster(dead_pings, grace), **settings)
        self.links: dict[str, int] = {}
        self.before: dict[str, int] = {}
        self.link_count = 0
        self.answer: ViewIs | Goodbye | None = None

    def tell(self, moves: str) -> Story:
        for move in moves.split():
            self.move(move)
        return self

    def move(self, move: str) -> None:
        if move == ".":
            self.views.tick()
        elif move == "zz":
            self.views.paused()
        elif move.startswith("!"):
            link = self.before[move[1:]] = self.links.pop(move[1:])
            self.views.disconnected(link)
        else:
            self.ping(move)

    def ping(self, move: str) -> None:
        found = MOVE.fullmatch(move)
        assert found, move
        late, who, number, synced, unreachable, leaving = found.groups()
        if who not in self.links and not late:
            self.link_count += 1
            self.links[who] = self.link_count
        ping = Ping(
            serial=7,
            member=member(who),
            number=int(number),
            synced=tuple(synced or ""),
            unreachable=tuple(unreachable or ""),
            leaving=bool(leaving),
        )
        self.answer = self.views.ping((self.before if late else self.links)[who], ping)

    @property
    def goodbye(self) -> str:
        return self.answer.reason if isinstance(self.answer, Goodbye) else ""

    @property
    def due(self) -> set[str]:
        return {server.member.name for server in self.views.due()}

    @property
    def waits(self) -> str:
        wait = self.views.waiting()
        return "" if wait is None else f"{wait.code}: {' '.join(wait.names)}".strip()

    @property
    def causes(self) -> list[tuple[str, str, str]]:
        last = self.views.history[-1]
        return [(cause.server, cause.code, cause.evidence) for cause in last.causes]


def shown(views: Views) -> str:
    """The view in the notation of the stories."""
    view = views.view
    if view.primary is None:
        return "nobody"
    words = [who(view.primary) + "!" * views.acknowledged]
    for backup in view.backups:
        words.append("=" * (backup.name in views.eligible) + who(backup))
    return " ".join((str(view.number), *words))


def who(member: Member) -> str:
    return member.name + "'" * member.incarnation


#: Two servers in an acknowledged view; C may come and be idle.
PAIR = "A0 B0 A1 A2+B B2 "
#: Three of them, for --backups 2.
TRIO = "A0 B0 C0 A1 A2+BC B2 C2 "

STORIES = {
    # -- the first view
    "nobody before the first ping": (". .", "nobody"),
    "the first to ping leads": ("A0", "1 A"),
    "and acknowledges by knowing": ("A0 A1", "1 A!"),
    "no backup before the acknowledgement": ("A0 B0 B0", "1 A"),
    "a ping before the acknowledgement is remembered": ("A0 B0 A1", "2 A B"),
    "the acknowledgement names every backup": ("A0 B0 A1 A2", "2 A B"),
    "one is enough where there is one": (PAIR, "2 A! =B"),
    "L4 a founding primary dies unheard, the next founds again": (
        "A0 . . . B0",
        "2 B",
    ),
    "L4 and itself under a new incarnation may be the next": ("A0 !A A'0", "2 A'"),
    "L4 the founding primary may also come back": ("A0 . . . A1", "1 A!"),
    "V18 never again after an acknowledgement": ("A0 A1 . . . B0 B0 B0", "1 A!"),
    "V18 nor for the same name": ("A0 A1 !A A'0 A'0", "1 A!"),
    "V18 nor in a second view that was never acknowledged": (
        "A0 B0 A1 . . . B2 C0",
        "2 A B",
    ),
    # -- promotion, removal, recruitment
    "still primary one interval before the limit": (PAIR + ". B2 . B2", "2 A! =B"),
    "takeover at the limit, by one ping": (PAIR + ". B2 . B2 . B2", "3 B"),
    "the old primary becomes backup": (
        PAIR + ". B2 . B2 . B2 B3 A0 B3",
        "4 B A",
    ),
    "promotion and recruitment are one step": (
        PAIR + "C0 . B2 C0 . B2 C0 . B2",
        "3 B C",
    ),
    "V14 removal and recruitment are one step": (
        PAIR + "C0 . A2 C0 . A2 C0 . A2",
        "3 A C",
    ),
    "dead backup leaves": (PAIR + ". A2 . A2 . A2", "3 A"),
    "V11 a dead idle server is not recruited": (
        PAIR + "C0 . A2 B2 . A2 B2 . A2 B2 . A2 . A2 . A2",
        "3 A",
    ),
    "V11 nor one whose connection is lost": (PAIR + "C0 !C !B . . A2", "3 A"),
    "V12 no number without a change": (
        "A0 A1 A1 . . . A1 . . . A1 B0 . . . . A1",
        "2 A B",
    ),
    "V12 nothing changes when time passes": ("A0 A1 . . . . . . . A1", "1 A!"),
    "V13 the promoted is not its own backup": (PAIR + ". . . B2 B3 B3", "3 B!"),
    "the idle wait in line": (PAIR + "D0 C0 !B . A2 C0 D0 . A2", "3 A D"),
    "who was dead stands at the end of it": (
        PAIR + "D0 C0 . A2 B2 C0 . A2 B2 C0 . A2 B2 C0 D0 !B . A2 C0 D0 . A2",
        "3 A C",
    ),
    "places are filled up to the limit": (TRIO, "2 A! =B =C"),
    # -- who may lead
    "V9 V10 an idle server never leads": (PAIR + "C0 . C0 . C0 . C0 C2 C2", "2 A! =B"),
    "V9 nor does a backup that is dead": (PAIR + "C0 . . . C0", "2 A! =B"),
    "V9 it comes back and leads": (PAIR + ". . . C0 B2", "3 B C"),
    "or the primary does and stays": (PAIR + ". . . C0 A2", "3 A C"),
    "V1 no one leads from an unsynced place": ("A0 B0 A1 . B2 . B2 . B2 B2", "2 A B"),
    "V2 a backup's ping does not acknowledge": ("A0 B0 A1 B2+B B2+A", "2 A B"),
    "V3 an acknowledgement ends with its view": (
        PAIR + "!B . . A2 C0 A2 . C3 . C3 . C3 C3",
        "4 A C",
    ),
    "V4 an older number acknowledges nothing": ("A0 B0 A1 A1+B A0+B", "2 A B"),
    "L5 each synced backup is eligible by itself": (
        "A0 B0 C0 A1 A2+B . B2 C2 . B2 C2 . C2 B2",
        "3 B C",
    ),
    "L5 and the others are not": ("A0 B0 C0 A1 A2+B . B2 C2 . B2 C2 . C2", "2 A =B C"),
    "R3 eligible in an earlier view is not eligible": (
        PAIR + "!B . . A2 A3 B0 A3 . B4 . B4 . B4",
        "4 A B",
    ),
    "holders stay eligible in a view that nobody acknowledged": (
        TRIO + "!C . A2 B2 . A2 !A . B2 . B2",
        "4 B",
    ),
    # -- restarts
    "V5 a restarted primary is dead": (PAIR + "!A A'0 B2", "3 B A'"),
    "V5 and the idle one was there before it": (PAIR + "C0 !A A'0 B2", "3 B C"),
    "V7 V8 a restarted backup is another one": (PAIR + "!B B'0 A2", "3 A B'"),
    "V7 and not eligible": (PAIR + "!B B'0 A2 A3 . B'3 . B'3 . B'3", "3 A B'"),
    "T16 a restart of the backup while it comes up": (
        "A0 B0 A1 !B B'0 A2",
        "3 A B'",
    ),
    # -- the gate
    "T3 a joining backup may die": ("A0 B0 A1 !B . A2 . A2", "3 A"),
    "T3 and be replaced": ("A0 B0 A1 C0 !B . A2 C0 . A2", "3 A C"),
    "a place that was free stays so before the acknowledgement": (
        TRIO + "!B !C . A2 . A2 D0 A2 A2",
        "3 A",
    ),
    "a place that becomes free is filled": (
        TRIO + "D0 !B . A2 C2 D0 . A2 E0 !D . A3 C3 E0 . A3",
        "4 A =C E",
    ),
    # -- one voice per name
    "L7 late bytes of an old connection are no ping": (
        PAIR + "!A A2 . ^A2 . ^A2 . ^A2 B2",
        "3 B",
    ),
    "L7 nor do they acknowledge": ("A0 B0 A1 !A A1 ^A2+B", "2 A B"),
    "L7 a late ping of 0 kills nobody": (PAIR + "!A A2 ^A0 B2 ^A0 B2", "2 A! =B"),
    # -- hints
    "a lost connection leaves two ticks": (PAIR + "!A . B2", "2 A! =B"),
    "and then means death": (PAIR + "!A . . B2", "3 B"),
    "L3 who calls again is alive": (PAIR + "!A . A2 . . B2", "2 A! =B"),
    "L1 the primary's machine dies, the backup's connection blips": (
        PAIR + ". !B . . B2",
        "3 B",
    ),
    "L1 and even a long absence leaves the backup where it is": (
        PAIR + "!A !B . . . . . . . . B2",
        "3 B",
    ),
    "L2 the own pause is no hint": (PAIR + "!A !B zz . . A2 B2", "2 A! =B"),
    "L2 though silence counts": (PAIR + "!A zz . . . B2", "3 B"),
    # -- leaving
    "who says that it stops is dead at once": (PAIR + "A2~ B2", "3 B"),
    "its last word about others counts": ("A0 B0 A1 A2+B~ B2", "3 B"),
    "a backup that stops": (PAIR + "C0 B2~ A2", "3 A C"),
    "it makes no view with itself in it": (PAIR + "!B . . A2~", "2 A! =B"),
    # -- unreachable
    "P17 an unreachable backup loses its place": (PAIR + "A2-B", "3 A"),
    "to one that waits": (PAIR + "C0 A2-B", "3 A C"),
    "and does not get it back at once": (PAIR + "A2-B B2 A3 B3 A3", "3 A!"),
    "an old report says nothing": (PAIR + "A1-B", "2 A! =B"),
    "a backup that cannot come up is replaced": ("A0 B0 A1 C0 A2-B", "3 A C"),
    "against one eligible backup the primary is believed": (
        PAIR + "B2-A B2-A B2-A . A2 B2-A",
        "2 A! =B",
    ),
    "L13 two eligible backups outvote the primary": (TRIO + "B2-A C2-A", "3 C =B"),
    "L13 one of two does not": (TRIO + "B2-A C2 B2-A A2", "2 A! =B =C"),
    "L13 nor do two who are not both eligible": (
        "A0 B0 C0 A1 A2+B B2-A C2-A B2-A",
        "2 A =B C",
    ),
    "L13 who takes it back does not count": (TRIO + "B2-A B2 C2-A", "2 A! =B =C"),
    "L13 the primary accuses first, and is weighed": (
        TRIO + "A2-B . A2-BC B2-A C2-A",
        "3 C =B",
    ),
    "L13 and believed if nobody objects": (
        TRIO + "A2-BC . B2 C2 A2-BC . B2 C2 A2-BC",
        "3 A",
    ),
    "L13 and not recruited by those who outvoted it": (
        TRIO + "B2-A C2-A A3 C3+B A3 C3+B",
        "3 C! =B",
    ),
    # -- names
    "V16 nobody else's news is a ping": (PAIR + "!A . B2 C0 . B2", "3 B C"),
}


@pytest.mark.parametrize("name", STORIES)
def test_story(name: str) -> None:
    moves, expected = STORIES[name]
    three = expected.count("=") == 2 or moves.startswith((TRIO, "A0 B0 C0 A1"))
    story = Story(backups_max=2 if three else 1).tell(moves)
    assert expected == shown(story.views)
