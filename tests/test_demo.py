"""The demo: its story over real processes, and how it is told."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from random import SystemRandom

import pytest
import pytest_twisted
from twisted.internet import reactor

from understudy.cluster import Cluster
from understudy.daemons import free_port
from understudy.demo import NAMES, Demo
from understudy.history import DONE, Append, Verdict
from understudy.moments import Moment
from understudy.picture import draw
from understudy.play import Play
from understudy.pulse import BIN_S, Pulse
from understudy.screen import Lines, Nothing

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.processes
@pytest_twisted.ensureDeferred
async def test_the_whole_story(tmp_path):
    cluster = Cluster(tmp_path, NAMES, {"views": free_port(SystemRandom())})
    stream = io.StringIO()
    demo = Demo(Play(cluster, Lines(stream), calm_s=0.1))
    try:
        await demo.run(reactor)
    finally:
        cluster.stop()
    assert demo.is_right, demo.verdict
    kinds = [moment.kind for moment in demo.play.moments]
    assert kinds.count("strike") == 4
    # The first, and one for each server that was struck.
    assert kinds.count("view") >= 4
    told = stream.getvalue()
    assert "byte for byte" in told
    assert "\x1b" not in told, "a file is no terminal"
    assert re.fullmatch(
        r"demo: [1-9]\d* acknowledged, 0 lost, 0 duplicated, 0 reads back, "
        r"longest gap \d+ ms",
        demo.last_line(),
    )
    document = demo.document()
    assert document["same_state"] is True
    assert document["acknowledged"] == demo.verdict.acknowledged
    picture = draw(demo.play.pulse.bins, BIN_S, demo.play.moments)
    assert ET.fromstring(picture).tag == f"{SVG}svg"


WRONG = {
    "nothing was acknowledged": Verdict(),
    "something was lost": Verdict(acknowledged=5, lost=1),
    "something was duplicated": Verdict(acknowledged=5, duplicated=1),
    "something was read back": Verdict(acknowledged=5, reads_back=1),
    "something was out of order": Verdict(acknowledged=5, disorder=1),
}


def concluded(tmp_path, verdict: Verdict, is_same: bool | None) -> Demo:
    demo = Demo(Play(Cluster(tmp_path, ()), Nothing()))
    demo.verdict, demo.is_same = verdict, is_same
    return demo


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_not_right(tmp_path, name):
    assert not concluded(tmp_path, WRONG[name], True).is_right


@pytest.mark.parametrize("is_same", [False, None])
def test_states_that_differ_are_not_right(tmp_path, is_same):
    assert not concluded(tmp_path, Verdict(acknowledged=5), is_same).is_right
    assert concluded(tmp_path, Verdict(acknowledged=5), True).is_right


def test_the_last_line(tmp_path):
    verdict = Verdict(acknowledged=7, lost=1, duplicated=2, reads_back=3)
    demo = concluded(tmp_path, verdict, True)
    demo.play.pulse = Pulse(began_ns=0)
    demo.play.pulse.beat("a", 0, 1_234_567_890)
    assert (
        demo.last_line() == "demo: 7 acknowledged, 1 lost, 2 duplicated, 3 reads back, "
        "longest gap 1235 ms"
    )


# -- how steadily answers come ---------------------------------------------------------

MS = 1_000_000


def test_the_pulse():
    pulse = Pulse(began_ns=0)
    pulse.beat("a", 0, 10 * MS)
    pulse.beat("b", 0, 20 * MS)
    pulse.beat("a", 10 * MS, 110 * MS)
    assert pulse.bins == [2, 1]
    assert pulse.answers == 3
    assert pulse.longest_ns == 100 * MS
    pulse.mark()
    pulse.beat("a", 110 * MS, 130 * MS)
    assert pulse.gap_ms() == 20.0
    assert not pulse.all_answered(since_ns=50 * MS), "b has not called since"
    pulse.beat("b", 60 * MS, 250 * MS)
    assert pulse.all_answered(since_ns=50 * MS)
    assert not pulse.all_answered(since_ns=61 * MS)
    assert pulse.gap_ms() == 230.0
    assert pulse.rate(300 * MS, 0.3) == pytest.approx(5 / 0.3)


def test_nobody_was_answered():
    assert not Pulse(began_ns=0).all_answered(since_ns=1)


# -- how it is told --------------------------------------------------------------------

MOMENTS = [
    Moment(0.0, "view", "s1", "view 2", 2, ("s2",)),
    Moment(1.0, "strike", "s1", "kill <s1> & see", gap_ms=123),
    Moment(1.2, "view", "s2", "view 3", 3, ()),
    Moment(2.0, "note", "s1", "back"),
]


def test_the_picture():
    tree = ET.fromstring(draw([10, 0, 30, 20] * 10, 0.1, MOMENTS))
    texts = [each.text or "" for each in tree.iter(f"{SVG}text")]
    assert "kill <s1> & see" in texts
    assert "123 ms" in texts
    assert "view 3" in texts
    assert {"s1", "s2", "none"} <= set(texts)
    assert len(list(tree.iter(f"{SVG}polyline"))) == 1


@pytest.mark.parametrize("bins", [[], [0], [5], [1, 99_999]])
def test_the_picture_of_little(bins):
    assert ET.fromstring(draw(bins, 0.1, [])).tag == f"{SVG}svg"


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_a_terminal_has_a_living_line(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    screen = Lines(stream)
    screen.live("view 1", [0.0, 5.0, 10.0])
    screen.line("strike", 1.5, "kill s1")
    screen.close()
    told = stream.getvalue()
    assert told.count("\r\x1b[2K") == 3
    assert "view 1" in told
    assert "▄█" in told
    assert "\x1b[1;31m" in told
    assert told.endswith("\r\x1b[2K"), "nothing of it stays"


def test_no_colours_if_none_are_wanted(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    Lines(stream).line("strike", 1.5, "kill s1")
    assert "\x1b[1;31m" not in stream.getvalue()


def test_a_plain_file_of_ascii():
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    screen = Lines(stream)
    screen.live("view 1", [1.0])
    screen.line("view", 0.25, "view 2")
    screen.line("strike", 1.5, "kill s1")
    assert raw.getvalue().decode() == "   0.25 s  > view 2\n   1.50 s  ! kill s1\n"


def test_records_are_told_apart():
    assert Append("a", 1, "k", 0, 1, DONE, 4).mark() == b"a.1;"
