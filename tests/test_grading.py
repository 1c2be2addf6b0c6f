"""Points, hints and the sheet of the laboratory."""

from __future__ import annotations

import inspect
import subprocess
import sys
from types import ModuleType

import pytest

from tests.lab import __main__ as lab
from tests.lab.grading import DAEMONS, PARTS, grade, graded, rule, sheet
from tests.processes import ROOT


@rule(3, "view service", hint="count again")
def holds() -> None:
    pass


@rule(2, "clients", hint="look at the retries")
def fails() -> None:
    assert len("ab") == 3


def test_a_rule_that_holds_earns_its_points() -> None:
    mark = grade(holds)
    assert (mark.points, mark.failure) == (3, "")


def test_a_rule_that_fails_earns_none_and_gives_the_hint() -> None:
    mark = grade(fails)
    assert mark.points == 0
    assert mark.failure.startswith("AssertionError")
    assert "hint: look at the retries" in sheet([mark])


@rule(1, "clients", hint="")
def fails_without_a_word() -> None:
    assert len("ab") == (2 + 1)


@rule(1, "clients", hint="")
def fails_inside() -> None:
    raise IndexError("list index out of range")


@rule(1, "clients", hint="")
def fails_with_a_bare_exception() -> None:
    raise KeyError


def test_a_failure_without_a_text_shows_the_statement() -> None:
    """As a plain ``assert``, which is rewritten only under pytest."""
    bare = ModuleType("bare")
    source = inspect.getsource(sys.modules[__name__])
    exec(compile(source, __file__, "exec"), vars(bare))  # not rewritten
    found = grade(bare.fails_without_a_word).failure
    assert found.startswith('AssertionError: assert len("ab") == (2 + 1) (test_gr')
    assert grade(fails_inside).failure == "IndexError: list index out of range"
    found = grade(fails_with_a_bare_exception).failure
    assert found.startswith("KeyError: raise KeyError (test_grading.py, line ")


def test_every_failing_scenario_has_a_message() -> None:
    """With the ack gate gone, as a student may have left it."""
    story = (
        "import sys\n"
        "from viewservice.views import Views\n"
        "Views._may_move = lambda self, proposed: True\n"
        "from tests.lab.__main__ import main\n"
        "sys.exit(main())\n"
    )
    done = subprocess.run(
        (sys.executable, "-c", story),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    failures = [line for line in done.stdout.splitlines() if "AssertionError" in line]
    assert failures
    assert not [line for line in failures if line.strip() == "AssertionError:"]
    assert "assert " in done.stdout
    assert done.stderr == ""


def test_plain_pytest_shows_the_hint_too() -> None:
    with pytest.raises(AssertionError) as failed:
        fails()
    assert failed.value.__notes__ == ["hint: look at the retries"]


def test_the_sheet_has_points_by_part_and_in_total() -> None:
    text = sheet([grade(holds), grade(fails)])
    assert "view service: 3 of 3" in text
    assert "clients: 0 of 2" in text
    assert text.splitlines()[-1].startswith("total: 3 of 5, 2 rules")


@pytest.mark.parametrize(("points", "part"), [(0, "clients"), (1, "poetry")])
def test_a_rule_that_cannot_be_is_refused(points: int, part: str) -> None:
    with pytest.raises(ValueError, match=r"poetry|0 points"):
        rule(points, part, hint="")


def test_only_tests_with_points_are_graded() -> None:
    module = ModuleType("some")
    module.test_a, module.test_b, module.helper = holds, test_only_tests_with_points_are_graded, fails  # type: ignore[attr-defined]  # fmt: skip  # noqa: E501
    assert graded([module]) == [holds]


def test_every_part_has_rules_and_no_rule_needs_processes() -> None:
    tests = graded(lab.MODULES)
    assert {test.rule.part for test in tests} == {*PARTS}  # type: ignore[attr-defined]
    assert DAEMONS not in PARTS
    names = [test.__name__ for test in tests]
    assert len(names) == len(set(names))


def test_less_than_full_marks_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = ModuleType("some")
    module.test_holds, module.test_fails = holds, fails  # type: ignore[attr-defined]
    monkeypatch.setattr(lab, "MODULES", (module,))
    assert lab.main() == 1
    del module.test_fails
    assert lab.main() == 0
    assert "total: 3 of 5" in capsys.readouterr().out
