"""Several clerk processes, and what they have written down so far."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from tests.processes import wait_for
from understudy.daemons import Daemon
from understudy.history import DONE, Append, Record
from understudy.load import now_ns


class Crew:
    """Clerks of one service; *generation* tells their names from earlier ones."""

    def __init__(
        self,
        directory: Path,
        views: str,
        seed: int,
        *,
        count: int = 4,
        generation: int = 0,
        think_ms: float = 4.0,
    ) -> None:
        self.records: list[Record] = []
        self._decode = msgspec.json.Decoder(Record).decode
        self._files: dict[str, Path] = {}
        self._read: dict[str, int] = {}
        self._daemons: list[Daemon] = []
        #: Name -> calls that were answered: when they were made and answered.
        self._answered: dict[str, list[tuple[int, int]]] = {}
        for at in range(count):
            name = f"c{generation}x{at}"
            self._files[name] = directory / f"{name}.records"
            self._read[name] = 0
            self._answered[name] = []
            arguments = (sys.executable, "-m", "tests.chaos.clerk", "--name", name)
            arguments += ("--views", views, "--file", str(self._files[name]))
            arguments += ("--seed", str(seed), "--think-ms", str(think_ms))
            daemon = Daemon(name, arguments, directory / f"{name}.log")
            self._daemons.append(daemon)
            daemon.start()

    def look(self) -> None:
        """Read what was written since the last look."""
        for name, path in self._files.items():
            if not path.exists():
                continue
            with path.open("rb") as file:
                file.seek(self._read[name])
                data = file.read()
            whole = data.rpartition(b"\n")[0]
            if not whole:
                continue
            self._read[name] += len(whole) + 1
            answered = self._answered[name]
            for line in whole.split(b"\n"):
                record = self._decode(line)
                self.records.append(record)
                if not isinstance(record, Append) or record.outcome == DONE:
                    answered.append((record.began_ns, record.ended_ns))

    def forget(self) -> None:
        """Only what is answered from here on is of interest to `recovery_ns`."""
        self.look()
        for answered in self._answered.values():
            answered.clear()

    def recovery_ns(self, struck_ns: int) -> int | None:
        """How long after *struck_ns* the last of all clerks got the first answer
        to a call made after it; None: somebody has not yet."""
        self.look()
        firsts = []
        for answered in self._answered.values():
            later = [ended for began, ended in answered if began >= struck_ns]
            if not later:
                return None
            firsts.append(min(later))
        return max(firsts) - struck_ns

    def wait_until_all_answered(self, seconds: float = 20.0) -> None:
        """Until every clerk has made a call, from now on, that was answered."""
        since = now_ns()
        wait_for(
            lambda: self.recovery_ns(since) is not None,
            "an answer for every clerk",
            seconds,
        )

    def stop(self, seconds: float = 15.0) -> None:
        """Make no more calls, and end when those that were made have."""
        for daemon in self._daemons:
            daemon.terminate()
        wait_for(
            lambda: all(daemon.exit_code() is not None for daemon in self._daemons),
            "all clerks to end: " + self.last_words(),
            seconds,
        )
        for daemon in self._daemons:
            assert daemon.exit_code() == 0, daemon.last_words()
        self.look()

    def kill(self) -> None:
        """End them at once."""
        for daemon in self._daemons:
            daemon.kill()

    def last_words(self) -> str:
        """What they had to say besides."""
        return "\n".join(
            f"{daemon.name}: {daemon.last_words(5)}" for daemon in self._daemons
        )
