"""
The key/value commands: one clerk, one call, one answer.

What is printed is the answer and nothing else; that a command changed nothing
because the store said no is exit code 1, with the reason on standard error
(``docs/design.md``, section 10).
"""

from __future__ import annotations

import sys
from argparse import Namespace
from contextlib import suppress
from typing import Any, Final

from twisted.internet.defer import CancelledError

from client.clerk import Clerk
from client.errors import (
    ClerkError,
    CommandError,
    InDoubt,
    NotANumber,
    NotExecuted,
    TooLarge,
    WrongCluster,
)
from understudy.notes import NOTES
from understudy.outcome import DONE, IN_DOUBT, REFUSED, UNAVAILABLE, USAGE, Ended
from understudy.running import run
from understudy.text import as_json, escaped, say, say_bytes, say_json, shown
from wire.commands import TOO_LARGE, VALUE_BYTES_MAX

#: Where to look next.
_STATUS: Final = "`understudy status`"

#: How long a clerk may take to say goodbye after its answer, seconds.
_FAREWELL_S: Final = 0.5


async def _get(clerk: Clerk, options: Namespace) -> None:
    value = await clerk.get(options.key)
    if value is None:
        raise Ended(REFUSED, f"no such key: {shown(options.key)}", "no such key")
    if options.json:
        say_json(as_json("key", options.key) | as_json("value", value))
    else:
        say_bytes(value if options.raw else value + b"\n")


async def _put(clerk: Clerk, options: Namespace) -> None:
    await clerk.put(options.key, options.value)
    if options.json:
        say_json(as_json("key", options.key) | {"done": True})


async def _append(clerk: Clerk, options: Namespace) -> None:
    length = await clerk.append(options.key, options.value)
    if options.json:
        say_json(as_json("key", options.key) | {"length": length})
    else:
        say(str(length))


async def _delete(clerk: Clerk, options: Namespace) -> None:
    if not await clerk.delete(options.key):
        raise Ended(REFUSED, f"no such key: {shown(options.key)}", "no such key")
    if options.json:
        say_json(as_json("key", options.key) | {"done": True})


async def _cas(clerk: Clerk, options: Namespace) -> None:
    if not await clerk.cas(options.key, options.old, options.new):
        text = f"nothing was changed: {shown(options.key)} "
        found, value = await _look(clerk, options.key)
        if found and value is None and options.old is not None:
            text += "is no key"
        else:
            text += f"is not {'absent' if options.old is None else shown(options.old)}"
            if found and value is not None and value != options.old:
                text += f", but {shown(value)}"
        raise Ended(REFUSED, text, "compare failed")
    if options.json:
        say_json(as_json("key", options.key) | {"done": True})


async def _incr(clerk: Clerk, options: Namespace) -> None:
    try:
        number = await clerk.incr(options.key, options.by)
    except NotANumber as error:
        key = shown(options.key)
        _, value = await _look(clerk, options.key)
        holds = "" if value is None else f", which holds {shown(value)}"
        raise NotANumber(f"{error} (key {key}{holds})") from error
    if options.json:
        say_json(as_json("key", options.key) | {"number": number})
    else:
        say(str(number))


async def _look(clerk: Clerk, key: bytes) -> tuple[bool, bytes | None]:
    """For a message only: whether the value could be had, and what it is by now."""
    try:
        return True, await clerk.get(key)
    except ClerkError:
        return False, None


async def _scan(clerk: Clerk, options: Namespace) -> None:
    pairs: list[tuple[bytes, bytes]] = []
    start, end = options.start, options.end
    if options.prefix is not None:
        start, end = options.prefix, _after(options.prefix)
    while len(pairs) < options.limit:
        # An answer holds what fits into a frame; what follows is asked again, and
        # so may show a later moment than what came before.
        more = await clerk.scan(start=start, end=end, limit=options.limit - len(pairs))
        pairs += more
        if not more or sum(len(k) + len(v) for k, v in more) < VALUE_BYTES_MAX // 2:
            break
        start = more[-1][0] + b"\x00"
    if options.json:
        say_json([as_json("key", k) | as_json("value", v) for k, v in pairs])
        return
    for key, value in pairs:
        say(f"{escaped(key)}\t{escaped(value)}")


def _after(prefix: bytes) -> bytes | None:
    """The first key after all that begin with *prefix*; None: there is none."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes((stem[-1] + 1,)) if stem else None


COMMANDS: Final = {
    "get": _get,
    "put": _put,
    "append": _append,
    "delete": _delete,
    "cas": _cas,
    "incr": _incr,
    "scan": _scan,
}


def main(options: Namespace) -> int:
    """Do what was typed -> the exit code.  Raises `Ended`."""
    if options.noun in {"put", "append"} and options.is_from_stdin:
        # One byte more than is allowed is enough to be told that it is too much.
        options.value = _standard_input(VALUE_BYTES_MAX + 1)
        if len(options.value) > VALUE_BYTES_MAX:
            text = f"the value has more than {VALUE_BYTES_MAX} bytes"
            text += f" (key {shown(options.key)})"
            raise Ended(REFUSED, text, TOO_LARGE)
    try:
        run(lambda reactor: _tell(reactor, options))
    except CommandError as error:
        raise Ended(REFUSED, str(error), error.code) from error
    except InDoubt as error:
        raise Ended(
            IN_DOUBT,
            f"in doubt: {error}. It may have been executed, or may be yet; look "
            "before trying again",
        ) from error
    except NotExecuted as error:
        raise Ended(UNAVAILABLE, _why(error, options)) from error
    except ClerkError as error:
        raise Ended(UNAVAILABLE, str(error)) from error
    return DONE


def _standard_input(bytes_max: int) -> bytes:
    if sys.stdin is None:  # closed before this process began
        raise Ended(USAGE, "standard input is closed, and the value is to come from it")
    try:
        return sys.stdin.buffer.read(bytes_max)
    except OSError as error:
        raise Ended(USAGE, f"standard input cannot be read: {error}") from error


async def _tell(reactor: Any, options: Namespace) -> None:
    clerk = Clerk(reactor, options.views, timeout=options.timeout)
    farewell_s = 0.0
    try:
        await COMMANDS[options.noun](clerk, options)
        farewell_s = _FAREWELL_S
    except TooLarge as error:
        raise TooLarge(f"{error} (key {shown(options.key)})") from error
    finally:
        # Interrupted now, the answer is out, and that counts.
        with suppress(CancelledError):
            await clerk.close(timeout=farewell_s)


def _why(error: NotExecuted, options: Namespace) -> str:
    """Nothing was executed; what stood in the way, and what to do."""
    text = f"not executed: {error}"
    if isinstance(error, WrongCluster):
        return text
    views = options.views
    where = " or ".join(views)
    trouble = NOTES.about(views)
    if not NOTES.has_reached(views):
        if trouble:  # *text* names it
            return f"{text}. Is it running?"
        trouble = "no connection to it was made, or it said no Hello"
        return f"{text}. Is the view service at {where} running? ({trouble})"
    if not NOTES.stands(views) and not trouble.startswith("goodbye:"):
        return f"{text}. The view service at {where} was lost: {trouble}"
    if _STATUS in text:
        return text
    return f"{text}. {_STATUS} says what is waited for"
