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

from wire.logs import get_logger

P = ParamSpec("P")
R = TypeVar("R")

#: The exit code of a process that stopped itself.
EXIT_CODE: Final = 1

_log = get_logger("wire.invariants")


def guard(function: Callable[P, R]) -> Callable[P, R]:
    """*function*, but an AssertionError out of it ends the process."""

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except AssertionError as error:
            stop(error)

    return guarded


def stop(error: AssertionError) -> NoReturn:
    """Say what broke in one critical line, with the traceback, and end the
    process at once: no handler, no goodbye, no chance to answer anything."""
    try:
        _log.critical("invariant.broken", error=str(error), exc_info=error)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(EXIT_CODE)
