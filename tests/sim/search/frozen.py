"""
A replica as a value: bytes that are equal for replicas that are equal.

Freezing takes every field there is, so no rule can depend on anything that the
search forgets to compare; what no rule looks at is made equal before, in
`canonical`, one line each.  Values (messages, bytes, names) are kept once, in a
table, and frozen as their place in it.
"""

from __future__ import annotations

import io
import pickle
from collections import Counter
from collections.abc import Hashable
from functools import partial
from types import FunctionType
from typing import Any

import wire.messages
from pbserver.backup import Backup
from pbserver.budget import Budget
from pbserver.follower import Follower
from pbserver.limits import Limits
from pbserver.pairs import Pairs
from pbserver.primary import Primary
from pbserver.replica import Replica
from pbserver.round_waiters import RoundWaiter
from pbserver.sessions import Session

#: Types of which two equal ones are the same to every rule.
_VALUES = {
    *(bytes, str, tuple, FunctionType, partial, Limits, RoundWaiter, Session),
    *(wire.messages.Member, wire.messages.View),
    *(message for message in wire.messages.Message.__subclasses__()),
}

_values: list[Any] = []
_places: dict[tuple[type, Hashable], int] = {}


def freeze(replica: Replica) -> bytes:
    """The replica as bytes."""
    canonical(replica)
    file = io.BytesIO()
    _Pickler(file, pickle.HIGHEST_PROTOCOL).dump(replica)
    return file.getvalue()


def thaw(frozen: bytes) -> Replica:
    """A new replica that is equal to the one that was frozen."""
    replica = _Unpickler(io.BytesIO(frozen)).load()
    assert isinstance(replica, Replica)
    return replica


def canonical(replica: Replica) -> None:
    """Make equal what no rule, or none that is searched, can tell apart."""
    replica.take_ignored()
    # A server may ping at any time here, so it need not know that it should.
    replica.take_news()
    history, role = replica.history, replica.role
    log = history.log
    # Nothing looks at what is to be freed.
    while history.discard.steps:
        history.discard.step()
    # How much was done is only compared with how much was done a moment ago.
    machine: Any = history.state.machine
    history.steps = history.state.work = machine.spent = 0
    machine._budget = Budget()
    # Only differences of weights are ever looked at.
    base, log._base_weight = log._base_weight, 0
    if base:
        log._weights = [weight - base for weight in log._weights]
    # Who is silent for how long is for the view service; it may err anyway.
    if role is not None:
        for each in role.followers.values() if isinstance(role, Primary) else (role,):
            each.silent_ticks = 0
            if isinstance(each, Follower):
                each._steps = 0
    # It matters while a backup lags, and for that nothing here works long enough.
    if isinstance(role, Backup):
        assert not role._lags
        role._round, role._accepted = 0, history.commit
    elif isinstance(role, Primary) and not role.waiters._early:
        role.waiters._early_commit = 0


class _Pickler(pickle.Pickler):
    def persistent_id(self, obj: Any) -> int | None:
        if type(obj) not in _VALUES:
            return None
        try:
            place = _places.get((type(obj), obj))
        except TypeError:  # a tuple with something in it that may change
            return None
        return _kept(obj) if place is None else place

    def reducer_override(self, obj: Any) -> Any:
        if type(obj) is not Pairs:
            return NotImplemented
        # Which leaves its cuts still need, it knows by where they are in memory.
        leaves = [leaf for cut in obj._cuts for leaf in (*cut._waiting, cut._leaf)]
        needed = [leaf for leaf in leaves if leaf is not None]
        counts = (obj.count, obj.long_values)
        state = (counts, obj._leaves, obj._fences, needed, obj._cuts, obj._grown)
        return Pairs, (), state, None, None, _fill


class _Unpickler(pickle.Unpickler):
    def persistent_load(self, place: int) -> Any:
        return _values[place]


def _kept(value: Any) -> int:
    place = _places[type(value), value] = len(_values)
    _values.append(value)
    return place


def _fill(pairs: Pairs, state: Any) -> None:
    counts, pairs._leaves, pairs._fences, needed, pairs._cuts, pairs._grown = state
    pairs.count, pairs.long_values = counts
    pairs._needed = dict(Counter(map(id, needed)))
