"""The status document fits into a frame, whatever servers have said of themselves."""

from __future__ import annotations

import json
from typing import Any

from viewservice import causes, status
from viewservice.roster import SERVERS_MAX, Roster
from viewservice.status import DOCUMENT_BYTES_MAX
from viewservice.views import HISTORY_MAX, Views
from wire.bounds import (
    ADDRESS_MAX,
    BACKUPS_MAX,
    CAUSES_MAX,
    CODE_MAX,
    EVIDENCE_MAX,
    MEMBERS_MAX,
    NAME_MAX,
    TEXT_MAX,
)
from wire.codec import Decoder, encode
from wire.messages import (
    OBSERVER,
    SERVER,
    VERSION,
    VIEW_SERVICE,
    Cause,
    Change,
    Hello,
    Member,
    Ping,
    Report,
    StatusIs,
    View,
    Wait,
)

#: The character whose JSON is longest.
NUL = "\0"


def name(number: int) -> str:
    return f"{number:04}".ljust(NAME_MAX, NUL)


def member(number: int) -> Member:
    return Member(name(number), number, "tcp:h:1".ljust(ADDRESS_MAX, NUL))


def full(servers: int = SERVERS_MAX, changes: int = HISTORY_MAX) -> Views:
    """A view service that knows as much as it ever does, in the longest words."""
    views = Views(b"c" * 16, Roster(3, 0), backups_max=BACKUPS_MAX)
    for number in range(servers):
        views.ping(number, Ping(1, member(number), 0))
    members = [member(number) for number in range(MEMBERS_MAX)]
    holders = tuple(each.name for each in members[1:])
    views.view = View(views.view.number, members[0], tuple(members[1:]), holders)
    cause = Cause(name(1), NUL * CODE_MAX, NUL * EVIDENCE_MAX)
    change = Change(1, name(0), holders, (cause,) * CAUSES_MAX, "now")
    views.history = (change,) * changes
    return views


def report() -> Report:
    names = tuple(name(number) for number in range(MEMBERS_MAX))
    return Report(1, 2, Wait(names, NUL * CODE_MAX, NUL * TEXT_MAX), 3)


def document(views: Views, **reports: Report) -> dict[str, Any]:
    encoded = status.document(views, reports, 100)
    assert len(encoded) <= DOCUMENT_BYTES_MAX
    decoder = Decoder(VIEW_SERVICE, OBSERVER)
    decoder.feed(encode(Hello(VERSION, VIEW_SERVICE)))
    (answer,) = decoder.feed(encode(StatusIs(encoded)))
    found: dict[str, Any] = json.loads(answer.document)
    return found


def test_all_that_servers_can_say_is_cut_to_fit() -> None:
    views = full()
    found = document(views, **{each: report() for each in views.servers})
    assert len(found["servers"]) == SERVERS_MAX
    assert len(found["history"]) == 1
    assert found["cut"] == "the history but for its end; what servers wait for"


def test_no_more_is_left_out_than_must_be() -> None:
    views = full(100)
    found = document(views, **{each: report() for each in views.servers})
    assert found["cut"] == "the history but for its end"
    assert len(found["servers"]) == 100
    assert all(each["waiting"] for each in found["servers"])


def test_a_thousand_servers_with_names_as_people_have_them_fit() -> None:
    views = Views(b"c" * 16, Roster(3, 0))
    for number in range(SERVERS_MAX):
        views.ping(
            number, Ping(1, Member(f"s{number}", number, "tcp:10.0.0.1:7400"), 0)
        )
    found = document(views)
    assert found["cut"] is None
    assert len(found["servers"]) == SERVERS_MAX


def test_a_view_of_the_longest_names_fits_its_message() -> None:
    """All goes and all comes in one change, with the longest evidence."""
    views = full(2 * MEMBERS_MAX, 1)
    new = [member(number) for number in range(MEMBERS_MAX, 2 * MEMBERS_MAX)]
    views.cut_off = frozenset(each.name for each in views.view.backups)
    proposed = View(views.view.number + 1, new[0], tuple(new[1:]))
    why = tuple(causes.of_change(views, proposed))
    assert len(why) == CAUSES_MAX
    views.history = (Change(2, new[0].name, views.view.holders, why, "now"),)
    answer = views.view_is(7)
    decoder = Decoder(VIEW_SERVICE, SERVER)
    decoder.feed(encode(Hello(VERSION, VIEW_SERVICE)))
    assert decoder.feed(encode(answer)) == [answer]


def test_evidence_is_shortened_where_it_is_made() -> None:
    views = full(MEMBERS_MAX, 1)
    views.cut_off = frozenset(each.name for each in views.view.backups)
    new = View(views.view.number + 1, views.view.backups[0], views.view.backups[1:])
    (cause, *_) = causes.of_change(views, new)
    assert cause.code == "cut off"
    assert len(cause.evidence) == EVIDENCE_MAX
