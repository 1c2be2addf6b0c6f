"""
Systems under the same loads, in turns.

Each measurement is on fresh processes, one system alive at a time, and in each
round every load goes to all systems one after another: whatever else the machine
does falls on all alike.  Who goes first changes from round to round.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from bench.loadgen import fill, loadgen, many
from bench.peers import SYSTEMS, package
from bench.results import Report, Skip
from bench.rows import Load
from bench.systems import WAIT_S, Loaded, Missing, ended

Say = Callable[[str], None]
Names = Sequence[str]

_WARMUP_S: Final = 0.5
_FIGURES: Final = ("ops_per_s", "p50_us", "p99_us", "p999_us", "max_us")


def found(names: Names) -> tuple[dict[str, str], dict[str, str]]:
    """Which of these systems are here, and which packages to use them from Python
    -> their versions, and why the others are not."""
    versions, missing = {}, {}
    for name in names:
        system = SYSTEMS[name]
        try:
            versions[name] = system.version()
        except Missing as why:
            missing[name] = str(why)
            continue
        try:
            if system.spoken_with:
                versions[_from_python(system)] = package(system.spoken_with)
        except Missing as why:
            missing[f"{name} from Python"] = str(why)
    return versions, missing


def measure(
    report: Report, loads: Sequence[Load], rounds: int, seconds: float, say: Say
) -> bool:
    """Fill *report* from the systems that it has versions of -> whether all of them
    could be measured, be it in one round only."""
    plan = {load.name: list(able(load, report)) for load in loads}
    failed: set[tuple[str, str]] = set()
    for at in range(rounds):
        for load in loads:
            names = _of_round(plan[load.name], at)
            for name in names:
                try:
                    figures = one(SYSTEMS[name], load, seconds)
                except RuntimeError as error:
                    failed.add((load.name, name))
                    why = " ... ".join(dict.fromkeys(_ends(str(error))))
                    why = f"in round {at + 1} of {rounds}, {why}"
                    report.skipped.append(Skip(load.name, name, why))
                    say(f"{load.name:<24}{name:<11} failed: {error}")
                    continue
                report.add(load.name, name, load.shape(), figures)
                say(f"{at + 1}: {line(load.name, name, figures)}")
    return all(name in report.of(row) for row, name in failed)


def _ends(text: str) -> list[str]:
    """The first and the last line."""
    lines = text.strip().splitlines() or [""]
    return [lines[0], lines[-1]]


def able(load: Load, report: Report) -> Iterator[str]:
    """The systems that can be under this load, here."""
    for name, system in SYSTEMS.items():
        needs = {name}
        if system.spoken_with and not load.is_native:
            needs.add(_from_python(system))
        if needs <= report.versions.keys() and system.takes(load):
            yield name


def _from_python(system: type[Loaded]) -> str:
    return f"{system.spoken_with} (Python)"


def _of_round(names: Names, at: int) -> Names:
    """Those that are slow are measured in every other round."""
    turn = [name for name in names if at % 2 == 0 or not SYSTEMS[name].is_slow]
    return turn if at % 2 == 0 else turn[::-1]


def one(kind: type[Loaded], load: Load, seconds: float) -> dict[str, float]:
    """That load on a fresh system.  Raises RuntimeError if anything failed."""
    with kind() as system:
        if kind.is_native:
            fill(system, load.keys, load.value_bytes)
        before_s = system.cpu_s()
        run = _native if load.is_native else _program
        found = run(system, load, seconds)
        used_s = system.cpu_s() - before_s
    ops = max(found["ops_all"], 1)
    return {
        **{figure: found[figure] for figure in _FIGURES if figure in found},
        "server_cpu_us_per_op": used_s * 1e6 / ops,
        "client_cpu_us_per_op": found["client_cpu_s"] * 1e6 / ops,
    }


def _words(load: Load, seconds: float) -> list[str]:
    asked = {
        "reads": load.reads,
        "value-bytes": load.value_bytes,
        "keys": load.keys,
        "seconds": seconds,
        "warmup": min(_WARMUP_S, seconds),
    }
    return [text for word, n in asked.items() for text in (f"--{word}", str(n))]


def _native(system: Loaded, load: Load, seconds: float) -> dict[str, Any]:
    shape = ("--connections", str(load.connections), *many(system, load.outstanding))
    return loadgen(system, *shape, *_words(load, seconds))


def _program(system: Loaded, load: Load, seconds: float) -> dict[str, Any]:
    module = f"bench.programs.with_{system.name}"
    arguments = [sys.executable, "-m", module, *system.program()]
    arguments += ["--outstanding", str(load.outstanding), *_words(load, seconds)]
    arguments += ["--collected"] if load.is_collected else []
    done = ended(arguments, seconds + WAIT_S)
    if done.returncode:
        last = (done.stderr.strip() or "it said nothing").splitlines()[-1]
        raise RuntimeError(f"{module} ended with {done.returncode}: {last}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def line(row: str, system: str, figures: Mapping[str, float]) -> str:
    text = f"{row:<24}{system:<11}{figures['ops_per_s']:>9,.0f} op/s"
    if "p50_us" in figures:
        text += (
            f"  us: {figures['p50_us']:,.0f} median, {figures['p99_us']:,.0f} p99,"
            f" {figures['p999_us']:,.0f} p99.9"
        )
    return f"{text}, {figures['server_cpu_us_per_op']:,.1f} of cpu"
