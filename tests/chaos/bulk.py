"""
Many pairs written, or all of them read and compared: a program of its own, since
it keeps one core busy.
"""

from __future__ import annotations

import argparse
import sys

from twisted.internet.defer import gatherResults

from client import Clerk
from understudy import notes
from understudy.running import run

#: Calls outstanding at a time.
TOGETHER = 4096

#: Pairs a scan.
PAGE = 5000


def pair(number: int) -> tuple[bytes, bytes]:
    """A key, and a value of 100 bytes that says which key it belongs to."""
    key = b"bulk-%08d" % number
    return key, (key + b"." * 100)[:100]


async def fill(reactor, views: str, count: int) -> int:
    """Write pairs 0 to *count* - 1 -> how many."""
    clerk = Clerk(reactor, views, timeout=60)
    for first in range(0, count, TOGETHER):
        numbers = range(first, min(first + TOGETHER, count))
        await gatherResults([clerk.put(*pair(number)) for number in numbers])
    await clerk.close()
    return count


async def compare(reactor, views: str, _: int) -> int:
    """Read all pairs -> how many are there and right."""
    clerk = Clerk(reactor, views, timeout=60)
    right, start = 0, b"bulk-"
    while pairs := await clerk.scan(start=start, end=b"bulk.", limit=PAGE):
        right += sum(pair(int(key[5:])) == (key, value) for key, value in pairs)
        start = pairs[-1][0] + b"\x00"
    await clerk.close()
    return right


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("fill", "compare"))
    parser.add_argument("--views", required=True)
    parser.add_argument("--count", type=int, required=True)
    options = parser.parse_args()
    notes.begin()
    story = fill if options.what == "fill" else compare
    done = run(lambda reactor: story(reactor, options.views, options.count))
    sys.stdout.write(f"{done}\n")


if __name__ == "__main__":
    main()
