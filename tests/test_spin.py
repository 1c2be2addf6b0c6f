"""Looking again instead of sleeping: when, and for how long."""

from __future__ import annotations

from wire.busy_poll import Events, spinning

EVENT: Events = [(3, 1)]
US = 1e-6


class Kernel:
    """A clock, and events that come at certain times; a look takes 1 us."""

    def __init__(self, *at_us: float) -> None:
        self.at_us = list(at_us)
        self.now_us = 0.0
        self.sleeps: list[float] = []
        self.gave_way = 0

    def poll(self, timeout_s: float, events_max: int) -> Events:
        assert events_max == 7
        self.now_us += 1
        if self.at_us and self.at_us[0] > self.now_us and timeout_s != 0:
            self.sleeps.append(timeout_s)
            end_us = self.now_us + timeout_s / US if timeout_s > 0 else 1e18
            self.now_us = min(self.at_us[0], end_us)
        if self.at_us and self.at_us[0] <= self.now_us:
            self.at_us.pop(0)
            return EVENT
        return []

    def clock(self) -> float:
        return self.now_us * US

    def give_way(self) -> None:
        self.gave_way += 1


def waiting(kernel: Kernel, spin_us: int = 100):
    return spinning(kernel.poll, spin_us, kernel.clock, kernel.give_way)


def test_who_waited_a_moment_looks_again_and_lets_others_go_first() -> None:
    kernel = Kernel(50, 90)
    wait = waiting(kernel)
    assert wait(-1, 7) == EVENT
    assert kernel.sleeps == [-1]
    assert wait(-1, 7) == EVENT
    assert kernel.sleeps == [-1]
    assert kernel.gave_way == 39
    assert kernel.now_us == 90


def test_who_waited_longer_sleeps_at_once() -> None:
    kernel = Kernel(500, 520, 5000)
    wait = waiting(kernel)
    for _ in range(2):
        assert wait(-1, 7) == EVENT
    assert len(kernel.sleeps) == 2
    assert kernel.gave_way == 0


def test_one_long_wait_ends_the_looking() -> None:
    kernel = Kernel(50, 1000, 1050, 1100)
    wait = waiting(kernel)
    wait(-1, 7)
    wait(-1, 7)
    # In vain, for as long as a moment lasts.
    assert kernel.gave_way in (99, 100)
    assert len(kernel.sleeps) == 2
    wait(-1, 7)
    assert len(kernel.sleeps) == 3
    # That one was short again.
    wait(-1, 7)
    assert len(kernel.sleeps) == 3


def test_who_may_not_wait_does_not() -> None:
    kernel = Kernel(50, 5000)
    wait = waiting(kernel)
    wait(-1, 7)
    assert wait(0, 7) == []
    assert kernel.gave_way == 0
    assert kernel.now_us == 51


def test_a_wait_that_is_bounded_ends_without_an_event() -> None:
    kernel = Kernel(50, 5000)
    wait = waiting(kernel)
    wait(-1, 7)
    assert wait(0.001, 7) == []
    assert kernel.sleeps == [-1, 0.001]


def test_zero_is_the_poll_itself() -> None:
    kernel = Kernel()
    assert spinning(kernel.poll, 0) == kernel.poll
