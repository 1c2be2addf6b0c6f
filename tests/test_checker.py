"""
The checkers, on histories that they must accept, and on those they must not.

A history is drawn, one line for each clerk, one column for each moment:

    A  [x=1   ]  [?1]
    B     [x=2]

``[x=1 ]`` puts 1, ``[?1 ]`` reads 1 (``[?- ]``: nothing), ``[+1=4 ]`` appends 1
and is told that there are 4 bytes, ``[1>2 ]`` compares with 1 and sets 2 (``!``
after it: was told that 1 was not there), ``[d ]`` deletes what was there; what
ends in ``...`` had no answer.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Sequence
from itertools import combinations, permutations
from random import Random

import pytest

from tests.sim.checker import Operation, Verdict, check
from tests.sim.checker_clerks import (
    DONE,
    IN_DOUBT,
    NOT_EXECUTED,
    Call,
    blind_reads,
    histories,
    lies,
    misled,
    suffix,
    tokens,
)
from tests.sim.model import Answer, observes, replay, step
from wire.commands import NOT_A_NUMBER, Append, Cas, Delete, Get, Incr, Put, Scan

PIECE = re.compile(r"\[(.*?)(\]|\.\.\.)")


def history(drawn: str) -> list[Operation]:
    """What is drawn; moments are columns, made unique by the line."""
    found = []
    for line, text in enumerate(drawn.strip("\n").splitlines()):
        for piece in PIECE.finditer(text):
            command, answer = operation(piece[1].strip())
            called, ended = (100 * at + line for at in (piece.start(), piece.end()))
            done = piece[2] == "]"
            found.append(
                Operation(
                    text.split()[0], command, called, ended if done else None, answer
                )
            )
    return found


def operation(text: str) -> tuple[object, Answer]:
    if text.startswith("x="):
        return Put(b"k", text[2:].encode()), Answer(None)
    if text.startswith("?"):
        return Get(b"k"), Answer(None if text == "?-" else text[1:].encode())
    if text.startswith("+"):
        what, _, length = text[1:].partition("=")
        return Append(b"k", what.encode()), Answer(int(length or 0))
    if text == "d":
        return Delete(b"k"), Answer(value=True)
    before, _, after = text.rstrip("!").partition(">")
    return Cas(b"k", before.encode(), after.encode()), Answer(not text.endswith("!"))


LEGAL = {
    "nothing at all": "",
    "one after the other": """
A [x=1] [?1] [x=2] [?2]""",
    "a missing key": """
A [?-] [x=1]
B            [d] [?-]""",
    "two at once, either order": """
A [x=1  ]      [?1]
B   [x=2  ]""",
    "a read beside a write sees the old": """
A [x=1] [x=2      ]
B          [?1]""",
    "or the new, once": """
A [x=1] [x=2         ]
B          [?2] [?2]""",
    "in doubt, and never happened": """
A [x=1] [x=2...
B                [?1] [?1]""",
    "in doubt, and happened late": """
A [x=1] [x=2...
B                [?1] [?2]""",
    "in doubt, and seen by a compare": """
A [x=1] [x=2...
B                [2>3] [?3]""",
    "appends beside each other": """
A [+a=2     ]
B    [+b=1]    [?ba]""",
    "a write that changes nothing here is needed later": """
A [+2=1 ]
B     [d    ]
C       [d    ]
D       [x=2  ]
E        [?2 ]""",
    "a compare that fails changes nothing": """
A [x=1] [2>3!] [?1]""",
}

ILLEGAL = {
    "a read of what was never written": """
A [x=1] [?2]""",
    "a stale read": """
A [x=1] [x=2]
B              [?1]""",
    "a read that goes back": """
A [x=1] [x=2         ]
B          [?2] [?1]""",
    "two clerks who see two orders": """
A [x=1 ]
B [x=2 ]
C        [?1] [?2]
D             [?2] [?1]""",
    "a lost write": """
A [x=1]
B        [?-]""",
    "a lost append": """
A [+a=1]
B         [+b=1]""",
    "an append executed twice": """
A [+a=1] [?aa]""",
    "an append in doubt executed twice": """
A [+a...
B         [?a] [?aa]""",
    "an answer to the second of two appends": """
A [+a=2]""",
    "both of two compares win": """
A [x=0] [0>1    ]
B       [0>2    ]""",
    "a compare that was told no, and happened": """
A [x=1] [1>2!]
B              [?2]""",
    "in doubt, not yet called when it was seen": """
A        [x=2...
B [?2]""",
    "in doubt, undone": """
A [x=1] [x=2...
B                [?2] [?1]""",
    "a delete of what was not there": """
A [d]""",
}


@pytest.mark.parametrize("name", LEGAL)
def test_a_legal_history_is_accepted(name: str) -> None:
    assert check(history(LEGAL[name]), step, observes).verdict is Verdict.OK


@pytest.mark.parametrize("name", ILLEGAL)
def test_an_illegal_history_is_rejected(name: str) -> None:
    finding = check(history(ILLEGAL[name]), step, observes)
    assert finding.verdict is Verdict.ILLEGAL
    assert finding.stuck, "it says what could not follow"


def test_a_search_that_is_cut_short_is_no_verdict() -> None:
    many = "\n".join(f"{name} [+{name}...        " for name in "abcdefgh")
    finding = check(
        history(many + "\nz              [?hgfedcba!]"), step, observes, 100
    )
    assert finding.verdict is Verdict.UNKNOWN
    assert finding.steps > 100


def test_the_order_of_the_log_makes_the_search_short() -> None:
    # 12 clerks append at once, 15 times; without the hint this is never done.
    operations = []
    value = b""
    for number in range(180):
        value += b"%d;" % number
        operations.append(
            Operation(
                f"c{number % 12}",
                Append(b"k", b"%d;" % number),
                10 * number,
                10 * number + 115,
                Answer(len(value)),
                number + 1,
            )
        )
    finding = check(operations, step, observes)
    assert finding.verdict is Verdict.OK
    assert finding.steps == len(operations) + 1


def crowded(count: int, clerks: int = 20, *, doubts: bool = True) -> list[Operation]:
    """All clerks at once, one key, an order that the log has; one write in ten
    has no answer, and one that never happened comes with every twentieth."""
    random, state, operations = Random(count), None, []
    for n in range(count):
        write = random.choice((Put(b"k", b"%d" % n), Incr(b"k"), Delete(b"k")))
        command = random.choice((Get(b"k"), write, Cas(b"k", state, b"3")))
        state, answer = step(state, command)
        called, ended = (
            1000 * n + random.randrange(*span)
            for span in ((-500 * clerks, -1), (1, 500 * clerks))
        )
        index = None if isinstance(command, Get) else n + 1
        op = Operation(f"c{n % clerks}", command, called, ended, answer, index)
        if doubts and index is not None and random.randrange(10) == 0:
            op = op._replace(ended=None, answer=None)
        operations.append(op)
        if doubts and random.randrange(20) == 0:
            never = Put(b"k", b"never %d" % n)
            operations.append(Operation("never", never, called + 1))
    return operations


def test_with_the_order_of_the_log_the_cost_is_one_step_for_each() -> None:
    operations = crowded(2000)
    began = time.process_time()
    finding = check(operations, step, observes)
    took_s = time.process_time() - began
    assert finding.verdict is Verdict.OK
    placed = sum(op.ended is not None or op.index is not None for op in operations)
    assert finding.steps <= placed + 1
    assert took_s < 1


def test_what_is_wrong_with_the_last_of_many_is_found() -> None:
    operations = crowded(200, clerks=3, doubts=False)
    last = max(op.ended or 0 for op in operations)
    stale = Operation("z", Get(b"k"), last + 1, last + 2, Answer(b"no such value"))
    finding = check([*operations, stale], step, observes)
    assert finding.verdict is Verdict.ILLEGAL
    assert stale in finding.stuck


def by_brute_force(operations: list[Operation]) -> bool:
    """Every order of every choice of what happened."""
    doubtful = [op for op in operations if op.ended is None]
    answered = [op for op in operations if op.ended is not None]
    return any(
        fits(order)
        for count in range(len(doubtful) + 1)
        for happened in combinations(doubtful, count)
        for order in permutations([*answered, *happened])
    )


def fits(order: Sequence[Operation]) -> bool:
    state = None
    for at, op in enumerate(order):
        state, answer = step(state, op.command)
        if op.ended is not None and answer != op.answer:
            return False
        if any(after.ended and after.ended < op.called for after in order[at + 1 :]):
            return False
    return True


def test_the_verdict_is_that_of_trying_everything() -> None:
    random = Random(1)
    verdicts: Counter[Verdict] = Counter()
    for _ in range(1500):
        operations = drawn(random)
        verdict = check(operations, step, observes).verdict
        expected = Verdict.OK if by_brute_force(operations) else Verdict.ILLEGAL
        assert verdict is expected, operations
        verdicts[verdict] += 1
    assert min(verdicts.values()) > 300, "both verdicts are put to the test"


def drawn(random: Random) -> list[Operation]:
    """A few operations that overlap, with answers that are likely."""
    moments = random.sample(range(40), 10)
    operations = []
    for n in range(5):
        called, ended = sorted(moments[2 * n : 2 * n + 2])
        value, other = (random.choice((b"1", b"2")) for _ in "ab")
        command, answer = random.choice(
            (
                (Put(b"k", value), Answer(None)),
                (Get(b"k"), Answer(random.choice((None, value)))),
                (Append(b"k", value), Answer(random.choice((1, 2)))),
                (Cas(b"k", value, other), Answer(random.choice((True, False)))),
                (Delete(b"k"), Answer(random.choice((True, False)))),
            )
        )
        done = random.randrange(4) or isinstance(command, Get)
        index = random.choice((None, n, 9 - n))
        operations.append(
            Operation("c", command, called, ended if done else None, answer, index)
        )
    return operations


def test_a_wrong_hint_changes_no_verdict() -> None:
    legal = [op._replace(index=99 - n) for n, op in enumerate(history(LEGAL["two at once, either order"]))]  # fmt: skip  # noqa: E501
    assert check(legal, step, observes).verdict is Verdict.OK
    illegal = [op._replace(index=n + 1) for n, op in enumerate(history(ILLEGAL["a stale read"]))]  # fmt: skip  # noqa: E501
    assert check(illegal, step, observes).verdict is Verdict.ILLEGAL


def test_the_model_knows_what_a_number_is() -> None:
    assert replay([Incr(b"n", 5), Incr(b"n", -7)]) == b"-2"
    assert step(b"x", Incr(b"n")) == (b"x", Answer(None, NOT_A_NUMBER))
    big = b"9223372036854775807"
    assert step(big, Incr(b"n")) == (big, Answer(None, NOT_A_NUMBER))


# -- the truth that clerks are told ----------------------------------------------


def calls(told: str) -> list[Call]:
    """``a1 a2? b1!``: calls of clerks a and b, done, in doubt, not executed."""
    found = []
    for moment, word in enumerate(told.split()):
        outcome = {"?": IN_DOUBT, "!": NOT_EXECUTED}.get(word[-1], DONE)
        clerk, number = word[0], int(word[1:].rstrip("?!"))
        command = Append(b"a", suffix(clerk, number))
        found.append(Call(clerk, number, command, 2 * moment, 2 * moment + 1, outcome))
    return found


def value(held: str) -> bytes:
    return b"".join(suffix(word[0], int(word[1:])) for word in held.split())


@pytest.mark.parametrize(
    ("told", "held"),
    [("", ""), ("a1 a2 b1", "a1 b1 a2"), ("a1? a2", "a2"), ("a1? a2 b1!", "a1 a2")],
)
def test_the_truth_is_no_lie(told: str, held: str) -> None:
    assert lies(calls(told), {b"a": value(held)}) == []


@pytest.mark.parametrize(
    ("told", "held", "lie"),
    [
        ("a1", "a1 a1", "a: call 1 of a was executed twice"),
        ("a1? a2", "a1 a1 a2", "a: call 1 of a was executed twice"),
        ("a1 a2", "a2", "a: call 1 of a was done, and is gone"),
        ("a1!", "a1", "a: call 1 of a was executed, and a was told it was not"),
        ("a1 a2", "a2 a1", "a: call 1 of a came after its call 2"),
        ("a1? a2", "a2 a1", "a: call 1 of a came after its call 2"),
        ("a1", "a1 b1", "a: call 1 of b is there, and was never made"),
    ],
)
def test_a_lie_is_found(told: str, held: str, lie: str) -> None:
    assert lies(calls(told), {b"a": value(held)}) == [lie]


def test_a_read_must_see_what_its_own_clerk_wrote_before() -> None:
    written = calls("a1 b1 a2?")
    fresh = Call("a", 3, Get(b"a"), 10, 11, DONE, Answer(value("a1")))
    assert blind_reads([*written, fresh]) == []
    blind = fresh._replace(answer=Answer(value("b1")))
    assert blind_reads([*written, blind]) == ["a: read 3 of a does not see its write 1"]
    earlier = blind._replace(number=0)
    assert blind_reads([*written, earlier]) == []


def logged(told: str, indexes: str) -> list[Call]:
    """The same with the indexes that they have in the log; ``-``: none."""
    return [
        call._replace(index=None if index == "-" else int(index))
        for call, index in zip(calls(told), indexes.split(), strict=True)
    ]


@pytest.mark.parametrize(
    ("told", "indexes"),
    [
        ("", ""),
        ("a1 a2 b1", "3 5 4"),
        ("a1 a2 b1", "3 3 4"),  # in one batch
        ("a1? a2? a3! a4", "- 3 - 4"),
    ],
)
def test_a_log_that_bears_out_what_was_told(told: str, indexes: str) -> None:
    assert misled(logged(told, indexes)) == []


@pytest.mark.parametrize(
    ("told", "indexes", "found"),
    [
        ("a1", "-", "call 1 of a was done, and the log does not have it"),
        ("a1 a2!", "3 4", "call 2 of a is executed at 4, and was said not to be"),
        ("a1 a2", "4 3", "call 2 of a is executed at 3, after 4"),
        ("b1 a2 a1?", "5 3 4", "call 2 of a is executed at 3, after 4"),
    ],
)
def test_a_log_that_belies_what_was_told(told: str, indexes: str, found: str) -> None:
    assert misled(logged(told, indexes)) == [found]


def test_reads_are_not_in_the_log() -> None:
    assert misled([Call("a", 1, Get(b"a"), 0, 1, DONE, Answer(None))]) == []


def test_a_scan_reads_every_key_in_its_range() -> None:
    scan = Call("a", 1, Scan(b"a", b"c", 9), 0, 1, DONE, [(b"b", b"1")])
    found = histories([scan], [b"a", b"b", b"c"])
    assert [op.answer for op in found[b"a"]] == [Answer(None)]
    assert [op.answer for op in found[b"b"]] == [Answer(b"1")]
    assert found[b"c"] == []


def test_what_was_not_executed_and_reads_without_answer_are_no_history() -> None:
    doubtful = Call("a", 4, Get(b"a"), 9, None, IN_DOUBT)
    found = histories([*calls("a1 a2! a3?"), doubtful], [b"a"])
    assert [op.ended for op in found[b"a"]] == [1, None]


def test_a_value_tells_who_made_it() -> None:
    assert tokens(value("a1 b22")) == [("a", 1), ("b", 22)]
