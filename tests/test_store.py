"""The key/value machine: what each command does and answers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbserver import operations
from pbserver.budget import ANSWER_BYTES_SURE, Budget
from pbserver.store import Store
from tests.stores import (
    LONG_KEY,
    LONG_VALUE,
    ask,
    decode,
    do,
    encode,
    everything,
    filled,
    outcomes,
)
from wire.commands import (
    COMMANDS_MAX,
    COUNTER_MAX,
    COUNTER_MIN,
    MALFORMED,
    NOT_A_NUMBER,
    SCAN_LIMIT_MAX,
    TOO_LARGE,
    Append,
    Cas,
    Command,
    Delete,
    Failed,
    Get,
    Incr,
    Ok,
    Put,
    Scan,
)
from wire.messages import BODY_BYTES_MAX

# -- what each command does ----------------------------------------------------

#: what is there -> the command -> its outcome -> what is there then.
COMMANDS: dict[str, tuple[dict[bytes, bytes], Command, Any, dict[bytes, bytes]]] = {
    "get": ({b"k": b"v"}, Get(b"k"), b"v", {b"k": b"v"}),
    "get what is missing": ({b"k": b"v"}, Get(b"j"), None, {b"k": b"v"}),
    "get what is empty": ({b"k": b""}, Get(b"k"), b"", {b"k": b""}),
    "put": ({}, Put(b"k", b"v"), None, {b"k": b"v"}),
    "put over": ({b"k": b"v"}, Put(b"k", b"w"), None, {b"k": b"w"}),
    "put empty": ({}, Put(b"k", b""), None, {b"k": b""}),
    "put under the empty key": ({}, Put(b"", b"v"), None, {b"": b"v"}),
    "append": ({b"k": b"v"}, Append(b"k", b"!!"), 3, {b"k": b"v!!"}),
    "append to nothing": ({}, Append(b"k", b"v"), 1, {b"k": b"v"}),
    "append nothing to nothing": ({}, Append(b"k", b""), 0, {b"k": b""}),
    "delete": ({b"k": b""}, Delete(b"k"), True, {}),
    "delete what is missing": ({b"j": b""}, Delete(b"k"), False, {b"j": b""}),
    "cas": ({b"k": b"v"}, Cas(b"k", b"v", b"w"), True, {b"k": b"w"}),
    "cas of another": ({b"k": b"v"}, Cas(b"k", b"u", b"w"), False, {b"k": b"v"}),
    "cas of absent": ({}, Cas(b"k", None, b"w"), True, {b"k": b"w"}),
    "cas of absent, present": ({b"k": b""}, Cas(b"k", None, b"w"), False, {b"k": b""}),
    "cas of empty": ({b"k": b""}, Cas(b"k", b"", b"w"), True, {b"k": b"w"}),
    "cas of empty, absent": ({}, Cas(b"k", b"", b"w"), False, {}),
    "incr": ({b"k": b"7"}, Incr(b"k", 5), 12, {b"k": b"12"}),
    "incr from nothing": ({}, Incr(b"k"), 1, {b"k": b"1"}),
    "incr downwards": ({b"k": b"0"}, Incr(b"k", -5), -5, {b"k": b"-5"}),
    "incr by nothing": ({}, Incr(b"k", 0), 0, {b"k": b"0"}),
    "incr a word": ({b"k": b"x"}, Incr(b"k"), NOT_A_NUMBER, {b"k": b"x"}),
    "incr the empty value": ({b"k": b""}, Incr(b"k"), NOT_A_NUMBER, {b"k": b""}),
    "incr to the top": (
        *({b"k": b"%d" % (COUNTER_MAX - 1)}, Incr(b"k")),
        *(COUNTER_MAX, {b"k": b"%d" % COUNTER_MAX}),
    ),
    "incr over the top": (
        *({b"k": b"%d" % COUNTER_MAX}, Incr(b"k")),
        *(NOT_A_NUMBER, {b"k": b"%d" % COUNTER_MAX}),
    ),
    "incr below the bottom": (
        *({b"k": b"%d" % COUNTER_MIN}, Incr(b"k", -1)),
        *(NOT_A_NUMBER, {b"k": b"%d" % COUNTER_MIN}),
    ),
    "incr by more than 64 bits with sign": (
        *({b"k": b"%d" % COUNTER_MIN}, Incr(b"k", 2**64 - 1)),
        *(COUNTER_MAX, {b"k": b"%d" % COUNTER_MAX}),
    ),
    "get a long key": ({}, Get(LONG_KEY), TOO_LARGE, {}),
    "put a long key": ({}, Put(LONG_KEY, b""), TOO_LARGE, {}),
    "put a long value": ({b"k": b"v"}, Put(b"k", LONG_VALUE), TOO_LARGE, {b"k": b"v"}),
    "append to a long key": ({}, Append(LONG_KEY, b""), TOO_LARGE, {}),
    "append a long value": ({}, Append(b"k", LONG_VALUE), TOO_LARGE, {}),
    "append one byte too many": (
        *({b"k": LONG_VALUE[1:]}, Append(b"k", b"!")),
        *(TOO_LARGE, {b"k": LONG_VALUE[1:]}),
    ),
    "delete a long key": ({}, Delete(LONG_KEY), TOO_LARGE, {}),
    "cas a long key": ({}, Cas(LONG_KEY, b"v", b"w"), TOO_LARGE, {}),
    "cas a long value": (
        *({b"k": b"v"}, Cas(b"k", b"u", LONG_VALUE)),
        *(TOO_LARGE, {b"k": b"v"}),
    ),
    "incr a long key": ({}, Incr(LONG_KEY), TOO_LARGE, {}),
}  # fmt: skip


@pytest.mark.parametrize(
    ("before", "command", "outcome", "after"), COMMANDS.values(), ids=COMMANDS
)
def test_command(
    before: dict[bytes, bytes],
    command: Command,
    outcome: Any,
    after: dict[bytes, bytes],
) -> None:
    store = Store()
    do(store, *(Put(key, value) for key, value in before.items()))
    assert [None, outcome, None] == do(
        store, Put(b"before", b""), command, Put(b"behind", b"")
    )
    assert after | {b"before": b"", b"behind": b""} == everything(store)


@pytest.mark.parametrize(
    "value",
    [
        *(b"", b"+1", b" 1", b"1 ", b"01", b"-01", b"1_0", b"-0", b"00", b"-", b"0x1"),
        *(b"1.0", b"1e3", b"\xd9\xa1", b"1\x00", b"1" * 21, b"9" * 5000),
        *(b"%d" % (COUNTER_MAX + 1), b"%d" % (COUNTER_MIN - 1)),
    ],
)
def test_what_is_no_number(value: bytes) -> None:
    assert operations.number(value) is None
    assert operations.number(bytearray(value)) is None


@given(st.integers(COUNTER_MIN, COUNTER_MAX))
def test_what_is_a_number(number: int) -> None:
    assert number == operations.number(b"%d" % number)


SCANS: dict[str, tuple[Scan, list[bytes]]] = {
    "all": (Scan(b"", None, 10), [b"a", b"ab", b"b", b"c"]),
    "limit": (Scan(b"", None, 2), [b"a", b"ab"]),
    "the start is in, the end is not": (Scan(b"a", b"b", 10), [b"a", b"ab"]),
    "between keys": (Scan(b"aa", b"bb", 10), [b"ab", b"b"]),
    "from behind a key": (Scan(b"a\x00", None, 10), [b"ab", b"b", b"c"]),
    "nothing there": (Scan(b"d", None, 10), []),
    "end before start": (Scan(b"c", b"a", 10), []),
    "end at start": (Scan(b"b", b"b", 10), []),
    "end is empty": (Scan(b"", b"", 10), []),
    "a limit beyond 64 bits with sign": (Scan(b"b", None, 2**64 - 1), [b"b", b"c"]),
}


@pytest.mark.parametrize(("scan", "keys"), SCANS.values(), ids=SCANS)
def test_scan(scan: Scan, keys: list[bytes]) -> None:
    store = Store()
    do(store, *(Put(key, key * 2) for key in (b"c", b"ab", b"a", b"b")))
    assert [[[key, key * 2] for key in keys]] == ask(store, scan)
    assert ask(store, scan) == do(store, scan)


def test_scan_returns_no_more_than_its_limit() -> None:
    store = filled(SCAN_LIMIT_MAX + 5)
    keys = [pair[0] for pair in ask(store, Scan(b"", None, SCAN_LIMIT_MAX + 1))[0]]
    assert sorted(everything(store))[:SCAN_LIMIT_MAX] == keys


# -- what fits into an answer --------------------------------------------------


def test_a_value_that_does_not_fit_beside_the_others_is_too_large() -> None:
    store = Store()
    do(store, Put(b"a", LONG_VALUE[1:]))
    do(store, Put(b"b", LONG_VALUE[1:]), Put(b"c", b"small"))
    for answer in (store.query, lambda body: store.apply(body, 0)):
        answers = answer(encode([Get(b"a"), Get(b"b"), Get(b"c"), Get(b"a")]))
        assert [LONG_VALUE[1:], TOO_LARGE, b"small", TOO_LARGE] == outcomes(answers)
        assert len(answers) <= BODY_BYTES_MAX
    assert [LONG_VALUE[1:]] == ask(store, Get(b"b"))


def test_an_answer_is_filled_to_the_last_bytes() -> None:
    store = Store()
    rest = BODY_BYTES_MAX - len(LONG_VALUE)
    do(store, Put(b"a", LONG_VALUE[1:]), Put(b"b", bytes(rest - 500)))
    fitted = 0
    for _ in range(25):
        do(store, Append(b"b", bytes(20)))
        for read in (Get(b"b"), Scan(b"b", None, 1)):
            answers = store.query(encode([Get(b"a"), read]))
            assert len(answers) <= BODY_BYTES_MAX
            fitted += len(answers) > BODY_BYTES_MAX - 256
    assert fitted >= 10


def test_the_longest_pair_can_be_scanned() -> None:
    store = Store()
    do(store, Put(LONG_KEY[1:], LONG_VALUE[1:]))
    assert [[[LONG_KEY[1:], LONG_VALUE[1:]]]] == ask(store, Scan(b"", None, 1))


def test_a_scan_is_cut_short_to_fit_and_goes_on_behind_its_last_key() -> None:
    store = Store()
    keys = [b"%02d" % n for n in range(10)]
    for key in keys:
        do(store, Put(key, bytes(3 * 1024 * 1024)))
    found: list[bytes] = []
    rounds = 0
    start = b""
    while True:
        answers = store.query(encode([Scan(start, None, 100)]))
        assert len(answers) <= BODY_BYTES_MAX
        pairs = outcomes(answers)[0]
        if not pairs:
            break
        rounds += 1
        found += [pair[0] for pair in pairs]
        start = found[-1] + b"\x00"
    assert keys == found
    assert rounds == 2


def test_a_scan_without_room_for_its_first_pair_is_no_empty_list() -> None:
    store = Store()
    do(store, Put(b"a", LONG_VALUE[1:]))
    assert [LONG_VALUE[1:], TOO_LARGE, []] == ask(
        store, Get(b"a"), Scan(b"", None, 1), Scan(b"b", None, 1)
    )


def test_the_fullest_answers_fit() -> None:
    store = filled(SCAN_LIMIT_MAX, bytes(1700))
    scan = Scan(b"", None, SCAN_LIMIT_MAX)
    gets = [Get(b"%05d" % 40503)] * (COMMANDS_MAX - 2)
    for commands in ([scan], [scan, scan], [scan, *gets, scan], [*gets, scan]):
        answers = store.query(encode(commands))
        assert len(commands) == len(decode(answers))
        assert 0.9 * BODY_BYTES_MAX < len(answers) <= BODY_BYTES_MAX


def test_every_answer_without_values_is_within_what_is_sure() -> None:
    number = encode([Ok(COUNTER_MIN)])
    texts = [value for value in vars(operations).values() if isinstance(value, bytes)]
    texts += [
        operations._long_key(bytes(BODY_BYTES_MAX), Budget(0)) or b"",
        operations._long_value(2**25),
    ]
    assert len(texts) >= 10
    assert max(map(len, [number, *texts])) <= ANSWER_BYTES_SURE
    assert COMMANDS_MAX * ANSWER_BYTES_SURE < BODY_BYTES_MAX // 4


def test_failures_say_what_is_wrong_with_which_value() -> None:
    answers = decode(Store().apply(encode([Put(LONG_KEY, b""), [9]]), 0))
    assert (
        Failed(TOO_LARGE, "a key may have 65536 bytes; this one has 65537")
        == answers[0]
    )
    assert Failed(MALFORMED, "this is no command of the store") == answers[1]
