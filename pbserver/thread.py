"""
Runs a long job in a thread.

Twisted, and thin.  The thread is a daemon: a process that is stopped does not
wait for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

T = TypeVar("T")


def in_thread(reactor: Any, do: Callable[[], T]) -> Deferred[T]:
    """Do that in a thread of its own -> what it returns.  It must not raise."""
    done: Deferred[T] = Deferred()

    def run() -> None:
        result = do()
        reactor.callFromThread(done.callback, result)

    threading.Thread(target=run, name="understudy-job", daemon=True).start()
    return done
