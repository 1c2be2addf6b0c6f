"""
An asyncio program with gRPC, which is etcd's own protocol, on one channel.  The
messages are put together here, of two fields, so that no generated code is
measured; reads are linearizable, which is the default.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from bench.programs.tally import Tally, clock

Call = Callable[[bytes], Awaitable[bytes]]


async def main(tally: Tally) -> None:
    channel: Any
    async with grpc.aio.insecure_channel(f"127.0.0.1:{tally.where[0]}") as channel:
        await channel.channel_ready()
        put = channel.unary_unary("/etcdserverpb.KV/Put")
        get = channel.unary_unary("/etcdserverpb.KV/Range")
        tally.begin()
        loops = (loop(put, get, tally) for _ in range(tally.outstanding))
        await asyncio.gather(*loops)
    tally.print()


async def loop(put: Call, get: Call, tally: Tally) -> None:
    while tally.goes_on():
        begun = clock()
        key = field(1, tally.key())
        if tally.reads():
            if tally.value not in await get(key):
                raise RuntimeError("a get did not say what was put")
        else:
            await put(key + field(2, tally.value))
        tally.ended(begun)


def field(number: int, data: bytes) -> bytes:
    """Of a protobuf message: bytes."""
    return bytes([number << 3 | 2]) + varint(len(data)) + data


def varint(n: int) -> bytes:
    low = bytes([n & 127 | (128 if n > 127 else 0)])
    return low + varint(n >> 7) if n > 127 else low


if __name__ == "__main__":
    asyncio.run(main(Tally(__doc__)))
