"""
The loads that systems are compared in, and the figures to reach in them.

A load has one name and means the same to everybody: so many connections, so many
commands outstanding on each, values of one size, and a share of reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, Final

from attrs import asdict, frozen

#: Of 100 requests, so many read.
READS: Final = {"put": 0, "get": 100, "mix": 90}
CONNECTIONS: Final = (1, 16, 64, 256)
OUTSTANDING: Final = (1, 32)
VALUES: Final = {"": 100, "-1k": 1024, "-64k": 65536}
PROGRAM_OUTSTANDING: Final = (1, 64)

KEYS: Final = 10_000
#: All values together; with large ones there are fewer keys.
_STORED_BYTES_MAX: Final = 64 << 20
#: What may be on its way in a native load; more would measure buffers.
_FLYING_BYTES_MAX: Final = 64 << 20


@frozen
class Load:
    """What is asked of each system alike."""

    name: str
    #: By a native generator on many connections, or by one Python program.
    is_native: bool
    reads: int
    connections: int
    #: Commands on each connection, or in the program.
    outstanding: int
    value_bytes: int
    #: A program that collects its own puts, and sends them all at once.
    is_collected: bool = False

    @property
    def keys(self) -> int:
        return min(KEYS, _STORED_BYTES_MAX // self.value_bytes)

    def shape(self) -> dict[str, Any]:
        shape = asdict(self)
        del shape["name"]
        return {**shape, "keys": self.keys}


#: Not a row: whichever of those that were measured it is worst in.
EVERY: Final = "*"


@frozen
class Goal:
    """A ratio to reach: of rates, or of times the other way round."""

    #: The row, or `EVERY`.
    row: str
    over: str
    figure: str
    least: float
    aim: float


def _native() -> Iterator[Load]:
    # 8 x 32 is one that is often told of.
    shapes = [*product(CONNECTIONS, OUTSTANDING), (8, 32)]
    for (suffix, value_bytes), (kind, reads) in product(VALUES.items(), READS.items()):
        for connections, outstanding in shapes:
            if connections * outstanding * value_bytes <= _FLYING_BYTES_MAX:
                name = f"{kind}-{connections}x{outstanding}{suffix}"
                yield Load(name, True, reads, connections, outstanding, value_bytes)


def _programs() -> Iterator[Load]:
    for (suffix, value_bytes), (kind, reads) in product(VALUES.items(), READS.items()):
        for outstanding in PROGRAM_OUTSTANDING:
            name = f"python-{kind}-{outstanding}{suffix}"
            yield Load(name, False, reads, 1, outstanding, value_bytes)
    yield Load("python-put-64-collected", False, 0, 1, 64, 100, is_collected=True)


LOADS: Final = {load.name: load for load in (*_native(), *_programs())}

#: What `make bench` measures.
CORE: Final = (
    *("put-1x1", "put-16x1", "put-64x1", "put-256x1", "put-8x32"),
    *("put-64x1-1k", "put-64x1-64k"),
    *("get-64x1", "get-64x1-64k", "mix-64x1"),
    *("python-put-1", "python-put-64", "python-put-64-collected", "python-get-64"),
)
#: What is measured in a few seconds, to see that it can be.
QUICK: Final = ("put-64x1", "python-put-64")

GOALS: Final = (
    Goal("put-1x1", "redis", "ops_per_s", 2.0, 3.0),
    Goal("put-64x1", "redis", "ops_per_s", 1.0, 1.3),
    Goal("put-256x1", "redis", "ops_per_s", 1.0, 1.2),
    Goal("put-8x32", "redis", "ops_per_s", 1.0, 1.5),
    Goal("python-put-64", "redis", "ops_per_s", 8.0, 15.0),
    Goal("python-put-1", "redis", "p50_us", 0.9, 1.2),
    *(
        Goal(EVERY, peer, "ops_per_s", 4.0, 8.0)
        for peer in ("etcd", "zookeeper", "pysyncobj")
    ),
)
