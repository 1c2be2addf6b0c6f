"""
The calls that wait to be sent, and the deadlines of all that have one.

Pure.  A call is a number, counted in the order of the calls, and one encoded
command; how it ended is for others to say.  Reads are kept apart from writes,
since they travel apart, and the numbers keep the order between the two: a read
may go only when every write called before it has gone.

Sizes are in bytes of encoded commands.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from heapq import heapify, heappop, heappush
from typing import Final

from attrs import define, field

from wire.messages import BODY_BYTES_MAX

#: What travels together at most.  A single larger command travels alone.
TOGETHER_BYTES_MAX: Final = 1024 * 1024
TOGETHER_MAX: Final = 1024

#: The longest encoded command: alone in a body, it still fits.
COMMAND_BYTES_MAX: Final = BODY_BYTES_MAX - 5

#: How much may wait to be sent; what is called past it is not executed.
QUEUE_MAX: Final = 65_536
QUEUE_BYTES_MAX: Final = 64 * 1024 * 1024

#: When the time of a call is up, and how much time it had.
Deadline = tuple[int, int]

#: Calls by number -> the encoded command; in the order of the calls.
Commands = dict[int, bytes]


@define(eq=False)
class Calls:
    """What is called and not yet sent."""

    count_max: int = QUEUE_MAX
    bytes_max: int = QUEUE_BYTES_MAX

    #: The number of the last call; they begin at 1.
    last: int = field(default=0, init=False)

    writes: Commands = field(factory=dict, init=False)
    reads: Commands = field(factory=dict, init=False)

    #: Reads that share a query with nobody.
    alone: set[int] = field(factory=set, init=False)

    #: Deadlines of calls that have not ended, sent or not.
    deadlines_ms: dict[int, Deadline] = field(factory=dict, init=False)

    #: The same as a heap; of calls that have ended it may hold leftovers, fewer
    #: than there are entries that count.
    _next_deadlines: list[tuple[int, int]] = field(factory=list, init=False)

    #: The sums over `writes` and `reads`.
    _write_bytes: int = field(default=0, init=False)
    _read_bytes: int = field(default=0, init=False)

    def is_full(self, command_bytes: int) -> bool:
        """Whether a command of that length is too much."""
        return (
            len(self.writes) + len(self.reads) >= self.count_max
            or self._write_bytes + self._read_bytes + command_bytes > self.bytes_max
        )

    def write(self, command: bytes) -> int:
        """Take in a write -> its number."""
        self.last = number = self.last + 1
        self.writes[number] = command
        self._write_bytes += len(command)
        return number

    def read(self, command: bytes, *, alone: bool) -> int:
        """Take in a read -> its number."""
        self.last = number = self.last + 1
        self.reads[number] = command
        self._read_bytes += len(command)
        if alone:
            self.alone.add(number)
        return number

    def drop(self, number: int) -> bool:
        """Forget a call that was not sent; False: it is not among them."""
        if (command := self.writes.pop(number, None)) is not None:
            self._write_bytes -= len(command)
        elif (command := self.reads.pop(number, None)) is not None:
            self._read_bytes -= len(command)
            self.alone.discard(number)
        return command is not None

    def take_writes(self) -> Commands:
        """The next writes that travel together; empty if there are none."""
        # Nearly always all of them: half a microsecond a call less than the loop.
        if len(self.writes) <= TOGETHER_MAX and self._write_bytes <= TOGETHER_BYTES_MAX:
            taken, self.writes, self._write_bytes = self.writes, {}, 0
            return taken
        taken = _first(self.writes, self.writes.keys())
        for number, command in taken.items():
            del self.writes[number]
            self._write_bytes -= len(command)
        return taken

    def take_reads(self) -> Commands:
        """The next reads that travel together; empty if there are none, or if
        they have to wait for a write."""
        first_write = next(iter(self.writes), None)
        if (
            first_write is None
            and not self.alone
            and len(self.reads) <= TOGETHER_MAX
            and self._read_bytes <= TOGETHER_BYTES_MAX
        ):
            taken, self.reads, self._read_bytes = self.reads, {}, 0
            return taken
        taken = _first(self.reads, self._together(first_write))
        for number, command in taken.items():
            del self.reads[number]
            self._read_bytes -= len(command)
        return taken

    def _together(self, first_write: int | None) -> list[int]:
        """The reads that wait for no write, up to one that goes alone."""
        together: list[int] = []
        for number in self.reads:
            if first_write is not None and number > first_write:
                break
            if number in self.alone:
                return together or [number]
            together.append(number)
            if len(together) == TOGETHER_MAX:
                break
        return together

    def put_back(self, writes: Commands, reads: Commands) -> None:
        """What was taken, and has to be taken again: it comes before the rest."""
        if writes:
            self.writes = writes | self.writes
            self._write_bytes += sum(map(len, writes.values()))
        if reads:
            self.reads = reads | self.reads
            self._read_bytes += sum(map(len, reads.values()))

    # -- deadlines ---------------------------------------------------------------

    def set_deadline(self, number: int, deadline_ms: int, now_ms: int) -> None:
        """From *deadline_ms* on, the call is due; it is made at *now_ms*."""
        self.deadlines_ms[number] = deadline_ms, deadline_ms - now_ms
        heappush(self._next_deadlines, (deadline_ms, number))

    def ended(self, numbers: Iterable[int]) -> None:
        """These calls have ended: nothing of them will be due, or goes alone."""
        if self.alone:
            self.alone.difference_update(numbers)
        if not self.deadlines_ms:
            return
        for number in numbers:
            self.deadlines_ms.pop(number, None)
        heap = self._next_deadlines
        while heap and heap[0][1] not in self.deadlines_ms:
            heappop(heap)
        if len(heap) > 2 * len(self.deadlines_ms) + 64:
            heap[:] = [(at, number) for number, (at, _) in self.deadlines_ms.items()]
            heapify(heap)

    def due(self, now_ms: int) -> list[int]:
        """The calls whose deadline has come, in the order of the deadlines."""
        found: list[int] = []
        heap = self._next_deadlines
        while heap and heap[0][0] <= now_ms:
            number = heappop(heap)[1]
            if self.deadlines_ms.pop(number, None) is not None:
                found.append(number)
        return found

    def deadline_ms(self) -> int | None:
        """The earliest deadline of all, or one that was earlier still."""
        return self._next_deadlines[0][0] if self._next_deadlines else None

    def half_ms(self, quiet_ms: int) -> int | None:
        """When half of the time of a call that has not ended is over, counted
        from *quiet_ms* if it was called earlier; None: none has a deadline."""
        halves = (
            max(at - had, quiet_ms) + had // 2 for at, had in self.deadlines_ms.values()
        )
        return min(halves, default=None)

    # -- for simulators ----------------------------------------------------------

    def copy(self) -> Calls:
        """Another one that goes its own way from here."""
        twin = Calls(self.count_max, self.bytes_max)
        twin.last = self.last
        twin.writes, twin.reads = self.writes.copy(), self.reads.copy()
        twin.alone = self.alone.copy()
        twin.deadlines_ms = self.deadlines_ms.copy()
        twin._next_deadlines = self._next_deadlines.copy()
        twin._write_bytes, twin._read_bytes = self._write_bytes, self._read_bytes
        return twin

    def fingerprint(self, now_ms: int) -> Hashable:
        """Equal for those that behave equally from *now_ms* on."""
        return (
            self.last,
            *(tuple(self.writes.items()), tuple(self.reads.items())),
            frozenset(self.alone),
            tuple((n, at - now_ms, had) for n, (at, had) in self.deadlines_ms.items()),
        )


def _first(commands: Commands, numbers: Iterable[int]) -> Commands:
    """As many of *numbers*, from the first, as may travel together."""
    taken: Commands = {}
    size = 0
    for number in numbers:
        command = commands[number]
        size += len(command)
        if taken and (len(taken) == TOGETHER_MAX or size > TOGETHER_BYTES_MAX):
            break
        taken[number] = command
    return taken
