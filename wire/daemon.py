"""
What both daemons share: checking what was typed, and ending with a reason.

Twisted, and thin.  twistd ends with exit code 0 whatever happened; a daemon
that could not do its work says why in one line and ends with 1.  Without ``-n``
a parent process waits for the outcome of the start, so all that usually fails
(the port, the state file and its lock) is tried in ``startService``.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import re
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from select import EPOLLIN
from typing import Any, Final

from twisted.internet.endpoints import serverFromString
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ReactorNotRunning
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.python import log
from twisted.python.usage import Options, UsageError
from zope.interface import implementer

from wire.busy_poll import spinning
from wire.fail_stop import own_process
from wire.listener import Places
from wire.logs import get_logger
from wire.output import discard_stdout

EXIT_CODE: Final = 1

#: Open files that are no connections of callers: logs, the state file, connections
#: to peers, name look-ups, callers that are being refused.
FILES_RESERVED: Final = 128

#: For so long one turn takes in events, in seconds; the others come in the next, and
#: what their time has come for in between.  One read is not interrupted.
TURN_S: Final = 0.01

#: The most that fits into the status which twistd's parent process reads.
_STATUS_BYTES: Final = 100

#: The most connections that can be asked for.
CONNECTIONS_LIMIT: Final = 1_000_000

#: How `int` refuses a text, and the port of an endpoint on TCP.
_NO_NUMBER: Final = re.compile(r"invalid literal for int\(\) with base \d+: (.*)")
_PORT: Final = re.compile(r"tcp6?:(?:port=)?([+-]?[0-9]+)(?=:|$)")

_log = get_logger("wire.daemon")
#: Why this process cannot go on; told once.
_failures: list[str] = []


class DaemonOptions(Options):
    """Options of which a usage error is one line, with exit code 1.

    By itself twistd prints all of its help and the reason after that.
    """

    #: The plugin's name, as it is typed.
    daemon = ""

    def parseArgs(self, *rest: str) -> None:  # noqa: N802 -- as Twisted calls it
        """There are only options."""
        if rest:
            raise UsageError(f"not an option: {rest[0]!r}; see --help")

    def parseOptions(self, options: Any = None) -> None:  # noqa: N802 -- Twisted's
        """Parse, and exit if what was typed makes no sense; raise UsageError
        where no twistd is around it."""
        try:
            try:
                super().parseOptions(options)  # type: ignore[no-untyped-call]
            finally:
                sys.stdout.flush()  # the help that it prints before it exits
        except BrokenPipeError:
            discard_stdout()
            sys.exit()
        except UsageError as error:
            if self.parent is None:
                raise
            text = " ".join(str(error).removesuffix("; see --help").split())
            name = f"twistd {self.daemon}"
            sys.exit(f"{name}: {text}; see {name} --help")


def check_endpoint(option: str, endpoint: str) -> None:
    """Raise UsageError, with the value, if *endpoint* is no server endpoint."""
    from twisted.internet import reactor  # noqa: PLC0415 -- parsing needs one

    try:
        serverFromString(reactor, endpoint)
        why = _port_fault(endpoint)
    except TypeError:  # of the function that takes the parts as its arguments
        why = "a part is missing or not known"
    except Exception as error:  # noqa: BLE001 -- endpoint plugins raise anything
        found = _NO_NUMBER.fullmatch(str(error))
        why = f"{found[1]} is no number" if found else str(error)
    if why:
        raise UsageError(
            f"{option}: not an endpoint: {endpoint!r} ({why});"
            " write for example tcp:7400:interface=127.0.0.1"
        )


def _port_fault(endpoint: str) -> str:
    """Why nothing can listen on the port of *endpoint*; "" if that does not show."""
    found = _PORT.match(endpoint)
    if found is None or 0 <= int(found[1]) <= 65535:
        return ""
    return f"{found[1]} is no port from 0 to 65535"


def whole_number(option: str, text: str, least: int, most: int) -> int:
    """*text* as a number.  Raise UsageError, with the value, if it is none from
    *least* to *most*."""
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else -1
    if not least <= number <= most:
        raise UsageError(
            f"--{option}: {text!r} is no whole number from {least} to {most}"
        )
    return number


def begin(reactor: Any, spin_us: int = 0) -> None:
    """What every daemon wants of its process, before anything is scheduled;
    *spin_us* is for `wire.busy_poll`."""
    own_process()
    stop_once(reactor)
    steady(reactor)
    install_fast_epoll_loop(reactor, spin_us)
    many_files()
    globalLogPublisher.addObserver(RefusedAccepts(reactor))
    reactor.addSystemEventTrigger("before", "startup", _heed_sigint, reactor)


def _heed_sigint(reactor: Any) -> None:
    """From here on Ctrl-C stops *reactor* in order.  Until then it ends the
    process at once (`twisted/plugins/understudy_plugin.py`): there are no
    connections to close, and a KeyboardInterrupt could come out of any line.  A
    signal that is ignored (``nohup``), or has another handler (a debugger's), stays
    as it is."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, reactor.sigInt)


def stop_once(reactor: Any) -> None:
    """Have *reactor* ignore that it is told to stop while it is stopping.  Twisted
    raises then, and a signal that comes twice in a moment would be logged as an
    error with a traceback."""
    stop = reactor.stop

    def stop_if_running() -> None:
        with contextlib.suppress(ReactorNotRunning):
            stop()

    reactor.stop = stop_if_running


def steady(reactor: Any) -> None:
    """Have *reactor* count seconds by a clock that nobody sets.

    Twisted's own is the wall clock: set back by an hour, no timer of a running
    process fires for an hour; set forward, all of them do.  To be called before
    anything is scheduled.
    """
    assert not reactor.getDelayedCalls(), "timers by the other clock are set"
    reactor.seconds = time.monotonic


def many_files() -> None:
    """Let this process have as many connections as the system allows it; the
    usual limit of 1024 is less than `wire.listener.CONNECTIONS_MAX`."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def places(clerks: int, per_address: int) -> Places:
    """How many callers this process may have at a time: with so many *clerks*, or,
    with a warning, what its limit of open files leaves room for.

    Without that bound callers could use up all files, and a view service that
    cannot write its state must stop.
    """
    asked = Places(clerks, per_address)
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return asked
    possible = asked.within(max(files - FILES_RESERVED, files // 2))
    if possible.clerks < clerks:
        _log.warning(
            "files.limited",
            files=files,
            connections=possible.clerks,
            text=f"connections of {clerks} clerks are configured, but this process "
            f"may open only {files} files; it accepts {possible.clerks} clerks, "
            f"{possible.servers} servers and {possible.observers} observers at a "
            "time. Raise the limit (ulimit -n, LimitNOFILE=), or lower --connections",
        )
    return possible


@implementer(ILogObserver)
class RefusedAccepts:
    """Logs ``accept.failed`` when Twisted cannot accept a connection for lack of
    files or memory; once in *every_s*, for callers try again and again.

    Twisted reports it as information, one event for each caller.
    """

    def __init__(self, reactor: Any, every_s: float = 60.0) -> None:
        self._reactor = reactor
        self._every_s = every_s
        self._quiet_until = -1.0

    def __call__(self, event: LogEvent) -> None:
        """Look at one event of Twisted's publisher."""
        if not str(event.get("log_namespace")).startswith("twisted.internet.tcp"):
            return
        words = str(event.get("log_format"))
        if words.startswith("EMFILE encountered"):
            error = "EMFILE"
        elif words.startswith("Could not accept"):
            error = str(event.get("acceptError"))
        else:
            return
        now = self._reactor.seconds()
        if now < self._quiet_until:
            return
        self._quiet_until = now + self._every_s
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        _log.warning(
            "accept.failed",
            error=error,
            text=f"callers are turned away; {files} files may be open (ulimit -n)",
        )


def install_fast_epoll_loop(reactor: Any, spin_us: int = 0) -> None:  # noqa: C901 -- calls cost here
    """Spare *reactor* the log context that Twisted makes around every event, for
    nothing here logs by it, and sleep between events that come fast; and bound what
    it takes in at a time.  Only the epoll reactor knows how; any other is left as it
    is."""
    kind: object = type(reactor)
    if kind is not EPollReactor:
        return
    poll, selectables = spinning(reactor._poller.poll, spin_us), reactor._selectables
    act, clock = reactor._doReadOrWrite, time.monotonic
    due: list[Callable[[], None]] = []
    turn = _Turn(selectables)

    def iterate(timeout_s: float | None) -> None:
        if due:
            # Timers have asked for it, when it was counted how long to wait.
            _call(due)
            timeout_s = 0
        timeout_s = -1 if timeout_s is None else timeout_s
        events = poll(timeout_s, len(selectables))
        if turn.late:
            events = turn.in_order(events)
        stop_s = clock() + TURN_S
        waiting = iter(events)
        for fd, event in waiting:
            if clock() > stop_s:
                owed = turn.cut(events, [(fd, event), *waiting])
                if owed is None:
                    break
                fd, event = owed  # noqa: PLW2901 -- the last one of this turn
            # One event may have closed the connection of a later one.
            if (selectable := selectables.get(fd)) is None:
                continue
            if event != EPOLLIN:
                act(selectable, fd, event)
                continue
            try:
                why = selectable.doRead()
            except BaseException as error:  # noqa: BLE001 -- as Twisted does
                why = error
                log.err()
            if why:
                reactor._disconnectSelectable(selectable, why, True)
        if due:
            _call(due)

    reactor.doIteration = iterate
    reactor.at_turn_end = due.append


#: A file, and what epoll says of it.
_Event = tuple[int, int]


class _Turn:
    """Which events of a turn are taken in, and in which order.

    Where there was no time for all in the last turn, those come first that others
    depend on (servers, ports, callers without a Hello), then those who are
    patient, at least one of them; and of equals the one that has waited longest,
    since epoll reports the same ones first each time.
    """

    def __init__(self, selectables: Mapping[int, Any]) -> None:
        self._selectables = selectables
        #: What the last turn had no time for: file -> its place.
        self.late: dict[int, int] = {}

    def in_order(self, events: list[_Event]) -> list[_Event]:
        """*events*, in the order in which they are to be taken in."""
        late, self.late = self.late, {}
        last = len(late)
        return sorted(
            events,
            key=lambda each: (self._is_patient(each), late.get(each[0], last)),
        )

    def cut(self, events: list[_Event], rest: list[_Event]) -> _Event | None:
        """There is no time for the *rest* of *events* -> one that must be taken in
        all the same, the last one of this turn, or None."""
        owed = None
        if not any(map(self._is_patient, events[: -len(rest)])):
            owed = next(filter(self._is_patient, rest), None)
            if owed is not None:
                rest.remove(owed)
        self.late = {fd: place for place, (fd, _) in enumerate(rest)}
        return owed

    def _is_patient(self, event: _Event) -> bool:
        link = getattr(self._selectables.get(event[0]), "protocol", None)
        return getattr(link, "is_patient", False)


def _call(due: list[Callable[[], None]]) -> None:
    calls = due.copy()
    due.clear()
    for call in calls:
        call()


def turn_end(reactor: Any) -> Callable[[Callable[[], None]], object]:
    """How to have something done once when this turn of *reactor* has told all
    that has happened."""
    lean_way: Callable[[Callable[[], None]], object] | None
    lean_way = getattr(reactor, "at_turn_end", None)
    return lean_way or functools.partial(reactor.callLater, 0)


def failing(reactor: Any, options: Options) -> Callable[[str], None]:
    """`fail` for the service that is made of *options*, a plugin's; to be called
    in ``makeService``, while standard error is still there.  Exits if the file
    that twistd is to write its process id to cannot be written."""
    twistd = getattr(options, "parent", None) or {}
    if name := twistd.get("pidfile"):
        path = Path(name)
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            text = "is in no directory that can be written to; --pidfile= writes none"
            sys.exit(f"twistd: --pidfile: {name} {text}")
    return functools.partial(fail, reactor, starter=Starter(reactor, options))


def fail(reactor: Any, text: str, starter: Starter | None = None) -> None:
    """Say why this process cannot go on, and end it in order, with exit code 1;
    *starter* is informed if the start has not ended."""
    if _failures:
        return
    _failures.append(text)
    _log.critical("daemon.failed", text=text)
    if starter is not None and not reactor.running:
        starter.failed(text)
    atexit.register(_exit)
    reactor.callWhenRunning(reactor.stop)


class Starter:
    """What reports a failed start apart from the log: standard error, and
    without ``-n`` the parent process, which waits for a status."""

    def __init__(self, reactor: Any, options: Options) -> None:
        self._twistd: dict[str, Any] = getattr(options, "parent", None) or {}
        self._name = getattr(options, "daemon", "")
        in_front = bool(self._twistd.get("nodaemon"))
        is_shown = self._twistd.get("logfile") in {None, "", "-"}
        self._stderr: int | None = None
        if self._twistd and not (in_front and is_shown):
            # twistd points its own at /dev/null when it leaves the terminal.
            with contextlib.suppress(OSError):  # closed before this process began
                self._stderr = os.dup(2)
                reactor.addSystemEventTrigger("after", "startup", self._close)

    def failed(self, text: str) -> None:
        """Report a start that has failed."""
        if self._stderr is not None:
            line = f"twistd {self._name}: {text}\n"
            with contextlib.suppress(OSError):
                os.write(self._stderr, line.encode("utf-8", "backslashreplace"))
        # Taken from twistd, which would say that all is well.
        pipe = self._twistd.get("statusPipe")
        if pipe is not None:
            self._twistd["statusPipe"] = None
            status = b"1 " + text.encode("ascii", "backslashreplace")
            with contextlib.suppress(OSError):  # the parent process is gone
                os.write(pipe, status[:_STATUS_BYTES])
            os.close(pipe)

    def _close(self) -> None:
        if self._stderr is not None:
            os.close(self._stderr)
            self._stderr = None


def on_next_stop(reactor: Any, call: Callable[[], None]) -> None:
    """Have *reactor* call *call* on each SIGTERM and SIGINT from now on.

    For a process that is stopping already, and takes its time: Twisted's handlers
    would try to stop the reactor once more, which fails.  Twisted ends a process
    by the signal that stopped it, and resets its handler for that.  A signal that is
    ignored (``nohup``) stays so.
    """

    def handle(_: int, __: object) -> None:
        reactor.callFromThread(call)

    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handle)


def _exit() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(EXIT_CODE)
