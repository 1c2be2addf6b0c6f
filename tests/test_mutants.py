"""The bank of mutants fits the code as it is, and its bench can tell."""

from __future__ import annotations

import ast
import re

import pytest

from tests.mutants import table
from tests.mutants.bank import (
    ABSENT,
    CANARY,
    CLEAN,
    MUTANTS,
    chosen,
    pitfall,
)
from tests.mutants.layers import (
    BESIDE,
    BROKEN,
    KILLED,
    SURVIVED,
    TESTS,
    Effort,
    Verdict,
    files_for,
    run,
)
from tests.mutants.mutant import Mutant, put
from tests.patching import ROOT, patched, path_of

PITFALLS = (ROOT / "docs" / "pitfalls.md").read_text()
DESIGN = (ROOT / "docs" / "design.md").read_text()

#: Enough to see that something is looked at.
LITTLE = Effort(worlds=3, states=300)


@pytest.mark.parametrize("mutant", [*MUTANTS, CANARY], ids=lambda mutant: mutant.id)
def test_every_mutant_is_a_program_that_differs_from_the_code(mutant: Mutant) -> None:
    for module in mutant.modules:
        source = path_of(module).read_text()
        patches = [patch for patch in mutant.patches if patch.module == module]
        changed = patched(source, patches)
        compile(changed, module, "exec")
        assert ast.dump(ast.parse(source)) != ast.dump(ast.parse(changed))


def test_no_two_mutants_are_the_same() -> None:
    assert len(MUTANTS) >= 80
    assert len({mutant.id for mutant in MUTANTS}) == len(MUTANTS)
    assert len({mutant.bug for mutant in MUTANTS}) == len(MUTANTS)
    assert len({mutant.patches for mutant in MUTANTS}) == len(MUTANTS)


def test_every_pitfall_has_a_mutant_or_a_reason_why_not() -> None:
    listed = set(re.findall(r"^\| ([A-Z]\d+) \|", PITFALLS, re.MULTILINE))
    written = {pitfall(mutant) for mutant in MUTANTS} - {None}
    assert not written & ABSENT.keys()
    assert listed == written | ABSENT.keys()
    assert not [name for name in ABSENT if name[0] in "FRL"]


@pytest.mark.parametrize("rule", sorted({mutant.rule for mutant in MUTANTS}))
def test_every_mutant_breaks_a_rule_that_there_is(rule: str) -> None:
    if rule == "bounds":
        assert "*Bounds.*" in DESIGN
    elif rule.startswith("S"):
        assert f"**{rule}, " in DESIGN
    else:
        section, _, number = rule.partition(".")
        assert f"\n## {section.split()[0]}. " in DESIGN
        assert not number or re.search(rf"^{number}\. \*\*", DESIGN, re.MULTILINE)


def test_every_mutant_has_tests_that_look_at_it() -> None:
    assert {m for mutant in MUTANTS for m in mutant.modules} <= TESTS.keys()
    files = files_for(MUTANTS)
    assert not [file for file in files if not (ROOT / file).exists()]


def test_mutants_are_chosen_by_id_and_by_letter() -> None:
    assert [mutant.id for mutant in chosen(["R3", "F8"])] == ["R3", "F8"]
    assert {pitfall(mutant) for mutant in chosen(["R"])} == {"R1", "R2", "R3", "R4"}
    assert {pitfall(mutant) for mutant in chosen(["own"])} == {None}
    assert chosen([]) == list(MUTANTS)
    with pytest.raises(KeyError):
        chosen(["F99"])


# -- the bench ----------------------------------------------------------------


def test_the_canary_is_noticed_by_the_tables() -> None:
    verdict = run("tables", CANARY)
    assert verdict.outcome == KILLED
    assert verdict.by.startswith("test_replica.py::test_nothing_is_answered_before")


def test_the_canary_is_noticed_by_the_sim() -> None:
    verdict = run("sim", CANARY, LITTLE)
    assert verdict.outcome == KILLED
    assert re.match(r"seed \d: ", verdict.by)


def test_the_code_as_it_is_passes() -> None:
    verdict = run("tables", CLEAN, files=["tests/test_log.py"])
    assert verdict.outcome == SURVIVED
    assert int(verdict.effort.split()[0]) > 5
    assert run("sim", CLEAN, LITTLE)[1:4] == (SURVIVED, "", "3 worlds")


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("no such text", "", "has this 0 times"),
        ("import Final", "import Finale", "cannot be imported"),
    ],
)
def test_what_is_no_mutant_is_not_taken_for_noticed(
    old: str, new: str, why: str
) -> None:
    verdict = run("tables", Mutant("x", "", "", (put("pbserver.log", old, new),)))
    assert verdict.outcome == BROKEN
    assert why in verdict.by


def test_a_layer_that_never_runs_the_code_does_not_pass_it() -> None:
    patch = put("understudy.history", 'DONE: Final = "done"', 'DONE = "over"')
    assert run("sim", Mutant("x", "", "", (patch,)), LITTLE).outcome == BESIDE


# -- what is written of it -----------------------------------------------------


def fate(*verdicts: Verdict) -> table.Fate:
    return table.Fate(Mutant("F1", "S5", "a bug", ()), verdicts)


def test_the_table_tells_what_has_noticed_a_mutant() -> None:
    killed = fate(
        Verdict("tables", KILLED, "test_x.py::test_one_thing"),
        Verdict("sim", KILLED, "seed 7: one voice: two of them"),
    )
    survived = fate(Verdict("tables", SURVIVED, "", "9 tests"), Verdict("sim", BESIDE))
    text = table.page([killed, survived])
    assert "| F1 | S5 | a bug | `test_x`: one thing | - | one voice |" in text
    assert "| F1 | S5 | a bug | survived | - | - |" in text
    assert "noticed by one layer or more: 1 of 2; by two: 1" in text
    assert all(f"- {name}: " in text for name in ABSENT)


def test_the_table_replaces_the_one_before_it() -> None:
    part = f"{table.BEGIN}\nnew\n{table.END}"
    old = f"above\n{table.BEGIN}\nold\n{table.END}\nbelow\n"
    assert table.put_into(old, part) == f"above\n{part}\nbelow\n"
    with pytest.raises(ValueError, match="has no"):
        table.put_into("no marks", part)
