"""The clerk's rules under random faults, in virtual time: whatever happens, every
call ends once and with the truth, nothing is executed twice, and in order."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
import pytest
from attrs import define, field

from client.bodies import Ended, Outcome
from client.clerk_core import ClerkCore
from client.errors import ClerkError
from client.primary_locator import PrimaryLocator
from tests.model_service import ModelService, encode, member
from wire.messages import EVICTED, Batch, BatchRefused, Goodbye, Message, ViewIs

S1, S2 = member("s1"), member("s2")


@define
class Wire:
    """One connection: two queues, and who is at the other end."""

    attempt: int
    server: Any
    is_open: bool = False
    to_server: list[Message] = field(factory=list)
    to_clerk: list[Message] = field(factory=list)
    held: list[Message] = field(factory=list)


def message_number(message: Message) -> int:
    return message.sequence if isinstance(message, Batch) else 0


class World:
    """A clerk, a service, and everything that can go wrong between them."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.talk = ClerkCore(PrimaryLocator(seed), self.random.choice([1, 2, 8]))
        self.service = ModelService()
        if self.random.random() < 0.2:
            # Servers that disagree on what is too long: not ours, but sound.
            self.service.body_bytes_max = {"s1": 12, "s2": 6}
        self.now_ms = 0
        self.wire: Wire | None = None
        #: Messages of connections that are gone, still on their way to a server.
        self.late: list[Wire] = []
        self.views: list[ViewIs] = []
        self.asks = 0
        self.kinds: dict[int, str] = {}
        self.before: dict[int, list[int]] = {}
        self.ended: dict[int, Outcome] = {}
        self.bodies: dict[tuple[bytes, int], bytes] = {}
        self.numbers: dict[bytes, int] = {}

    # -- the clerk -------------------------------------------------------------

    def call(self) -> None:
        deadline = None
        if self.random.random() < 0.2:
            deadline = self.now_ms + self.random.randrange(1, 300)
        if self.random.random() < 0.6:
            number = self.talk.write(
                encode(self.talk.calls.last + 1), self.now_ms, deadline
            )
            self.kinds[number] = "write"
        else:
            alone = self.random.random() < 0.2
            number = self.talk.read(encode(0), self.now_ms, deadline, alone=alone)
            self.kinds[number] = "read"
            self.before[number] = [n for n in self.kinds if self.kinds[n] == "write"]

    def give_up(self) -> None:
        if self.kinds:
            number = self.random.choice(list(self.kinds))
            self.take(self.talk.give_up(number, self.now_ms))

    def take(self, ended: Ended) -> None:
        for number, outcome in ended:
            assert number not in self.ended, f"call {number} ended twice"
            self.ended[number] = outcome

    def carry_on(self) -> None:
        """What a shell does after each event."""
        if self.talk.needs_session:
            self.talk.open_session(self.random.randbytes(16))
        where = self.talk.locator
        if where.asks != self.asks:
            self.asks = where.asks
            self.views.append(self.service.view_is())
        dial = where.dial
        if self.wire is not None and (dial is None or self.wire.attempt != dial[0]):
            self.lose()
        if self.wire is None and dial is not None:
            self.wire = Wire(*dial)
        if self.random.random() < 0.7:
            messages = self.talk.flush()
            for message in messages:
                self.check(message)
            if self.wire is not None:
                self.wire.to_server += messages

    def check(self, message: Message) -> None:
        if not isinstance(message, Batch):
            return
        key = message.session, message.sequence
        last = self.numbers.setdefault(message.session, 0)
        assert message.sequence <= last + 1, "a number was left out"
        self.numbers[message.session] = max(last, message.sequence)
        assert self.bodies.setdefault(key, message.body) == message.body
        assert 0 <= message.sequence - message.first_unanswered < 64

    # -- the network -----------------------------------------------------------

    def lose(self) -> None:
        """Of what was said, a part is on its way and may arrive at any time."""
        wire, self.wire = self.wire, None
        assert wire is not None
        wire.to_server = wire.to_server[: self.random.randrange(4)]
        if wire.to_server:
            self.late.append(wire)

    def cut(self) -> None:
        if self.wire is not None:
            attempt = self.wire.attempt
            self.lose()
            self.take(self.talk.link_closed(attempt, "connection lost", self.now_ms))

    def open(self) -> None:
        if self.wire is not None and not self.wire.is_open:
            self.wire.is_open = True
            hello = self.service.hello(self.wire.server)
            assert self.talk.link_opened(self.wire.attempt, hello, self.now_ms) is None

    def serve(self) -> None:
        if self.wire is None or not self.wire.is_open:
            return
        if self.wire.to_server:
            self.wire.held.append(self.wire.to_server.pop(0))
        held, self.wire.held = self.wire.held, []
        for message in held:
            replies = self.service.receive(self.wire.server, message)
            if replies is None:
                self.wire.held.append(message)
            elif BatchRefused(message_number(message), EVICTED) in replies and (
                self.random.random() < 0.5
            ):
                # Said only when all that came before is committed; a query
                # that came later may be answered meanwhile.
                self.wire.held.append(message)
            else:
                self.wire.to_clerk += replies

    def serve_late(self) -> None:
        if self.late:
            wire = self.random.choice(self.late)
            replies = self.service.receive(wire.server, wire.to_server.pop(0)) or []
            if not wire.to_server or any(isinstance(r, Goodbye) for r in replies):
                self.late.remove(wire)

    def answer(self) -> None:
        if self.wire is None or not self.wire.to_clerk:
            return
        message = self.wire.to_clerk.pop(0)
        if isinstance(message, Goodbye):
            self.cut()
        else:
            attempt = self.wire.attempt
            self.take(self.talk.received(attempt, message, self.now_ms))

    def view(self) -> None:
        if self.views:
            message = self.views.pop(0)
            self.take(self.talk.views_said(message, self.now_ms))

    def fail_over(self) -> None:
        old, new = (S1, S2) if self.service.primary == S1 else (S2, S1)
        if self.random.random() < 0.5:
            self.service.lagging[new.name] = self.service.view
        lagging = self.service.lagging.get(new.name)
        self.service.move(new)
        if lagging is not None:
            self.service.lagging[new.name] = lagging
        self.service.lagging.pop(old.name, None)
        if self.random.random() < 0.7:
            self.views.append(self.service.view_is())

    def catch_up(self) -> None:
        self.service.lagging.clear()

    def pass_time(self) -> None:
        self.now_ms += self.random.choice([1, 5, 20, 100, 600])
        self.take(self.talk.tick(self.now_ms))

    # -- all of it -------------------------------------------------------------

    def step(self, *, faults: bool) -> None:
        calm = [self.open, self.serve, self.serve, self.answer, self.answer]
        calm += [self.view, self.pass_time, self.catch_up, self.serve_late]
        wild = [self.call] * 8 + [self.cut, self.fail_over, self.give_up]
        if faults and self.random.random() < 0.5:
            event = self.random.choice(wild)
            if self.random.random() < 0.03:
                event = self.service.evict
        else:
            event = self.random.choice(calm)
        event()
        self.carry_on()

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.step(faults=True)
        self.catch_up()
        for _ in range(100_000):
            if not self.talk.is_waiting:
                break
            self.step(faults=False)
        assert not self.talk.is_waiting, "calls wait for ever"
        assert not self.talk.given_up, "something is remembered for ever"
        while self.late:
            self.serve_late()

    def close(self) -> None:
        self.take(self.talk.close(self.now_ms))
        for _ in range(1000):
            if self.talk.is_finished:
                return
            self.step(faults=False)
        raise AssertionError("closing never ends")

    def judge(self) -> dict[str, int]:
        """Compare what callers were told with what has happened."""
        log = self.service.log
        assert log == sorted(set(log)), "executed twice, or out of order"
        assert self.ended.keys() == self.kinds.keys(), "a call has not ended"
        places = {command: place for place, command in enumerate(log)}
        told: dict[str, int] = {}
        for number, outcome in self.ended.items():
            name = type(outcome).__name__ if isinstance(outcome, ClerkError) else "done"
            told[name] = told.get(name, 0) + 1
            if self.kinds[number] == "read":
                assert name in {"done", "NotExecuted"}
                if name == "done":
                    seen = msgspec.msgpack.decode(outcome)
                    assert all(
                        places.get(write, -1) < seen for write in self.before[number]
                    ), "a read missed a write that was called before it"
            elif name == "done":
                assert places[number] == msgspec.msgpack.decode(outcome)
            elif name != "InDoubt":
                assert number not in places, f"{name}, but it was executed"
        return told


@pytest.mark.parametrize("block", range(10))
def test_whatever_happens_every_call_ends_once_and_with_the_truth(block: int) -> None:
    told: dict[str, int] = {}
    for seed in range(block * 100, block * 100 + 100):
        world = World(seed)
        try:
            world.run(200)
            world.close()
            for name, count in world.judge().items():
                told[name] = told.get(name, 0) + count
        except AssertionError as error:
            error.add_note(f"seed {seed}")
            raise
    # Faults that leave everything in doubt would test little.
    assert told["done"] > 0.5 * sum(told.values())
    assert min(told[name] for name in ("InDoubt", "NotExecuted", "TooLarge")) > 0


def story(world: World, *, copied: bool) -> object:
    for _ in range(300):
        if copied:
            world.talk = world.talk.copy()
        world.step(faults=True)
    world.run(0)
    return world.now_ms, world.service.log, world.judge()


@pytest.mark.parametrize("seed", range(20))
def test_a_copy_goes_on_as_the_original_would(seed: int) -> None:
    assert story(World(seed), copied=True) == story(World(seed), copied=False)


def test_a_copy_is_its_own() -> None:
    world = World(seed=5)
    changes = 0
    for _ in range(400):
        twin, now_ms = world.talk.copy(), world.now_ms
        before = twin.fingerprint(now_ms)
        assert hash(before) == hash(world.talk.fingerprint(now_ms))
        assert before == world.talk.fingerprint(now_ms)
        world.step(faults=True)
        assert before == twin.fingerprint(now_ms)
        changes += before != world.talk.fingerprint(world.now_ms)
    assert changes > 200


def test_the_same_seed_gives_the_same_story() -> None:
    assert story(World(11), copied=False) == story(World(11), copied=False)
