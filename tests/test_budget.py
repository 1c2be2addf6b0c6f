"""What one body may cost: refused alike everywhere, and enough for any clerk."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from client.calls import TOGETHER_MAX
from pbserver import bodies
from pbserver.budget import COMMAND_WORK, PAIR_WORK, SCAN_WORK, Budget
from pbserver.pairs import LEAF_KEY_BYTES_MAX, LEAF_PAIRS_MAX, WIDE_KEY_BYTES
from pbserver.single import Single
from pbserver.store import Store
from tests.stores import ask, decode, do, encode, everything, filled, loaded, outcomes
from tests.stores import pieces as taken
from wire.commands import (
    COMMANDS_MAX,
    KEY_BYTES_MAX,
    OVER_BUDGET,
    SCAN_LIMIT_MAX,
    VALUE_BYTES_MAX,
    WORK_MAX,
    Append,
    Cas,
    Command,
    Delete,
    Failed,
    Get,
    Incr,
    Put,
    Scan,
)

MIB = 1024 * 1024


def test_every_command_alone_is_within_the_budget() -> None:
    store = filled(SCAN_LIMIT_MAX)
    longest = bytes(KEY_BYTES_MAX)
    do(store, Put(longest, bytes(VALUE_BYTES_MAX - 1)))
    for command in (
        *(Scan(b"", None, SCAN_LIMIT_MAX), Get(longest), Append(longest, b"!")),
        *(Cas(longest, b"", b""), Delete(longest), Incr(longest), Put(longest, b"")),
    ):
        assert OVER_BUDGET not in do(store, command)
    assert len(ask(filled(SCAN_LIMIT_MAX), Scan(b"", None, SCAN_LIMIT_MAX))[0]) == (
        SCAN_LIMIT_MAX
    )


@pytest.mark.parametrize("make", [Get, Delete, Incr, lambda key: Put(key, b"v")])
def test_as_many_plain_commands_as_a_body_may_have_are_within_it(
    make: Callable[[bytes], Command],
) -> None:
    commands = [make(b"%04d" % n) for n in range(COMMANDS_MAX)]
    assert OVER_BUDGET not in do(Store(), *commands)


@pytest.mark.parametrize("size", [20, 100_000])
def test_what_a_clerk_sends_together_is_within_it(size: int) -> None:
    store = Store()
    keys = [b"%04d" % n for n in range(TOGETHER_MAX)]
    for first in range(0, TOGETHER_MAX, 64):
        do(store, *(Put(key, bytes(size)) for key in keys[first : first + 64]))
    assert OVER_BUDGET not in do(store, *(Append(key, b"!") for key in keys))
    assert OVER_BUDGET not in do(store, *(Delete(key) for key in keys))


#: What uses the budget up: what is there before, and the commands.
HEAVY: dict[str, tuple[list[Command], list[Command]]] = {
    "scans": ([], [Scan(b"", None, SCAN_LIMIT_MAX)] * (COMMANDS_MAX - 1)),
    "empty scans": ([], [Scan(b"z", b"z", 1)] * (COMMANDS_MAX - 1)),
    "long bounds of scans": ([], [Scan(b"z" * 65_000, b"", 1)] * 200),
    "long keys": ([], [Get(b"p" * 65_000)] * 200),
    "long keys compared": ([], [Cas(b"p" * 65_000, b"x", b"y")] * 200),
    "appends to long values": (
        [Put(b"%02d" % n, bytes(VALUE_BYTES_MAX - 100)) for n in range(12)],
        [Append(b"%02d" % n, b"!") for n in range(12)],
    ),
    "long values dropped": (
        [Put(b"%04d" % n, bytes(140_000)) for n in range(2100)],
        [Delete(b"%04d" % n) for n in range(2100)],
    ),
    "long values replaced": (
        [Put(b"%04d" % n, bytes(140_000)) for n in range(2100)],
        [Put(b"%04d" % n, b"") for n in range(2100)],
    ),
}


@pytest.mark.parametrize(("before", "commands"), HEAVY.values(), ids=HEAVY)
def test_what_comes_when_the_budget_is_used_up_changes_nothing(
    before: list[Command], commands: list[Command]
) -> None:
    store = filled(SCAN_LIMIT_MAX)
    for command in before:
        do(store, command)
    done = do(store, *commands, Put(b"last", b"v"))
    first = done.index(OVER_BUDGET)
    assert 0 < first < len(commands)
    # Order stays: nothing behind the first that is refused is executed.
    assert done[first:] == [OVER_BUDGET] * (len(done) - first)
    assert ask(store, Get(b"last")) == [None]
    # What was refused is executed in a body of its own.
    assert OVER_BUDGET not in do(store, commands[first])


def test_many_appends_to_one_long_value_cost_one_copy() -> None:
    store = Store()
    do(store, Put(b"k", bytes(VALUE_BYTES_MAX - 5000)))
    assert OVER_BUDGET not in do(store, *[Append(b"k", b"!")] * 3000)


def test_a_scan_is_cut_short_where_the_budget_ends_and_goes_on() -> None:
    store = filled(SCAN_LIMIT_MAX)
    scan = Scan(b"", None, SCAN_LIMIT_MAX)
    whole, short, *_ = ask(store, scan, scan, scan)
    assert len(whole) == SCAN_LIMIT_MAX
    assert 0 < len(short) < SCAN_LIMIT_MAX
    budget = WORK_MAX - 3 * COMMAND_WORK - 2 * SCAN_WORK - SCAN_LIMIT_MAX * PAIR_WORK
    assert len(short) == budget // PAIR_WORK
    assert short == whole[: len(short)]


def test_the_budget_is_the_same_for_a_copy_of_the_pairs() -> None:
    """Leaves differ, and whether values can grow in place; answers may not."""
    store = filled(SCAN_LIMIT_MAX)
    for n in range(6):
        do(store, Append(b"%05d" % n, bytes(4 * MIB)), Append(b"%05d" % n, b"!"))
    copy = loaded(taken(store, 256 * 1024))
    cut = copy.cut()
    for commands in (
        [Append(b"%05d" % (n % 6), b"!") for n in range(40)],
        [Scan(b"00100", None, 900)] * 40,
        [Delete(b"%05d" % n) for n in range(10)],
    ):
        body = encode(commands)
        assert store.apply(body, 0) == copy.apply(body, 0)
        assert store.spent == copy.spent
    cut.close()
    assert store.digest() == copy.digest()


def test_leaves_of_long_keys_are_short() -> None:
    store = Store()
    prefix = b"p" * 5000
    keys = [prefix + b"%04d" % (n * 7919 % 2000) for n in range(2000)]
    for first in range(0, 2000, 500):
        do(store, *(Put(key, b"") for key in keys[first : first + 500]))
    bound = LEAF_KEY_BYTES_MAX + LEAF_PAIRS_MAX * WIDE_KEY_BYTES
    leaves = store._pairs._leaves
    assert max(sum(map(len, leaf)) for leaf in leaves) <= bound
    assert sorted(everything(store)) == sorted(keys)
    for first in range(0, 1990, 500):
        do(store, *(Delete(key) for key in keys[first : min(1990, first + 500)]))
    assert max(sum(map(len, leaf)) for leaf in leaves) <= bound
    assert sorted(everything(store)) == sorted(keys[1990:])


def test_one_command_may_overdraw_the_budget() -> None:
    budget = Budget(fit=1000, work=0)
    budget.long_key(2000)
    assert budget.work == -4000


# -- machines that are written one command at a time ------------------------------


class Counting:
    """Counts the commands that it is given."""

    count = 0

    def apply_one(self, command: Any, stamp_ms: int) -> Any:  # noqa: ARG002
        self.count += 1

    def query_one(self, command: Any) -> Any:
        """Nothing."""

    def dump(self) -> Any:
        return self.count

    def restore(self, state: Any) -> None:
        self.count = state


def test_a_body_of_too_many_items_is_refused_as_one() -> None:
    inside = bodies.ITEMS_MAX // 1024 - 1
    machine = Single(Counting())
    decode(machine.apply(encode([[0] * inside] * 1024), 0))
    assert machine.machine.count == 1024  # type: ignore[attr-defined]
    [refused] = decode(machine.apply(encode([[0] * (inside + 1)] * 1024), 0))
    assert refused == Failed(OVER_BUDGET, bodies.TOO_MANY_ITEMS)
    assert machine.machine.count == 1024  # type: ignore[attr-defined]


# -- how long it takes -----------------------------------------------------------


#: Bodies that cost the most for what they are priced.
SLOW: dict[str, bytes] = {
    "scans": encode([Scan(b"", None, SCAN_LIMIT_MAX)] * COMMANDS_MAX),
    "scans of one pair": encode([Scan(b"", None, 1)] * COMMANDS_MAX),
    "increments": encode([Incr(b"%05d" % n) for n in range(COMMANDS_MAX)]),
    "nonsense": encode([["x"], *[Put(b"%05d" % n, b"") for n in range(4000)]]),
    "nested": encode([[[0]] * 6] * 2300),
    "long keys": encode([Put(b"p" * 60_000 + b"%04d" % n, b"") for n in range(200)]),
}


@pytest.mark.parametrize("body", SLOW.values(), ids=SLOW)
def test_no_body_takes_long(body: bytes) -> None:
    """The bound is loose: other tests run beside this one, and so may others."""
    store = filled(20_000)
    shortest = 9.0
    for _ in range(5):
        begun = time.process_time()
        answers = outcomes(store.apply(body, 0))
        shortest = min(shortest, time.process_time() - begun)
        assert answers
    assert shortest < 0.060
