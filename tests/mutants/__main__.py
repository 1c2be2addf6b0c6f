"""
``python -m tests.mutants [ID ...]``: let the tests loose on the mutants.

First the bench itself is tried: code with nothing wrong must pass every layer,
and the canary none.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from tests.mutants.bank import CANARY, CLEAN, MUTANTS, chosen
from tests.mutants.layers import (
    KILLED,
    LAYERS,
    MISSING,
    STATES,
    SURVIVED,
    WORLDS,
    Effort,
    files_for,
    run,
)
from tests.mutants.mutant import Mutant
from tests.mutants.table import Fate, line, page, put_into, summary
from tests.patching import ROOT
from wire.output import piped

PAGE = ROOT / "docs" / "testing.md"


def main() -> int:
    """Say what was noticed -> the exit code."""
    options = parsed()
    layers = options.layers.split(",") if options.layers else list(LAYERS)
    effort = Effort(options.worlds, options.states)
    try:
        mutants = chosen(options.only)
    except KeyError as error:
        sys.exit(f"there is no mutant {error}")
    if unknown := set(layers) - set(LAYERS):
        sys.exit(f"there is no layer {', '.join(unknown)}; there are {LAYERS}")
    began = time.monotonic()
    problems = try_bench(layers, mutants, effort)
    if problems:
        say(f"the bench is broken: {'; '.join(problems)}")
        return 1

    def judge(mutant: Mutant) -> Fate:
        return Fate(mutant, tuple(run(layer, mutant, effort) for layer in layers))

    fates = []
    with ThreadPoolExecutor(options.jobs) as pool:
        for done in as_completed([pool.submit(judge, each) for each in mutants]):
            fates.append(done.result())
            say(line(fates[-1]))
    fates.sort(key=lambda fate: mutants.index(fate.mutant))
    for text in summary(fates):
        say(text)
    say(f"{time.monotonic() - began:.0f} s")
    if options.write:
        write(fates)
    bad = [fate.mutant.id for fate in fates if fate.is_broken or not fate.killers]
    if bad:
        say(f"not noticed, or no mutant: {' '.join(bad)}")
    return 1 if bad else 0


def parsed() -> argparse.Namespace:
    """What was typed."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("only", nargs="*", help="F3, R, own, ...; all if none")
    parser.add_argument("--layers", help=f"some of {','.join(LAYERS)}")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--worlds", type=int, default=WORLDS, help="seeds of the sim")
    parser.add_argument("--states", type=int, default=STATES, help="of the search")
    parser.add_argument("--write", action="store_true", help="renew the table in docs/")
    return parser.parse_args()


def try_bench(
    layers: Sequence[str], mutants: Sequence[Mutant], effort: Effort
) -> list[str]:
    """Is every layer content with what is right, and with nothing else?"""
    problems = []
    for layer in layers:
        files = files_for([CANARY, *mutants]) if layer == "tables" else ()
        clean = run(layer, CLEAN, effort, files)
        canary = run(layer, CANARY, effort)
        for mutant, verdict in ((CLEAN, clean), (CANARY, canary)):
            say(line(Fate(mutant, (verdict,))).replace("SURVIVED ", ""))
        if clean.outcome == MISSING:
            continue
        if clean.outcome != SURVIVED:
            problems.append(f"{layer}: the code as it is: {clean.by}")
        if canary.outcome != KILLED:
            problems.append(f"{layer}: the canary is {canary.outcome} {canary.by}")
    return problems


def write(fates: Sequence[Fate]) -> None:
    """Renew the table in the docs."""
    if len(fates) < len(MUTANTS) or any(len(f.verdicts) < len(LAYERS) for f in fates):
        sys.exit("--write wants all mutants in all layers")
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(put_into(text, page(fates)), encoding="utf-8")
    say(f"written: {PAGE.relative_to(ROOT)}")


def say(text: str) -> None:
    """A line, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(piped(main))
