"""
Where searches begin, and with what bounds: the named configurations.

A search from the very beginning spends itself on how a service is founded.  So
most begin at a situation of which one would like to know everything that can
come of it; by symmetry the first server is the one that leads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import evolve, frozen

from tests.sim.search.config import KINDS, TINY, Config
from tests.sim.search.model import Model
from tests.sim.search.world import State

A, B, C, D = range(4)


class Stage:
    """A world that is brought where a search is to begin."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.state = model.worlds.with_budget(model.first(), tuple(9 for _ in KINDS))

    def do(self, *action: object) -> None:
        """That happens, and is not without effect."""
        after = self.model.step(self.state, action)
        assert after != self.state, action
        self.state = after

    def carry(self, *kinds: str, to: int | None = None) -> None:
        """Deliver all that is on its way, or what those kinds are, or only what
        concerns the connections to one server."""
        wanted = kinds or ("there", "back", "end there", "end back")
        while True:
            for action in self.model.actions(self.state):
                if action[0] in wanted and (to is None or action[2] == to):
                    self.do(*action)
                    break
            else:
                return

    def save(self) -> None:
        """A copy of the view service's state is kept."""
        world = self.model.worlds.unpack(self.state)
        world.rest = world.rest._replace(saved=world.views)
        self.state = self.model.worlds.pack(world)

    def found(self, *servers: int, clerks: int = 9) -> None:
        """These serve, the first one leads, the view is acknowledged, the
        sessions of so many clerks are open, and everybody has applied everything."""
        for i in servers:
            self._news(i)
        for _ in range(6):
            outside = self.model.worlds.outside(self.state)
            for c, clerk in enumerate(outside.clerks[:clerks]):
                if not clerk.opened_index:
                    self.state = self.model.step(self.state, ("open", c, servers[0]))
            for i in servers:
                self._news(i)
            self.state = self.model.step(self.state, ("tick", servers[0]))
            self._link()
            self._flush(servers)

    def _news(self, i: int) -> None:
        for what in ("ping", "tell"):
            self.state = self.model.step(self.state, (what, i))
            self._flush((i,))
            self._link()

    def _flush(self, servers: tuple[int, ...]) -> None:
        if self.model.config.lazy:
            for i in servers:
                self.state = self.model.step(self.state, ("flush", i))

    def _link(self) -> None:
        self.carry("dial", "there", "back", "end there", "end back")


def _fresh(stage: Stage) -> None:
    """A leads, B is its backup, and nothing was asked yet."""
    stage.found(A, B)


def _answered(stage: Stage) -> None:
    """A has answered a write that B holds, and has not applied; C is idle."""
    stage.found(A, B)
    stage.do("ping", C)
    stage.do("write", 0, A)
    stage.carry()


def _promotion_in_transfer(stage: Stage) -> None:
    """A has answered a write and lost B; a snapshot is half-way to C."""
    _answered(stage)
    stage.do("dead", B)
    stage.do("ping", A)
    stage.do("dial", A, C)
    stage.carry("there")
    stage.carry("back")


def _old_primary(stage: Stage) -> None:
    """A stood still with a write that nobody else has; B leads without it; A
    wakes up."""
    stage.found(A, B)
    stage.do("ping", C)
    stage.do("write", 0, A)
    stage.do("dead", A)
    stage.do("ping", B)


def _retry(stage: Stage) -> None:
    """B holds a write whose answer its clerk never got, and A has ended."""
    stage.found(A, B)
    stage.do("ping", C)
    stage.do("write", 0, A)
    stage.carry("there")
    stage.do("crash", A)
    stage.do("dead", A)
    stage.do("ping", B)


def _rejoin(stage: Stage) -> None:
    """B was cut off, C took its place, a write was answered, and B is back."""
    stage.found(A, B)
    stage.do("ping", C)
    stage.do("dead", B)
    stage.do("ping", A)
    stage.carry("dial", "there", "back")
    stage.do("ping", A)
    stage.do("write", 0, A)
    stage.carry()
    stage.do("ping", B)


def _broken(stage: Stage) -> None:
    """B holds two writes, and A breaks their connection before it hears so."""
    stage.found(A, B)
    stage.do("write", 0, A)
    stage.carry()
    stage.do("write", 0, A)
    stage.carry("there")
    stage.do("break", A, B, 0)


def _reversed(stage: Stage) -> None:
    """Two writes are on their way to B on a connection that A has given up, and A
    has dialled anew: what is sent later may arrive before them."""
    stage.found(A, B)
    stage.do("ping", C)
    stage.do("write", 0, A)
    stage.do("write", 0, A)
    stage.do("break", A, B, 0)
    stage.do("dial", A, B)


def _divergent(stage: Stage) -> None:
    """Two backups: a write reached B alone, and A counts as dead."""
    stage.found(A, B, C)
    stage.do("write", 0, A)
    stage.carry("there", to=B)
    stage.do("dead", A)


def _inherited(stage: Stage) -> None:
    """Two backups hold a write that was answered, and do not know that it was;
    A has ended, and D is idle."""
    stage.found(A, B, C)
    stage.do("ping", D)
    stage.do("write", 0, A)
    stage.carry()
    stage.do("crash", A)
    stage.do("dead", A)
    stage.do("ping", B)


def _uneven(stage: Stage) -> None:
    """Two backups hold two writes, both answered; B has applied the first, and
    leads; what C needs of it, it has forgotten."""
    stage.found(A, B, C)
    stage.do("write", 0, A)
    stage.carry("there")
    stage.carry("back")
    stage.do("tick", A)
    stage.carry("there", to=B)
    stage.do("dead", A)
    stage.do("ping", B)


def _half_committed(stage: Stage) -> None:
    """Two backups hold two writes, sent at once; A knows that of B, and of C
    only that it holds the first, which is answered; B's connection breaks."""
    stage.found(A, B, C)
    stage.do("write", 0, A)
    stage.do("write", 0, A)
    stage.carry("there")
    stage.carry("back", to=B)
    stage.do("back", A, C, 0)
    stage.do("break", A, B, 0)


def _restarted(stage: Stage) -> None:
    """A stood still with a write that nobody else has; B led, answered another
    one, ended, and is back, empty; A wakes up."""
    stage.found(A, B)
    stage.do("write", 0, A)
    stage.do("dead", A)
    stage.do("ping", B)
    stage.do("write", 1, B)
    stage.do("crash", B)
    stage.do("restart", B)


def _evicted(stage: Stage) -> None:
    """There is room for one session: the first clerk has it, and has had one
    answer; the second has not called yet."""
    stage.found(A, B, clerks=1)
    stage.do("ping", C)
    stage.do("write", 0, A)
    stage.carry()


def _superseded(stage: Stage) -> None:
    """A led with B when the state was saved; then A stood still, B leads with C,
    and has answered a write that A lacks."""
    stage.found(A, B)
    stage.do("ping", C)
    stage.save()
    stage.do("dead", A)
    stage.do("ping", B)
    stage.carry("dial", "there", "back")
    stage.do("ping", B)
    stage.do("write", 0, B)
    stage.carry()


def _nothing(stage: Stage) -> None:
    """Nobody has called yet."""


@frozen
class Named:
    """A configuration, and where it begins."""

    config: Config
    begin: Callable[[Stage], None]

    def start(self, model: Model | None = None) -> tuple[Model, State]:
        """The model, and the state to begin at."""
        stage = Stage(model or Model(self.config))
        self.begin(stage)
        worlds = stage.model.worlds
        return stage.model, worlds.with_budget(stage.state, self.config.allowance())

    @property
    def text(self) -> str:
        """The situation, in a sentence."""
        return " ".join((self.begin.__doc__ or "").split())


def _named(
    name: str,
    begin: Callable[[Stage], None],
    budget: dict[str, int],
    **settings: object,
) -> Named:
    return Named(Config(name=name, budget=budget, **settings), begin)  # type: ignore[arg-type]


#: A newcomer joins the commit rule while it lacks two entries, sent one by one.
_JOIN_EARLY: Final = evolve(
    TINY, join_entries_max=2, tail_bytes_kept=1 << 20, forward_bytes_max=1
)

ALL: Final = [
    _named("small", _fresh, {"dead": 1}, servers=2, reads=1),
    _named("founding", _nothing, {"dead": 1, "crash": 1}, servers=2),
    _named("founders", _nothing, {"dead": 1, "restart": 1, "crash": 1}, clerks=0),
    _named("memory", _fresh, {"dead": 1, "views crash": 1, "forget": 1}, writes=1),
    _named("rolled-back", _superseded, {"roll back": 1, "dead": 1, "crash": 1}),
    _named("rolled-back-late", _superseded, {"roll back": 1, "dead": 1}, late=True),
    _named("lazy", _fresh, {"dead": 1}, servers=2, reads=1, lazy=True),
    _named("patient", _fresh, {"dead": 1}, servers=2, reads=1, prompt=False),
    _named("divergent", _divergent, {"dead": 1}, backups=2),
    _named("inherited", _inherited, {"dead": 1, "crash": 1}, servers=4, backups=2),
    _named("uneven", _uneven, {"dead": 1, "crash": 1}, backups=2, writes=2),
    _named(
        "half-committed", _half_committed, {"dead": 1}, backups=2, writes=2, window=2
    ),
    _named(
        "joining", _inherited, {"crash": 2}, servers=4, backups=2, limits=_JOIN_EARLY
    ),
    _named(
        "joining-alone", _rejoin, {"dead": 1, "crash": 1}, writes=2, limits=_JOIN_EARLY
    ),
    _named("broken", _broken, {"dead": 1}, writes=3, window=2),
    _named("reversed", _reversed, {"dead": 1}, writes=2, window=2),
    _named("reconnect", _answered, {"dead": 1, "break": 1}),
    _named("transfer", _promotion_in_transfer, {"dead": 1, "crash": 1}, writes=2),
    _named("old-primary", _old_primary, {"dead": 1}, reads=1, writes=2),
    _named("retry", _retry, {"dead": 1, "crash": 1, "late": 1}, writes=2),
    _named("restarted", _restarted, {"dead": 1}, clerks=2, strangers=True),
    _named(
        "evicted",
        _evicted,
        {"dead": 1, "late": 2},
        clerks=2,
        writes=2,
        sessions={"sessions_max": 1},
    ),
    _named("doubt", _fresh, {"doubt": 2, "dead": 1}, writes=1),
    _named("strict", _fresh, {"dead": 2}, writes=1, strict=True),
    _named("rejoin", _rejoin, {"dead": 2, "crash": 1}, writes=2),
    _named("answered", _answered, {"dead": 2, "crash": 1}, writes=2),
    _named("reads", _answered, {"dead": 2}, writes=2, reads=1),
    _named("fresh", _fresh, {"dead": 1, "crash": 1}, reads=1),
    _named(
        "wide",
        _fresh,
        {"dead": 2, "crash": 1, "restart": 1, "break": 1, "doubt": 1, "late": 1},
        writes=3,
        window=2,
        reads=2,
        prompt=False,
    ),
    _named(
        "wide-two",
        _divergent,
        {"dead": 2, "crash": 1, "restart": 1, "break": 1, "late": 1},
        servers=4,
        backups=2,
        writes=3,
        window=2,
        reads=1,
        lazy=True,
    ),
]

BY_NAME: Final = {named.config.name: named for named in ALL}
