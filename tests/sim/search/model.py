"""
The steps between worlds.

What a server does is asked of the real replica, what the view service does of
the real `Views`; each is remembered, so that most of a search is looking up.
Here is only what lies between them: what is sent is on its way, what is closed
ends, and what is told is compared with what was told before.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec.structs import replace

from tests.sim.chronicle import Violation
from tests.sim.search.actions import Action, Actions
from tests.sim.search.config import KINDS, NAMES, Config
from tests.sim.search.outside import Clerk, Outside, Read, Waiting, answered
from tests.sim.search.servers import READ, Event, Facts, Servers, write
from tests.sim.search.views import ViewServices, member
from tests.sim.search.world import DOWN, Key, Link, Rest, State, World, Worlds, name_of
from viewservice.views import Views
from wire.messages import (
    NO_SESSION,
    Batch,
    Forward,
    ForwardOk,
    Goodbye,
    LogPosition,
    OpenSession,
    Query,
    Redirect,
    SnapshotPartOk,
)

#: What only says where somebody stands.
_NEWS: Final = (LogPosition, SnapshotPartOk, Redirect)

#: So many messages that say where somebody stands follow from one step at most.
PROMPT_MAX: Final = 100

#: How far "idle" moves a primary's clock.
IDLE_MS: Final = 10_000


class Model:
    """One configuration: its states, and what follows which."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.servers = Servers(config.limits, dict(config.sessions), lazy=config.lazy)
        self.views = ViewServices()
        self.worlds = Worlds()
        self._actions = Actions(config, self.worlds, self.servers.facts)
        #: Message -> the same in the first round.
        self._first_rounds: dict[int, int] = {}

    def first(self) -> State:
        """All servers have started, and nothing else has happened."""
        config = self.config
        return self.worlds.pack(
            World(
                [self.servers.begin(member(i, 1)) for i in range(config.servers)],
                self.views.begin(config),
                {},
                Outside(tuple(Clerk() for _ in range(config.clerks))),
                Rest((1,) * config.servers, config.allowance()),
            )
        )

    def facts(self, number: int) -> Facts:
        """What is to be known of a server that runs."""
        return self.servers.facts[number]

    def view_service(self, state: State) -> Views:
        """The view service; not to be changed."""
        return self.views.all[state[-4]]

    def actions(self, state: State) -> list[Action]:
        """Everything that can happen next."""
        return self._actions.of(state, self.view_service(state))

    def may_have_waited(self, state: State) -> bool:
        """Can the view service have waited for long enough?"""
        return self._actions.may_have_waited(state, self.view_service(state))

    def carried(self, state: State) -> list[Action]:
        """What happens next where nothing goes wrong."""
        return self._actions.carried(state)

    def step(self, state: State, action: Action) -> State:
        """The state after that; the same one if nothing changes.  Raises
        `Violation`."""
        world = self.worlds.unpack(state)
        what, *arguments = action
        getattr(self, _DO[what])(world, *arguments)
        if self.config.prompt:
            self._be_prompt(world)
        return self.worlds.pack(world)

    # -- servers -------------------------------------------------------------------

    def _tell(self, world: World, i: int, event: Event) -> None:
        """Server *i* gets that event, and what it says goes out."""
        world.servers[i], sent = self.servers.step(world.servers[i], event)
        closing = [
            link[1:] for link, number in sent if not self._carry(world, i, link, number)
        ]
        for key in closing:
            self._close(world, i, key)
        peers = self.facts(world.servers[i]).peers
        for key, link in list(world.links.items()):
            is_mine = link.one == i and link.is_open
            if is_mine and not self._actions.is_peer(link.other, link.others, peers):
                self._close(world, i, key)
        if not self.config.lazy:
            self._forget_rounds(world, i)

    def _carry(self, world: World, i: int, name: Any, number: int) -> bool:
        """What server *i* says on that connection -> False: that it ends."""
        message = self.servers.messages.all[number]
        if name[0] != "link":
            servers = [self.facts(each) for each in world.servers if each != DOWN]
            executed = max((fact.value for fact in servers), key=len)
            try:
                world.outside = answered(world.outside, name, message, executed)
            except Violation:
                if not self.config.late:
                    raise
            return True
        link = world.links.get(name[1:])
        if link is not None and type(message) is Goodbye:
            return False
        if link is not None and link.is_open and link.is_open_there:
            if i == link.one:
                link = link._replace(there=(*link.there, number))
            else:
                link = link._replace(back=(*link.back, number))
            world.links[name[1:]] = link
        return True

    def _forget_rounds(self, world: World, i: int) -> None:
        """Rounds are for questions; while none waits, all of them are alike."""
        number = world.servers[i]
        if self.facts(number).asking:
            return
        world.servers[i], sent = self.servers.step(number, ("forget rounds",))
        assert not sent
        for key, link in world.links.items():
            if link.one == i and (link.there or link.back):
                there = tuple([self._first_round(each) for each in link.there])
                back = tuple([self._first_round(each) for each in link.back])
                if there != link.there or back != link.back:
                    world.links[key] = link._replace(there=there, back=back)

    def _first_round(self, number: int) -> int:
        found = self._first_rounds.get(number)
        if found is None:
            message, found = self.servers.messages.all[number], number
            if isinstance(message, (Forward, ForwardOk)):
                found = self.servers.messages.number(replace(message, round=1))
            self._first_rounds[number] = found
        return found

    def _crash(self, world: World, i: int) -> None:
        self._spend(world, "crash")
        world.servers[i] = DOWN
        for link in list(world.links.values()):
            if link.one == i and link.is_open:
                self._put(world, link._replace(is_open=False, back=()))
            elif link.other == i and link.is_open_there:
                self._put(world, link._replace(is_open_there=False, there=()))
        life = world.rest.lives[i]
        world.views = self.views.move(world.views, "crashed", i, life)

    def _restart(self, world: World, i: int) -> None:
        self._spend(world, "restart")
        lives = list(world.rest.lives)
        lives[i] += 1
        world.rest = world.rest._replace(lives=tuple(lives))
        # It was gone for the dead time; before that its name is in use.
        if NAMES[i] in self.views.all[world.views].servers:
            world.views = self.views.move(world.views, "dead", NAMES[i])
        world.servers[i] = self.servers.begin(member(i, lives[i]))

    def _tick(self, world: World, i: int) -> None:
        self._spend(world, "tick")
        self._tell(world, i, ("tick",))

    def _idle(self, world: World, i: int) -> None:
        self._spend(world, "idle")
        self._tell(world, i, ("clock", IDLE_MS))

    def _flush(self, world: World, i: int) -> None:
        self._tell(world, i, ("flush",))

    # -- the view service -------------------------------------------------------------

    def _ping(self, world: World, i: int, *unreachable: str) -> None:
        fact = self.facts(world.servers[i])
        said = (fact.view.number, world.rest.rolled, fact.synced, unreachable)
        life = world.rest.lives[i]
        world.views = self.views.move(world.views, "ping", i, life, *said)
        if self.config.prompt:
            self._hear(world, i)

    def _doubt(self, world: World, i: int, name: str) -> None:
        self._spend(world, "doubt")
        self._ping(world, i, name)

    def _hear(self, world: World, i: int) -> None:
        """Server *i* hears of the newest view."""
        views = self.views.all[world.views]
        self._tell(world, i, ("view", views.view, views.acknowledged))

    def _dead(self, world: World, i: int) -> None:
        self._spend(world, "dead")
        world.views = self.views.move(world.views, "dead", NAMES[i])

    def _views_crash(self, world: World) -> None:
        self._spend(world, "views crash")
        world.views = self.views.move(world.views, "recalled")

    def _forget(self, world: World) -> None:
        self._spend(world, "forget")
        world.views = self.views.move(world.views, "forgotten")

    def _roll_back(self, world: World) -> None:
        self._spend(world, "roll back")
        rest = world.rest
        world.views = self.views.move(rest.saved, "rolled back")
        world.rest = rest._replace(rolled=rest.rolled + 1)

    def _waited(self, world: World) -> None:
        world.views = self.views.move(world.views, "waited")

    def _views_tick(self, world: World) -> None:
        world.views = self.views.move(world.views, "ticked")

    # -- connections -----------------------------------------------------------------

    def _dial(self, world: World, i: int, j: int) -> None:
        number = next(n for n in range(9) if (i, j, n) not in world.links)
        lives = world.rest.lives
        link = world.links[i, j, number] = Link(i, j, number, lives[i], lives[j])
        self._tell(world, i, ("link made", member(j, lives[j]), name_of(link[:3])))

    def _there(self, world: World, *key: int) -> None:
        link = world.links[key]
        first, *there = link.there
        world.links[key] = link._replace(there=tuple(there))
        sender = member(link.one, link.ones)
        self._tell(world, link.other, ("receive", name_of(key), sender, first))

    def _back(self, world: World, *key: int) -> None:
        link = world.links[key]
        first, *back = link.back
        world.links[key] = link._replace(back=tuple(back))
        sender = member(link.other, link.others)
        self._tell(world, link.one, ("receive", name_of(key), sender, first))

    def _end_there(self, world: World, *key: int) -> None:
        self._close(world, key[1], key)

    def _end_back(self, world: World, *key: int) -> None:
        self._close(world, key[0], key)

    def _break(self, world: World, *key: int) -> None:
        self._spend(world, "break")
        self._close(world, key[0], key)

    def _break_there(self, world: World, *key: int) -> None:
        self._spend(world, "break")
        self._close(world, key[1], key)

    def _close(self, world: World, i: int, key: Key) -> None:
        """Server *i* closes its end, or learns that the other one is closed."""
        link = world.links.get(key)
        if link is not None and i == link.one and link.is_open:
            self._put(world, link._replace(is_open=False, back=()))
        elif link is not None and i == link.other and link.is_open_there:
            self._put(world, link._replace(is_open_there=False, there=()))
        else:
            return
        self._tell(world, i, ("link lost", name_of(key)))

    def _put(self, world: World, link: Link) -> None:
        if link.is_open or link.is_open_there:
            world.links[link[:3]] = link
        else:
            del world.links[link[:3]]

    def _be_prompt(self, world: World) -> None:
        """Deliver all that is not worth waiting."""
        for _ in range(PROMPT_MAX):
            if not self._is_prompt(world):
                return
        raise Violation("everything ends", "two servers answer each other for ever")

    def _is_prompt(self, world: World) -> bool:
        """Deliver one message that is not worth waiting -> whether there was one."""
        for key, link in sorted(world.links.items()):
            if link.is_open_there:
                if link.there and self._is_news(link.there[0]):
                    self._there(world, *key)
                    return True
                if not link.there and not link.is_open:
                    self._end_there(world, *key)
                    return True
            if link.is_open:
                if link.back and self._is_news(link.back[0]):
                    self._back(world, *key)
                    return True
                if not link.back and not link.is_open_there:
                    self._end_back(world, *key)
                    return True
        return False

    def _is_news(self, number: int) -> bool:
        message = self.servers.messages.all[number]
        # Without reads, an empty one has nothing but the commit index to tell.
        is_beat = type(message) is Forward and not message.entries
        return isinstance(message, _NEWS) or (is_beat and not self.config.reads)

    # -- those who ask -----------------------------------------------------------------

    def _open(self, world: World, c: int, i: int) -> None:
        clerk = world.outside.clerks[c]
        if clerk.is_opening:
            self._spend(world, "late")
        number = self.servers.messages.number(OpenSession(_id(c, clerk.session)))
        self._sent(world, c, clerk._replace(is_opening=True), number)
        self._from_clerk(world, c, i, number)

    def _write(self, world: World, c: int, i: int) -> None:
        clerk = world.outside.clerks[c]
        token = bytes((ord("a") + 8 * c + clerk.made,))
        batch = Batch(
            *(
                _id(c, clerk.session),
                clerk.opened_index,
                clerk.next,
                clerk.first_unanswered,
            ),
            write(token),
        )
        number = self.servers.messages.number(batch)
        waiting = Waiting(clerk.next, token, world.outside.known, number)
        clerk = clerk._replace(
            next=clerk.next + 1,
            made=clerk.made + 1,
            waiting=(*clerk.waiting, waiting),
        )
        self._sent(world, c, clerk, number)
        self._from_clerk(world, c, i, number)

    def _sent(self, world: World, c: int, clerk: Clerk, number: int) -> None:
        if self.config.budget.get("late") and number not in clerk.sent:
            clerk = clerk._replace(sent=(*clerk.sent, number))
        world.outside = world.outside.with_clerk(c, clerk)

    def _again(self, world: World, c: int, i: int, k: int) -> None:
        number = world.outside.clerks[c].waiting[k].number
        self._from_clerk(world, c, i, number)

    def _late(self, world: World, c: int, i: int, k: int) -> None:
        self._spend(world, "late")
        self._from_clerk(world, c, i, world.outside.clerks[c].sent[k])

    def _from_clerk(self, world: World, c: int, i: int, number: int) -> None:
        message = self.servers.messages.all[number]
        session = message.id if isinstance(message, OpenSession) else message.session  # type: ignore[attr-defined]
        link = ("clerk", c, session[1])
        self._tell(world, i, ("receive", link, None, number))

    def _read(self, world: World, i: int) -> None:
        outside = world.outside
        read = Read(outside.reads_made + 1, outside.known)
        world.outside = outside._replace(
            reads=(*outside.reads, read), reads_made=read.id
        )
        self._read_again(world, i)

    def _read_again(self, world: World, i: int) -> None:
        read = world.outside.reads[0]
        number = self.servers.messages.number(Query(read.id, NO_SESSION, 0, READ))
        self._tell(world, i, ("receive", ("reader", 0, 0), None, number))

    def _spend(self, world: World, kind: str) -> None:
        at = KINDS.index(kind)
        budget = list(world.rest.budget)
        assert budget[at] > 0, kind
        budget[at] -= 1
        world.rest = world.rest._replace(budget=tuple(budget))


def _id(c: int, session: int) -> bytes:
    return bytes((c, session)).ljust(16, b"s")


#: Action -> the method that does it.
_DO: Final = {
    "ping": "_ping",
    "tell": "_hear",
    "flush": "_flush",
    "tick": "_tick",
    "idle": "_idle",
    "crash": "_crash",
    "restart": "_restart",
    "dead": "_dead",
    "doubt": "_doubt",
    "views crash": "_views_crash",
    "forget": "_forget",
    "roll back": "_roll_back",
    "waited": "_waited",
    "views tick": "_views_tick",
    "dial": "_dial",
    "there": "_there",
    "back": "_back",
    "end there": "_end_there",
    "end back": "_end_back",
    "break": "_break",
    "break there": "_break_there",
    "open": "_open",
    "write": "_write",
    "again": "_again",
    "late": "_late",
    "read": "_read",
    "read again": "_read_again",
}
