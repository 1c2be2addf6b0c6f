"""
Constants of the code, made small, so that what they bound is met.

A world has a handful of keys and lives for seconds; no leaf of it would ever be
split, and no history ever be full.  Only constants whose value changes nothing
that is promised are here, and each has its own value back afterwards.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Final

#: Module and name -> the values, of which a world draws one; None: its own.
SMALL: Final[dict[tuple[str, str], tuple[int | None, ...]]] = {
    ("client.calls", "TOGETHER_MAX"): (1, 2, None),
    ("client.calls", "TOGETHER_BYTES_MAX"): (40, None),
    ("client.session", "OUTSTANDING_BYTES_MAX"): (60, None),
    ("client.queries", "QUERIES_MAX"): (1, 2, None),
    ("pbserver.digests", "DIGESTS_MAX"): (1, None),
    ("pbserver.discard", "STEP_OBJECTS"): (1, None),
    ("pbserver.outbox", "IGNORED_MAX"): (1, None),
    ("pbserver.pairs", "LEAF_PAIRS_MAX"): (2, 4, None),
    ("pbserver.pairs", "LEAF_PAIRS_MIN"): (2, None),
    ("pbserver.pairs", "GROWN_BYTES_MIN"): (8, None),
    ("pbserver.round_waiters", "STRANGERS_MAX"): (1, 2, None),
    ("viewservice.views", "HISTORY_MAX"): (2, None),
}


@contextmanager
def drawn(random: Random) -> Iterator[None]:
    """As that source of randomness has them, while this lasts."""
    own = []
    for (module, name), values in SMALL.items():
        where, value = importlib.import_module(module), random.choice(values)
        own.append((where, name, getattr(where, name)))
        if value is not None:
            setattr(where, name, value)
    try:
        yield
    finally:
        for where, name, value in own:
            setattr(where, name, value)
