"""The store's pairs against a plain dict; cuts, copies, digests and memory."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pbserver.budget import FREED_BYTES_FREE
from pbserver.pairs import LEAF_PAIRS_MAX
from pbserver.store import Store
from tests.stores import (
    ANY_COMMAND,
    LONG_KEY,
    LONG_VALUE,
    Model,
    ask,
    do,
    do_all,
    encode,
    everything,
    filled,
    loaded,
    pieces,
)
from wire.commands import (
    Append,
    Command,
    Delete,
    Get,
    Put,
)

# -- against a model -----------------------------------------------------------


@given(st.lists(st.lists(ANY_COMMAND, max_size=8), max_size=8))
def test_it_does_what_a_dict_does(batches: list[list[Command]]) -> None:
    store, model = Store(), Model()
    for batch in batches:
        assert [model.do(command) for command in batch] == do(store, *batch)
    assert model.pairs == everything(store)
    assert len(model.pairs) == len(store)


#: Enough keys for many leaves, in runs so that leaves fill, empty and join.
RUNS = st.tuples(
    st.sampled_from(["put", "delete", "append"]),
    st.integers(0, 2000),
    st.integers(1, 1200),
    st.sampled_from([1, 7, 1999]),
)


Run = tuple[str, int, int, int]


def run(store: Store, model: Model, run: Run) -> None:
    what, first, count, step = run
    keys = [b"%04d" % ((first + n * step) % 2000) for n in range(count)]
    kind: Any = {
        "put": lambda key: Put(key, b"v%d" % count),
        "delete": Delete,
        "append": lambda key: Append(key, b"+" * (5000 if key[3:] == b"0" else 1)),
    }[what]
    commands = [kind(key) for key in keys]
    assert [model.do(command) for command in commands] == do_all(store, commands)


def check_leaves(store: Store) -> None:
    leaves, fences = store._pairs._leaves, store._pairs._fences
    assert len(leaves) == len(fences) + 1
    assert fences == sorted(set(fences))
    assert all(1 <= len(leaf) <= LEAF_PAIRS_MAX for leaf in leaves) or len(leaves) == 1
    assert store._pairs.long_values == sum(
        len(value) > FREED_BYTES_FREE for leaf in leaves for value in leaf.values()
    )
    for low, leaf, high in zip([b"", *fences], leaves, [*fences, None], strict=True):
        assert all(low <= key and (high is None or key < high) for key in leaf)


@settings(max_examples=40, deadline=None)
@given(st.lists(RUNS, min_size=1, max_size=8))
def test_leaves_fill_split_empty_and_join(
    runs: list[tuple[str, int, int, int]],
) -> None:
    store, model = Store(), Model()
    for one in runs:
        run(store, model, one)
        check_leaves(store)
    assert model.pairs == everything(store)
    assert len(model.pairs) == len(store)


ORDERS = {
    "upwards": list(range(3000)),
    "downwards": list(range(3000))[::-1],
    "shuffled": [n * 1009 % 3000 for n in range(3000)],
    "from the middle": [(1500 + n) % 3000 for n in range(3000)],
    "every third first": [n for first in range(3) for n in range(first, 3000, 3)],
}


@pytest.mark.parametrize("deleted", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize("inserted", ORDERS.values(), ids=ORDERS)
def test_leaves_in_whatever_order(inserted: list[int], deleted: list[int]) -> None:
    keys = [b"%04d" % n for n in range(3000)]
    store = Store()
    do_all(store, (Put(keys[n], b"") for n in inserted))
    check_leaves(store)
    assert [key for key, _ in store._pairs.items()] == keys
    for first in range(0, 3000, 150):
        do(store, *(Delete(keys[n]) for n in deleted[first : first + 150]))
        check_leaves(store)
    assert store._pairs._leaves == [{}]


def test_a_full_leaf_is_split_by_the_next_key() -> None:
    store = filled(LEAF_PAIRS_MAX)
    do(store, Put(b"00000", b"again"))
    assert len(store._pairs._leaves) == 1
    do(store, Put(b"00000 next", b""))
    sizes = [len(leaf) for leaf in store._pairs._leaves]
    half = (LEAF_PAIRS_MAX + 1) // 2
    assert sizes == [half, LEAF_PAIRS_MAX + 1 - half]


def test_keys_in_order_leave_full_leaves_behind() -> None:
    store = Store()
    do(store, *(Put(b"%04d" % n, b"") for n in range(3 * LEAF_PAIRS_MAX + 5)))
    sizes = [len(leaf) for leaf in store._pairs._leaves]
    assert sizes == [LEAF_PAIRS_MAX] * 3 + [5]


def test_a_small_leaf_joins_its_neighbour_only_if_that_is_small() -> None:
    store = Store()
    do(store, *(Put(b"%04d" % n, b"") for n in range(LEAF_PAIRS_MAX + 1)))
    left, _ = map(list, store._pairs._leaves)
    assert [len(leaf) for leaf in store._pairs._leaves] == [LEAF_PAIRS_MAX, 1]
    do(store, *map(Delete, left[25:]), Put(b"1", b""))
    assert [len(leaf) for leaf in store._pairs._leaves] == [25, 2]
    do(store, Delete(b"1"))
    assert [len(leaf) for leaf in store._pairs._leaves] == [26]


# -- cuts ----------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_cut_is_exact_whatever_happens_meanwhile(data: st.DataObject) -> None:
    store, model = Store(), Model()
    for one in data.draw(st.lists(RUNS, max_size=4), "before"):
        run(store, model, one)
    before, digest = dict(model.pairs), store.digest()
    cut = store.cut()
    parts: list[bytes] = []
    for one in data.draw(st.lists(RUNS, max_size=5), "meanwhile"):
        run(store, model, one)
        sizes = st.lists(st.sampled_from([1, 300, 20_000]), max_size=3)
        parts += [cut.take(size) for size in data.draw(sizes, "takes")]
    parts += iter(lambda: cut.take(10_000), b"")
    assert cut.take(10_000) == b""
    cut.close()
    copy = loaded(part for part in parts if part)
    assert before == everything(copy)
    assert digest == copy.digest()
    assert model.pairs == everything(store)
    check_leaves(store)
    check_leaves(copy)


@settings(max_examples=30)
@given(st.lists(ANY_COMMAND, max_size=12), st.lists(ANY_COMMAND, max_size=12))
def test_a_loaded_store_behaves_like_its_source(
    before: list[Command], later: list[Command]
) -> None:
    store = Store()
    do(store, *before)
    copy = loaded(pieces(store))
    assert store.digest() == copy.digest()
    assert store.apply(encode(later), 0) == copy.apply(encode(later), 0)
    assert store.digest() == copy.digest()


def test_an_empty_store_has_no_pieces() -> None:
    assert pieces(Store()) == []
    assert Store().digest() == loaded([]).digest()


def test_pieces_are_as_long_as_asked_for() -> None:
    store = filled(5000, bytes(100))
    do(store, Put(b"large", bytes(300_000)))
    sizes = [len(part) for part in pieces(store, 256 * 1024)]
    assert [size for size in sizes if size > 256 * 1024] == [
        1 + (2 + 5) + (5 + 300_000)
    ]
    assert 4 <= len(sizes) <= 6
    assert all(len(part) <= 2000 for part in pieces(filled(3000, b"v"), 2000))


def test_a_cut_that_is_closed_twice_closes_no_other() -> None:
    store = filled(3)
    cut = store.cut()
    cut.close()
    other = store.cut()
    cut.close()
    do(store, Delete(b"00000"))
    assert len(loaded([other.take(10_000)])) == 3


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_each_of_several_cuts_is_of_its_moment(data: st.DataObject) -> None:
    """Digest cuts among them: a digest is computed beside a transfer."""
    store, model = Store(), Model()
    do(store, *(Put(b"%03d" % n, bytes(5000 * (n % 2))) for n in range(700)))
    model.pairs = everything(store)
    cuts: list[tuple[Any, dict[bytes, bytes], list[bytes]]] = []
    digests: list[tuple[Any, bytes]] = []
    for _ in range(data.draw(st.integers(1, 12))):
        match data.draw(st.sampled_from(["cut", "digest", "take", "close", "do"])):
            case "cut":
                cuts.append((store.cut(), dict(model.pairs), []))
            case "digest":
                digests.append((store.digest_cut(), store.digest()))
            case "take" if cuts:
                cut, _, parts = data.draw(st.sampled_from(cuts))
                parts.append(cut.take(200_000))
            case "close" if len(cuts) > 1:
                cuts.pop(data.draw(st.integers(0, len(cuts) - 1)))[0].close()
            case _:
                key = b"%03d" % data.draw(st.integers(0, 700))
                kinds = (
                    Append(key, bytes(5000)),
                    Put(key, b"new"),
                    Put(key, bytes(70_000)),
                    Delete(key),
                )
                command = data.draw(st.sampled_from(kinds))
                assert do(store, command) == [model.do(command)]
    for cut, pairs, parts in cuts:
        rest = list(iter(lambda cut=cut: cut.take(200_000), b""))
        cut.close()
        assert everything(loaded(filter(None, [*parts, *rest]))) == pairs
    for digest_cut, digest in digests:
        while (found := digest_cut.step(100_000)) is None:
            pass
        assert found == digest
    assert store._pairs._needed == {}
    assert everything(store) == model.pairs
    check_leaves(store)


def test_a_closed_cut_gives_nothing_and_keeps_nothing() -> None:
    store = filled(3000, bytes(100))
    cut = store.cut()
    cut.take(1000)
    cut.close()
    assert cut.take(1000) == b""
    leaf = store._pairs._leaves[-1]
    do(store, Put(max(leaf), b"new"))
    assert leaf is store._pairs._leaves[-1]  # no copy is made any more


def test_only_what_is_still_to_be_taken_out_is_copied() -> None:
    store = filled(3000, bytes(100))
    cut = store.cut()
    before = store._pairs._leaves.copy()
    cut.take(100_000)
    do(store, *(Put(key, b"new") for leaf in before for key in list(leaf)[:2]))
    same = [new is old for new, old in zip(store._pairs._leaves, before, strict=True)]
    assert same == sorted(same, reverse=True)
    assert sum(len(leaf) for leaf, kept in zip(before, same, strict=True) if kept) > 700
    assert same[-1] is False
    again = store._pairs._leaves.copy()
    do(store, *(Put(key, b"newer") for leaf in before for key in list(leaf)[:2]))
    while cut.take(100_000):
        pass
    do(store, *(Put(key, b"newest") for leaf in before for key in list(leaf)[:2]))
    assert all(a is b for a, b in zip(store._pairs._leaves, again, strict=True))
    cut.close()


def test_a_long_value_is_not_copied_by_every_append() -> None:
    store = Store()
    do(store, Append(b"k", bytes(9000)), Append(b"k", b"1"))
    value = store._pairs.get(b"k")
    do(store, Append(b"k", b"2"))
    assert store._pairs.get(b"k") is value
    cut = store.cut()
    do(store, Append(b"k", b"3"))
    copied = store._pairs.get(b"k")
    assert copied is not value
    do(store, Append(b"k", b"4"))
    assert store._pairs.get(b"k") is copied
    cut.close()


def test_a_grown_value_does_not_grow_in_the_cut() -> None:
    store = Store()
    do(store, Append(b"k", bytes(9000)), Append(b"k", b"1"))
    cut = store.cut()
    assert do(store, Append(b"k", b"2"), Append(b"k", b"3")) == [9002, 9003]
    assert [bytes(9000) + b"1"] == ask(loaded([cut.take(1 << 20)]), Get(b"k"))
    cut.close()
    cut = store.cut()
    assert do(store, Append(b"k", b"4")) == [9004]
    assert [bytes(9000) + b"123"] == ask(loaded([cut.take(1 << 20)]), Get(b"k"))
    assert [bytes(9000) + b"1234"] == ask(store, Get(b"k"))


BAD_PIECES: dict[str, tuple[bytes, str]] = {
    "no msgpack": (b"\xc1", "a piece of 1 bytes"),
    "empty": (b"", "a piece of 0 bytes"),
    "no pairs": (b"\x90", "0 keys and values"),
    "half a pair": (encode([b"k"]), "1 keys and values"),
    "no bytes": (encode([b"k", "v"]), "Expected `bytes`"),
    "not in order": (encode([b"b", b"", b"a", b""]), "b'a' comes after b'b'"),
    "twice": (encode([b"b", b"", b"b", b""]), "b'b' comes after b'b'"),
    "before what is loaded": (encode([b"K", b""]), "b'K' comes after b'L'"),
    "a long key": (encode([LONG_KEY, b""]), "a pair of 65537 and 0"),
    "a long value": (encode([b"k", LONG_VALUE]), "a pair of 1 and 8388609"),
}


@pytest.mark.parametrize(("piece", "text"), BAD_PIECES.values(), ids=BAD_PIECES)
def test_what_is_no_piece_is_refused(piece: bytes, text: str) -> None:
    store = Store()
    store.load(encode([b"L", b"loaded"]))
    with pytest.raises(ValueError, match=text):
        store.load(piece)


@given(st.binary(max_size=40))
def test_any_bytes_are_a_piece_or_refused(piece: bytes) -> None:
    store = Store()
    try:
        store.load(piece)
    except ValueError:
        return
    assert everything(store)


# -- digests -------------------------------------------------------------------


def test_the_digest_is_of_the_state_and_not_of_its_history() -> None:
    one, other = filled(3000, b"v"), Store()
    do_all(other, (Put(b"%06d" % n, b"") for n in range(5000)))
    do_all(other, (Delete(b"%06d" % n) for n in range(5000)))
    assert Store().digest() == other.digest()
    do_all(other, (Put(key, b"v") for key in sorted(everything(one))))
    assert one.digest() == other.digest()
    do(other, Append(b"00000", bytes(9000)))
    do(one, Put(b"00000", b"v" + bytes(9000)))
    assert one.digest() == other.digest()


@given(st.lists(ANY_COMMAND, max_size=8), st.lists(ANY_COMMAND, max_size=8))
def test_digests_are_equal_for_equal_states_only(
    some: list[Command], others: list[Command]
) -> None:
    one, other = Store(), Store()
    do(one, *some)
    do(other, *others)
    assert (everything(one) == everything(other)) == (one.digest() == other.digest())


PROGRAM = """
import msgspec, random, sys
sys.setrecursionlimit(int(sys.argv[1]))
from pbserver.store import Store
from wire.commands import *
store, rng, answers = Store(), random.Random(7), []
for _ in range(300):
    key = lambda: b"%d" % rng.randrange(900)
    batch = [rng.choice([
        Get(key()), Put(key(), key()), Append(key(), b"1" * 3000), Delete(key()),
        Cas(key(), None, b"x"), Incr(key(), 3), Scan(key(), None, 3),
    ]) for _ in range(30)]
    answers.append(store.apply(msgspec.msgpack.encode(batch), 0))
cut = store.cut()
print(store.digest().hex(), hash(b"".join(answers)) and __import__("zlib").crc32(
    b"".join(answers) + b"".join(iter(lambda: cut.take(1000), b""))))
"""


def test_every_process_has_the_same_answers_pieces_and_digest() -> None:
    said = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM, limit],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": "."},
            check=True, capture_output=True, text=True, timeout=60,
        ).stdout
        for seed, limit in (("0", "1000"), ("1", "500"), ("4711", "3000"))
    }  # fmt: skip
    assert len(said) == 1
    assert len(said.pop().split()) == 2


# -- memory --------------------------------------------------------------------


@pytest.mark.parametrize("how", ["delete", "empty", "delete beside a cut"])
def test_memory_is_returned(how: str) -> None:
    store = Store()
    keys = [b"%06d" % n for n in range(20_000)]
    empty = [Put(key, b"") for key in keys]
    gc.collect()
    tracemalloc.start()
    try:
        if how == "empty":  # the keys stay, and only what was appended goes
            for first in range(0, len(keys), 1000):
                do(store, *empty[first : first + 1000])
        base = tracemalloc.get_traced_memory()[0]
        for first in range(0, len(keys), 1000):
            do(store, *(Append(key, bytes(500)) for key in keys[first : first + 1000]))
        full = tracemalloc.get_traced_memory()[0]
        cut = store.cut() if how == "delete beside a cut" else None
        for first in range(0, len(keys), 1000):
            these = keys[first : first + 1000]
            do(
                store,
                *(
                    empty[first : first + 1000]
                    if how == "empty"
                    else map(Delete, these)
                ),
            )
        if cut is not None:
            assert tracemalloc.get_traced_memory()[0] > full
            while cut.take(256 * 1024):
                pass
            cut.close()
        left = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert full - base > 10_000_000
    assert left - base < 100_000
