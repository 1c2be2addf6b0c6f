"""
What the real shells must do in the simulator beyond what its checkers look for.
"""

from __future__ import annotations

from random import Random

import pytest

from tests.lab.service import Service
from tests.sim.checker_clerks import Call, suffix
from tests.sim.clerk import ClerkProcess
from wire.commands import Append, Get


@pytest.mark.parametrize("seed", range(1, 9))
def test_who_has_left_is_forgotten(seed: int) -> None:
    lab = Service(servers=3, seed=seed)
    callers = [lab.clerk() for _ in range(6)]
    for caller in callers:
        caller.put("a", "1")
    lab.kill(lab.primary)
    callers[0].put("a", "2")
    lab.start(*lab.world.servers)
    for caller in callers[:3]:
        caller.process.close()
    for caller in callers[3:]:
        caller.process.end()
    lab.until(lambda: all(c.process.has_hung_up for c in callers[:3]), 1, "the end")
    lab.whole()
    lab.run(3)
    ends = lab.world.network.ends.values()
    assert {end.process.name for end in ends} == {"views", "s1", "s2", "s3"}
    for process in lab.world.running():
        service = process._service
        called = [end for end in ends if end.process is process and not end.is_dialled]
        assert not service._clerks
        assert len(list(service._listener._links())) == len(called)
    # Those who said nothing before they went may come back.
    assert len(lab.server(lab.primary).history.state.table) == 3
    views = lab.world.views_process._service
    assert not views._watchers
    assert len(views._servers) == len(list(views._listener._links())) == 3


def test_a_view_service_that_is_stopped_in_order_is_found_again() -> None:
    lab = Service(servers=2)
    clerk = lab.clerk()
    clerk.put("a", "1")
    before = lab.view
    lab.stop_views()
    clerk.put("a", "2")
    lab.world.start_views()
    lab.run(2)
    assert lab.view == before
    lab.kill(lab.primary)
    clerk.put("a", "3")


def test_who_leads_no_more_hangs_up() -> None:
    lab = Service(servers=3)
    old = lab.primary
    lab.cut_off(old)
    lab.until(lambda: lab.primary != old, 5, "another primary")
    lab.heal()
    lab.run(3)
    called = {
        end.other.process.name
        for end in lab.world.network.ends.values()
        if end.is_dialled and end.process.name == old
    }
    assert called == {"views"}


class Eager:
    """Somebody who does everything from within the end of a call."""

    CALLS = 150

    def __init__(self, clerk: ClerkProcess, random: Random) -> None:
        self._clerk = clerk
        self._random = random
        self.left = self.CALLS
        clerk.on_ended = self._ended
        self._call()

    @property
    def is_done(self) -> bool:
        return self._clerk.has_hung_up

    def _call(self) -> None:
        if self.left:
            self.left -= 1
            number = self._clerk.core.calls.last + 1
            append = Append(b"a", suffix(self._clerk.name, number))
            timeout_ms = self._random.choice((None, None, None, 30, 300))
            command = self._random.choice((append, append, Get(b"a")))
            self._clerk.call(command, timeout_ms)
            if not self.left:
                self._clerk.close()

    def _ended(self, ended: Call) -> None:  # noqa: ARG002
        for _ in range(self._random.choice((1, 1, 2, 3))):
            self._call()
        if not self._random.randrange(6):
            self._clerk.give_up(self._random.choice(list(self._clerk.calls)))


@pytest.mark.parametrize("seed", range(1, 21))
def test_a_clerk_may_do_anything_when_a_call_ends(seed: int) -> None:
    random = Random(seed)
    lab = Service(servers=3, seed=seed, window=random.choice((1, 2, 8)))
    network = lab.world.network
    eager = [Eager(lab.clerk().process, random) for _ in range(3)]
    for step in range(10):
        lab.run(random.randrange(30) / 1000)
        ends = [e for e in network.ends.values() if e.process in lab.world.clerks]
        for end in random.sample(ends, min(1, len(ends))):
            network.tear(end, random.choice((0, 200_000)))
        if step == 1:
            assert not all(each.is_done for each in eager)
            lab.kill(lab.primary)
    lab.until(lambda: all(each.is_done for each in eager), 10, "everybody has hung up")
    lab.judge("a")
