"""
The native load generator, from Python: compiled when its source is newer, and run
against a system.  What it does and takes is said in ``native/loop.c``.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

from bench.systems import WAIT_S, Missing, System, ended

HERE: Final = Path(__file__).parent

#: Pairs that even a slow system takes in a second when it is filled.
FILLED_PER_S_MIN: Final = 20_000


def loadgen(system: System, *options: str) -> dict[str, Any]:
    """Put *system* under load -> what was measured.

    Raises `Missing` if there is no C compiler, and RuntimeError if any request
    failed.
    """
    proto = system.proto or system.name
    where = ["--proto", proto, "--host", "127.0.0.1", "--port", str(system.port)]
    done = ended([compiled(), *where, *options], _longest_s(options))
    if done.returncode:
        said = f"{done.stderr.strip()} {done.stdout.strip()}"
        raise RuntimeError(f"{system.name}: {said}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def fill(system: System, keys: int, value_bytes: int) -> None:
    """Put every key once, so that each can be read."""
    how = ("--connections", "4", *many(system, 32))
    what = ("--keys", str(keys), "--value-bytes", str(value_bytes), "--fill", "1")
    loadgen(system, *how, *what)


def many(system: System, outstanding: int) -> tuple[str, ...]:
    """Options for so many commands outstanding on each connection: in one batch
    where the system has such a thing."""
    word = "--batch" if system.batches else "--outstanding"
    return (word, str(outstanding))


def _longest_s(options: tuple[str, ...]) -> float:
    asked = dict(zip(options[::2], options[1::2], strict=True))
    # Without progress, it ends by itself.
    lasts = float(asked.get("--seconds", 5)) + float(asked.get("--warmup", 1))
    filling_s = int(asked["--keys"]) / FILLED_PER_S_MIN if "--fill" in asked else 0
    return lasts + filling_s + 4 * WAIT_S


def compiled(directory: Path = HERE) -> Path:
    """The program in *directory*, compiled if its source there, in ``native``, is
    newer.  Raises `Missing`."""
    program = directory / "loadgen"
    sources = sorted(directory.glob("native/*.[ch]"))
    if not sources:
        raise Missing(f"there is no source of a load generator in {directory}")
    newest = max(path.stat().st_mtime for path in sources)
    if program.exists() and program.stat().st_mtime >= newest:
        return program
    if (compiler := shutil.which("cc")) is None:
        raise Missing("there is no C compiler (cc); try: apt-get install gcc libc6-dev")
    new = program.with_suffix(".new")
    files = [path for path in sources if path.suffix == ".c"]
    arguments: list[str | Path] = [compiler]
    arguments += ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-o", new, *files]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Missing(f"{compiler} cannot compile the load generator:\n{done.stderr}")
    new.replace(program)
    return program
