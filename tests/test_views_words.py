"""Why a view differs from the last, and what a view service waits for."""

from __future__ import annotations

import pytest

from tests.stories import PAIR, TRIO, Story, of
from viewservice import causes, waits

# -- causes: a story, and server, code and evidence of its last change

INCARNATIONS = "incarnation 0000000000000000 is now 0000000000000001"
CAUSES: dict[str, list[tuple[str, str, str]]] = {
    "A0": [("A", "first", "the first to ping, and nothing was answered yet")],
    "A0 !A . . B0": [
        ("A", "disconnected", "not connected, silent for 2 ticks"),
        ("B", "first", "the first to ping, and nothing was answered yet"),
    ],
    "A0 B0 A1": [("B", "place free", "alive, in no view, and first in line")],
    PAIR + ". B2 . B2 . B2": [
        ("A", "silent", "silent for 3 ticks"),
        ("B", "promoted", "eligible, and the first such to ping"),
    ],
    PAIR + "!B . . . B'0 A2": [
        ("B", "restarted", INCARNATIONS),
        ("B", "place free", "alive, in no view, and first in line"),
    ],
    PAIR + "B2~ A2": [("B", "leaving", "said that it is stopping")],
    PAIR + "A2-B": [("B", "unreachable", "unreachable from A")],
    PAIR + "A2%5 . B2 A2%5 . B2 A2%5 . A2%5 B2": [
        ("A", "stuck", "no progress for 3 ticks"),
        ("B", "promoted", "eligible, and the first such to ping"),
    ],
    TRIO + "B2-A C2-A": [
        ("A", "cut off", "unreachable from B, C"),
        ("C", "promoted", "eligible, and the first such to ping"),
    ],
}


@pytest.mark.parametrize("moves", CAUSES)
def test_causes(moves: str) -> None:
    story = of(moves)
    assert CAUSES[moves] == story.causes


def test_every_cause_is_known_and_seen() -> None:
    seen = {code for told in CAUSES.values() for _, code, _ in told}
    assert seen | {"moved", "surplus"} == set(causes.CAUSES)  # those: see below


# -- waits: a story, and what the view service waits for

WAITS = {
    "": "first server",
    PAIR: "",
    "A0": "acknowledgement: A",
    "A0 B0 A1": "acknowledgement: B",
    "A0 A1": "backup",
    PAIR + "A2-B A3": "backup: B",
    "A0 A1 B0": "ping: A",
    PAIR + ". B2 . B2 .": "ping: B",
    PAIR + ". . .": "primary: A: B",
    "A0 B0 A1 . . .": "primary: A",
    "A0 A1 A1~": "primary: A",
    "A0 A1 A1~ !A": "primary: A",
    "A0 A1 A1~ !A~": "lost",
    "A0 A1 A1~ !A~ A1": "backup",
    PAIR + "A2~ !A~ B2~": "primary: B",
    PAIR + "A2~ !A~ B2~ !B~": "lost",
    "A0 A1 !A . . . A'0": "lost",
    "A0 B0 A1 !A . . . A'0": "lost",
    "A0 . . .": "first server",
    "A0 A1 B9": "settling: B",
    "A0 A1 A9": "memory lost",
}


@pytest.mark.parametrize("moves", WAITS)
def test_waits(moves: str) -> None:
    assert WAITS[moves] == Story().tell(moves).waits


def test_a_view_service_without_a_view_waits_for_who_knows_better() -> None:
    assert Story(grace=3).waits == "settling"


def test_every_wait_is_known_and_seen() -> None:
    seen = {told.partition(":")[0] for told in WAITS.values() if told}
    doubted = waits.doubting(None, {"A": "why"})
    assert doubted is not None
    assert seen | {"clerks", doubted.code} == set(waits.WAITS)


def test_a_wait_says_what_to_do() -> None:
    for moves in ("A0 A1 . . .", "A0 A1 !A . . . A'0", "A0 A1 A9"):
        wait = Story().tell(moves).views.waiting()
        assert wait is not None
        assert "--new-cluster" in wait.text


@pytest.mark.parametrize("moves", ["A0 A1 A1~ !A~", "A0 A1 !A . . . A'0"])
def test_a_loss_is_not_claimed_of_data_that_may_never_have_been(moves: str) -> None:
    """The only server of an empty cluster has stopped, or was restarted: what it had
    answered is not known here, perhaps nothing."""
    wait = Story().tell(moves).views.waiting()
    assert wait is not None
    assert wait.code == "lost"
    assert "what was written, if anything, is lost" in wait.text
    assert wait.text.endswith(
        "To begin again, empty: stop the view service, start it once with "
        "--new-cluster, and restart every server"
    )


@pytest.mark.parametrize(
    ("moves", "advice", "end"),
    [
        ("A0 B0 A1 . . .", "Do not restart it", "If its process has"),
        (PAIR + ". . .", "Do not restart them", "If the processes of all of them have"),
    ],
)
def test_the_data_is_lost_only_if_all_holders_have_ended(
    moves: str, advice: str, end: str
) -> None:
    wait = Story().tell(moves).views.waiting()
    assert wait is not None
    assert wait.code == "primary"
    assert f"{advice} while" in wait.text
    assert f"{end} ended, the data is lost" in wait.text


def test_a_wait_after_an_unreachable_backup_counts_no_losses() -> None:
    """One such loss waits like three others."""
    wait = Story().tell(PAIR + "A2-B A3 B3").views.waiting()
    assert wait is not None
    assert "B lost its place recently, and is tried again in" in wait.text
    assert "times" not in wait.text


def test_the_only_holder_that_is_told_to_stop_is_not_waited_for() -> None:
    """Its memory ends with it: when it calls again, it calls without its data.  Until
    it has said Goodbye it may go on, and take back that it is leaving."""
    leaving, ended = "said that it is stopping", "stopped, and its data with it"
    for moves, evidence, told in (
        ("A0 A1 A1~", leaving, "the data is lost when A has ended"),
        ("A0 A1 A1~ !A", leaving, "the data is lost when A has ended"),
        ("A0 A1 A1~ !A~", ended, "what was written, if anything, is lost"),
        (PAIR + "A2~ !A~ B2~", leaving, "the data is lost when B has ended"),
    ):
        wait = Story().tell(moves).views.waiting()
        assert wait is not None
        assert f"({evidence}) held everything" in wait.text
        assert told in wait.text
        assert "calls again" not in wait.text


def test_a_strict_gate_says_that_it_is_why() -> None:
    wait = Story(strict=True).tell("A0 B0 A1 !B . A1 . A1").views.waiting()
    assert wait is not None
    assert "--ack-gate strict" in wait.text
