"""Whose published address is of no use to others, as the view service sees it."""

from __future__ import annotations

import pytest

from viewservice.reach import Callers, caller
from viewservice.waits import doubting
from wire.messages import Member, Wait

LOOPBACK = "127.0.0.1"


def s1(address: str = "tcp:127.0.0.1:7401") -> Member:
    return Member("s1", 1, address)


def callers(s1_from: tuple[str, str], *others: tuple[str, str, str]) -> Callers:
    found = tuple(caller(*each) for each in others)
    return Callers({"s1": caller("s1", *s1_from)}, found)


HERE, AWAY = (LOOPBACK, LOOPBACK), ("10.9.0.2", "10.9.0.1")

DOUBTED = {
    "on this host, and a clerk is not": (HERE, ("a clerk", *AWAY)),
    "elsewhere, and a clerk is here": (AWAY, ("a clerk", *HERE)),
    "elsewhere, and a clerk on a third host": (
        AWAY,
        ("a clerk", "10.9.0.3", "10.9.0.1"),
    ),
    "on this host by its address, and a clerk is not": (
        ("10.9.0.1", "10.9.0.1"),
        ("a clerk", *AWAY),
    ),
}


@pytest.mark.parametrize("case", DOUBTED.values(), ids=DOUBTED.keys())
def test_an_address_that_others_cannot_use(
    case: tuple[tuple[str, str], tuple[str, str, str]],
) -> None:
    its, other = case
    for address, what in (
        ("tcp:127.0.0.1:7401", "a loopback address"),
        ("tcp:localhost:7401", "a loopback address"),
        ("tcp:fe80\\:\\:1:7401", "a link-local address"),
    ):
        text = callers(its, other).doubts([s1(address)])["s1"]
        for words in (address, what, f"a clerk at {other[1]}", "--advertise tcp:HOST:"):
            assert words in text
    for address in ("tcp:10.9.0.1:7401", "tcp:s1.example:7401"):
        assert callers(its, other).doubts([s1(address)]) == {}


FINE = {
    "all here": (HERE, ("a clerk", *HERE)),
    "all here, by several addresses": (HERE, ("a clerk", "10.9.0.1", "10.9.0.1")),
    "all on one other host": (AWAY, ("a clerk", *AWAY)),
}


@pytest.mark.parametrize("case", FINE.values(), ids=FINE.keys())
def test_an_address_that_all_can_use(
    case: tuple[tuple[str, str], tuple[str, str, str]],
) -> None:
    its, other = case
    assert callers(its, other).doubts([s1()]) == {}


def test_other_servers_count_and_each_is_named_once() -> None:
    them = {"s1": caller("s1", *HERE), "s2": caller("s2", *AWAY)}
    clerks = tuple(caller("a clerk", *AWAY) for _ in range(9))
    members = [s1(), Member("s2", 2, "tcp:10.9.0.2:7401")]
    text = Callers(them, clerks).doubts(members)["s1"]
    assert "of no use to s2 at 10.9.0.2, a clerk at 10.9.0.2;" in text
    many = tuple(caller("a clerk", f"10.9.1.{n}", "10.9.0.1") for n in range(9))
    assert "10.9.1.1 and 7 more;" in Callers(them, many).doubts(members)["s1"]


def test_a_server_that_is_not_connected_is_not_judged() -> None:
    assert Callers({}, (caller("a clerk", *AWAY),)).doubts([s1()]) == {}


def test_an_address_that_is_none_is_not_judged() -> None:
    them = callers(HERE, ("a clerk", *AWAY))
    assert them.doubts([s1("nonsense"), s1("tcp:127.1:7401")]) == {}


def test_it_is_waited_for() -> None:
    wait = Wait(("s3",), "backup", "1 of 2 backups")
    assert doubting(wait, {}) is wait
    assert doubting(None, {}) is None
    assert doubting(None, {"s1": "why"}) == Wait(("s1",), "address", "why")
    assert doubting(wait, {"s1": "why", "s2": "too"}) == Wait(
        ("s3",), "backup", "1 of 2 backups. why. too"
    )
