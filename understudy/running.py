"""
A story, told on the reactor from its beginning to its end.

Ctrl-C and SIGTERM cancel what the story waits for, so that it can still say the
truth about it: a write that was cancelled is in doubt if it had been sent.  A
second Ctrl-C ends the process at once.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, TypeVar

from twisted.internet.base import ReactorBase
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from understudy.outcome import Interrupted

T = TypeVar("T")

#: What a story needs is the reactor, and nothing else that is global.
Story = Callable[[Any], Coroutine[Deferred[Any], Any, T]]


class Run:
    """One story, the signals that may cut it short, and its result."""

    def __init__(self, reactor: ReactorBase) -> None:
        self._reactor = reactor
        self._story: Deferred[Any] | None = None
        self._ended: list[Any] = []
        self.is_interrupted = False

    def tell(self, story: Story[T]) -> T:
        """Run the reactor until *story* has ended -> what it returned.

        Raises what it raised; `Interrupted` if it was cut short and did not say
        anything more telling.
        """
        before = [
            (number, signal.signal(number, self._interrupted))
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        ]
        try:
            self._reactor.callWhenRunning(self._begin, story)
            # Its own handlers would stop the reactor under the story.
            self._reactor.run(installSignalHandlers=False)
        finally:
            for number, handler in before:
                signal.signal(number, handler)
        result = self._ended[0] if self._ended else Failure(Interrupted())
        if isinstance(result, Failure):
            if result.check(CancelledError) and self.is_interrupted:
                raise Interrupted
            result.raiseException()
        return result  # type: ignore[no-any-return]

    def _begin(self, story: Story[Any]) -> None:
        self._story = Deferred.fromCoroutine(story(self._reactor))
        self._story.addBoth(self._end)

    def _end(self, result: Any) -> None:
        self._ended.append(result)
        self._reactor.stop()

    def _interrupted(self, number: int, _: FrameType | None) -> None:
        if self.is_interrupted:
            os._exit(128 + number)
        self.is_interrupted = True
        self._reactor.callFromThread(self._cancel)

    def _cancel(self) -> None:
        if self._story is not None and not self._ended:
            self._story.cancel()


def run(story: Story[T]) -> T:
    """Tell *story* on the global reactor, which can be run only once."""
    from twisted.internet import reactor  # noqa: PLC0415 -- importing installs it

    return Run(reactor).tell(story)  # type: ignore[arg-type]


def pause(reactor: Any, seconds: float) -> Deferred[None]:
    """Fires after so long; cancelling it is ending the wait."""
    waiting: Deferred[None] = Deferred(lambda _: call.cancel())
    call = reactor.callLater(seconds, waiting.callback, None)
    return waiting
