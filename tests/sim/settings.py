"""
What a world is made of, drawn from its seed.

Pure.  Limits are small more often than not, so that every bound is met.
"""

from __future__ import annotations

from random import Random
from typing import Any

from attrs import evolve, field, frozen

from tests.sim.agenda import MS, S


@frozen
class Settings:
    """Numbers of processes, what operators would type, and how long it takes."""

    servers: int = 3
    clerks: int = 2
    backups: int = 1
    strict: bool = False
    dead_pings: int = 3
    interval_us: int = 100 * MS
    window: int = 4
    #: How long what is sent is on its way, at least and at most.
    delay_us: tuple[int, int] = (50, 2 * MS)
    #: Does somebody compare the servers' states all the time?
    verifies: bool = False
    #: Does a machine take a while, beside the reactor, until it is restored?
    finishes: bool = False
    #: How long the world stands before anything goes wrong, and for how long
    #: things go wrong then.
    quiet_us: int = 800 * MS
    misfortune_us: int = 2 * S
    #: Of `pbserver.limits.Limits` and of `pbserver.sessions.Sessions`.
    limits: dict[str, Any] = field(factory=dict)
    session_limits: dict[str, Any] = field(factory=dict)

    @classmethod
    def drawn(cls, random: Random) -> Settings:
        """Any."""
        backups = random.choice((1, 1, 1, 1, 1, 2, 2, 2, 0, 3))
        interval_us = random.choice((50, 100)) * MS
        drawn = cls(
            servers=random.randint(max(2, 1 + backups), 3 + backups),
            clerks=random.randint(1, 4),
            backups=backups,
            strict=not random.randrange(12),
            dead_pings=random.choice((3, 3, 4, 5)),
            interval_us=interval_us,
            window=random.choice((1, 2, 4, 8)),
            # What is rare is mostly what comes while something else is under way.
            delay_us=random.choice(
                ((50, 2 * MS), (50, 2 * MS), (MS, interval_us // 5))
            ),
            verifies=not random.randrange(4),
            # Most worlds stand before anything goes wrong; some never quite do.
            quiet_us=random.choice((0, 4, 8, 16)) * interval_us,
            misfortune_us=random.choice((1, 2, 4)) * S,
            limits=_limits(random),
            session_limits=_session_limits(random),
        )
        drawn.limits["near_entries_max"] = random.choice((0, 0, 2, 256))
        return evolve(drawn, finishes=not random.randrange(3))


def _limits(random: Random) -> dict[str, Any]:
    return {
        "join_entries_max": random.choice((0, 1, 4, 1024)),
        "join_bytes_max": random.choice((0, 1000, 1 << 20)),
        "forward_bytes_max": random.choice((1, 1000, 1 << 20)),
        "unaccepted_bytes_max": random.choice((500, 4000, 1 << 20)),
        "unanswered_bytes_max": random.choice((1000, 1 << 20)),
        "tail_bytes_kept": random.choice((0, 0, 1000, 10_000, 1 << 20)),
        "tail_bytes_max": random.choice((4000, 1 << 20)),
        "part_bytes": random.choice((1, 100, 1 << 18)),
        "parts_unconfirmed_max": random.choice((1, 2, 4)),
        # One entry or read, a few, or all that there ever are in one turn.
        "turn_work_max": random.choice((1, 20_000, 1 << 21)),
        "turn_bytes_max": random.choice((1, 2000, 1 << 22)),
    }


def _session_limits(random: Random) -> dict[str, Any]:
    return {
        "sessions_max": random.choice((2, 4, 100)),
        "idle_ms_max": random.choice((300, 3000, 3_600_000)),
        "answer_bytes_max": random.choice((400, 2000, 1 << 28, 1 << 28)),
    }
