"""
What the Python programs have in common: their options, which key is next, and how
many calls ended how soon.

Each keeps a fixed number of calls outstanding and makes the next one when one has
ended, counts those that end within the measured time, and prints one line of JSON
with the figures of the native generator.
"""

from __future__ import annotations

import argparse
import json
import time
from random import Random
from typing import Final

from bench.results import percentiles

clock: Final = time.perf_counter


class Tally:
    """One run of one program."""

    def __init__(self, description: str | None) -> None:
        parser = argparse.ArgumentParser(description=description)
        parser.add_argument("where", nargs="+", help="as `Loaded.program` says")
        parser.add_argument("--outstanding", type=int, default=64)
        parser.add_argument("--reads", type=int, default=0, help="percent")
        parser.add_argument("--value-bytes", type=int, default=100)
        parser.add_argument("--keys", type=int, default=10_000)
        parser.add_argument("--seconds", type=float, default=2.0)
        parser.add_argument("--warmup", type=float, default=0.5)
        parser.add_argument(
            "--collected", action="store_true", help="all that is outstanding at once"
        )
        options = parser.parse_args()
        self.where: list[str] = options.where
        self.outstanding: int = options.outstanding
        self.is_collected: bool = options.collected
        self.value = b"v" * options.value_bytes
        self._keys: int = options.keys
        self._reads: int = options.reads
        self._seconds: float = options.seconds
        self._warmup: float = options.warmup
        self._random = Random(1)
        self._latencies_us: list[float] = []
        self._ops_all = 0
        self._began = self._ends = 0.0
        self._cpu_s = 0.0

    def begin(self) -> None:
        """The load starts now."""
        self._began = clock() + self._warmup
        self._ends = self._began + self._seconds
        self._cpu_s = time.process_time()

    def goes_on(self) -> bool:
        return clock() < self._ends

    def key(self) -> bytes:
        return b"key:%012d" % int(self._random.random() * self._keys)

    def reads(self) -> bool:
        """Whether the next call does."""
        return self._reads > 0 and self._random.random() * 100 < self._reads

    def check(self, value: bytes | None) -> None:
        """Raises RuntimeError if that is not what was put."""
        if value != self.value:
            raise RuntimeError("a get did not say what was put")

    def ended(self, begun: float, count: int = 1) -> None:
        """A call, or *count* of them, that *begun* then."""
        now = clock()
        self._ops_all += count
        if self._began <= now < self._ends:
            self._latencies_us.extend([(now - begun) * 1e6] * count)

    def print(self) -> None:
        used_s = time.process_time() - self._cpu_s
        figures = {
            "ops": len(self._latencies_us),
            "ops_all": self._ops_all,
            "ops_per_s": len(self._latencies_us) / self._seconds,
            **percentiles(self._latencies_us, "us"),
            "client_cpu_s": used_s,
        }
        print(json.dumps(figures), flush=True)
