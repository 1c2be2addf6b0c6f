"""
A process with one clerk, which appends and reads until it is told to end.

Every operation is written to a file the moment it ends, one JSON array a line;
so a process that is killed has told all but its last words.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from random import Random

import msgspec
from twisted.internet.defer import CancelledError, Deferred

from understudy import notes
from understudy.history import Record
from understudy.load import Worker
from understudy.running import run


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", required=True)
    parser.add_argument("--views", required=True)
    parser.add_argument("--file", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--outstanding", type=int, default=2)
    parser.add_argument("--hasty", type=int, default=50)
    parser.add_argument("--think-ms", type=float, default=4.0)
    options = parser.parse_args()
    notes.begin()
    encode = msgspec.json.Encoder().encode

    with options.file.open("ab", buffering=0) as file:

        def take(record: Record) -> None:
            file.write(encode(record) + b"\n")

        async def story(reactor) -> None:
            worker = Worker(
                reactor,
                options.name,
                [options.views],
                Random(f"{options.seed} {options.name}"),
                take,
                outstanding=options.outstanding,
                hasty=options.hasty,
                think_s=options.think_ms / 1000,
            )
            try:
                await Deferred()
            except CancelledError:
                await worker.stop()

        run(story)


if __name__ == "__main__":
    main()
