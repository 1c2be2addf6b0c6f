"""Commands that look on: whom they find, and what they say when that changes."""

from __future__ import annotations

from argparse import Namespace

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock

from understudy import watch
from understudy.observer import Observer
from wire.messages import SERVER, VERSION, Hello, Member, View, ViewIs

ADDRESS = "tcp:127.0.0.1:7401"
EXPECTED = Member("s2", 0x7596, ADDRESS)

FOUND = {
    "restarted": (
        Member("s2", 0x12, ADDRESS),
        (
            "looking for s2 (incarnation 0000000000007596), "
            "found s2 (incarnation 0000000000000012): it was restarted since"
        ),
    ),
    "another": (
        Member("s3", 0x12, ADDRESS),
        (
            "looking for s2 (incarnation 0000000000007596), "
            "found s3 (incarnation 0000000000000012)"
        ),
    ),
    "none": (None, "looking for s2, found no server"),
}


class _Link:
    def __init__(self, member: Member | None) -> None:
        self.hello = Hello(VERSION, SERVER, member=member)


@pytest.mark.parametrize(("member", "expected"), FOUND.values(), ids=FOUND.keys())
def test_another_server_than_the_one_looked_for(member, expected):
    observer = Observer(MemoryReactorClock(), SERVER, [ADDRESS], expected=EXPECTED)
    refusal = observer.link_opened(_Link(member))
    assert (refusal.reason, refusal.text) == ("member", expected)
    assert expected in observer.why_silent(1)


def test_watch_says_that_the_view_service_is_back(monkeypatch, capsys):
    class Fake:
        """An observer that is told of each connection by the test."""

        def __init__(self, *_: object) -> None:
            self.stops = 0
            fakes.append(self)

        def watch(self, take):
            self.take = take

        def stop(self):
            self.stops += 1

    fakes: list = []
    monkeypatch.setattr(watch, "Observer", Fake)
    options = Namespace(views=(ADDRESS,), timeout=10, json=False)
    Deferred.fromCoroutine(watch._tell(MemoryReactorClock(), options))
    (observer,) = fakes
    said = []
    for view in (View(), View()):
        observer.take(ViewIs(0, bytes(16), view, acknowledged=False))
        said.append(capsys.readouterr().err)
        observer.on_lost("it crashed")
        said.append(capsys.readouterr().err)
    lost = "lost the view service: it crashed\n"
    assert said == ["", lost, "the view service is back\n", lost]
