"""Ticks in time, late, and after a pause."""

from __future__ import annotations

from twisted.internet.task import Clock

from viewservice.ticker import READING_TURNS, Ticker


class Turns(Clock):
    """A clock that, like a reactor, calls what is set during a turn in the next,
    after the sockets were read."""

    def turn(self, seconds: float = 0.0) -> None:
        self.rightNow += seconds
        for call in [each for each in self.calls if each.getTime() <= self.rightNow]:
            if call.active():
                self.calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)


class Ticked:
    """A ticker of eighths of a second, and what it has said."""

    def __init__(self) -> None:
        self.clock = Turns()
        self.said: list[float | str] = []
        self.ticker = Ticker(1 / 8, self.tick, self.paused, self.clock)
        self.ticker.start()

    def tick(self) -> None:
        self.said.append(round(self.clock.seconds(), 3))

    def paused(self, late_s: float) -> None:
        self.said.append(f"paused {late_s:.2f}")


def test_one_tick_per_interval() -> None:
    ticked = Ticked()
    for _ in range(31):
        ticked.clock.turn(1 / 64)
    assert ticked.said == [0.125, 0.25, 0.375]


def test_small_delays_do_not_add_up() -> None:
    ticked = Ticked()
    for _ in range(64):
        ticked.clock.turn(3 / 64)
    assert len(ticked.said) == 3 * 8


def test_a_late_tick_waits_until_the_sockets_are_read() -> None:
    ticked = Ticked()
    ticked.clock.turn(0.2)
    for _ in range(READING_TURNS):
        assert ticked.said == []
        ticked.clock.turn()
    assert ticked.said == [0.2]


def test_l2_missed_ticks_are_not_made_up() -> None:
    ticked = Ticked()
    ticked.clock.turn(10.0)
    for _ in range(100):
        ticked.clock.turn(0.001)
    assert ticked.said[0] == "paused 9.88"
    assert len(ticked.said) == 2
    ticked.clock.turn(0.05)
    assert len(ticked.said) == 3


def test_what_is_a_little_late_was_no_pause() -> None:
    ticked = Ticked()
    ticked.clock.turn(0.3)
    ticked.clock.turn()
    ticked.clock.turn()
    assert ticked.said == [0.3]


def test_no_tick_after_the_end() -> None:
    for seconds in (0.05, 0.125, 0.2, 10.0):
        ticked = Ticked()
        ticked.clock.turn(seconds)
        ticked.ticker.stop()
        ticked.ticker.stop()
        before = list(ticked.said)
        assert not ticked.clock.getDelayedCalls()
        assert before == ticked.said
