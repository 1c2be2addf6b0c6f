"""
A program with PySyncObj, of which it is a node itself: a replicated dictionary and
callbacks; with one outstanding, the plain synchronous calls.  Its batching waits
for a tick, and is turned off: that was found to be faster at 1 and at 64 outstanding.

It is made the leader, which is what suits it best: the others would wait a minute
before they ask for votes.  ``--node`` is such another one, until it is ended.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

from pysyncobj import FAIL_REASON, SyncObj, SyncObjConf
from pysyncobj.batteries import ReplDict

from bench.programs.tally import Tally, clock


def node(addresses: list[str], **settings: float) -> tuple[Any, Any]:
    """-> the node, and its dictionary."""
    held: Any = ReplDict()
    own, *others = addresses
    conf = SyncObjConf(appendEntriesUseBatch=False, **settings)
    return SyncObj(own, others, conf, consumers=[held]), held


def main() -> None:
    if sys.argv[1:2] == ["--node"]:
        late = {"raftMinTimeout": 60.0, "raftMaxTimeout": 90.0}
        _kept = node(sys.argv[2:], connectionTimeout=90.0, **late)
        threading.Event().wait()
    tally = Tally(__doc__)
    raft, held = node(tally.where)
    ready = threading.Event()
    while not raft.isReady() or raft._getLeader() != raft.selfNode:
        ready.wait(0.02)
    held.set("somebody is there", b"", sync=True)
    tally.begin()
    if tally.outstanding == 1:
        one_by_one(held, tally)
    else:
        Loops(held, tally).run()
    tally.print()
    raft.destroy()


def one_by_one(held: Any, tally: Tally) -> None:
    while tally.goes_on():
        begun = clock()
        held.set(tally.key(), tally.value, sync=True)
        tally.ended(begun)


class Loops:
    """As many as calls are outstanding; callbacks run in PySyncObj's one thread."""

    def __init__(self, held: Any, tally: Tally) -> None:
        self._held = held
        self._tally = tally
        self._going = tally.outstanding
        self._done = threading.Event()
        self._failed = 0

    def run(self) -> None:
        for _ in range(self._tally.outstanding):
            self._next()
        self._done.wait()
        if self._failed:
            raise RuntimeError(f"{self._failed} puts failed")

    def _next(self) -> None:
        if not self._tally.goes_on():
            self._going -= 1
            if not self._going:
                self._done.set()
            return
        begun = clock()

        def ended(_: Any, error: int) -> None:
            self._failed += error != FAIL_REASON.SUCCESS
            self._tally.ended(begun)
            self._next()

        self._held.set(self._tally.key(), self._tally.value, callback=ended)


if __name__ == "__main__":
    main()
