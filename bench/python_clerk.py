"""
What one Python program gets out of a clerk: 1, 8, 64 and 512 calls outstanding.

    python -m bench.python_clerk [--views tcp:HOST:PORT] [--seconds 2]
        [--outstanding 1 8 64 512] [--value-bytes 100] [--json]

Without --views it starts a view service and two servers of its own.  Each row
is of puts, then of gets, by one `client.Clerk` in one process; every call is an
ordinary awaited one, in as many loops as calls are outstanding.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet import reactor as the_reactor
from twisted.internet.defer import Deferred, gatherResults

from bench.systems import Understudy
from client import Clerk

Call = Callable[[int], Awaitable[Any]]

#: Twisted's stubs do not know what this module is.
reactor: Any = the_reactor


def main() -> int:
    parser = argparse.ArgumentParser(description="One Python program and its clerk.")
    parser.add_argument("--views")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--outstanding", type=int, nargs="+", default=[1, 8, 64, 512])
    parser.add_argument("--value-bytes", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.ExitStack() as stack:
        if options.views is None:
            options.views = stack.enter_context(Understudy()).views
        ended: list[Any] = []
        told = Deferred.fromCoroutine(_tell(options))
        told.addBoth(ended.append)
        told.addBoth(lambda _: reactor.callLater(0, reactor.stop))
        reactor.run()
        if ended != [None]:
            print(f"bench: {ended[0] if ended else 'interrupted'}", file=sys.stderr)
            return 1
    return 0


async def _tell(options: argparse.Namespace) -> None:
    clerk = Clerk(reactor, options.views)
    value = bytes(options.value_bytes)
    calls: dict[str, Call] = {
        "put": lambda n: clerk.put(b"key:%012d" % (n % 100_000), value),
        "get": lambda n: clerk.get(b"key:%012d" % (n % 100_000)),
    }
    for outstanding in options.outstanding:
        for name, call in calls.items():
            row = await _measure(call, outstanding, options.seconds)
            row = {"call": name, "outstanding": outstanding, **row}
            print(json.dumps(row) if options.json else _line(row), flush=True)
    await clerk.close()


async def _measure(call: Call, outstanding: int, seconds: float) -> dict[str, Any]:
    warm = reactor.seconds() + 0.3
    end = warm + seconds
    latencies: list[float] = []
    last = 0

    async def loop() -> None:
        nonlocal last
        while (begun := reactor.seconds()) < end:
            last += 1
            await call(last)
            if begun >= warm:
                latencies.append(reactor.seconds() - begun)

    await gatherResults([Deferred.fromCoroutine(loop()) for _ in range(outstanding)])
    latencies.sort()
    return {
        "ops_per_s": len(latencies) / seconds,
        "p50_us": latencies[len(latencies) // 2] * 1e6,
        "p99_us": latencies[len(latencies) * 99 // 100] * 1e6,
        "max_us": latencies[-1] * 1e6,
    }


def _line(row: dict[str, Any]) -> str:
    return (
        f"{row['call']} x {row['outstanding']:<4}{row['ops_per_s']:>9,.0f} op/s"
        f"   latency us: {row['p50_us']:,.0f} median, {row['p99_us']:,.0f} p99,"
        f" {row['max_us']:,.0f} longest"
    )


if __name__ == "__main__":
    sys.exit(main())
