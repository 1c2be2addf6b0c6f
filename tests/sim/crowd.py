"""
Many worlds, one after the other or on several processors at once.
"""

from __future__ import annotations

import functools
import multiprocessing
import signal
import time
from collections import deque
from collections.abc import Iterable, Iterator
from multiprocessing.pool import AsyncResult

from tests.sim.excerpt import WHOLE, Excerpt
from tests.sim.run import Result, run

#: Worlds that a process has waiting beside the one that it is at.
AHEAD = 3


def results(
    seeds: Iterable[int], *, jobs: int = 1, excerpt: Excerpt = WHOLE
) -> Iterator[Result]:
    """How each ended, in the order of *seeds*, which are fetched as needed."""
    one = functools.partial(_result, excerpt=excerpt)
    if jobs == 1:
        yield from map(one, seeds)
        return
    # Forked, so that whatever was patched here is patched there.
    # Whoever interrupts this process means it alone; it ends the others.
    ignore = signal.SIGINT, signal.SIG_IGN
    with multiprocessing.get_context("fork").Pool(jobs, signal.signal, ignore) as pool:
        under_way: deque[AsyncResult[Result]] = deque()
        for seed in seeds:
            under_way.append(pool.apply_async(one, (seed,)))
            if len(under_way) > jobs * AHEAD:
                yield under_way.popleft().get()
        while under_way:
            yield under_way.popleft().get()


def _result(seed: int, excerpt: Excerpt) -> Result:
    try:
        return run(seed, excerpt=excerpt)
    except Exception as error:
        error.add_note(f"in the world of seed {seed}")
        raise


def fresh(first: int, seconds: float) -> Iterator[int]:
    """Seeds from that one on, for as long as that."""
    end = time.monotonic() + seconds
    seed = first
    while time.monotonic() < end:
        yield seed
        seed += 1
