"""
What processes say to each other.

Pure: values only.  Every message of the protocol is a frozen struct in this
file, and the table at its end says who may say what to whom; what is not in
that table is not spoken.  How a message becomes bytes is `wire.codec`'s
business.  ``docs/protocol.md`` tells the same as a story.

Every field has a bound, which msgspec checks where it is read from the wire: they
are in `wire.bounds`, and a test finds any field that has none.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct

from wire.bounds import (
    ADDRESS_MAX,
    BACKUPS_MAX,
    CAUSES_MAX,
    CHECKSUM_MAX,
    CLUSTER_BYTES,
    CODE_MAX,
    DEAD_PINGS_MAX,
    DIGEST_BYTES_MAX,
    ENTRIES_MAX,
    EVIDENCE_MAX,
    FRAME_BYTES_MAX,
    GOODBYE_TEXT_MAX,
    INTEGER_MAX,
    MACHINE_MAX,
    MEMBERS_MAX,
    NAME_MAX,
    PING_INTERVAL_MS_MAX,
    POSITION_MAX,
    RECOVERIES_MAX,
    ROLE_MAX,
    SESSION_BYTES,
    TEXT_MAX,
    TIME_MAX,
    VIEW_NUMBER_MAX,
)

#: The newest version of the protocol that this code speaks, and the oldest.  Two
#: ends of a connection use the newest version that both speak.  Version 1 named a
#: view by its counter alone, so it cannot be mixed with any later one.
VERSION: Final = 2
OLDEST_VERSION: Final = 2

#: The longest body that a batch may bring, and the longest answer that a
#: machine may give: with everything around it, it still fits into one frame.
BODY_BYTES_MAX: Final = FRAME_BYTES_MAX - 64 * 1024

#: How many batches a clerk may have outstanding in one session; also how many
#: answers a replica keeps for one session.
WINDOW_MAX: Final = 64

Count = Annotated[int, Meta(ge=0, le=INTEGER_MAX)]
#: A number that begins at 1: a sequence, an index.
Ordinal = Annotated[int, Meta(ge=1, le=INTEGER_MAX)]
#: An index or a stamp that one message can set, whatever was before.
Place = Annotated[int, Meta(ge=0, le=POSITION_MAX)]
#: The identity of a view: its counter in the low `COUNTER_BITS` bits, and above
#: them 32 random bits drawn when the view was created.  Compare views by
#: `counter_of`, or for equality; the order of the integers means nothing.
ViewNumber = Annotated[int, Meta(ge=0, le=VIEW_NUMBER_MAX)]
Incarnation = Annotated[int, Meta(ge=0)]
Checksum = Annotated[int, Meta(ge=0, le=CHECKSUM_MAX)]
Name = Annotated[str, Meta(min_length=1, max_length=NAME_MAX)]
BackupNames = Annotated[tuple[Name, ...], Meta(max_length=BACKUPS_MAX)]
SessionId = Annotated[bytes, Meta(min_length=SESSION_BYTES, max_length=SESSION_BYTES)]
#: Commands or answers, or a piece of a snapshot: the frame is its bound.  Of
#: bodies those over `BODY_BYTES_MAX` are refused later, by name.
Body = Annotated[bytes, Meta(max_length=FRAME_BYTES_MAX)]
#: A word for programs.
Code = Annotated[str, Meta(max_length=CODE_MAX)]
#: A sentence for people.
Text = Annotated[str, Meta(max_length=TEXT_MAX)]


#: How many low bits of a `ViewNumber` hold the counter.
COUNTER_BITS: Final = 30
COUNTER_MAX: Final = (1 << COUNTER_BITS) - 1


def view_number(counter: int, bits: int) -> int:
    """The `ViewNumber` of the view with that counter and those 32 random bits."""
    return bits << COUNTER_BITS | counter


def counter_of(number: int) -> int:
    """The counter in a `ViewNumber`: 1 for the first view, then one more each."""
    return number & COUNTER_MAX


class Message(Struct, frozen=True, array_like=True, gc=False):
    """One thing said.  On the wire: a msgpack array, its tag first."""


# -- who ----------------------------------------------------------------------


class Member(Message, frozen=True):
    """A server: a stable name, one copy of the data, and where to find it."""

    name: Name
    #: Names one copy of the data: drawn at random when a log starts empty,
    #: which in memory is every start.
    incarnation: Incarnation
    #: An endpoint string, ``tcp:HOST:PORT``.
    address: Annotated[str, Meta(max_length=ADDRESS_MAX)]

    def is_same_copy(self, other: Member | None) -> bool:
        """Whether both are one copy of the data, wherever it listens."""
        return (
            other is not None
            and self.name == other.name
            and self.incarnation == other.incarnation
        )


class View(Message, frozen=True):
    """Who serves.  Of two views, the one with the greater counter is newer; two
    with one counter and different numbers belong to different histories."""

    number: ViewNumber = 0
    primary: Member | None = None
    backups: Annotated[tuple[Member, ...], Meta(max_length=BACKUPS_MAX)] = ()
    #: The names of those backups that were eligible when the view was made.
    #: The primary commits nothing without them.
    holders: BackupNames = ()
    #: A view before which nothing was ever answered.  Its primary completes
    #: nothing until it hears that the view is acknowledged.
    founding: bool = False
    #: The views that began after a recovery with a loss and that this view
    #: descends from, oldest first.
    recoveries: Annotated[tuple[ViewNumber, ...], Meta(max_length=RECOVERIES_MAX)] = ()

    def __post_init__(self) -> None:
        """ValueError if it is not well-formed: a receiver relies on it."""
        if self.primary is None:
            if self.number or self.backups or self.holders or self.founding:
                raise ValueError("only the view before the first has no primary")
            return
        if not self.counter:
            raise ValueError("a view with a primary has a counter above 0")
        names = {member.name for member in self.backups}
        if len(names) < len(self.backups) or self.primary.name in names:
            raise ValueError("a name is twice in a view")
        if not names.issuperset(self.holders) or (
            len(set(self.holders)) < len(self.holders)
        ):
            raise ValueError("the holders of a view are backups of it, each once")
        if self.founding and self.backups:
            raise ValueError("a founding view has no backups")

    @property
    def counter(self) -> int:
        """Its place in the order of views; 0 before the first."""
        return self.number & COUNTER_MAX

    def members(self) -> tuple[Member, ...]:
        """Primary first, then the backups; empty in the view before the first."""
        return () if self.primary is None else (self.primary, *self.backups)

    def backup(self, name: str) -> Member | None:
        """The backup of that name."""
        for member in self.backups:
            if member.name == name:
                return member
        return None


#: Before the first view: number 0, nobody.
NO_VIEW: Final = View()


class Cause(Message, frozen=True):
    """Why a view differs from the one before it, for one server."""

    server: Name
    #: One of `viewservice.views.CAUSES`.
    code: Code
    #: What was seen, in words: ``silent for 5 ticks``.
    evidence: Annotated[str, Meta(max_length=EVIDENCE_MAX)]


class Change(Message, frozen=True):
    """A step from one view to the next, for logs, watchers and `status`."""

    #: The counter of the view that it led to.
    number: Count
    primary: Name | None
    backups: BackupNames
    causes: Annotated[tuple[Cause, ...], Meta(max_length=CAUSES_MAX)]
    #: When, by the view service's wall clock, ISO 8601 UTC.  For people only.
    time: Annotated[str, Meta(max_length=TIME_MAX)] = ""


class Wait(Message, frozen=True):
    """What somebody waits for."""

    #: The names of those who are waited for.
    names: Annotated[tuple[Name, ...], Meta(max_length=MEMBERS_MAX)]
    #: A word for programs: ``acknowledgement``, ``backup``, ``lost``, ...
    code: Code
    #: A sentence for people, with what to do where something can be done.
    text: Text


# -- every connection -----------------------------------------------------------

#: The roles that an end of a connection can have.
SERVER: Final = "server"
CLERK: Final = "clerk"
OBSERVER: Final = "observer"
VIEW_SERVICE: Final = "view service"


class Hello(Message, frozen=True, tag=1):
    """The first frame in each direction."""

    #: The newest version that the sender speaks.  For ever the first field; later
    #: versions only append fields, so that every Hello can be read.
    version: Count
    #: What the sender is: SERVER, CLERK, OBSERVER or VIEW_SERVICE.
    role: Annotated[str, Meta(max_length=ROLE_MAX)]
    #: The cluster that the sender belongs to; empty while it knows none.
    cluster: Annotated[bytes, Meta(max_length=CLUSTER_BYTES)] = b""
    #: The newest view that the sender knows.  Without a *cluster* it is 0.
    number: ViewNumber = 0
    #: Who the sender is, if it is a server.
    member: Member | None = None
    #: ``module:factory`` of the state machine, if the sender is a server.
    machine: Annotated[str, Meta(max_length=MACHINE_MAX)] = ""
    #: The view service's settings, if the sender is one.
    ping_interval_ms: Annotated[int, Meta(ge=0, le=PING_INTERVAL_MS_MAX)] = 0
    dead_pings: Annotated[int, Meta(ge=0, le=DEAD_PINGS_MAX)] = 0
    #: The oldest version that the sender speaks.
    oldest: Count = OLDEST_VERSION


def spoken_version(hello: Hello) -> int:
    """The version that two ends use after that Hello; 0: they share none."""
    version = min(VERSION, hello.version)
    return version if version >= max(OLDEST_VERSION, hello.oldest) else 0


class Goodbye(Message, frozen=True, tag=2):
    """The last frame before a deliberate close.

    *reason* is one of `GOODBYES`; *text* says it to people, with the values.
    """

    reason: Code
    text: Annotated[str, Meta(max_length=GOODBYE_TEXT_MAX)]


#: Why a connection is closed on purpose.
GOODBYES: Final = {
    "version": "the other end speaks another version",
    "role": "that role has no business here",
    "cluster": "the other end belongs to another cluster",
    "machine": "the other end replicates another state machine",
    "member": "the server that was dialled is not the one that the view names",
    "name in use": "another live server holds that name",
    "superseded": "a newer incarnation of that name has been seen",
    "memory lost": "the view service has lost its memory and makes no view",
    "other view": "a different view with that counter is known here",
    "silent": "nothing came in time",
    "full": "there are too many connections",
    "protocol": "what came is not spoken here",
    "too long": "a frame is over the limit",
    "gap": "a batch is missing before this one; resend in order",
    "diverged": "two replicas differ; this one has stopped",
    "stopping": "the process is stopping",
}

# -- servers and the view service -------------------------------------------------


class Report(Message, frozen=True):
    """What a server tells of itself in a ping; it decides nothing."""

    commit: Count = 0
    log: Count = 0
    waiting: Wait | None = None
    #: Bytes of a running transfer: sent so far; None: no transfer runs.
    transfer_bytes: Count | None = None


class Ping(Message, frozen=True, tag=10):
    """I am here, and this is the newest view that I know."""

    #: Counts the pings of one connection, from 1; the answer names it.
    serial: Count
    member: Member
    number: ViewNumber
    #: The primary's synced backups in view *number*, by name.
    synced: BackupNames = ()
    #: Members of view *number* that the sender cannot reach: a primary names
    #: backups, a backup names its primary.
    unreachable: BackupNames = ()
    report: Report = Report()
    #: The sender is stopping: count it as dead at once.  It may go on until it has
    #: been replaced, and a later ping may take this back.
    leaving: bool = False
    #: A counter of the sender's own work: it grows while requests that were read
    #: are handled and ticks come on time, whatever other processes do.
    progress: Count = 0


class ViewIs(Message, frozen=True, tag=11):
    """The newest view.  ``answers`` is a ping's serial, or 0 for a push."""

    answers: Count
    cluster: Annotated[bytes, Meta(min_length=CLUSTER_BYTES, max_length=CLUSTER_BYTES)]
    view: View
    acknowledged: bool
    #: How this view came about; None for the view before the first.
    change: Change | None = None


class Watch(Message, frozen=True, tag=12):
    """Tell me the view now, and each new one until the connection ends."""


class Status(Message, frozen=True, tag=13):
    """Tell me everything you know, for a person."""


class Unreachable(Message, frozen=True, tag=15):
    """A clerk cannot reach the server *name*, primary of the newest view that it
    knows.  Shown by `status`; it decides nothing."""

    name: Name


class StatusIs(Message, frozen=True, tag=14):
    """The answer to `Status`.  The document is the one that users read as
    ``status --json``, encoded as UTF-8 JSON; ``docs/protocol.md`` has its shape.
    """

    document: Body


# -- primary and backups -----------------------------------------------------------


class Attach(Message, frozen=True, tag=20):
    """I am your primary in this view.  Where do you stand?"""

    view: View


class LogPosition(Message, frozen=True, tag=21):
    """Where I stand in view *view*: my log is known to be yours up to the
    entry with the identity (*entry_view*, *index*), or would be if yours has
    that entry.  A new process: (0, 0)."""

    view: ViewNumber
    entry_view: ViewNumber
    index: Count


class OpenSession(Message, frozen=True, tag=30):
    """Open a session under 128 random bits; opening it again changes nothing."""

    id: SessionId


class CloseSession(Message, frozen=True, tag=31):
    """The clerk is done; forget the session."""

    id: SessionId
    opened_index: Count


class Batch(Message, frozen=True, tag=32):
    """Commands that one clerk sends together, to be executed at most once."""

    session: SessionId
    #: The index at which the session was opened.
    opened_index: Count
    #: 1, 2, 3, ... in one session.
    sequence: Ordinal
    #: The first sequence whose answer the clerk still lacks.
    first_unanswered: Ordinal
    #: A msgpack array of commands; what a command is, the machine knows.
    body: Body


Request = OpenSession | CloseSession | Batch


class Entry(Message, frozen=True):
    """A request in the log.  (*view*, *index*) is its identity: two logs that
    hold the same identity are equal up to there."""

    #: The newest view that its primary knew when logging it.
    view: ViewNumber
    index: Ordinal
    #: The log's own time, in milliseconds; see `pbserver.log`.
    stamp_ms: Place
    request: Request


class Forward(Message, frozen=True, tag=22):
    """Entries, in order, and how far everything is committed.

    Entries begin at or below the receiver's verified index + 1; with none it
    is a heartbeat, a round for reads, or news of the commit index.
    """

    view: ViewNumber
    #: Never goes back in one primary's life; the echo proves that the backup
    #: still followed this primary when it got this message.
    round: Count
    commit: Count
    #: The primary's checksum over all (index, answer) up to *commit*.
    chain: Checksum
    entries: Annotated[tuple[Entry, ...], Meta(max_length=ENTRIES_MAX)] = ()


class ForwardOk(Message, frozen=True, tag=23):
    """The echo of a round: my log is yours up to *verified*, and I have
    applied everything up to *commit*."""

    view: ViewNumber
    round: Count
    verified: Count
    commit: Count


class Redirect(Message, frozen=True, tag=24):
    """I do not take this from you (or: not here): a newer view exists."""

    view: View


#: What a `SnapshotPart` carries.
SESSIONS_PART: Final = 0
MACHINE_PART: Final = 1
END_PART: Final = 2


class SnapshotPart(Message, frozen=True, tag=25):
    """A piece of a copy of everything applied up to (*entry_view*, *index*)."""

    view: ViewNumber
    #: 0, 1, 2, ... in one transfer; part 0 begins a new one.
    part: Count
    entry_view: ViewNumber
    index: Place
    #: The stamp of the entry at *index*, and the checksum of answers up to it.
    stamp_ms: Place
    chain: Checksum
    #: SESSIONS_PART, MACHINE_PART or END_PART.  An end has no body.
    kind: Annotated[int, Meta(ge=0, le=2)]
    #: CRC-32 over the bodies of this and all earlier parts of the transfer.
    crc: Checksum
    body: Body


class SnapshotPartOk(Message, frozen=True, tag=26):
    """That part has arrived and is loaded."""

    part: Count


# -- clerks and servers ---------------------------------------------------------------


class SessionOpened(Message, frozen=True, tag=33):
    """The session stands; *opened_index* is the index of the entry that opened it."""

    id: SessionId
    opened_index: Count


class SessionClosed(Message, frozen=True, tag=34):
    """The session is gone, now or before."""

    id: SessionId


class BatchAnswer(Message, frozen=True, tag=35):
    """A msgpack array of answers, as long as the batch."""

    sequence: Count
    body: Body


class BatchRefused(Message, frozen=True, tag=36):
    """The batch was not executed now.

    EVICTED: the session is unknown, closed or evicted; whether the batch was
    executed before that is not known any more.  TOO_LARGE: it was refused at
    the door and has not used up its number.
    """

    sequence: Count
    reason: Code


EVICTED: Final = "evicted"
TOO_LARGE: Final = "too large"


class Query(Message, frozen=True, tag=37):
    """Commands that only read.  Answered from a state that has at least batch
    *after* of the session; a clerk without one sends 16 zero bytes and 0."""

    #: The clerk's own number for this query, unique on its connection.
    id: Count
    session: SessionId
    after: Count
    body: Body


NO_SESSION: Final = bytes(16)


class QueryAnswer(Message, frozen=True, tag=38):
    """A msgpack array of answers, as long as the query."""

    id: Count
    body: Body


# -- observers and servers -------------------------------------------------------------


class DigestAt(Message, frozen=True, tag=40):
    """Tell me the digest of your state when you have applied exactly up to
    *index*; with 0: tell me now how far you have applied, without a digest."""

    index: Count


class DigestIs(Message, frozen=True, tag=41):
    """The state at *index*.  An empty digest: none was asked for, or the index
    that was asked for is already past, and *index* is where the server is."""

    index: Count
    chain: Checksum
    digest: Annotated[bytes, Meta(max_length=DIGEST_BYTES_MAX)]


# -- the table -------------------------------------------------------------------------

#: The parts that two servers play on the connection between them: the dialler
#: speaks as primary, the listener as backup.  Both say SERVER in their Hello.
PRIMARY: Final = "primary"
BACKUP: Final = "backup"

#: (who speaks, to whom) -> what may be said after Hello.
SAYS: Final[dict[tuple[str, str], tuple[type[Message], ...]]] = {
    (SERVER, VIEW_SERVICE): (Goodbye, Ping, Watch, Status),
    (CLERK, VIEW_SERVICE): (Goodbye, Watch, Status, Unreachable),
    (OBSERVER, VIEW_SERVICE): (Goodbye, Watch, Status),
    (VIEW_SERVICE, SERVER): (Goodbye, ViewIs, StatusIs),
    (VIEW_SERVICE, CLERK): (Goodbye, ViewIs, StatusIs),
    (VIEW_SERVICE, OBSERVER): (Goodbye, ViewIs, StatusIs),
    (PRIMARY, BACKUP): (Goodbye, Attach, Forward, SnapshotPart),
    (BACKUP, PRIMARY): (Goodbye, LogPosition, ForwardOk, Redirect, SnapshotPartOk),
    (CLERK, SERVER): (Goodbye, OpenSession, CloseSession, Batch, Query),
    (SERVER, CLERK): (
        Goodbye,
        *(SessionOpened, SessionClosed, BatchAnswer, BatchRefused),
        *(QueryAnswer, Redirect),
    ),
    (OBSERVER, SERVER): (Goodbye, DigestAt),
    (SERVER, OBSERVER): (Goodbye, DigestIs),
}

#: Messages that a version later than `OLDEST_VERSION` brought -> that version.
#: One is sent only on a connection whose version has it.
SINCE: Final[dict[type[Message], int]] = {}
