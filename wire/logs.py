"""
Logs: events with values, one line each.

What happened is called ``noun.past_verb`` (``link.made``), and what belongs to
it is given as values.  Everything goes through Twisted's publisher, ours and
Twisted's own: a program that embeds a clerk finds it wherever it sends its
Twisted logs, and nothing is printed that it did not ask for.  A daemon puts
`Lines` on the publisher: JSON to a pipe or a file, words to a terminal.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger
from twisted.application.service import Service
from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, formatEvent
from twisted.python.components import Componentized
from twisted.python.failure import Failure
from twisted.python.logfile import LogFile
from twisted.python.usage import Options
from zope.interface import implementer

from wire.addresses import readable
from wire.output import escape_on

#: Keys of a Twisted event that carry one of ours: its name and its values.
_NAME: Final = "understudy_event"
_VALUES: Final = "understudy_values"


class Stream(Protocol):
    """Where lines go: a text file, or one that is rotated."""

    def write(self, data: str, /) -> object:
        """Take some text."""

    def flush(self) -> object:
        """Let go of it."""


# -- ours, on the way to Twisted's publisher --------------------------------------


class _Publishing:
    """What structlog calls a logger: a method for each level."""

    def __init__(self, namespace: str = "understudy") -> None:
        self._logger = Logger(namespace)

    def _emit(self, level: Any, values: dict[str, Any]) -> None:
        name = values.pop("event")
        words = " ".join([name, *(f"{key}={value!r}" for key, value in values.items())])
        # An observer that knows nothing of us prints the words.
        event = {_NAME: name, _VALUES: values, "words": words}
        self._logger.emit(level, "{words}", **event)

    debug = functools.partialmethod(_emit, LogLevel.debug)
    info = functools.partialmethod(_emit, LogLevel.info)
    warning = functools.partialmethod(_emit, LogLevel.warn)
    error = functools.partialmethod(_emit, LogLevel.error)
    critical = functools.partialmethod(_emit, LogLevel.critical)


def _as_argument(_: Any, __: str, values: EventDict) -> Any:
    return (dict(values),), {}


_PROCESSORS: Final[list[structlog.typing.Processor]] = [
    structlog.processors.format_exc_info,
    _as_argument,
]

#: Twisted's routine below a warning, by namespace: how it starts, factories, and
#: attempts to connect, of which our own events tell more.
_CHATTER: Final = (
    "twisted.application.",
    "twisted.scripts.",
    "twisted.internet.protocol",
)
#: The same where the namespace does not set it apart; and what is reported of each
#: caller that cannot be accepted, which is ``accept.failed`` once a minute.
_CHATTER_TEXTS: Final = re.compile(
    r"Main loop terminated\.|\S+ starting on \S+|\(\S* ?Port \S+ Closed\)"
    r"|EMFILE (encountered|recovery).*|Re-reserving EMFILE .*"
    r"|Could not accept new connection .*"
)
_WRAPPER: Final = structlog.make_filtering_bound_logger("debug")


def get_logger(namespace: str) -> FilteringBoundLogger:
    """A logger: ``log.info("link.made", peer=...)``, with structlog's levels,
    ``bind`` and ``exception``."""
    logger = structlog.wrap_logger(
        _Publishing(namespace), processors=_PROCESSORS, wrapper_class=_WRAPPER
    )
    return cast("FilteringBoundLogger", logger)


# -- a daemon's lines -------------------------------------------------------------


@implementer(ILogObserver)
class Lines:
    """Writes each event as one line to *stream*.

    Of Twisted's own events below a warning, those known as routine are left out
    (a port was opened, an attempt is scheduled).  All others are written: one may
    be the only sign of a fault.
    """

    def __init__(
        self, stream: Stream, *, is_terminal: bool = False, is_verbose: bool = False
    ) -> None:
        self.stream = stream
        self._render = _words() if is_terminal else _json
        self._level_min = LogLevel.debug if is_verbose else LogLevel.info

    def __call__(self, event: LogEvent) -> None:
        """Write one event of Twisted's publisher, or leave it out."""
        level = event.get("log_level") or LogLevel.info
        if level < self._level_min or (level < LogLevel.warn and _is_chatter(event)):
            return
        line: dict[str, Any] = {
            "timestamp": datetime.fromtimestamp(event["log_time"], UTC).isoformat(
                timespec="milliseconds"
            ),
            # structlog's name for it, so that there is one word for one thing.
            "level": "warning" if level is LogLevel.warn else level.name,
        }
        line.update(_content(event))
        self.stream.write(self._render(line) + "\n")
        self.stream.flush()


def _is_chatter(event: LogEvent) -> bool:
    namespace = str(event.get("log_namespace", ""))
    if namespace.startswith(_CHATTER):
        return True
    is_twisted = namespace == "log_legacy" or namespace.startswith("twisted.")
    return is_twisted and _CHATTER_TEXTS.fullmatch(formatEvent(event)) is not None


def _content(event: LogEvent) -> dict[str, Any]:
    if _NAME in event:
        return {"event": event[_NAME], **event[_VALUES]}
    content = {"event": "twisted.logged", "text": formatEvent(event)}
    failure = event.get("log_failure")
    if isinstance(failure, Failure):
        content["exception"] = failure.getTraceback()
    return content


def _json(line: dict[str, Any]) -> str:
    return json.dumps(line, default=repr)


def _words() -> Any:
    render = structlog.dev.ConsoleRenderer()
    return lambda line: render(None, "", {k: _readable(v) for k, v in line.items()})


def _readable(value: Any) -> Any:
    return readable(value) if isinstance(value, str) else value


# -- twistd -----------------------------------------------------------------------

_log = get_logger("wire.logs")


class ReopenedLogFile(LogFile):
    """The file of ``--logfile``, which grows and is rotated as twistd's own is."""

    def turn_over(self) -> None:
        """What SIGUSR1 asks for.  If another program has moved the file away
        (logrotate), open its path again; else rotate it, as twistd does."""
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(Path(self.path).stat(), os.fstat(self._file.fileno())):
                self.rotate()  # type: ignore[no-untyped-call]
                return
        before = self._file
        try:
            self._openFile()  # type: ignore[no-untyped-call]
        except OSError as error:
            # It goes on in the file that it has, and the reason stands there.
            self._file, self.closed = before, False
            why = error.strerror
            _log.error("log.reopen_failed", path=self.path, reason=why)
        else:
            before.close()


def lines_for(
    options: Options | None = None, *, is_verbose: bool = False
) -> Lines | None:
    """Lines to stdout, or to the file that ``twistd`` was told to use; None if it
    was told to use syslog, which takes words as they are.

    *options* are those of the plugin: their parent is ``twistd`` itself, which
    writes to ``twistd.log`` when it leaves the terminal.
    """
    parent = getattr(options, "parent", None) or {"nodaemon": True}
    if parent.get("syslog"):
        return None
    name = parent.get("logfile") or ("-" if parent.get("nodaemon") else "twistd.log")
    if name == "-":
        if not parent.get("nodaemon"):
            sys.exit("twistd: a daemon has no standard output to log to; add -n")
        # Kept now: Twisted replaces the name by one that leads back to the log.
        stream = sys.stdout
        escape_on(stream)
        return Lines(stream, is_terminal=stream.isatty(), is_verbose=is_verbose)
    try:
        file = ReopenedLogFile.fromFullPath(name)  # type: ignore[no-untyped-call]
    except OSError as error:
        sys.exit(f"twistd: --logfile: cannot open {name}: {error.strerror}")
    return Lines(cast("Stream", file), is_verbose=is_verbose)


def heed_sigusr1(reactor: Any, lines: Lines | None) -> None:
    """On SIGUSR1, turn over the log file of *lines*; do nothing if it has none.
    Twisted has this in the log observer that ours replaces.  A handler that is
    there already stays."""
    if signal.getsignal(signal.SIGUSR1) not in (signal.SIG_DFL, signal.SIG_IGN):
        return
    file = lines.stream if lines is not None else None
    if isinstance(file, ReopenedLogFile):
        turn_over = file.turn_over
        # Not in the handler, which may interrupt a line that is being written.
        signal.signal(signal.SIGUSR1, lambda *_: reactor.callFromThread(turn_over))
    else:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)


class Logged(Service):
    """A mixin for the service that a plugin's ``makeService`` returns: all that
    the process logs goes to *lines* once it is part of the application.

    ``twistd`` begins to log before it starts any service, but after that.
    """

    lines: Lines | None = None

    def setServiceParent(self, parent: Any) -> None:
        """Become part of *parent*, and if it is the application, log there."""
        if isinstance(parent, Componentized) and self.lines is not None:
            parent.setComponent(ILogObserver, self.lines)
        super().setServiceParent(parent)  # type: ignore[no-untyped-call]
