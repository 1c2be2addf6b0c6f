"""
One seed: a world lives, is healed, and is judged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from attrs import evolve

from pbserver.sessions import Sessions
from pbserver.store import Store
from tests.sim import constants, probes
from tests.sim.agenda import MS, S
from tests.sim.checker import Verdict, check
from tests.sim.checker_clerks import OPEN, blind_reads, histories, lies, misled
from tests.sim.checker_witness import contradictions
from tests.sim.chronicle import Violation
from tests.sim.ending import Ending, ending, explain, prove
from tests.sim.excerpt import WHOLE, Excerpt
from tests.sim.misfortune import Struck
from tests.sim.model import Answer, observes, step
from tests.sim.observer import Observer
from tests.sim.settings import Settings
from tests.sim.streams import stream
from tests.sim.verifier import VerifierProcess
from tests.sim.workload import KEYS, Workload
from tests.sim.world import World
from wire.commands import Get

#: How long healing may take.
HEALING_US: Final = 20 * S

#: How long a service is given that seems to be beyond help.
SETTLING_US: Final = 4 * S

#: The steps of the search for one key; most need one for each operation.
STEPS_MAX: Final = 50_000


class Result(NamedTuple):
    """How a seed ended."""

    seed: int
    violation: Violation | None
    #: How it stood after healing, and why, unless it was simply healed.
    ending: Ending
    why: str
    #: Equal for runs in which everything happened alike.
    trace: int
    events: int
    simulated_us: int
    healed_us: int
    #: When misfortune ended, or would have.
    until_us: int
    clerks: int
    #: How many calls clerks made, the auditor's left out.
    calls: int
    #: Histories about which the checker could not say anything.
    unknown: int
    struck: tuple[Struck, ...]
    counts: Counter[str]
    #: How often it came to which rare place, if that is counted.
    places: Counter[str]


def run(
    seed: int,
    *,
    excerpt: Excerpt = WHOLE,
    story: Callable[[str], None] | None = None,
    observer: Observer | None = None,
) -> Result:
    """Let the world of that seed live, or an excerpt of it."""
    settings = Settings.drawn(stream(seed, "settings"))
    if excerpt.clerks is not None:
        settings = evolve(settings, clerks=min(settings.clerks, excerpt.clerks))
    world = World(seed, settings, excerpt=excerpt, story=story, observer=observer)
    life = Life(world, excerpt=excerpt)
    violation = None
    try:
        with constants.drawn(stream(seed, "constants")):
            life.live()
            life.recover()
            if world.onlooker is not None:
                world.onlooker.rest()
            life.judge()
    except Violation as found:
        violation = found
    if world.onlooker is not None:
        world.onlooker.finish(violation)
    return Result(
        seed,
        violation,
        life.ending,
        life.why,
        world.network.trace,
        world.agenda.events,
        world.agenda.now_us,
        life.healed_us,
        life.until_us,
        settings.clerks,
        life.workload.made,
        life.unknown,
        tuple(world.misfortune.struck),
        Counter(world.chronicle.counts),
        probes.taken(),
    )


class Life:
    """The phases of a run."""

    def __init__(
        self, world: World, keys: Sequence[bytes] = KEYS, excerpt: Excerpt = WHOLE
    ) -> None:
        self.world = world
        self.keys = keys
        self.workload = Workload(world, excerpt)
        settings = world.settings
        self.until_us = settings.quiet_us + settings.misfortune_us
        if excerpt.until_us is not None:
            self.until_us = min(self.until_us, excerpt.until_us)
        self.ending = Ending.WAITING
        self.why = ""
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
        if world.settings.verifies:
            VerifierProcess(world, list(world.servers))
        for _ in range(world.settings.clerks):
            self.workload.begin(world.start_clerk())
        world.agenda.run(min(world.settings.quiet_us, self.until_us))
        world.misfortune.begin()
        world.agenda.run(self.until_us)

    def recover(self) -> None:
        """Heal; then everything that was asked must be answered."""
        world = self.world
        world.heal()
        started_us = world.agenda.now_us
        world.run(300 * MS)
        self.workload.end()
        world.until(lambda: self._is_settled(started_us), HEALING_US)
        self.healed_us = world.agenda.now_us - started_us
        self.why = explain(world, self.ending)
        world.require(
            self.ending is not Ending.WAITING,
            "everything ends",
            f"{self.why} after {HEALING_US // S} s of health",
        )
        prove(world, self.ending)
        if self.ending is not Ending.LOST:
            self._audit()

    def _is_settled(self, started_us: int) -> bool:
        self.ending = ending(self.world)
        # What seems beyond help may just not have heard of its health.
        in_time = self.world.agenda.now_us < started_us + SETTLING_US
        return self.ending is Ending.HEALED or (
            self.ending is not Ending.WAITING and not in_time
        )

    def _audit(self) -> None:
        """Somebody new reads everything."""
        world = self.world
        auditor = world.start_clerk()
        for key in self.keys:
            auditor.call(Get(key))
        is_shut = self.ending is Ending.SHUT
        within_us = SETTLING_US if is_shut else HEALING_US
        done = world.until(lambda: not auditor.open, within_us)
        world.require(
            done or (is_shut and ending(world) is Ending.SHUT),
            "everything ends",
            "the auditor's reads did not",
        )
        for call in auditor.calls.values():
            if call.outcome != OPEN:
                assert isinstance(call.answer, Answer)
                assert call.answer.value is None or isinstance(call.answer.value, bytes)
                self.values[call.command.key] = call.answer.value

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
        for text in (*lies(calls, self.values), *blind_reads(calls), *misled(calls)):
            raise Violation("the truth", text)
        for text in contradictions(calls, world.chronicle.moments):
            raise Violation("the log bears it out", text)
        for key, history in histories(calls, self.keys).items():
            finding = check(history, step, observes, STEPS_MAX)
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
