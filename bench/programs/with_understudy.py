"""A Twisted program with one `client.Clerk`: every call an ordinary awaited one, in
as many loops as calls are outstanding."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from bench.programs.tally import Tally, clock
from client import Clerk


async def main(reactor: Any, tally: Tally) -> None:
    clerk = Clerk(reactor, tally.where[0])
    await clerk.get(b"somebody is there")
    tally.begin()
    if tally.is_collected:
        loops = [collected(clerk, tally)]
    else:
        loops = [loop(clerk, tally) for _ in range(tally.outstanding)]
    await gatherResults([Deferred.fromCoroutine(each) for each in loops])
    await clerk.close()
    tally.print()


async def loop(clerk: Clerk, tally: Tally) -> None:
    while tally.goes_on():
        begun = clock()
        if tally.reads():
            tally.check(await clerk.get(tally.key()))
        else:
            await clerk.put(tally.key(), tally.value)
        tally.ended(begun)


async def collected(clerk: Clerk, tally: Tally) -> None:
    while tally.goes_on():
        begun = clock()
        puts = [clerk.put(tally.key(), tally.value) for _ in range(tally.outstanding)]
        await gatherResults(puts)
        tally.ended(begun, tally.outstanding)


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, Tally(__doc__))))
