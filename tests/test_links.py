"""One connection, in memory and on virtual time: how it opens, what it lets
through, and how it ends."""

from __future__ import annotations

import errno

import msgspec
import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import LogLevel, capturedLogs
from twisted.python.failure import Failure

from tests.recorder import Recorder, said
from wire import codec, messages
from wire.bounds import GOODBYE_TEXT_MAX
from wire.codec import Decoder, ProtocolError, encode
from wire.link import LINGER_S, Link
from wire.messages import (
    CLERK,
    NO_SESSION,
    OBSERVER,
    SERVER,
    VERSION,
    VIEW_SERVICE,
    BatchAnswer,
    Goodbye,
    Hello,
    Member,
    Query,
    QueryAnswer,
    Status,
    Watch,
)

CLERK_HELLO = Hello(VERSION, CLERK)
SERVER_HELLO = Hello(VERSION, SERVER, member=Member("s1", 7, "tcp:127.0.0.1:7401"))
QUERY = Query(1, NO_SESSION, 0, b"body")
ANSWER = QueryAnswer(1, b"answer")


class Transport(StringTransport):
    """Remembers that it was aborted, which StringTransport takes for closed."""

    is_aborted = False

    def abortConnection(self) -> None:
        self.is_aborted = True


class Case:
    """One end of a connection, called by a clerk or (*dialled*) by itself."""

    def __init__(self, *, dialled: bool = False, refusal: Goodbye | None = None):
        self.refusal = refusal
        #: What is unfinished, as its origin was told.
        self.unfinished_bytes: list[tuple[int, bool]] = []
        self.clock = Clock()
        self.transport = Transport(peerAddress=IPv4Address("TCP", "10.0.0.9", 4711))
        self.ends: list[str] = []
        if dialled:
            self.owner, decoder = Recorder(CLERK_HELLO), Decoder(SERVER, CLERK)
        else:
            self.owner, decoder = Recorder(SERVER_HELLO), Decoder(None, SERVER)
        self.pair = (CLERK, SERVER) if dialled else (SERVER, CLERK)
        self.link = Link(
            self.owner,
            self,
            decoder,
            self.clock,
            dialled=dialled,
            hello_s=5.0,
        )
        self.link.makeConnection(self.transport)

    def admit(self, _: Link) -> Goodbye | None:
        return self.refusal

    def unfinished(self, _: Link, length: int, *, is_new: bool) -> None:
        self.unfinished_bytes.append((length, is_new))

    def opened(self, _: Link) -> None:
        self.ends.append("opened")

    def closed(self, _: Link, reason: str) -> None:
        self.ends.append(reason)

    def hears(self, *messages: object) -> None:
        self.link.dataReceived(b"".join(map(encode, messages)))

    def lose(self, reason: Exception) -> None:
        self.link.connectionLost(Failure(reason))

    @property
    def said(self) -> list[object]:
        return said(self.transport, *self.pair)


@pytest.fixture
def called() -> Case:
    """An open link with a clerk that has called."""
    case = Case()
    case.hears(CLERK_HELLO)
    case.transport.clear()
    return case


# -- opening --------------------------------------------------------------------


def test_the_caller_speaks_first():
    caller, listener = Case(dialled=True), Case()
    assert caller.said == [CLERK_HELLO]
    assert listener.said == []


def test_the_listener_answers_with_its_own_hello():
    case = Case()
    case.hears(CLERK_HELLO)
    assert case.said == [SERVER_HELLO]
    assert ["opened"] == case.owner.heard == case.ends
    assert case.link.hello == CLERK_HELLO
    assert case.link.peer == "10.0.0.9:4711"
    assert case.link.is_open


def test_an_owner_may_speak_as_soon_as_it_is_told():
    case = Case(dialled=True)
    case.owner.link_opened = lambda link: link.send(QUERY)
    case.hears(SERVER_HELLO)
    assert case.said == [CLERK_HELLO, QUERY]


def test_what_comes_with_the_hello_is_heard():
    case = Case()
    case.hears(CLERK_HELLO, QUERY)
    assert case.owner.heard == ["opened", QUERY]


def test_the_owner_refuses():
    case = Case()
    case.owner.refusal = Goodbye("cluster", "this is cluster aa, not bb")
    case.hears(CLERK_HELLO, QUERY)
    case.lose(ConnectionDone())
    assert [SERVER_HELLO, case.owner.refusal] == case.said
    assert case.owner.heard == ["opened"]
    assert case.ends == ["opened", "said goodbye: cluster: this is cluster aa, not bb"]


def test_the_listener_is_full():
    full = Goodbye("full", "there are 3 connections already")
    case = Case(refusal=full)
    case.hears(CLERK_HELLO, QUERY)
    assert [full] == Decoder(SERVER, CLERK).feed(case.transport.value())
    assert case.owner.heard == []


def test_a_farewell_fits_into_a_frame_before_a_hello():
    case = Case(refusal=Goodbye("full", "é" * 5000))
    case.hears(CLERK_HELLO)
    (farewell,) = Decoder(SERVER, CLERK).feed(case.transport.value())
    assert farewell.text == "é" * (GOODBYE_TEXT_MAX - 1) + "…"


def test_its_origin_knows_what_is_unfinished(called):
    frame = encode(QUERY)
    for data in (frame[:7], frame[7:9], frame[9:] + frame[:5], frame[5:], frame):
        called.link.dataReceived(data)
    expected = [(7, False), (9, False), (5, True), (0, True)]
    assert called.unfinished_bytes == expected
    called.link.dataReceived(frame[:6])
    called.link.goodbye("stopping", "enough")
    assert called.unfinished_bytes[-1] == (0, True)
    assert called.link._decoder.unfinished_bytes == 0


def test_what_is_unfinished_goes_with_the_connection(called):
    called.link.dataReceived(encode(QUERY)[:6])
    called.lose(ConnectionDone())
    assert called.unfinished_bytes[-1] == (0, True)
    assert called.ends[-1] == "connection closed in the middle of a frame"


def test_who_never_says_hello_is_closed():
    case = Case()
    case.clock.advance(4.99)
    assert case.said == []
    with capturedLogs() as logs:
        case.clock.advance(0.02)
    assert [Goodbye("silent", "no Hello within 5 s")] == case.said
    assert [("link.broken", LogLevel.warn)] == events(logs)
    assert case.transport.disconnecting


def test_who_said_hello_while_this_process_stood_still_is_heard():
    case = Case()
    # The timer comes first, what has arrived is read after it.
    case.clock.advance(60)
    assert case.said == []
    case.link.dataReceived(encode(CLERK_HELLO))
    case.clock.advance(1000)
    assert case.link.is_open


def test_who_did_not_has_as_much_time_again_once():
    case = Case()
    case.clock.advance(7)
    case.clock.advance(1.99)
    assert case.said == []
    case.clock.advance(0.02)
    assert [Goodbye("silent", "no Hello within 5 s")] == case.said


def test_but_no_more_than_it_had_at_first():
    case = Case()
    case.clock.advance(3600)
    case.clock.advance(5.01)
    assert [Goodbye("silent", "no Hello within 5 s")] == case.said


def test_half_a_hello_is_none():
    case = Case()
    case.link.dataReceived(encode(CLERK_HELLO)[:-1])
    case.clock.advance(5)
    assert [Goodbye("silent", "no Hello within 5 s")] == case.said


def test_who_says_hello_has_time(called):
    called.clock.advance(1000)
    assert called.link.is_open
    assert called.clock.getDelayedCalls() == []


def test_a_version_is_refused_with_ours():
    case = Case()
    case.link.dataReceived(b"\0\0\0\x03\x92\x01\x01")
    assert case.said[0] == SERVER_HELLO
    assert case.said[1].reason == "version"
    assert "version 1 is not spoken" in case.said[1].text
    assert case.owner.heard == []


def test_a_message_goes_only_to_a_version_that_has_it(monkeypatch):
    """Both are told in one range of versions; the older end is spared."""
    monkeypatch.setitem(messages.SINCE, QueryAnswer, VERSION + 1)
    monkeypatch.setattr(messages, "VERSION", VERSION + 1)
    newer = Hello(VERSION + 1, CLERK)
    for hello, expected in ((CLERK_HELLO, []), (newer, [ANSWER])):
        case = Case()
        case.hears(hello)
        case.link.send(ANSWER)
        case.link.queue(ANSWER)
        case.link.flush()
        assert case.said[1:] == 2 * expected


def test_what_a_later_version_appends_is_skipped():
    case = Case()
    later = [1, VERSION + 1, CLERK, b"", 0, None, "", 0, 0, VERSION, "and more"]
    frames = (later, [37, 1, NO_SESSION, 0, b"body", "and more"])
    for payload in map(msgspec.msgpack.encode, frames):
        case.link.dataReceived(len(payload).to_bytes(4, "big") + payload)
    assert case.owner.heard == ["opened", QUERY]


def test_an_address_that_cannot_be_dialled():
    case = Case()
    case.hears(Hello(VERSION, SERVER, member=Member("s2", 1, "unix:/tmp/x")))
    assert case.owner.heard == []
    assert case.said[-1].reason == "protocol"
    assert "'unix:/tmp/x'" in case.said[-1].text


# -- what is not spoken ------------------------------------------------------------

NONSENSE = {
    "garbage": (b"\0\0\0\x01\xc1", "protocol"),
    "four GiB": (b"\xff\xff\xff\xff", "too long"),
    "an unknown tag": (b"\0\0\0\x02\x91\x63", "protocol"),
    "the wrong direction": (encode(ANSWER), "protocol"),
    "somebody else's": (encode(Watch()), "protocol"),
    "hello twice": (encode(CLERK_HELLO), "protocol"),
}


@pytest.mark.parametrize(("data", "reason"), NONSENSE.values(), ids=NONSENSE.keys())
def test_nonsense_ends_the_link_with_one_line_and_a_goodbye(called, data, reason):
    with capturedLogs() as logs:
        called.link.dataReceived(encode(QUERY))
        called.link.dataReceived(data)
        called.link.dataReceived(encode(QUERY))
        called.link.dataReceived(data)
    (farewell,) = hear_server(called)
    assert reason == farewell.reason
    assert called.transport.disconnecting
    assert called.owner.heard == ["opened", QUERY]
    assert [("link.broken", LogLevel.warn)] == events(logs)
    values = logs[0]["understudy_values"]
    expected = {"peer": "10.0.0.9:4711", "reason": reason, "text": farewell.text}
    assert expected == values
    called.lose(ConnectionDone())
    assert f"said goodbye: {reason}: {farewell.text}" == called.owner.heard[-1]


def test_a_caller_leaves_the_log_to_its_dialler():
    """It would repeat the line with each attempt; the dialler gives a reason once."""
    case = Case(dialled=True)
    with capturedLogs() as logs:
        case.link.dataReceived(NONSENSE["garbage"][0])
    assert [("link.broken", LogLevel.debug)] == events(logs)
    case.lose(ConnectionDone())
    assert case.ends[-1].startswith("said goodbye: protocol: ")


def test_an_owner_may_find_that_it_is_nonsense(called):
    def judge(*_):
        raise ProtocolError("protocol", "no such transfer: 5")

    called.owner.answer = judge
    called.hears(QUERY, QUERY)
    assert [Goodbye("protocol", "no such transfer: 5")] == hear_server(called)
    assert called.owner.heard == ["opened", QUERY]


def test_nothing_is_heard_after_a_goodbye_to_it(called):
    called.owner.answer = lambda link, _: link.goodbye("gap", "batch 3 is missing")
    called.hears(QUERY, QUERY)
    called.hears(QUERY)
    assert called.owner.heard == ["opened", QUERY]


def test_nothing_is_heard_after_an_abort(called):
    called.owner.answer = lambda link, _: link.abort()
    called.hears(QUERY, QUERY)
    called.hears(QUERY)
    assert called.transport.is_aborted
    assert called.owner.heard == ["opened", QUERY]
    called.lose(ConnectionLost())
    assert called.owner.heard[-1] == "aborted"


# -- speaking ----------------------------------------------------------------------


def hear_server(case: Case) -> list[object]:
    """What the server said since its Hello."""
    decoder = Decoder(SERVER, CLERK)
    decoder.feed(encode(SERVER_HELLO))
    return decoder.feed(case.transport.value())


def test_what_is_queued_goes_out_with_the_flush(called):
    called.link.queue(QueryAnswer(1, b""))
    called.link.queue(QueryAnswer(2, b""))
    assert called.transport.value() == b""
    called.link.flush()
    assert [answer.id for answer in hear_server(called)] == [1, 2]
    called.link.flush()
    assert len(hear_server(called)) == 2


def test_the_order_is_that_of_the_calls(called):
    called.link.send(QueryAnswer(1, b""))
    called.link.queue(QueryAnswer(2, b""))
    called.link.send(QueryAnswer(3, b""))
    called.link.queue(QueryAnswer(4, b""))
    called.link.goodbye("stopping", "")
    assert [answer.id for answer in hear_server(called)[:4]] == [1, 2, 3, 4]
    assert hear_server(called)[4] == Goodbye("stopping", "")


def test_a_link_that_is_ending_says_nothing_more(called):
    called.link.goodbye("stopping", "text")
    called.link.send(ANSWER)
    called.link.queue(ANSWER)
    called.link.flush()
    called.link.goodbye("full", "text")
    assert [Goodbye("stopping", "text")] == hear_server(called)
    assert not called.link.is_open


def test_a_link_that_is_gone_takes_every_call(called):
    called.lose(ConnectionLost())
    for call in [
        lambda link: link.send(ANSWER),
        lambda link: link.queue(ANSWER),
        Link.flush,
        Link.pause,
        Link.resume,
        Link.abort,
        lambda link: link.goodbye("stopping", ""),
    ]:
        call(called.link)
    assert hear_server(called) == []
    assert called.clock.getDelayedCalls() == []


def test_what_does_not_fit_is_the_callers_mistake(called):
    with pytest.raises(ValueError, match="does not fit"):
        called.link.send(BatchAnswer(1, bytes(2**24)))
    called.link.send(ANSWER)
    assert hear_server(called) == [ANSWER]


# -- ending -------------------------------------------------------------------------

ENDS = {
    "closed": (ConnectionDone(), "connection closed"),
    "lost": (ConnectionLost("cable"), "connection lost: "),
}


@pytest.mark.parametrize(("error", "words"), ENDS.values(), ids=ENDS.keys())
def test_the_owner_hears_why(called, error, words):
    called.lose(error)
    assert called.owner.heard[-1].startswith(words)
    assert called.ends[-1] == called.owner.heard[-1]
    assert not called.link.is_open


def test_cut_off_in_the_middle_of_a_frame(called):
    called.link.dataReceived(encode(QUERY)[:-1])
    called.lose(ConnectionDone())
    expected = ["opened", "connection closed in the middle of a frame"]
    assert expected == called.owner.heard


def test_a_link_that_never_opened_is_not_the_owners_business():
    case = Case()
    case.lose(ConnectionDone())
    assert case.owner.heard == []
    assert case.ends == ["connection closed"]


def test_the_other_end_says_goodbye():
    case = Case(dialled=True)
    farewell = Goodbye("superseded", "incarnation 8 of s1 has been seen")
    case.hears(SERVER_HELLO, ANSWER, farewell)
    assert case.transport.disconnecting
    assert farewell == case.link.farewell
    case.lose(ConnectionDone())
    assert case.owner.heard == [
        "opened",
        ANSWER,
        "goodbye: superseded: incarnation 8 of s1 has been seen",
    ]


def test_refused_without_a_hello():
    case = Case(dialled=True)
    case.hears(Goodbye("full", "there are 3 connections already"))
    case.lose(ConnectionDone())
    assert case.owner.heard == []
    assert case.ends == ["goodbye: full: there are 3 connections already"]


def test_who_does_not_close_is_aborted(called):
    called.link.goodbye("stopping", "text")
    called.clock.advance(LINGER_S - 0.01)
    assert not called.transport.is_aborted
    called.clock.advance(0.02)
    assert called.transport.is_aborted


def test_no_timer_is_left(called):
    called.link.goodbye("stopping", "text")
    called.lose(ConnectionDone())
    assert called.clock.getDelayedCalls() == []


# -- back-pressure ---------------------------------------------------------------------


def test_the_owner_pauses(called):
    called.link.pause()
    assert called.transport.producerState == "paused"
    called.link.resume()
    assert called.transport.producerState == "producing"


def test_a_clogged_link_asks_for_no_more(called):
    called.link.pauseProducing()
    assert called.transport.producerState == "paused"
    called.link.resumeProducing()
    assert called.transport.producerState == "producing"


def test_both_reasons_to_pause_must_be_gone(called):
    link, transport = called.link, called.transport
    link.pauseProducing()
    link.pause()
    link.resumeProducing()
    assert transport.producerState == "paused"
    link.pauseProducing()
    link.resume()
    assert transport.producerState == "paused"
    link.resumeProducing()
    assert transport.producerState == "producing"


def test_the_caller_goes_on_reading():
    """If it did not, two ends that are clogged would wait for each other."""
    case = Case(dialled=True)
    case.hears(SERVER_HELLO)
    case.link.pauseProducing()
    assert case.transport.producerState == "producing"
    case.link.resumeProducing()
    assert case.transport.producerState == "producing"


# -- links as values ------------------------------------------------------------


def test_newer_links_are_greater():
    older, newer = Case().link, Case().link
    assert older < newer
    assert newer > older
    assert sorted([newer, older]) == [older, newer]
    assert older != newer
    assert {older: 1, newer: 2}[newer] == 2


def test_roles_select_what_may_be_said():
    case = Case()
    case.hears(Hello(VERSION, OBSERVER), QUERY)
    assert case.said[-1].reason == "protocol"
    case = Case()
    case.hears(Hello(VERSION, VIEW_SERVICE))
    assert case.said[-1].reason == "role"
    case = Case()
    case.hears(CLERK_HELLO, Status())
    assert case.said[-1].reason == "protocol"


def events(logs: list[dict]) -> list[tuple[str, LogLevel]]:
    return [(event["understudy_event"], event["log_level"]) for event in logs]


def test_what_breaks_while_a_link_is_broken_off_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = Case()
    monkeypatch.setattr(case.owner, "hello", lambda: 1 / 0)
    with capturedLogs() as events, pytest.raises(ZeroDivisionError):
        case.hears(Hello(9, CLERK, oldest=9))
    told = [event.get("understudy_event") for event in events]
    assert "invariant.broken" in told


def test_a_frame_for_which_there_is_no_memory_ends_its_connection_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As under ``ulimit -v``: a stranger need only announce it."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    case = Case()
    case.hears(Hello(VERSION, CLERK))
    monkeypatch.setattr(codec, "mmap", refuse)
    case.link.dataReceived((16 << 20).to_bytes(4, "big") + b"x")
    farewell = case.said[-1]
    assert isinstance(farewell, Goodbye)
    assert farewell.reason == "full"
    assert "no memory for a frame of 16777216 bytes" in farewell.text
