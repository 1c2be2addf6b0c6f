"""
The file in which a view service remembers.

What is saved is on disk when `save` returns: written beside, fsynced, renamed
over the old one, and the directory fsynced, so that a crash at any moment
leaves the old or the new, whole.  What cannot be read back exactly is never
taken for nothing: a view service that began afresh over a damaged file could
make a second view of a number that exists (``docs/design.md``, section 4,
rule 12).  A second process on the same file is refused by a lock, on a file of
its own, since a lock on one that is renamed over locks nothing.  Symbolic links
are resolved first: both are beside the file itself, whatever name led there, and
the links stay.
"""

from __future__ import annotations

import fcntl
import os
import re
import zlib
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

import msgspec

from viewservice.memory import Memory

VERSION: Final = 2

_HEADER: Final = re.compile(rb"understudy view service (\d{1,9}) ([0-9a-f]{8})\n")

_WAY_OUT: Final = (
    "restore it from a copy; or give up all that the cluster holds and start with "
    "--new-cluster, which sets the file aside and begins anew"
)


class StateError(Exception):
    """The state cannot be used; one line says why, and what to do."""


class Storage(Protocol):
    """Where a view service remembers: a `StateFile`, or `Volatile`."""

    @property
    def path(self) -> Path | None:
        """The file, if it is one."""

    def open(self) -> None:
        """Have it for this process alone.  Raises StateError."""

    def load(self) -> Memory | None:
        """What was saved, if ever anything was.  Raises StateError."""

    def save(self, memory: Memory) -> bool:
        """Have *memory* safe -> whether that took writing.  Raises OSError."""

    def set_aside(self, now: datetime) -> Path | None:
        """Put away what was saved -> where, if there was anything."""

    def close(self) -> None:
        """Let others have it."""


class StateFile:
    """One state file, and the locks on it."""

    def __init__(self, path: str | Path) -> None:
        #: The file itself, symbolic links resolved.
        self.path = Path(os.path.realpath(path))
        self._lock: int | None = None
        #: The lock on the file that was there at the start, against processes that
        #: have it under another name: by a hard link, or a second mount.
        self._own: int | None = None
        #: What this process has saved; None: nothing yet.
        self._saved: Memory | None = None

    def open(self) -> None:
        """Lock it.  Raises StateError if another process has, or if it cannot
        be there at all, or cannot be replaced there."""
        if self.path.is_dir():
            raise StateError(f"{self.path} is a directory; --state wants a file")
        if self.path.exists() and not self.path.is_file():
            # Neither read nor replaced: it may be /dev/null, or a pipe.
            raise StateError(f"{self.path} is no regular file; --state wants one")
        if is_mounted(self.path):
            raise StateError(
                f"{self.path} is mounted as a single file, so it cannot be replaced; "
                "mount the directory, not the file"
            )
        self._lock = self._locked(
            f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        )
        if self.path.exists():
            self._own = self._locked(self.path, os.O_RDONLY | os.O_CLOEXEC)
        os.ftruncate(self._lock, 0)
        os.write(self._lock, f"{os.getpid()}\n".encode())

    def _locked(self, name: str | Path, flags: int) -> int:
        """The descriptor of that file, locked.  Raises StateError."""
        try:
            lock = os.open(name, flags, 0o644)
        except OSError as error:
            where = self.path.parent
            if isinstance(error, FileNotFoundError) and not where.is_dir():
                text = f"--state: there is no directory {where}; create it"
                raise StateError(text) from error
            raise StateError(f"cannot open {name}: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(lock, 32).decode(errors="replace").strip()
            holder = holder if holder.isdecimal() else "unknown"
            os.close(lock)
            self.close()
            raise StateError(
                f"{self.path} is in use by another view service (process {holder}); "
                "stop that one, or give this one another --state"
            ) from error
        return lock

    def load(self) -> Memory | None:
        """What was saved; None if there never was such a file.  Raises
        StateError if it is there and cannot be read back exactly."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateError(f"cannot read {self.path}: {error.strerror}") from error
        try:
            return decode(data)
        except ValueError as error:
            raise StateError(
                f"the state file {self.path} is damaged: {error}; {_WAY_OUT}"
            ) from error

    def save(self, memory: Memory) -> bool:
        """Have *memory* on disk -> whether that took writing.  Raises OSError.

        The first time it always writes, even what was just loaded: a file that
        cannot be replaced is noticed at the start, not with the first view.
        """
        if memory == self._saved:
            return False
        beside = self.path.with_name(self.path.name + ".new")
        with beside.open("wb") as file:
            file.write(encode(memory))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self.path)
        self._sync_directory()
        self._saved = memory
        return True

    def set_aside(self, now: datetime) -> Path | None:
        """Rename the file after the time, so that it is no more in the way ->
        its new path, or None if there was none.  Nothing is deleted."""
        if not self.path.exists():
            return None
        stem = f"{self.path.name}.{now:%Y-%m-%dT%H-%M-%SZ}"
        aside, count = self.path.with_name(stem), 1
        while aside.exists():
            count += 1
            aside = self.path.with_name(f"{stem}.{count}")
        try:
            self.path.rename(aside)
            self._sync_directory()
        except OSError as error:
            raise StateError(f"cannot rename {self.path}: {error.strerror}") from error
        return aside

    def close(self) -> None:
        """Let go of the locks.  Their file stays: to remove one that somebody else
        may just have opened would let two in."""
        for lock in (self._lock, self._own):
            if lock is not None:
                os.close(lock)
        self._lock = self._own = None

    def _sync_directory(self) -> None:
        directory = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def is_mounted(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> bool:
    """Whether a file system is mounted at *path*, as containers do with a single
    file.  False where that cannot be found out."""
    try:
        lines = mounts.read_bytes().splitlines()
    except OSError:
        return False
    # The fifth field; in it a space, a tab and the like are ``\\040``.
    points = {os.fsdecode(line.split()[4]) for line in lines if line.count(b" ") >= 4}
    escaped = re.sub(r"[\\ \t\n]", lambda c: f"\\{ord(c[0]):03o}", str(path))
    return escaped in points


class Volatile:
    """No file: what is known is gone with the process."""

    path: Path | None = None

    def open(self) -> None:
        """Nothing to lock."""

    def load(self) -> Memory | None:
        """Nothing."""

    def save(self, memory: Memory) -> bool:  # noqa: ARG002 -- as `StateFile` has it
        """Forget it."""
        return False

    def set_aside(self, now: datetime) -> Path | None:
        """Nothing to set aside."""

    def close(self) -> None:
        """Nothing to let go of."""


def encode(memory: Memory) -> bytes:
    """A line with version and checksum, and JSON for people in need."""
    body = msgspec.json.format(msgspec.json.encode(memory)) + b"\n"
    return b"understudy view service %d %08x\n" % (VERSION, zlib.crc32(body)) + body


def decode(data: bytes) -> Memory:
    """The memory in *data*.  Raises ValueError, with what is wrong."""
    header = _HEADER.match(data)
    if header is None:
        raise ValueError(
            "it is empty" if not data else "it does not begin like a state file"
        )
    version, body = int(header[1]), data[header.end() :]
    if version != VERSION:
        raise ValueError(f"its version is {version}, and {VERSION} is read here")
    if zlib.crc32(body) != int(header[2], 16):
        raise ValueError("its checksum is wrong")
    try:
        return msgspec.json.decode(body, type=Memory)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from error
