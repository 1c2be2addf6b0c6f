"""
The bounds of one replica's memory, and of what it sends at once.

Pure.  Bounds that every replica must share (sessions, body sizes) are not
here: those are constants of the protocol version.  ``docs/operations.md`` has
the one table of all limits.
"""

from __future__ import annotations

from typing import Final

from attrs import field, frozen
from attrs.validators import ge

KIB: Final = 1024
MIB: Final = 1024 * KIB


@frozen
class Limits:
    """Sizes in bytes unless the name says otherwise."""

    #: A newcomer joins the commit rule when it lacks at most this much: more
    #: than is on its way to it at any moment, or it would never join.
    join_entries_max: int = field(default=16 * 1024, validator=ge(0))
    join_bytes_max: int = field(default=4 * MIB, validator=ge(0))

    #: And not while it still comes nearer, since from then on everybody waits for
    #: what it lacks; unless that is as little as this, which nobody notices.
    near_entries_max: int = field(default=256, validator=ge(0))

    #: The entries of one Forward (one entry always fits).
    forward_bytes_max: int = field(default=4 * MIB, validator=ge(1))

    #: What may be on its way to one backup without being accepted.
    unaccepted_bytes_max: int = field(default=16 * MIB, validator=ge(1))

    #: What clerks may have asked without being answered; past it they are not
    #: read from.
    unanswered_bytes_max: int = field(default=32 * MIB, validator=ge(1))

    #: What is executed in one turn, and what is read in one, in units of work
    #: (`pbserver.budget`; 2 ms): the rest follows in the next turn, and other work
    #: is done in between.  One entry and one read always fit.
    turn_work_max: int = field(default=2 * MIB, validator=ge(1))

    #: What is sent to one backup in one turn: entries, and parts of a snapshot
    #: (one always fits).
    turn_bytes_max: int = field(default=4 * MIB, validator=ge(1))

    #: The answers to reads of one turn (one answer always fits).
    answers_bytes_max: int = field(default=4 * MIB, validator=ge(1))

    #: The applied entries that are kept for backups that come back.
    tail_bytes_kept: int = field(default=64 * MIB, validator=ge(0))

    #: The entries that a transfer may pin; past it clerks are not read from.
    tail_bytes_max: int = field(default=256 * MIB, validator=ge(1))

    #: One part of a snapshot, and how many may be unconfirmed.
    part_bytes: int = field(default=256 * KIB, validator=ge(1))
    parts_unconfirmed_max: int = field(default=4, validator=ge(1))
