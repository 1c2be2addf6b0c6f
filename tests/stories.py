"""
Stories: a line of moves, told to a view service.

Three silent ticks mean death.  The moves are:

    A1       server A pings; the newest view that it knows is 1
    A2+BC    ... and B and C are synced, says A
    A2-B     ... and B is unreachable, says A
    A2~      ... and A is stopping
    A2%7     ... and its progress is 7
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
from typing import Any

from viewservice.roster import Roster
from viewservice.views import Views
from wire.messages import Goodbye, Member, Ping, ViewIs

CLUSTER = b"c" * 16
MOVE = re.compile(r"(\^?)([A-Z]'*)(\d+)(?:\+([A-Z]*))?(?:-([A-Z]+))?(~?)(?:%(\d+))?")


def member(who: str, address: str = "") -> Member:
    """Primes count incarnations: "A''" is the third process of name A."""
    name = who.rstrip("'")
    return Member(name, who.count("'"), address or f"tcp:{name.lower()}:1")


class Story:
    """A view service, and the connections of those who call it."""

    def __init__(self, *, dead_pings: int = 3, grace: int = 0, **settings: Any) -> None:
        roster = Roster(dead_pings, grace)
        self.views = Views(CLUSTER, roster, margin_ticks=grace, **settings)
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
            name = move[1:].removesuffix("~")
            link = self.before[name] = self.links.pop(name)
            self.views.disconnected(link, stopped=move.endswith("~"))
        else:
            self.ping(move)

    def ping(self, move: str) -> None:
        found = MOVE.fullmatch(move)
        assert found, move
        late, who, number, synced, unreachable, leaving, progress = found.groups()
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
            progress=int(progress or 0),
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
        return "" if wait is None else ": ".join((wait.code, *wait.names))

    @property
    def causes(self) -> list[tuple[str, str, str]]:
        last = self.views.history[-1]
        return [(cause.server, cause.code, cause.evidence) for cause in last.causes]


def shown(views: Views) -> str:
    """The view in the notation of the stories."""
    view = views.view
    if view.primary is None:
        return "nobody"
    primary = who(view.primary) + "!" * views.acknowledged
    backups = ["=" * (each.name in views.eligible) + who(each) for each in view.backups]
    return " ".join((str(view.number), primary, *backups))


def who(member: Member) -> str:
    return member.name + "'" * member.incarnation


#: Two servers in an acknowledged view; C may come and be idle.
PAIR = "A0 B0 A1 A2+B B2 "
#: Three of them, for --backups 2.
TRIO = "A0 B0 C0 A1 A2+BC B2 C2 "


def of(moves: str) -> Story:
    """The story of *moves*, with two backups if it is one of three servers."""
    return Story(backups_max=2 if moves.startswith(TRIO) else 1).tell(moves)


def recalled(story: Story, **settings: Any) -> Story:
    """The same view service after a restart; connections are new."""
    after = Story()
    after.link_count = story.link_count
    settings = {"margin_ticks": story.views.margin_ticks, **settings}
    after.views = Views.recalled(story.views.memory(), Roster(3), **settings)
    return after
