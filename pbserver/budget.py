"""
What the commands of one body may cost, and what they do cost.

Pure.  Bytes do not bound work: a scan of ten bytes visits ten thousand pairs.
So every body has a budget, and a command that comes when it is used up is
refused.  A refusal is an answer, and answers are equal on every replica.
Therefore a price depends on the body and on the pairs alone: not on a clock,
not on how pairs are spread over leaves, not on whether a cut is open.

A unit of work is about a nanosecond on a slow machine.  The prices are the
greatest cost that was measured, rounded up.  What a body brings and what an
answer carries away is not priced: both have bounds of their own in bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from attrs import define, field

from wire.commands import WORK_MAX

#: Any command: to decode, find, change and answer 0.7 to 1.5 us.
COMMAND_WORK: Final = 1024

#: A scan, before its first pair: it sorts the keys of two leaves if it begins
#: after the last key of one, 17 us if they were put in mixed order.
SCAN_WORK: Final = 16 * 1024

#: A pair that a scan returns, 0.4 us with its part of the answer.
PAIR_WORK: Final = 512

#: A key longer than this costs extra: it is hashed, and compared with fences
#: that may begin like it, 2 ns a byte.
LONG_KEY_BYTES: Final = 1024

#: No answer is longer, except those that contain values: of a get and of a scan.
ANSWER_BYTES_SURE: Final = 128

#: Copying so much of a value is in the price of the command; more costs a quarter
#: of a nanosecond a byte.  While a cut is open it takes twice that: memory that was
#: not used before is cleared by the system first.
COPIED_BYTES_FREE: Final = 4 * 1024

#: And so is freeing as much as this.
FREED_BYTES_FREE: Final = 64 * 1024

#: Freeing more than this costs no more: the system takes it back as a whole.
FREED_BYTES_PAID: Final = 128 * 1024

#: A pair that is moved because its leaf is split, joined or copied for a cut,
#: 0.2 us.  No command pays it, since leaves differ from replica to replica: it is
#: only counted for the turn.
MOVED_WORK: Final = 192

#: A body that does not decode as a whole, and is refused; counted for the turn.
BROKEN_WORK: Final = 4 * 1024 * 1024


@define(eq=False)
class Budget:
    """What is left for the commands of one body that are still to come.

    One object serves body after body, since to make one takes as long as a put.
    """

    #: The most bytes that the next answer may have, at least `ANSWER_BYTES_SURE`.
    fit: int = 0
    #: What is left of the work; below zero when it is used up.  One command may
    #: overdraw it, or the order of commands would decide whether it is possible.
    work: int = WORK_MAX
    #: The commands that are still to come.  When the work is used up, it comes to
    #: its end: so the loop over it needs no check of its own, 20 ns a command.
    commands: Iterator[object] = field(factory=lambda: iter(()))
    #: Long values that were appended to already: they are copied once a body.
    copied_keys: set[bytes] | None = field(default=None, init=False)

    def carried(self, answer: bytes) -> bytes:
        """Take the bytes above `ANSWER_BYTES_SURE` from `fit` -> the same *answer*."""
        if len(answer) > ANSWER_BYTES_SURE:
            self.fit -= len(answer) - ANSWER_BYTES_SURE
        return answer

    def pairs(self) -> int:
        """Pay for a scan -> how many pairs it may return, at least one."""
        self._pay(SCAN_WORK)
        return max(1, self.work // PAIR_WORK)

    def found(self, pairs: int) -> None:
        """Pay for the pairs that a scan returns."""
        self._pay(PAIR_WORK * pairs)

    def long_key(self, length: int) -> None:
        """Pay for a key that is longer than `LONG_KEY_BYTES`."""
        self._pay(2 * length)

    def copied(self, key: bytes, length: int) -> None:
        """Pay for an append to a value of that length, above what is free."""
        if self.copied_keys is None:
            self.copied_keys = set()
        if key not in self.copied_keys:
            self.copied_keys.add(key)
            self._pay((length - COPIED_BYTES_FREE) >> 2)

    def freed(self, length: int) -> None:
        """Pay for a value of that length which is dropped."""
        self._pay((min(length, FREED_BYTES_PAID) - FREED_BYTES_FREE) >> 4)

    def _pay(self, work: int) -> None:
        self.work -= work
        if self.work < 0:
            for _ in self.commands:
                pass
