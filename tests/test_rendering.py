"""What the command prints: bytes, tables, changes; and what it reads as typed."""

from __future__ import annotations

import json
import time

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from understudy import status, verify
from understudy.notes import Notes
from understudy.options import parse
from understudy.outcome import UNAVAILABLE, Ended
from understudy.status import is_safe, is_serving
from understudy.table import change_lines, clock, columns, status_lines, view_line
from understudy.text import as_json, complain, escaped, shown
from understudy.verify import Comparison
from wire.messages import DigestIs, Member, StatusIs, View

ESCAPED = {
    b"": "",
    b"plain": "plain",
    "grüße €".encode(): "grüße €",
    b"tab\tand\nline\r": "tab\\tand\\nline\\r",
    b"back\\slash": "back\\\\slash",
    b"\x00\x1b[2J": "\\x00\\x1b[2J",
    b"\xff\xfe": "\\xff\\xfe",
    b"caf\xc3": "caf\\xc3",
    "\u2028".encode(): "\\xe2\\x80\\xa8",
}


@pytest.mark.parametrize("data", ESCAPED)
def test_escaped(data):
    assert ESCAPED[data] == escaped(data)


def test_escaped_is_quick():
    """Four MiB of any kind took two to three seconds character by character."""
    for data in (bytes(1 << 22), b"text " * 800_000, bytes(range(256)) * 16_384):
        began = time.process_time()
        escaped(data)
        assert time.process_time() - began < 1.5


def test_shown_is_cut():
    assert shown(b"short") == "'short'"
    assert shown(b"k" * 100) == f"'{'k' * 60}...' (100 bytes)"


def test_as_json():
    assert as_json("value", "ü".encode()) == {"value": "ü"}
    assert as_json("value", b"\xff\x00") == {"value_base64": "/wA="}
    assert as_json("value", None) == {"value": None}


# -- status ----------------------------------------------------------------------------
#: Of the changes below.
TODAY = "2026-01-01"


def server(name, state, **more):
    return {
        "name": name,
        "incarnation": "0123456789abcdef",
        "address": f"tcp:127.0.0.1:{7400 + int(name[1:])}",
        "state": state,
        "silent_ticks": 0,
        "connected": True,
        "position": {"commit": 41, "log": 42},
        "waiting": None,
        "transfer_bytes": None,
        **more,
    }


def document(**more):
    return {
        "cluster": "00" * 16,
        "view": {
            "number": 7,
            "primary": "s2",
            "backups": ["s1"],
            "holders": ["s1"],
            "acknowledged": True,
        },
        "servers": [
            server("s1", "backup"),
            server("s2", "primary"),
            server("s3", "idle"),
        ],
        "waiting": None,
        "memory_lost": False,
        "refused": [],
        "settings": {"backups": 1},
        "history": [
            {
                "number": number,
                "primary": "s2",
                "backups": ["s1"],
                "causes": [
                    {"server": "s9", "code": "silent", "evidence": "silent for 5 ticks"}
                ],
                "time": f"2026-01-01T00:00:0{number}.000+00:00",
            }
            for number in range(1, 8)
        ],
        **more,
    }


def test_status():
    lines = status_lines(document(), TODAY)
    text = "\n".join(lines)
    assert lines[0] == "view 7: primary s2, backup s1 (holder); acknowledged"
    rows = [line.split() for line in lines if line.startswith("s")]
    assert [row[:2] for row in rows] == [
        ["server", "state"],
        ["s2", "primary"],
        ["s1", "backup"],
        ["s3", "idle"],
    ]
    assert "silent ticks" in text
    assert rows[1][2:] == ["tcp:127.0.0.1:7402", "01234567", "0", "41", "42"]
    assert "waiting for nothing" in text
    assert "view 7" in text
    assert "view 3: primary s2" in text
    assert "view 2: primary s2" not in text, "the last five are enough"
    assert text.index("view 6:") < text.index("view 5:"), "the newest comes first"
    assert "s9: silent (silent for 5 ticks)" in text


def test_status_says_what_is_waited_for():
    wait = {"for": ["s1"], "code": "acknowledgement", "text": "s1 has yet to say"}
    found = document(
        waiting=wait, servers=[server("s1", "syncing", transfer_bytes=12_345_678)]
    )
    text = "\n".join(status_lines(found, TODAY))
    assert "waiting (acknowledgement): s1 has yet to say" in text
    assert "transfer: 12.3 MB" in text


def test_what_a_stranger_calls_itself_does_not_control_the_terminal():
    evil = "s1\x1b[2J\nview 9: primary evil"
    change = {"number": 1, "primary": evil, "backups": [evil], "time": "\r"}
    change["causes"] = [{"server": evil, "code": "\x07", "evidence": "\u202e"}]
    told = document(servers=[server("s1", "idle") | {"name": evil}], history=[change])
    told["refused"] = [{"name": evil, "address": "\n", "code": "\b", "text": "\0"}]
    told["waiting"] = {"for": [], "code": "\n", "text": "\x9b"}
    lines = status_lines(told, "2026-11-28") + change_lines(change, "2026-11-28")
    lines.append(view_line(told["view"] | {"primary": evil}))
    assert all(line.isprintable() for line in lines)
    assert any("s1\\x1b[2J\\nview 9" in line for line in lines)


def test_status_names_a_server_that_has_failed():
    text = "diverged: the answers up to entry 2 give 0 here, and 1 at the primary"
    failed = {"for": [], "code": "failed", "text": text}
    lines = status_lines(
        document(servers=[server("s1", "dead", waiting=failed)]), TODAY
    )
    [line] = [line for line in lines if line.startswith("s1 ")]
    assert line.endswith(f"failed: {text}")
    assert "waits" not in line


@pytest.mark.parametrize("names", [("A",), ("A", "B")])
def test_verify_of_an_empty_cluster_has_no_empty_column(names):
    nothing = {name: DigestIs(0, 0, b"") for name in names}
    [line] = verify._lines(Comparison(View(2, Member("A", 1, "tcp:a:1")), 0, nothing))
    assert line == "ok: no operation was executed yet, so no states differ (view 2)"


def test_an_ipv6_address_is_shown_with_brackets(capsys):
    found = document(servers=[server("s1", "idle", address="tcp:\\:\\:1:7401")])
    found["waiting"] = {"for": [], "code": "x", "text": "s1 at tcp:fd00\\:\\:1:7401"}
    text = "\n".join(status_lines(found, TODAY))
    assert "tcp:[::1]:7401" in text
    assert "tcp:[fd00::1]:7401" in text
    assert "\\" not in text
    complain("no connection to tcp:\\:\\:1:7400")
    assert capsys.readouterr().err == "no connection to tcp:[::1]:7400\n"


def test_status_says_what_was_left_out():
    lines = status_lines(document(cut="the history but for its end"), "2026-11-28")
    assert "left out, for it would not fit: the history but for its end" in lines


LOST = {
    "memory": (
        {
            "memory_lost": True,
            "waiting": {"for": [], "code": "memory lost", "text": "restore it"},
        },
        (
            "the view service has lost its memory or has an old state, and creates no "
            "view; do not restart the servers: they hold the data"
        ),
    ),
    "data": (
        {"waiting": {"for": [], "code": "lost", "text": "begin again"}},
        (
            "what was written, if anything, is lost: every server that held it has "
            "stopped or was restarted"
        ),
    ),
}


@pytest.mark.parametrize(("more", "expected"), LOST.values(), ids=LOST.keys())
def test_the_first_line_shows_a_loss(more, expected):
    found = document(**more)
    lines = status_lines(found, TODAY)
    assert lines[0] == expected
    assert lines[1].startswith("the newest view that it knows: view 7: primary s2")
    assert status._still(found, "safe", 1).startswith(f"not safe after 1 s: {expected}")
    found["view"] |= {"number": 0, "primary": None}
    assert "view" not in status_lines(found, TODAY)[1]


def test_status_of_nobody():
    view = {"number": 0, "primary": None, "backups": [], "holders": []}
    view["acknowledged"] = False
    found = document(view=view, servers=[], history=[])
    text = "\n".join(status_lines(found, TODAY))
    assert "nobody serves" in text
    assert "no server has called yet" in text


def test_status_says_who_was_refused():
    refused = {"name": "s9", "address": "tcp:a:9", "code": "cluster", "text": "is of"}
    found = document(refused=[refused], servers=[])
    text = "\n".join(status_lines(found, TODAY))
    assert "refused: s9 at tcp:a:9: is of" in text
    assert "no server was let in" in text
    assert "called yet" not in text
    found["waiting"] = {"for": [], "code": "memory lost", "text": "is of"}
    text = "\n".join(status_lines(found, TODAY))
    assert "refused: s9 at tcp:a:9: cluster" in text
    assert text.count("is of") == 1


def test_status_says_where_a_refused_server_calls_from():
    refused = {"name": "s9", "address": "tcp:a:9", "code": "cluster", "text": "is of"}
    found = document(refused=[refused | {"calls_from": "10.0.0.9"}])
    text = "\n".join(status_lines(found, TODAY))
    assert "refused: s9 at tcp:a:9, called from 10.0.0.9: is of" in text


SEEN = {
    "as it publishes": ("tcp:10.0.0.1:1", "10.0.0.1", ""),
    "the same, wrapped": ("tcp:10.0.0.1:1", "::ffff:10.0.0.1", ""),
    "from here": ("tcp:10.0.0.1:1", "127.0.0.1", ""),
    "not connected": ("tcp:10.0.0.1:1", None, ""),
    "a name": ("tcp:s1:1", "10.0.0.2", ""),
    "no address": ("nonsense", "10.0.0.2", ""),
    "another one": ("tcp:172.17.0.2:1", "10.0.0.2", "calls from 10.0.0.2"),
}


@pytest.mark.parametrize("case", SEEN.values(), ids=SEEN.keys())
def test_status_shows_an_address_that_is_not_the_one_published(case):
    address, calls_from, expected = case
    one = server("s1", "idle") | {"address": address, "calls_from": calls_from}
    text = "\n".join(status_lines(document(servers=[one]), TODAY))
    assert ("calls from" in text) == bool(expected)
    assert expected in text


def test_status_points_at_an_address_that_others_cannot_use():
    one = server("s1", "idle") | {"address_doubt": "s1 publishes ..."}
    text = "\n".join(status_lines(document(servers=[one]), TODAY))
    assert "of no use to others at this address" in text


@pytest.mark.parametrize("is_open", [True, False])
def test_a_wait_that_ends_with_a_question_says_what_it_saw(is_open):
    class Asked:
        """Answers once."""

        def __init__(self):
            self.is_open = is_open
            self.answers = [json.dumps(document(settings={"backups": 2})).encode()]

        async def ask(self, *_: object):
            if not self.answers:
                raise Ended(UNAVAILABLE, "has not answered for 0 s")
            return StatusIs(self.answers.pop())

    clock = Clock()
    ended: list = []
    waiting = Deferred.fromCoroutine(status._wait(clock, Asked(), "safe", 0.5))
    waiting.addBoth(ended.append)
    clock.advance(0.05)
    text = ended[0].value.text
    assert text.startswith("not safe after 0.5 s" if is_open else "has not answered")


def test_a_view_without_backups():
    view = document()["view"] | {"backups": [], "holders": [], "acknowledged": False}
    assert view_line(view) == "view 7: primary s2, backup none; not acknowledged yet"


def test_a_change():
    assert change_lines(document()["history"][0], TODAY) == [
        "00:00:01.000Z  view 1: primary s2, backup s1",
        "    s9: silent (silent for 5 ticks)",
    ]


@pytest.mark.parametrize(
    ("today", "expected"),
    [
        (TODAY, "12:34:56.789Z"),
        ("2026-01-02", "2026-01-01 12:34:56.789Z"),
        ("2025-01-01", "2026-01-01 12:34:56.789Z"),
    ],
)
@pytest.mark.parametrize("zone", ["Z", "+00:00", ""])
def test_a_time_has_its_zone_and_its_date_if_that_is_not_today(zone, today, expected):
    assert clock(f"2026-01-01T12:34:56.789{zone}", today) == expected


def test_what_is_no_time_is_shown_as_it_is():
    assert clock("soon", TODAY) == "soon"


def test_columns():
    assert columns([("a", "12"), ("bcd", "3")], frozenset({1})) == [
        "a    12",
        "bcd   3",
    ]


SERVING = {
    "all is well": (document(), True, True),
    "the primary is dead": (
        document(servers=[server("s1", "backup"), server("s2", "dead")]),
        False,
        False,
    ),
    "the backup is dead": (
        document(servers=[server("s1", "dead"), server("s2", "primary")]),
        True,
        False,
    ),
    "no backup": (
        document(view=document()["view"] | {"backups": []}),
        True,
        False,
    ),
    "fewer backups than configured": (
        document(settings={"backups": 2}),
        True,
        False,
    ),
    "no backup, and none is configured": (
        document(view=document()["view"] | {"backups": []}, settings={"backups": 0}),
        True,
        True,
    ),
    "the backup has hung up": (
        document(
            servers=[
                server("s1", "backup", connected=False),
                server("s2", "primary"),
            ]
        ),
        True,
        False,
    ),
    "not acknowledged": (
        document(view=document()["view"] | {"acknowledged": False}),
        False,
        False,
    ),
}


@pytest.mark.parametrize("name", SERVING)
def test_serving_and_safe(name):
    found, serving, safe = SERVING[name]
    assert is_serving(found) is serving
    assert is_safe(found) is safe


# -- what was typed --------------------------------------------------------------------
@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    monkeypatch.delenv("UNDERSTUDY_VIEWS", raising=False)


def test_shared_options_on_either_side():
    before = parse(["--views", "tcp:a:1", "--timeout", "3", "--json", "get", "k"])
    after = parse(["get", "k", "--views", "tcp:a:1", "--timeout", "3", "--json"])
    assert vars(before) == vars(after)
    assert before.views == ("tcp:a:1",)
    assert before.timeout == 3.0


def test_defaults():
    options = parse(["get", "k"])
    assert options.views == ("tcp:127.0.0.1:7400",)
    assert options.timeout == 10.0
    assert not options.json


def test_several_addresses():
    options = parse(["get", "k", "--views", "tcp:a:1", "--views", "tcp:b:2"])
    assert options.views == ("tcp:a:1", "tcp:b:2")


def test_the_environment(monkeypatch):
    monkeypatch.setenv("UNDERSTUDY_VIEWS", "tcp:a:1, tcp:b:2,")
    assert parse(["get", "k"]).views == ("tcp:a:1", "tcp:b:2")
    assert parse(["get", "k", "--views", "tcp:c:3"]).views == ("tcp:c:3",)


TYPED = {
    "a key with a dash": (["put", "--", "-k", "-v"], {"key": b"-k", "value": b"-v"}),
    "a negative value": (["put", "k", "-5"], {"value": b"-5"}),
    "standard input": (["put", "k", "-"], {"value": b"-", "is_from_stdin": True}),
    "a dash": (["put", "k", "--", "-"], {"value": b"-", "is_from_stdin": False}),
    "a dash as key": (["put", "--", "-", "v"], {"key": b"-", "is_from_stdin": False}),
    "minus": (["incr", "k", "-5"], {"by": -5}),
    "the least": (["incr", "k", str(-(2**63))], {"by": -(2**63)}),
    "cas": (["cas", "k", "a", "b"], {"old": b"a", "new": b"b"}),
    "cas of nothing": (["cas", "k", "", "b"], {"old": b"", "new": b"b"}),
    "cas absent": (["cas", "k", "b", "--absent"], {"old": None, "new": b"b"}),
    "cas absent, OLD empty": (["cas", "k", "", "b", "--absent"], {"old": None}),
    "no text": (["get", "\udcff"], {"key": b"\xff"}),
}


@pytest.mark.parametrize("name", TYPED)
def test_typed(name):
    arguments, expected = TYPED[name]
    options = vars(parse(arguments))
    assert expected == {field: options[field] for field in expected}


# -- why nobody answers ----------------------------------------------------------------
def test_notes():
    notes = Notes()
    assert notes.about(["tcp:a:1"]) == ""
    event = {
        "understudy_values": {"address": "tcp:a:1", "reason": "Connection refused."}
    }
    notes(event)
    notes({"understudy_values": {"address": "tcp:b:2", "reason": "no route"}})
    assert notes.about(["tcp:a:1"]) == "connection refused"
    long = "10.0.0.1: Connection was refused by other side: 111: Connection refused."
    notes({"understudy_values": {"address": "tcp:c:3", "reason": f"{long}; no"}})
    assert notes.about(["tcp:c:3"]) == "10.0.0.1: connection refused; no"
    assert (
        notes.about(["tcp:a:1", "tcp:b:2"])
        == "tcp:a:1: connection refused; tcp:b:2: no route"
    )


def event_of(name, **values):
    return {"understudy_event": name, "understudy_values": values}


def test_our_own_goodbye_is_no_trouble():
    notes, views = Notes(), ["tcp:a:1"]
    ours = "said goodbye: stopping: this connection is needed no more"
    notes(event_of("link.made", address="tcp:a:1", peer="a:1"))
    notes(event_of("link.lost", address="tcp:a:1", reason=ours))
    assert notes.about(views) == ""
    assert notes.has_reached(views)
    assert notes.stands(views)


def test_a_refusal_of_ours_is_trouble():
    notes, views = Notes(), ["tcp:a:1"]
    text = "said goodbye: silent: no Hello within 5 s"
    notes(event_of("dial.failed", address="tcp:a:1", reason=text))
    accepted = "the connection was accepted, but then there was no Hello within 5 s"
    assert notes.about(views) == accepted
    text = "said goodbye: too long: a frame of 1213486160 bytes is over 16777216"
    notes(event_of("dial.failed", address="tcp:a:1", reason=text))
    assert "does not speak as it should: a frame of" in notes.about(views)
    text = "said goodbye: cluster: another cluster"
    notes(event_of("dial.failed", address="tcp:a:1", reason=text))
    assert notes.about(views) == text
    assert not notes.has_reached(views)


def test_a_connection_that_was_made_again_is_no_trouble():
    notes, views = Notes(), ["tcp:a:1", "tcp:b:2"]
    notes(event_of("link.made", address="tcp:a:1", peer="a:1"))
    notes(event_of("link.lost", address="tcp:a:1", reason="connection closed"))
    assert notes.has_reached(views)
    assert not notes.stands(views)
    assert notes.about(views) == "connection closed"
    notes(event_of("link.made", address="tcp:a:1", peer="a:1"))
    assert notes.stands(views)
    assert notes.about(views) == ""
