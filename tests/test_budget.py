"""What one body may cost: refused alike everywhere, and enough for any clerk."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.calls import TOGETHER_MAX
from pbserver import msgpack_array
from pbserver.budget import (
    COMMAND_WORK,
    COPIED_BYTES_FREE,
    FREED_BYTES_FREE,
    FREED_BYTES_PAID,
    MOVED_WORK,
    PAIR_WORK,
    SCAN_WORK,
    Budget,
)
from pbserver.pairs import (
    LEAF_KEY_BYTES_MAX,
    LEAF_PAIRS_MAX,
    LEAF_PAIRS_MIN,
    WIDE_KEY_BYTES,
)
from pbserver.simple_machine import SimpleMachine
from pbserver.store import Store
from tests.stores import (
    Model,
    ask,
    decode,
    do,
    do_all,
    encode,
    everything,
    filled,
    loaded,
    outcomes,
)
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


@pytest.mark.parametrize("size", [20, 32 * 1024])
def test_what_a_clerk_sends_together_is_within_it(size: int) -> None:
    store = Store()
    keys = [b"%04d" % n for n in range(TOGETHER_MAX)]
    for first in range(0, TOGETHER_MAX, 64):
        do(store, *(Put(key, bytes(size)) for key in keys[first : first + 64]))
    assert OVER_BUDGET not in do(store, *(Append(key, b"!") for key in keys))
    assert OVER_BUDGET not in do(store, *(Delete(key) for key in keys))


def test_a_body_may_have_as_many_commands_as_a_clerk_sends_together() -> None:
    assert COMMANDS_MAX == TOGETHER_MAX


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


def test_a_long_value_that_is_dropped_is_paid_for() -> None:
    store = Store()
    paid = (FREED_BYTES_PAID - FREED_BYTES_FREE) // 16
    for dropping in (Delete(b"k"), Put(b"k", b""), Cas(b"k", bytes(200_000), b"")):
        do(store, Put(b"k", bytes(200_000)))
        body = encode([dropping])
        answer = store.apply(body, 0)
        assert store.spent == COMMAND_WORK + paid + len(body) + len(answer)
        do(store, Put(b"k", b""))


_SIZES = st.sampled_from([0, 5000, FREED_BYTES_FREE, FREED_BYTES_FREE + 1, 200_000])
_KEYS = st.sampled_from([b"a", b"b", b"c"])
_LONG = st.one_of(
    st.builds(Put, _KEYS, st.builds(bytes, _SIZES)),
    st.builds(Append, _KEYS, st.builds(bytes, _SIZES)),
    st.builds(Delete, _KEYS),
    st.builds(Cas, _KEYS, st.none() | st.builds(bytes, _SIZES), st.just(b"")),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(_LONG, min_size=1, max_size=6), max_size=6))
def test_what_dropping_costs_depends_on_the_value_alone(
    batches: list[list[Command]],
) -> None:
    """Not on whether any value was long before, which decides how a put is done."""
    store, model = Store(), Model()
    for batch in batches:
        price, copied = 0, set()
        for command in batch:
            key = getattr(command, "key", b"")
            before = len(model.pairs.get(key, b""))
            done = model.do(command)
            if isinstance(command, Append):
                if before > COPIED_BYTES_FREE and key not in copied:
                    price += (before - COPIED_BYTES_FREE) // 4
                    copied.add(key)
            elif before > FREED_BYTES_FREE and done is not False:
                price += (min(before, FREED_BYTES_PAID) - FREED_BYTES_FREE) // 16
        body = encode(batch)
        answer = store.apply(body, 0)
        fixed = COMMAND_WORK * len(batch) + len(body) + len(answer)
        assert store.spent == fixed + price
    assert everything(store) == model.pairs
    found = [len(value) > FREED_BYTES_FREE for value in model.pairs.values()]
    assert store._pairs.long_values == sum(found)


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
    for n in range(10):
        do(store, Append(b"%05d" % n, bytes(4 * MIB)), Append(b"%05d" % n, b"!"))
    copy = loaded(taken(store, 256 * 1024))
    cut = copy.cut()
    for commands in (
        [Append(b"%05d" % (n % 10), b"!") for n in range(40)],
        [Scan(b"00100", None, 900)] * 40,
        [Delete(b"%05d" % n) for n in range(10)],
    ):
        body = encode(commands)
        assert store.apply(body, 0) == copy.apply(body, 0)
    cut.close()
    assert store.digest() == copy.digest()


def test_what_leaves_cost_counts_for_the_turn_and_for_no_answer() -> None:
    plain, split, under_cut = (
        Store(),
        filled(LEAF_PAIRS_MAX),
        filled(LEAF_PAIRS_MAX - 1),
    )
    cut = under_cut.cut()
    body = encode([Put(b"x", b""), Get(b"x")])
    answers, spent = set(), []
    for store in (plain, split, under_cut, under_cut):
        answers.add(store.apply(body, 0))
        spent.append(store.spent)
    cut.close()
    assert len(answers) == 1
    assert [cost - spent[0] for cost in spent] == [
        *(0, MOVED_WORK * (LEAF_PAIRS_MAX + 1)),
        *(MOVED_WORK * (LEAF_PAIRS_MAX - 1), 0),
    ]


@pytest.mark.parametrize("is_upwards", [False, True], ids=["down", "up"])
def test_no_order_of_deletes_leaves_a_row_of_small_leaves(
    is_upwards: bool,
) -> None:
    """A scan pays for the pairs that it returns, and not for leaves."""
    store = filled(5000)
    leaves = [sorted(leaf) for leaf in store._pairs._leaves]
    for keys in leaves if is_upwards else leaves[::-1]:
        do(store, *map(Delete, keys[1:]))
    count = len(store._pairs._leaves)
    assert count == 1 or len(store) / count > LEAF_PAIRS_MIN / 4


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
    inside = msgpack_array.ITEMS_MAX // 1024 - 1
    machine = SimpleMachine(Counting())
    decode(machine.apply(encode([[0] * inside] * 1024), 0))
    assert machine.machine.count == 1024  # type: ignore[attr-defined]
    [refused] = decode(machine.apply(encode([[0] * (inside + 1)] * 1024), 0))
    assert refused == Failed(OVER_BUDGET, msgpack_array.TOO_MANY_ITEMS)
    assert machine.machine.count == 1024  # type: ignore[attr-defined]


# -- how long it takes -----------------------------------------------------------


#: Leaves that are full, in the stores below.
FULL: Final = COMMANDS_MAX + COMMANDS_MAX // 16


def full_leaves() -> Store:
    """A store whose first leaves are full of keys that came in mixed order."""
    store = Store()
    firsts = [b"%06d" % n for n in range(FULL * LEAF_PAIRS_MAX // 2 + 1)]
    do_all(store, (Put(key, b"") for key in firsts))
    for leaf in store._pairs._leaves[:FULL]:
        first, more = min(leaf), range(LEAF_PAIRS_MAX - len(leaf))
        leaf.update((first + b"%03d" % n, b"") for n in more)
        store._pairs.count += len(more)
        pairs = list(leaf.items())
        random.Random(2).shuffle(pairs)
        leaf.clear()
        leaf.update(pairs)
    return store


def of_full_leaves(
    make: Callable[[bytes, bytes], Command],
) -> Callable[[], tuple[Store, bytes]]:
    """A body with one command for each of many full leaves, made of the first and
    the last key, and their store."""

    def made() -> tuple[Store, bytes]:
        store = full_leaves()
        leaves = store._pairs._leaves[:COMMANDS_MAX]
        return store, encode([make(min(leaf), max(leaf)) for leaf in leaves])

    return made


def joining() -> tuple[Store, bytes]:
    """Leaves that join a neighbour with the next pair that is deleted."""
    store = full_leaves()
    leaves = store._pairs._leaves[:FULL]
    for leaf in leaves:
        for key in list(leaf)[LEAF_PAIRS_MIN:]:
            del leaf[key]
    return store, encode([Delete(next(iter(leaf))) for leaf in leaves][:COMMANDS_MAX])


def room_for_wide_keys() -> tuple[Store, bytes]:
    """Long keys for leaves that are nearly full of short ones."""
    store = full_leaves()
    wide = []
    for leaf in store._pairs._leaves[: COMMANDS_MAX // 10]:
        first = min(leaf).ljust(WIDE_KEY_BYTES, b"x")
        wide += [Put(first + b"%d" % n, b"") for n in range(10)]
        for key in list(leaf)[-10:]:
            del leaf[key]
    return store, encode(wide)


def in_a_store_of_many(commands: list[Any]) -> Callable[[], tuple[Store, bytes]]:
    return lambda: (filled(20_000), encode(commands))


def long_values(make: Callable[[bytes], Command], size: int) -> Any:
    def made() -> tuple[Store, bytes]:
        store, keys = Store(), [b"%04d" % n for n in range(COMMANDS_MAX)]
        for key in keys:
            store._pairs.put(key, bytes(size))
        return store, encode(list(map(make, keys)))

    return made


#: Bodies that cost the most for what they are priced, and the stores for them.
SLOW: dict[str, Callable[[], tuple[Store, bytes]]] = {
    "scans": in_a_store_of_many([Scan(b"", None, SCAN_LIMIT_MAX)] * COMMANDS_MAX),
    "scans of one pair": in_a_store_of_many([Scan(b"", None, 1)] * COMMANDS_MAX),
    "increments": in_a_store_of_many([Incr(b"%05d" % n) for n in range(COMMANDS_MAX)]),
    "nonsense": in_a_store_of_many(
        [["x"], *[Put(b"%05d" % n, b"") for n in range(COMMANDS_MAX - 1)]]
    ),
    "nested": in_a_store_of_many([[[0]] * 15] * COMMANDS_MAX),
    "long keys": in_a_store_of_many(
        [Put(b"p" * 60_000 + b"%04d" % n, b"") for n in range(200)]
    ),
    "scans of leaves in mixed order": of_full_leaves(
        lambda first, _: Scan(first, None, 1)
    ),
    "scans of two leaves each": of_full_leaves(
        lambda _, last: Scan(last + b"\x00", last + b"\xff", 1)
    ),
    "puts that split leaves": of_full_leaves(lambda first, _: Put(first + b"x", b"")),
    "puts to full leaves": of_full_leaves(lambda first, _: Put(first, b"x")),
    "deletes that join leaves": joining,
    "wide keys": room_for_wide_keys,
    "appends": long_values(lambda key: Append(key, b"!"), 32 * 1024),
    "deletes of long values": long_values(Delete, 140_000),
}


def sorting_time() -> float:
    """How long it takes to sort 84 keys a thousand times: the unit of the bound,
    since a second is not the same on every computer."""
    keys = [b"%08d" % n for n in range(84)]
    random.Random(1).shuffle(keys)
    begun = time.thread_time()
    for _ in range(1000):
        sorted(keys)
    return time.thread_time() - begun


@pytest.mark.parametrize("is_cut", [False, True], ids=["", "with a cut"])
@pytest.mark.parametrize("made", SLOW.values(), ids=SLOW)
def test_no_body_takes_long(
    made: Callable[[], tuple[Store, bytes]],
    is_cut: bool,
) -> None:
    """The best of several tries: other tests run beside this one."""
    shortest = unit = 9.0
    for _ in range(5):
        store, body = made()
        cut = store.cut() if is_cut else None
        begun = time.thread_time()
        answers = outcomes(store.apply(body, 0))
        shortest = min(shortest, time.thread_time() - begun)
        unit = min(unit, sorting_time())
        assert answers
        if cut is not None:
            cut.close()
        if shortest < 3 * unit:
            break
    assert shortest < 9 * unit
