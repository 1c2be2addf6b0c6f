"""
Daemons as child processes: started, watched through their logs, killed, paused.

Each writes its log, one JSON object a line, to a file of its own; so nobody has
to read along for it to go on, and what it said outlives it.  No child outlives
this process, however that ends: the kernel kills it when its parent is gone.

Nothing here waits; whoever needs something looks again a little later.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

import wire

#: Runs ``twistd`` with this very interpreter, wherever its script may be.
TWISTD: Final = (
    sys.executable,
    "-c",
    "from twisted.scripts.twistd import run; run()",
    "-n",
    "--pidfile=",
)

_PR_SET_PDEATHSIG: Final = 1
#: Only Linux has it; elsewhere children are ended by `atexit` alone.
_prctl: Final = getattr(ctypes.CDLL(None), "prctl", None)


def die_with(parent: int) -> None:
    """Runs in the child, before it becomes another program."""
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # It died before the kernel knew of our wish.


class Daemon:
    """One program under one name: started, ended and started again.

    *arguments* are what it is run with; *log* is the file for what it says.
    """

    def __init__(self, name: str, arguments: Sequence[str], log: Path) -> None:
        self.name = name
        self.arguments = tuple(arguments)
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None
        self.is_paused = False
        #: Where this life began in the log, and what was read of it since.
        self._at = 0
        self._events: list[dict[str, Any]] = []
        _DAEMONS.append(self)

    @property
    def pid(self) -> int:
        """The process, or the last one."""
        assert self.process is not None, f"{self.name} was never started"
        return self.process.pid

    def start(self, *more: str) -> None:
        """A new life, with *more* arguments for this one.  Raises RuntimeError if
        the last one has not ended."""
        if self.is_running():
            raise RuntimeError(f"{self.name} (process {self.pid}) is running already")
        self._at = self.log.stat().st_size if self.log.exists() else 0
        self._events = []
        self.is_paused = False
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 -- our own arguments
                (*self.arguments, *more),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.log.parent,
                env=_environment(),
                # Ctrl-C is for this process, which then ends its children.
                process_group=0,
                preexec_fn=partial(die_with, os.getpid()),  # noqa: PLW1509 -- no threads
            )

    def is_running(self) -> bool:
        """Whether its process is there, paused or not."""
        return self.process is not None and self.process.poll() is None

    def exit_code(self) -> int | None:
        """How it ended; negative: the signal; None: it has not."""
        return None if self.process is None else self.process.poll()

    # -- strikes -------------------------------------------------------------------

    def kill(self) -> None:
        """SIGKILL: it does not get to say anything.  It is gone on return."""
        self._signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def pause(self) -> None:
        """SIGSTOP: it is there, connected, and does nothing."""
        self._signal(signal.SIGSTOP)
        self.is_paused = True

    def wake(self) -> None:
        """SIGCONT: it goes on as if nothing had happened."""
        self._signal(signal.SIGCONT)
        self.is_paused = False

    def terminate(self) -> None:
        """SIGTERM: it takes its leave, if it is given the time."""
        if self.is_paused:
            self.wake()
        self._signal(signal.SIGTERM)

    def stop(self, seconds: float = 12.0) -> int:
        """SIGTERM, and SIGKILL if that takes too long -> its exit code.  A server may
        take 8 s to hand over what it holds; a second SIGTERM ends that wait."""
        if self.process is None:
            return 0
        self.terminate()
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return self.process.wait()

    def _signal(self, number: int) -> None:
        if self.is_running():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    # -- what it says ----------------------------------------------------------------

    def events(self) -> list[dict[str, Any]]:
        """What it has logged in this life, whole lines.  A line that is no JSON
        is ``{"event": "text", "text": ...}``."""
        if not self.log.exists():
            return []
        with self.log.open("rb") as log:
            log.seek(self._at)
            data = log.read()
        whole, _, _ = data.rpartition(b"\n")
        if whole:
            self._at += len(whole) + 1
            self._events += map(_event, whole.split(b"\n"))
        return self._events

    def event(self, name: str) -> dict[str, Any] | None:
        """The first event of that name in this life."""
        for event in self.events():
            if event["event"] == name:
                return event
        return None

    @property
    def endpoint(self) -> str | None:
        """Where it listens; None: it does not yet."""
        event = self.event("listening")
        return None if event is None else str(event["endpoint"])

    def complaint(self) -> str:
        """Why it ended, in its own words."""
        events = self.events()
        for event in reversed(events):
            if event["event"] in {"daemon.failed", "invariant.broken"}:
                return str(event.get("text") or event.get("error"))
        said = [event["text"] for event in events if event["event"] == "text"]
        code = self.exit_code()
        how = f"killed by signal {-code}" if code and code < 0 else f"exit code {code}"
        return f"{how}: {said[-1]}" if said else how

    def last_words(self, lines: int = 15) -> str:
        """The end of its log, for whoever has to find out what went wrong."""
        if not self.log.exists():
            return "(no log)"
        text = self.log.read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:]) or "(an empty log)"


def _event(line: bytes) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except ValueError:
        event = None
    if isinstance(event, dict) and "event" in event:
        return event
    return {"event": "text", "text": line.decode(errors="replace")}


def _environment() -> dict[str, str]:
    """Children find these packages, installed or not."""
    ours = str(Path(wire.__file__).parent.parent)
    paths = os.pathsep.join(filter(None, [ours, os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": paths, "PYTHONUNBUFFERED": "1"}


#: All that were ever made; the living are ended with this process.
_DAEMONS: Final[list[Daemon]] = []


@atexit.register
def _kill_all() -> None:
    for daemon in _DAEMONS:
        daemon.kill()


# -- the two kinds --------------------------------------------------------------------


def view_service(directory: Path, port: int = 0, options: Iterable[str] = ()) -> Daemon:
    """A view service on loopback; its state and log are in *directory*.

    Without *options* on its state it remembers it in ``viewservice.json``.
    """
    options = tuple(options)
    if not {"--state", "--volatile"}.intersection(options):
        options = ("--state", str(directory / "viewservice.json"), *options)
    listen = f"tcp:{port}:interface=127.0.0.1"
    arguments = (*TWISTD, "viewservice", "--listen", listen, *options)
    return Daemon("views", arguments, directory / "views.log")


def server(
    directory: Path,
    name: str,
    views: str,
    port: int = 0,
    options: Iterable[str] = (),
) -> Daemon:
    """A server called *name* on loopback, whose view service is at *views*."""
    listen = f"tcp:{port}:interface=127.0.0.1"
    where = ("--listen", listen, "--views", views)
    arguments = (*TWISTD, "pbserver", "--name", name, *where, *options)
    return Daemon(name, arguments, directory / f"{name}.log")


def free_port(random: Random) -> int:
    """A port that nobody listens on, and that no outgoing connection is given
    by the kernel meanwhile: it is below the range that those are taken from."""
    while True:
        port = random.randrange(12_000, 30_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
