"""The rare places: each is in the source, and what counts them changes nothing."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.patching import Misfit, path_of
from tests.sim import probes
from tests.sim.places import PLACES
from tests.sim.places.place import Place

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
def test_every_place_is_in_the_source_once(place: Place) -> None:
    source = path_of(place.module).read_text()
    probed = probes.probed(source, [place])
    assert len(probed.split("\n")) == len(source.split("\n")) + 1
    ast.parse(probed)


def test_no_two_places_have_one_name() -> None:
    names = Counter(place.name for place in PLACES)
    assert [name for name, count in names.items() if count > 1] == []
    assert len(names) > 100


SOURCE = """\
from __future__ import annotations
def half(n):
    if n % 2:
        return None
    if n > 9:
        return None
    return n // 2
"""


@pytest.mark.parametrize(
    ("lines", "count"),
    [(("return None",), 2), (("return 3",), 0), (("if n > 9:", "return n // 2"), 0)],
)
def test_a_text_that_is_not_there_once_is_a_misfit(
    lines: tuple[str, ...], count: int
) -> None:
    with pytest.raises(Misfit, match=f"this {count} times"):
        probes.probed(SOURCE, [Place("x", "half", lines)])


def test_only_the_case_that_is_meant_is_counted() -> None:
    places = [
        Place("odd", "half", ("if n % 2:", "return None")),
        Place("zero", "half", ("return n...",), "n == 0"),
        Place("any", "half", ("if n > 9:",)),
    ]
    module: dict[str, Any] = {}
    exec(probes.probed(SOURCE, places), module)
    seen: list[str] = []
    module["_reached"] = seen.append
    assert [module["half"](n) for n in (3, 0, 8)] == [None, 0, 4]
    assert seen == ["odd", "any", "zero", "any"]


def test_what_nobody_came_to_and_what_nobody_should_are_told_apart() -> None:
    seen = {place.name: 1 for place in PLACES if not place.is_wrong}
    assert [] == probes.unreached(seen) == probes.wrong(seen)
    missed = "a founder founds again"
    assert [missed] == probes.unreached({**seen, missed: 0})
    assert probes.wrong({**seen, "a backup says that it differs": 1}) == [
        "a backup says that it differs"
    ]


def test_a_module_that_is_imported_already_cannot_be_probed() -> None:
    place = Place("early", "tests.sim.probes", ("_counts[name] += 1",))
    with pytest.raises(Misfit, match="imported already"):
        probes.install([place])


def test_probes_change_nothing_but_that_they_are_counted() -> None:
    plain, probed = (said("--seed", "3", *more) for more in ((), ("--probes",)))
    assert plain[0].startswith("trace ")
    assert plain[0] == probed[0]
    assert not any("rare places" in line for line in plain)
    (line,) = (line for line in probed if line.startswith("rare places: "))
    assert "; not come to: " in line


def test_places_are_counted_in_all_processes_together() -> None:
    counts = []
    for jobs in ("1", "2"):
        text = said("--seeds", "1..4", "--probes", "--json", "--jobs", jobs)
        counts.append(json.loads("\n".join(text))["places"])
    assert counts[0] == counts[1]
    assert counts[0]["a backup becomes eligible"] > 3
    assert len(counts[0]) > 50


def said(*options: str) -> list[str]:
    found = subprocess.run(
        [sys.executable, "-m", "tests.sim", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return found.stdout.splitlines()
