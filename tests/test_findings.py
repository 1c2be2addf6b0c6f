"""docs/findings.md: no case is missing, and the tests that it names are there."""

from __future__ import annotations

import ast
import re

import pytest

from tests.documents import ROOT, read, table

PAGE = read("docs/findings.md")
ROWS = {row[0]: row for row in table(PAGE)}

#: All cases: reports put to this system, its use, attacks, and a third round.
CASES = [
    *(f"A{n}" for n in range(1, 16)),
    *(f"U{n}" for n in range(1, 11)),
    *(f"F{n}" for n in range(1, 14)),
    *(f"M{n}" for n in (1, 2, 3, 5, 6)),
    *("V17", "T10"),
]


def test_no_case_is_missing() -> None:
    assert set(CASES) <= set(ROWS)


@pytest.mark.parametrize("case", ROWS)
def test_the_tests_that_a_case_names_are_there(case: str) -> None:
    assert all(cell.strip() for cell in ROWS[case])
    for path, name in re.findall(r"`(tests/\w+\.py)::(\w+)`", ROWS[case][3]):
        tree = ast.parse((ROOT / path).read_text())
        names = {
            node.name
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert name in names, f"{path} has no {name}"
