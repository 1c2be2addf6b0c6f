"""
A client that keeps to no measure: it says more and more, and waits for nothing.

    writes   batches without end; the answers are read, and thrown away
    mute     reads of a large value without end; the answers are not even read

It speaks as a clerk would, so that nothing but its haste can be held against it;
and when it is hung up on, it calls again, whoever is primary then.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from random import SystemRandom

import msgspec

from tests.processes import ask_status
from wire.addresses import parse_address
from wire.codec import Decoder, encode
from wire.commands import Get, Put
from wire.messages import (
    CLERK,
    NO_SESSION,
    SERVER,
    VERSION,
    Batch,
    Goodbye,
    Hello,
    Message,
    OpenSession,
    Query,
    Redirect,
    SessionOpened,
)

#: Commands in a batch, and messages in one write.
BATCH, TOGETHER = 32, 64

LARGE_KEY = b"flood-large"
LARGE_BYTES = 64 * 1024


def primary_address(views: str) -> tuple[str, int]:
    """Where the primary is.  Raises OSError if nobody can tell."""
    found = ask_status(views)
    name = found and found["view"]["primary"]
    for server in found["servers"] if found else ():
        if server["name"] == name:
            return parse_address(server["address"])
    raise OSError("no primary is known")


def messages(connection: socket.socket) -> Iterator[Message]:
    """What the other end says, until it ends."""
    decoder = Decoder(SERVER, CLERK)
    while data := connection.recv(1 << 16):
        yield from decoder.feed(data)


def writes(connection: socket.socket) -> None:
    """Batches, as fast as they are taken."""
    session = SystemRandom().randbytes(16)
    connection.sendall(encode(OpenSession(session)))
    heard = messages(connection)
    opened_index = next(
        each.opened_index for each in heard if isinstance(each, SessionOpened)
    )
    reader = threading.Thread(target=_read_all, args=(heard,), daemon=True)
    reader.start()
    puts = [Put(b"flood-%03d" % number, b"v" * 100) for number in range(BATCH)]
    body, sequence = msgspec.msgpack.encode(puts), 0
    while reader.is_alive():
        data = b""
        for _ in range(TOGETHER):
            sequence += 1
            # It pretends to lack no earlier answer, so that no window ends it.
            data += encode(Batch(session, opened_index, sequence, sequence, body))
        connection.sendall(data)


def _read_all(heard: Iterator[Message]) -> None:
    with contextlib.suppress(OSError):
        for message in heard:
            if isinstance(message, Goodbye | Redirect):
                break


def mute(connection: socket.socket) -> None:
    """Reads, as fast as they are taken, and not one answer is read."""
    body = msgspec.msgpack.encode([Get(LARGE_KEY)])
    query = encode(Query(1, NO_SESSION, 0, body))
    while True:
        connection.sendall(query * TOGETHER)


KINDS: dict[str, Callable[[socket.socket], None]] = {"writes": writes, "mute": mute}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--views", required=True)
    options = parser.parse_args()
    while True:
        with contextlib.suppress(OSError, StopIteration):
            address = primary_address(options.views)
            with socket.create_connection(address, timeout=60) as connection:
                connection.sendall(encode(Hello(VERSION, CLERK)))
                KINDS[options.kind](connection)
        sys.stdout.write("hung up on; calling again\n")
        sys.stdout.flush()
        time.sleep(0.1)


if __name__ == "__main__":
    main()
