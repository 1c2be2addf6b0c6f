"""
When our own reasoning is wrong, the process stops.

Twisted answers an exception in a callback by dropping that connection or
ending that timer, and goes on; a server that goes on after a broken invariant
can answer wrongly, which is worse than not at all: the others take over from
one that is gone.  So whatever runs the rules runs them under `guard`
(``docs/design.md``, section 8).
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import Final, NoReturn, ParamSpec, TypeVar

from wire.codec import ProtocolError
from wire.logs import get_logger

P = ParamSpec("P")
R = TypeVar("R")

#: The exit code of a process that stopped itself.
EXIT_CODE: Final = 1

_log = get_logger("wire.fail_stop")


#: Is this process a daemon of ours?  A program that embeds a clerk is not ours
#: to end: there, what broke is told, and Twisted drops the connection.
_is_ours = False


def own_process() -> None:
    """From now on, a rule that breaks ends this process."""
    global _is_ours  # noqa: PLW0603 -- it is the process that is ours or not
    _is_ours = True


def guard(function: Callable[P, R]) -> Callable[P, R]:
    """*function*, but any exception out of it ends a daemon: an assertion that
    fails and a key that is missing show the same, that our reasoning is wrong.
    Only a `ProtocolError` passes; that one is about a peer."""

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except ProtocolError:
            raise
        except Exception as error:
            broken(error)
            raise

    return guarded


def broken(error: Exception) -> None:
    """*error* came out of the rules: end a daemon; in another program, log it."""
    if _is_ours:
        stop(error)
    _log.critical("invariant.broken", error=repr(error))


def stop(error: Exception) -> NoReturn:
    """Say what broke in one critical line, with the traceback, and end the
    process at once: no handler, no goodbye, no chance to answer anything."""
    try:
        _log.critical(
            "invariant.broken", error=str(error) or repr(error), exc_info=error
        )
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(EXIT_CODE)
