"""Constants that a world makes small have their own values before and after."""

from __future__ import annotations

import importlib
from random import Random

import pytest

from tests.sim.constants import SMALL, drawn


def values() -> list[int]:
    return [getattr(importlib.import_module(module), name) for module, name in SMALL]


def test_each_is_drawn_small_and_given_back() -> None:
    own, seen = values(), []
    for seed in range(40):
        with drawn(Random(seed)):
            seen.append(values())
        assert values() == own
    for at, (least, before) in enumerate(
        zip(map(min, zip(*seen, strict=True)), own, strict=True)
    ):
        assert least < before, list(SMALL)[at]
        assert before in {each[at] for each in seen}


def test_they_are_given_back_after_a_violation() -> None:
    own = values()
    with pytest.raises(ZeroDivisionError), drawn(Random(1)):
        raise ZeroDivisionError
    assert values() == own


def test_a_source_of_randomness_always_draws_the_same() -> None:
    found = []
    for _ in range(2):
        with drawn(Random(7)):
            found.append(values())
    assert found[0] == found[1]
