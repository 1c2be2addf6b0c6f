"""A program with kazoo: its asynchronous calls, each with a callback that makes the
next one; with one outstanding, the plain calls."""

from __future__ import annotations

import threading
from typing import Any

from kazoo.client import KazooClient

from bench.programs.tally import Tally, clock


def main() -> None:
    tally = Tally(__doc__)
    client: Any = KazooClient(hosts=f"127.0.0.1:{tally.where[0]}")
    client.start()
    tally.begin()
    if tally.outstanding == 1:
        one_by_one(client, tally)
    else:
        Loops(client, tally).run()
    client.stop()
    client.close()
    tally.print()


def one_by_one(client: Any, tally: Tally) -> None:
    while tally.goes_on():
        begun = clock()
        path = "/" + tally.key().decode()
        if tally.reads():
            tally.check(client.get(path)[0])
        else:
            client.set(path, tally.value)
        tally.ended(begun)


class Loops:
    """As many as calls are outstanding; all callbacks run in kazoo's one thread."""

    def __init__(self, client: Any, tally: Tally) -> None:
        self._client = client
        self._tally = tally
        self._going = tally.outstanding
        self._done = threading.Event()
        self._error: Exception | None = None

    def run(self) -> None:
        for _ in range(self._tally.outstanding):
            self._next()
        self._done.wait()
        if self._error is not None:
            raise self._error

    def _next(self) -> None:
        if not self._tally.goes_on():
            self._going -= 1
            if not self._going:
                self._done.set()
            return
        path, begun = "/" + self._tally.key().decode(), clock()
        if reads := self._tally.reads():
            result = self._client.get_async(path)
        else:
            result = self._client.set_async(path, self._tally.value)
        result.rawlink(lambda result: self._ended(result, begun, reads=reads))

    def _ended(self, result: Any, begun: float, *, reads: bool) -> None:
        try:
            found = result.get()
            if reads:
                self._tally.check(found[0])
        except Exception as error:  # noqa: BLE001 -- raised by `run`
            self._error = error
            self._done.set()
            return
        self._tally.ended(begun)
        self._next()


if __name__ == "__main__":
    main()
