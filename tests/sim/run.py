"""
One seed: a world lives, is healed, and is judged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from pbserver.sessions import Sessions
from pbserver.store import Store
from tests.sim.agenda import MS, S
from tests.sim.checker import Verdict, check
from tests.sim.checker_clerks import DONE, OPEN, Call, blind_reads, histories, lies
from tests.sim.chronicle import Violation
from tests.sim.model import Answer, step
from tests.sim.workload import KEYS, Workload
from tests.sim.world import World
from wire.commands import Get

#: How long misfortune lasts (a seed draws one), and how long healing may take.
MISFORTUNES_US: Final = (1 * S, 2 * S, 4 * S)
HEALING_US: Final = 20 * S

#: The steps of the search for one key; most need one for each operation.
STEPS_MAX: Final = 50_000


class Result(NamedTuple):
    """How a seed ended."""

    seed: int
    violation: Violation | None
    #: Equal for runs in which everything happened alike.
    trace: int
    events: int
    #: Was all data lost, and rightly said to be?
    is_lost: bool
    healed_us: int
    calls: int
    unknown: int
    counts: dict[str, int]


def run(seed: int, *, story: Callable[[str], None] | None = None) -> Result:
    """Let the world of that seed live."""
    world = World(seed, story=story)
    draw_limits(world)
    life = Life(world)
    violation = None
    try:
        life.live()
        life.recover()
        life.judge()
    except Violation as found:
        violation = found
    return Result(
        seed,
        violation,
        world.network.trace,
        world.agenda.events,
        life.is_lost,
        life.healed_us,
        len(world.calls),
        life.unknown,
        world.chronicle.counts,
    )


def draw_limits(world: World) -> None:
    """Small ones, so that every bound is met."""
    random = world.random
    world.limits = {
        "join_entries_max": random.choice((0, 1, 4, 1024)),
        "join_bytes_max": random.choice((0, 1000, 1 << 20)),
        "forward_bytes_max": random.choice((1, 1000, 1 << 20)),
        "unaccepted_bytes_max": random.choice((500, 4000, 1 << 20)),
        "unanswered_bytes_max": random.choice((1000, 1 << 20)),
        "tail_bytes_kept": random.choice((0, 0, 1000, 10_000, 1 << 20)),
        "tail_bytes_max": random.choice((4000, 1 << 20)),
        "part_bytes": random.choice((1, 100, 1 << 18)),
        "parts_unconfirmed_max": random.choice((1, 2, 4)),
    }
    world.session_limits = {
        "sessions_max": random.choice((2, 4, 100)),
        "idle_ms_max": random.choice((300, 3000, 3_600_000)),
    }


class Life:
    """The phases of a run."""

    def __init__(self, world: World, keys: Sequence[bytes] = KEYS) -> None:
        self.world = world
        self.keys = keys
        self.workload = Workload(world)
        self.is_lost = False
        self.healed_us = 0
        self.unknown = 0
        #: What the service said in the end, by key.
        self.values: dict[bytes, bytes | None] = {}

    def live(self) -> None:
        """Begin, and let things go wrong."""
        world = self.world
        world.on_clerk = self.workload.begin
        world.start_views()
        for number in range(world.settings.servers):
            world.start_server(f"s{number + 1}")
        for _ in range(world.settings.clerks):
            self.workload.begin(world.start_clerk())
        # Most worlds stand before anything goes wrong; some never quite do.
        world.run(world.random.choice((0, 4, 8, 16)) * world.settings.interval_us)
        world.misfortune.begin()
        world.run(world.random.choice(MISFORTUNES_US))

    def recover(self) -> None:
        """Heal; then everything that was asked must be answered."""
        world = self.world
        world.heal()
        started_us = world.agenda.now_us
        world.run(300 * MS)
        self.workload.is_over = True
        done = world.until(self._is_calm, HEALING_US)
        self.healed_us = world.agenda.now_us - started_us
        if self.is_lost:
            self._judge_loss()
            return
        world.require(
            done,
            "everything ends",
            f"{self._what_waits()} after {HEALING_US // S} s of health",
        )
        auditor = world.start_clerk()
        for key in self.keys:
            auditor.call(Get(key))
        done = world.until(lambda: not auditor.open, HEALING_US)
        world.require(done, "everything ends", "the auditor's reads did not")
        for call in auditor.calls.values():
            assert isinstance(call.answer, Answer)
            assert call.answer.value is None or isinstance(call.answer.value, bytes)
            self.values[call.command.key] = call.answer.value

    def _is_calm(self) -> bool:
        """Does nobody wait, and does the service stand as it should?"""
        world = self.world
        views = world.views_process.views
        wait = views.waiting()
        if wait is not None and wait.code == "lost":
            self.is_lost = True
            return True
        if any(clerk.open for clerk in world.clerks) or not views.acknowledged:
            return False
        backups = min(world.settings.backups, len(world.running()) - 1)
        if len(views.view.backups) < backups:
            return False
        members = [world.process_of(member) for member in views.view.members()]
        ends = {member.history.commit for member in members if member is not None}
        return None not in members and len(ends) == 1

    def _what_waits(self) -> str:
        world = self.world
        views = world.views_process.views
        waiting = [
            f"{clerk.name} for {clerk.open} ({clerk.conversation.whereabouts.obstacle})"
            for clerk in world.clerks
            if clerk.open
        ]
        reports = [f"{s.name}: {s.replica.report}" for s in world.running()]
        return f"{waiting} wait; {views.waiting()}; {views.view}; {reports}"

    def _judge_loss(self) -> None:
        """ "Lost" must be true, and stay so."""
        world = self.world
        heirs = [server.name for server in world.chronicle.heirs()]
        world.require(not heirs, "lost is lost", f"{heirs} are eligible, and alive")
        committed = world.chronicle.commit
        world.run(2 * S)
        world.require(
            world.chronicle.commit == committed, "lost is lost", "and goes on"
        )

    def judge(self) -> None:
        """What can only be said in the end."""
        world = self.world
        for clerk in list(world.clerks):
            world.end_clerk(clerk)
        executed = world.chronicle.executed()
        calls = [
            call._replace(index=executed.get((call.clerk, call.number)))
            for call in world.calls
        ]
        self._judge_values()
        for text in (*lies(calls, self.values), *blind_reads(calls)):
            raise Violation("the truth", text)
        self._judge_order(calls, executed)
        for key, history in histories(calls, self.keys).items():
            finding = check(history, step, STEPS_MAX)
            self.unknown += finding.verdict is Verdict.UNKNOWN
            world.require(
                finding.verdict is not Verdict.ILLEGAL,
                "linearizable",
                f"{key.decode()} cannot go on from {finding.state!r} with any of "
                f"{finding.stuck}",
            )

    def _judge_values(self) -> None:
        """What is there in the end is what the log says; where all is lost, it
        is what the log says that counts."""
        world = self.world
        state = Sessions(Store(), **world.session_limits)
        for entry in world.chronicle.entries:
            state.apply(entry)
        pairs = dict(state.machine._pairs.items(b"", None))  # type: ignore[attr-defined]
        for key in self.keys:
            value = pairs.get(key)
            logged = None if value is None else bytes(value)
            found = self.values.setdefault(key, logged)
            world.require(
                found == logged, "same bytes", f"{key!r}: {found!r}, not {logged!r}"
            )

    def _judge_order(
        self, calls: list[Call], executed: dict[tuple[str, int], int]
    ) -> None:
        """Each clerk's writes are in the log in the order of its calls, done
        ones all, and none that was said not to be."""
        last: dict[str, int] = {}
        for call in sorted(calls, key=lambda call: (call.clerk, call.number)):
            world, index = self.world, call.index
            if (call.clerk, call.number) not in executed or index is None:
                continue
            what = f"call {call.number} of {call.clerk}, executed at {index}"
            world.require(
                call.outcome in {DONE, OPEN, "in doubt"},
                "the truth",
                f"{what}, ended as {call.outcome}",
            )
            before = last.get(call.clerk, 0)
            world.require(index >= before, "session order", f"{what}, after {before}")
            last[call.clerk] = index
