"""
What came of the mutants, as lines for a terminal and as a page of docs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from tests.mutants.bank import ABSENT, pitfall
from tests.mutants.layers import (
    BESIDE,
    BROKEN,
    KILLED,
    LAYERS,
    MISSING,
    SURVIVED,
    Verdict,
)
from tests.mutants.mutant import Mutant

BEGIN: Final = "<!-- mutants:begin -->"
END: Final = "<!-- mutants:end -->"


class Fate(NamedTuple):
    """What became of one mutant."""

    mutant: Mutant
    verdicts: tuple[Verdict, ...]

    @property
    def killers(self) -> list[str]:
        """The layers that have noticed it."""
        return [each.layer for each in self.verdicts if each.outcome == KILLED]

    @property
    def is_broken(self) -> bool:
        """Is it no mutant at all?"""
        return any(each.outcome == BROKEN for each in self.verdicts)


def line(fate: Fate) -> str:
    """One line: who has noticed, what, and how soon."""
    state = "BROKEN " if fate.is_broken else "" if fate.killers else "SURVIVED "
    parts = [f"{each.layer}: {_said(each)}" for each in fate.verdicts]
    return f"{fate.mutant.id:<20} {state}{' | '.join(parts)}"


def _said(verdict: Verdict) -> str:
    if verdict.outcome in {MISSING, BESIDE}:
        return {MISSING: "missing", BESIDE: "does not run it"}[verdict.outcome]
    if verdict.outcome == SURVIVED:
        return f"survived {verdict.effort} ({verdict.seconds:.0f} s)"
    return f"{verdict.by} ({verdict.seconds:.1f} s)"


def summary(fates: Sequence[Fate]) -> list[str]:
    """How many were noticed, and by how many layers."""
    total = len(fates)
    once = sum(bool(fate.killers) for fate in fates)
    twice = sum(len(fate.killers) > 1 for fate in fates)
    lines = [f"noticed by one layer or more: {once} of {total}; by two: {twice}"]
    for layer in LAYERS:
        verdicts = [v for fate in fates for v in fate.verdicts if v.layer == layer]
        asked = [v for v in verdicts if v.outcome not in {MISSING, BESIDE}]
        if not asked:
            lines.append(f"{layer}: missing")
            continue
        killed = sum(verdict.outcome == KILLED for verdict in asked)
        lines.append(f"{layer}: {killed} of the {len(asked)} that it runs")
    found = [fate for fate in fates if (pitfall(fate.mutant) or "")[:1] in {"F", "R"}]
    if found:
        searched = sum("search" in fate.killers for fate in found)
        lines.append(f"by search among F and R: {searched} of {len(found)}")
    return lines


def page(fates: Iterable[Fate]) -> str:
    """The part of the docs between its two marks, marks included."""
    fates = list(fates)
    rows = ["| id | rule | the bug | tables | search | sim |", f"|{'---|' * 6}"]
    for fate in fates:
        by_layer = {verdict.layer: verdict for verdict in fate.verdicts}
        cells = [fate.mutant.id, fate.mutant.rule, fate.mutant.bug]
        cells += [_cell(by_layer, layer) for layer in LAYERS]
        rows.append(f"| {' | '.join(cells)} |")
    absent = [f"- {name}: {why}." for name, why in ABSENT.items()]
    told = [f"- {each}" for each in summary(fates)]
    blocks = (told, rows, ["Not to be written here:"], absent)
    return "\n\n".join((BEGIN, *map("\n".join, blocks), END))


def _cell(verdicts: Mapping[str, Verdict], layer: str) -> str:
    verdict = verdicts.get(layer)
    if verdict is None or verdict.outcome in {MISSING, BESIDE}:
        return "-"
    if verdict.outcome == SURVIVED:
        return "survived"
    if layer == "tables":
        file, _, test = verdict.by.partition("::")
        short = test.partition("::")[2] or test
        return f"`{file.removesuffix('.py')}`: {_plain(short)}"
    # The seed and the way are others with the next change; the rule stays.
    return _plain(verdict.by.split(": ")[1])


def _plain(text: str) -> str:
    return text.replace("|", "/").replace("_", " ").removeprefix("test ")


def put_into(document: str, part: str) -> str:
    """*document* with what stands between the marks replaced by *part*."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the document has no {BEGIN} with an {END} after it")
    return before + part + after
