"""Whether one server is up, and whether it may be stopped, by a status document."""

from __future__ import annotations

import pytest

from tests.test_rendering import document, server
from understudy.options import parse
from understudy.ready import obstacle_to_serving, obstacle_to_stopping

TRIO = [server("s1", "primary"), server("s2", "backup"), server("s3", "idle")]


#: What the view service waits for when no server that held the data runs any more.
LOST = {"for": [], "code": "lost", "text": "begin again"}


def found(servers=TRIO, eligible=("s1", "s2"), *, lost=False, waiting=None, **view):
    known = {
        "primary": "s1",
        "backups": ["s2"],
        "eligible": list(eligible),
        "founding": False,
    }
    view = document()["view"] | known | view
    servers = list(servers)
    return document(servers=servers, view=view, memory_lost=lost, waiting=waiting)


def changed(number, state, **more):
    return [
        server(each["name"], state, **more) if at == number else each
        for at, each in enumerate(TRIO)
    ]


ALL = "s1 s2 s3"
#: A document -> who is ready to serve, who is ready to stop.
READY = {
    "all is well": (found(), ALL, ALL),
    "the backup is brought up": (
        found(changed(1, "syncing"), ["s1"], acknowledged=False),
        "s1 s3",
        "s2 s3",
    ),
    "no backup": (found([TRIO[0], TRIO[2]], ["s1"], backups=[]), "s1 s3", "s3"),
    "the backup is dead": (found(changed(1, "dead")), "s1 s3", "s2 s3"),
    "the backup has hung up": (
        found(changed(1, "backup", connected=False)),
        "s1 s3",
        "s2 s3",
    ),
    "the primary is dead": (found(changed(0, "dead")), "s2 s3", "s1 s3"),
    "the spare is dead": (found(changed(2, "dead")), "s1 s2", ALL),
    "the spare has hung up": (found(changed(2, "idle", connected=False)), "s1 s2", ALL),
    "a founding view": (
        found(eligible=["s1"], founding=True, acknowledged=False, backups=[]),
        "s2 s3",
        ALL,
    ),
    "a founding view, acknowledged": (
        found(eligible=["s1"], founding=True, backups=[]),
        ALL,
        "s2 s3",
    ),
    "memory lost": (found(lost=True), "", ""),
    "the backup was restarted": (found(changed(1, "idle")), ALL, "s2 s3"),
    "the primary alone was restarted": (
        found(changed(0, "idle"), ["s1"], backups=[], waiting=LOST),
        "",
        ALL,
    ),
    "the primary alone has stopped": (
        found([server("s1", "dead"), TRIO[2]], ["s1"], backups=[], waiting=LOST),
        "",
        ALL,
    ),
}


@pytest.mark.parametrize("name", READY)
def test_ready(name):
    status, serving, stopping = READY[name]
    names = ALL.split()
    serves = [each for each in names if not obstacle_to_serving(status, each)]
    stops = [each for each in names if not obstacle_to_stopping(status, each)]
    known = {each["name"] for each in status["servers"]}
    assert serves == [each for each in serving.split() if each in known]
    assert stops == [each for each in stopping.split() if each in known]


@pytest.mark.parametrize("obstacle", [obstacle_to_serving, obstacle_to_stopping])
def test_a_name_that_is_not_known(obstacle):
    assert "called s9" in obstacle(found(), "s9")


def test_an_obstacle_names_who_is_brought_up():
    status = found(changed(1, "syncing"), ["s1"])
    assert obstacle_to_stopping(status, "s1").endswith("; s2 is being brought up")
    assert obstacle_to_serving(status, "s2").endswith("still being brought up")


def test_an_obstacle_says_that_nothing_will_be_served():
    status = found(changed(0, "idle"), ["s1"], backups=[], waiting=LOST)
    obstacle = obstacle_to_serving(status, "s3")
    assert "none can become primary" in obstacle
    assert "understudy status" in obstacle


def test_what_is_typed():
    options = parse(["ready", "s1"])
    assert (options.name, options.to, options.wait) == ("s1", "serve", False)
    options = parse(["ready", "s1", "--to", "stop", "--wait", "--timeout", "60"])
    assert (options.to, options.wait, options.timeout) == ("stop", True, 60)
