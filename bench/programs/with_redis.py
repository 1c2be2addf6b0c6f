"""
An asyncio program with redis-py and hiredis, as its documentation recommends: a
connection pool, and a pipeline wherever two commands belong together, here `SET`
and `WAIT 1 0`.  Collected: one pipeline of all SETs, and one WAIT.
"""

from __future__ import annotations

import asyncio
from typing import Any

from redis.asyncio import Redis

from bench.programs.tally import Tally, clock


async def main(tally: Tally) -> None:
    redis: Any = Redis(
        host="127.0.0.1", port=int(tally.where[0]), max_connections=tally.outstanding
    )
    await redis.ping()
    tally.begin()
    if tally.is_collected:
        await collected(redis, tally)
    else:
        await asyncio.gather(*(loop(redis, tally) for _ in range(tally.outstanding)))
    await redis.aclose()
    tally.print()


async def loop(redis: Any, tally: Tally) -> None:
    while tally.goes_on():
        begun = clock()
        if tally.reads():
            tally.check(await redis.get(tally.key()))
        else:
            await put(redis, tally, 1)
        tally.ended(begun)


async def collected(redis: Any, tally: Tally) -> None:
    while tally.goes_on():
        begun = clock()
        await put(redis, tally, tally.outstanding)
        tally.ended(begun, tally.outstanding)


async def put(redis: Any, tally: Tally, count: int) -> None:
    async with redis.pipeline(transaction=False) as pipeline:
        for _ in range(count):
            pipeline.set(tally.key(), tally.value)
        pipeline.execute_command("WAIT", 1, 0)
        *_, replicas = await pipeline.execute()
    if replicas < 1:
        raise RuntimeError("no replica (WAIT said 0)")


if __name__ == "__main__":
    asyncio.run(main(Tally(__doc__)))
