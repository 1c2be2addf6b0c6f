"""What views remember, what they refuse to have forgotten, and their bounds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.stories import CLUSTER, PAIR, TRIO, Story, member, recalled, shown
from viewservice import lineage, roster
from viewservice import views as rules
from viewservice.memory import Known, Memory
from viewservice.server import NO_LINK, SUPERSEDED_MAX
from wire.messages import (
    CLERK,
    OBSERVER,
    SERVER,
    VERSION,
    Goodbye,
    Hello,
    Ping,
    View,
    ViewIs,
    view_number,
)

OTHER = b"o" * 16


def test_v20_v21_a_restart_forgets_nothing() -> None:
    before = Story().tell(PAIR)
    story = recalled(before)
    assert shown(story.views) == "2 A! =B"
    assert story.views.history == before.views.history
    assert before.views.memory() == story.views.memory()


def test_v21_an_acknowledgement_before_a_restart_counts_after_it() -> None:
    story = recalled(Story().tell(PAIR)).tell("B2 . B2 . B2 . B2")
    assert shown(story.views) == "3 B"


def test_v18_a_restart_founds_nothing() -> None:
    story = recalled(Story().tell("A0 A1")).tell(". . . C0 C0")
    assert shown(story.views) == "1 A!"


def test_after_a_restart_everyone_known_has_time_to_call() -> None:
    assert shown(recalled(Story().tell(PAIR)).tell("B2 . B2 . B2").views) == "2 A! =B"


def test_and_nobody_is_recruited_who_has_not_called() -> None:
    story = recalled(Story().tell(PAIR + "C0")).tell("A2 . A2 . A2 . A2")
    assert shown(story.views) == "3 A"


def test_a_holder_that_has_stopped_is_not_hoped_for_after_a_restart() -> None:
    story = Story().tell("A0 A1 !A~ . . .")
    assert story.waits == "lost"
    after = recalled(story)
    assert after.views.memory() == story.views.memory()
    assert after.tell(". . .").waits == "lost"
    assert not after.tell("A'0").goodbye, "its name is free"


def test_one_whose_connection_was_lost_is_hoped_for_after_a_restart() -> None:
    after = recalled(Story().tell("A0 A1 !A . . .")).tell(". . .")
    assert after.waits == "primary: A"


def test_who_stops_is_remembered_once_and_only_if_it_has_served() -> None:
    story = Story().tell(PAIR + "C0")
    before = story.views.memory()
    assert story.tell("!C~").views.memory() is before
    after = story.tell("!B~").views.memory()
    assert [each.stopped for each in after.servers] == [False, True]
    assert story.tell(". .").views.memory() is after


def test_and_a_name_is_kept_for_its_holder() -> None:
    story = recalled(Story().tell(PAIR)).tell("B'0")
    assert story.goodbye == "name in use"
    assert not story.tell(". . . B'0").goodbye


def test_and_a_superseded_incarnation_is_still_known() -> None:
    assert (
        recalled(Story().tell("A0 A1 !A . . . A'0")).tell("A1").goodbye == "superseded"
    )


def test_and_a_lost_connection_is_no_hint_yet() -> None:
    story = recalled(Story().tell(PAIR)).tell("A2 B2 !A . B2 . B2")
    assert shown(story.views) == "2 A! =B"
    assert shown(story.tell(". B2").views) == "3 B"


def test_after_a_restart_the_first_view_waits_again() -> None:
    story = recalled(Story(grace=3)).tell("A0 . A0 . A0")
    assert shown(story.views) == "nobody"
    assert shown(story.tell(". A0").views) == "1 A"


# -- one cluster, and a memory that was lost


def hello(
    cluster: bytes = b"", number: int = 0, role: str = SERVER, who: str = "A"
) -> Hello:
    return Hello(VERSION, role, cluster, number, member(who))


def reason(goodbye: Goodbye | None) -> str:
    return goodbye.reason if goodbye else ""


def test_the_first_view_waits_for_who_knows_better() -> None:
    story = Story(grace=3).tell("A0 . A0 . A0")
    assert shown(story.views) == "nobody"
    assert not story.due
    assert shown(story.tell(". B0").views) == "1 B"


def test_f12_no_first_view_beside_a_server_with_data() -> None:
    story = Story(grace=3).tell("A0")
    assert reason(story.views.greeted(hello(OTHER, 7, who="B"))) == "memory lost"
    assert story.tell(". . . A0").goodbye == "memory lost"
    assert shown(story.views) == "nobody"
    assert reason(story.views.greeted(hello())) == "memory lost"
    assert story.waits == "memory lost"
    # Anybody can say so, so it does not outlive the process; the caller does.
    again = recalled(story).tell(". . .")
    assert reason(again.views.greeted(hello(OTHER, 7, who="B"))) == "memory lost"
    assert shown(again.tell("A0").views) == "nobody"


def test_f12_nor_is_it_acknowledged() -> None:
    """A fresh server was faster; the one with the data comes before the first
    acknowledgement, and nothing was answered yet."""
    story = Story(grace=3).tell("A0 . . . A0")
    assert shown(story.views) == "1 A"
    assert reason(story.views.greeted(hello(OTHER, 7, who="B"))) == "memory lost"
    assert story.tell("A1").goodbye == "memory lost"
    assert not story.views.acknowledged


def test_an_old_founding_is_not_acknowledged_beside_a_newer_view() -> None:
    """The state is that of before another one founded, and was acknowledged; those
    who serve there were in no view that is known here, so they prove nothing."""
    story = Story(grace=3).tell("A0 . . . A0")
    assert shown(story.views) == "1 A"
    story = recalled(story, margin_ticks=3)
    story.views.greeted(hello(CLUSTER, 3, who="B"))
    assert not story.tell("A1 A1").views.acknowledged
    for _ in range(5):
        assert not story.tell(". A1").views.acknowledged
        story.views.greeted(hello(CLUSTER, 3, who="B"))
    assert not story.tell(". A1 . A1").views.acknowledged
    assert story.tell(". A1").views.acknowledged


def test_once_acknowledged_a_founding_stands() -> None:
    story = Story(grace=3).tell("A0 . . . A0 A1")
    refusal = story.views.greeted(hello(OTHER, 7, who="B"))
    assert refusal is not None
    assert refusal.reason == "cluster"
    assert OTHER.hex() in refusal.text
    assert CLUSTER.hex() in refusal.text
    assert not story.views.lost


def test_what_clerks_know_is_no_evidence() -> None:
    """F1: the claims of a caller that is no server change nothing."""
    story = Story(grace=3).tell("A0")
    for call in [(OTHER, 7), (CLUSTER, 7)]:
        story.views.greeted(hello(*call, CLERK, "B"))
    assert not story.views.lost
    assert story.views.settling == 3
    assert shown(story.tell(". . . A0").views) == "1 A"
    # One that belongs to another cluster is not sent away for ever yet.
    fresh = Story()
    assert reason(fresh.views.greeted(hello(OTHER, 7, CLERK))) == "memory lost"
    assert reason(story.tell("A1").views.greeted(hello(OTHER, 7, CLERK))) == "cluster"


def test_m3_pings_that_say_nothing_new_leave_the_memory_alone() -> None:
    """The primary names its backups with every ping; only news are written."""
    story = Story().tell(PAIR)
    before = story.views.memory()
    story.tell("A2+B B2 . A2+B B2")
    assert story.views.memory() is before
    # Nothing is remembered of a server that has been in no view, nor of those
    # that take its name from it, or take a name that is free.
    story.tell("C0 A2+B C0~ !C~ C'0")
    assert story.views.memory() is before
    story.tell("B2~ !B~ B'0")
    before = story.views.memory()
    assert before.servers[-1] == Known(member("B"), (0,))
    story.tell("B'0~ !B'~ B''0 C'0~ !C'~ C''0 B''0~ !B''~ B'''0")
    assert story.views.memory() == before


def test_whoever_takes_a_free_name_changes_nothing_in_memory() -> None:
    story = Story(backups_max=2).tell(TRIO + "B2~ !B~ B'0 C2~ !C~ C'0")
    before = story.views.memory()
    assert before.servers[1:] == (Known(member("B"), (0,)), Known(member("C"), (0,)))
    assert story.tell("B'0~ !B'~ B''0").views.memory() == before


def test_a_name_that_was_lost_is_free_after_a_restart() -> None:
    story = recalled(Story().tell(PAIR + "B2~ !B~ B'0"))
    assert story.tell("B2").goodbye == "superseded"
    assert not story.tell("B''0").goodbye
    assert story.views.servers["B"].superseded == (0,)


def test_an_only_copy_that_was_restarted_is_lost_after_a_restart_too() -> None:
    story = Story().tell("A0 A1 A1~ !A~ A'0")
    assert story.waits == "lost"
    after = recalled(story)
    for _ in range(3):
        after.tell(".")
    assert after.waits == "lost"
    assert after.views.memory() == story.views.memory()


@pytest.mark.parametrize("number", [3, view_number(2, 9), view_number(7, 1)])
def test_f1_what_a_stranger_claims_is_not_remembered(number: int) -> None:
    story = Story().tell(PAIR)
    before = story.views.memory()
    assert reason(story.views.greeted(hello(CLUSTER, number, who="Z"))) == "memory lost"
    assert not story.views.lost
    assert story.views.memory() is before
    # No view is created meanwhile, and `status` names it.
    story.tell(". A2 . A2")
    story.views.greeted(hello(CLUSTER, number, who="Z"))
    assert story.waits == "settling: Z"
    assert shown(story.tell(". A2 . A2").views) == "2 A! =B"
    assert shown(story.tell(". A2").views) == "3 A"
    assert story.waits == "acknowledgement: A"


@pytest.mark.parametrize("who", ["A", "B"])
@pytest.mark.parametrize("number", [3, view_number(2, 9), view_number(7, 1)])
def test_f2_a_member_that_knows_another_view_proves_an_old_state(
    who: str, number: int
) -> None:
    story = Story().tell(PAIR)
    assert reason(story.views.greeted(hello(CLUSTER, number, who=who))) == "memory lost"
    assert story.waits == "memory lost"
    assert recalled(story).waits == "memory lost"


def test_f2_so_does_its_ping() -> None:
    for number in (3, view_number(2, 9)):
        story = Story().tell(PAIR)
        story.views.ping(story.links["B"], Ping(8, member("B"), number))
        assert story.waits == "memory lost"


def test_f2_the_same_name_is_not_the_same_server() -> None:
    story = Story().tell(PAIR)
    story.views.greeted(hello(CLUSTER, 3, who="B'"))
    assert not story.views.lost
    assert story.waits == "settling: B"


def test_f2_a_view_draws_its_bits_when_it_is_created() -> None:
    story = Story()
    story.views.ping(1, Ping(1, member("A"), 0), bits=0xFFFF_FFFF)
    number = story.views.view.number
    assert number == view_number(1, 0xFFFF_FFFF)
    story.views.ping(1, Ping(2, member("A"), 1), bits=5)
    assert not story.views.acknowledged  # that is view 1 of another history
    assert story.waits == "memory lost"
    story = Story()
    story.views.ping(1, Ping(1, member("A"), 0), bits=0xFFFF_FFFF)
    story.views.ping(1, Ping(2, member("A"), number), bits=5)
    assert story.views.acknowledged


def test_f2_after_a_restart_every_living_server_has_time_to_call() -> None:
    """The reproduction: a file that was rolled back to view 2, and the members of
    view 3 that call later than the dead time, but within the margin."""
    before = Story(grace=8).tell(". . . . . . . . " + PAIR)
    old = recalled(before)
    before.tell(". B2 C0 . B2 C0 . B2 C0 B3+C C3")
    assert shown(before.views) == "3 B! =C"
    old.tell("A2 . A2 D0 . A2 D0 . A2 D0 . A2 D0 . A2 D0 . A2 D0")
    assert shown(old.views) == "2 A! =B"
    assert not old.due
    assert old.tell("B3").goodbye == "memory lost"


def test_f2_and_one_that_calls_later_is_found_out() -> None:
    before = Story().tell(PAIR)
    old = recalled(before)
    before.views.ping(9, Ping(1, member("C"), 0))
    for _ in range(3):
        before.views.tick()
        before.views.ping(before.links["B"], Ping(2, member("B"), 2), bits=7)
    theirs = before.views.view.number
    assert theirs == view_number(3, 7)
    old.tell("A2 . A2 . A2 . A2")
    assert shown(old.views) == "3 A"
    assert old.views.view.number != theirs
    refusal = old.views.greeted(hello(CLUSTER, theirs, who="B"))
    assert reason(refusal) == "memory lost"
    assert old.waits == "memory lost"


def test_a_view_of_too_long_ago_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lineage, "VIEWS_KEPT_MAX", 2)
    story = Story().tell(PAIR + ". B2 . B2 . B2")
    assert shown(story.views) == "3 B"
    assert story.tell("A1").goodbye == "superseded"
    assert not story.tell("C2").goodbye


def test_observers_are_always_let_in() -> None:
    story = Story().tell("A0 A1 B9")
    assert story.views.greeted(hello(OTHER, 9, OBSERVER)) is None


def test_an_old_state_file_is_a_lost_memory() -> None:
    old = Story().tell("A0 A1")
    story = recalled(old).tell("A2")
    assert story.goodbye == "memory lost"
    assert shown(story.tell(". . . . B0 A1").views) == "1 A!"
    # Callers of other clusters are turned away for the same reason.
    assert reason(story.views.greeted(hello(OTHER))) == "memory lost"


def test_a_cluster_with_a_view_turns_others_away() -> None:
    story = Story().tell("A0 A1")
    assert reason(story.views.greeted(hello(OTHER, 9))) == "cluster"
    assert not story.views.lost
    assert story.views.greeted(hello(CLUSTER, 1)) is None
    assert story.views.greeted(hello()) is None


def test_a_new_cluster_turns_the_old_one_away() -> None:
    story = Story(new_cluster=True)
    assert reason(story.views.greeted(hello(OTHER, 9))) == "cluster"
    assert shown(story.tell("C0").views) == "1 C"


def test_a_new_cluster_stays_so_after_a_restart() -> None:
    story = recalled(Story(new_cluster=True))
    assert reason(story.views.greeted(hello(OTHER, 9))) == "cluster"


# -- bounds


def test_history_is_bounded_and_ends_with_the_newest() -> None:
    story = Story().tell("A0 A1")
    for _ in range(rules.HISTORY_MAX):
        number = story.views.view.number
        story.tell(f"B0 A{number} A{number + 1}+B B0~ A{number + 1} A{number + 2}")
    assert len(story.views.history) == rules.HISTORY_MAX
    assert story.views.history[-1].number == story.views.view.number


def test_superseded_incarnations_are_bounded() -> None:
    story = Story().tell("A0")
    for count in range(1, SUPERSEDED_MAX + 4):
        story.tell("!A" + "'" * (count - 1) + " . . . A" + "'" * count + "0")
    gone = story.views.servers["A"].superseded
    assert tuple(range(3, SUPERSEDED_MAX + 3)) == gone


def test_servers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roster, "SERVERS_MAX", 3)
    story = Story().tell(PAIR + "C0 D0")
    assert story.goodbye == "full"
    assert set(story.views.servers) == set("ABC")
    story.tell(". A2 B2 . A2 B2 . A2 B2 D0")
    assert set(story.views.servers) == set("ABD")
    # Members of the view are needed, dead or alive.
    story.tell(". D0 . D0 . D0 E0")
    assert story.goodbye == "full"


# -- what must never be, and what callers rely on


def broken() -> Iterator[View]:
    """Views that must not follow upon "2 A! =B" with an idle C and a dead D; those
    that are not even well-formed cannot be made, see tests/test_bounds.py."""
    a, b, c, d = (member(name) for name in "ABCD")
    yield View(2, b)
    yield View(4, b)
    yield View(3, a, (b,), ("B",))
    yield View(3, a, (d,))
    yield View(3, d)
    yield View(3, c)
    yield View(3, a, (c,), ("C",))
    yield View(3, member("B'"))
    yield View(3, b, founding=True)


def test_a_malformed_view_stops_everything() -> None:
    story = Story().tell(PAIR + "C0 D0 . A2 B2 C0 . A2 B2 C0 . A2 B2 C0")
    for view in broken():
        with pytest.raises(AssertionError):
            story.views.copy()._advance(view)
    story.views._advance(View(3, member("A"), (member("C"),)))


def test_a_copy_is_independent() -> None:
    story = Story().tell(PAIR)
    twin = story.views.copy()
    before = twin.fingerprint()
    assert before == story.views.fingerprint()
    story.tell(". . . B2")
    assert before == twin.fingerprint()
    assert before != story.views.fingerprint()
    assert hash(before) == hash(twin.fingerprint())


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (PAIR + ". . . .", PAIR + ". . . . . ."),
        (PAIR + "A2-B !B" + " . A3" * 96, PAIR + "A2-B !B" + " . A3" * 97),
    ],
)
def test_a_fingerprint_forgets_what_no_rule_sees(first: str, second: str) -> None:
    one, other = Story().tell(first), Story().tell(second)
    assert one.views.fingerprint() == other.views.fingerprint()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("A0 B0", "A0 C0"),
        ("C0 D0", "D0 C0"),
        (PAIR, PAIR + "."),
        (PAIR, PAIR + "B2-A"),
        (TRIO, TRIO + "A2-BC"),
        (TRIO + "A2-BC", TRIO + "A2-BC . A2-BC"),
        (PAIR, PAIR + "!A A2"),
    ],
)
def test_a_fingerprint_tells_apart_what_a_rule_does(first: str, second: str) -> None:
    one = Story(backups_max=2, grace=3 * first.startswith("C")).tell(first)
    other = Story(backups_max=2, grace=3 * first.startswith("C")).tell(second)
    assert one.views.fingerprint() != other.views.fingerprint()


def test_an_answer_names_its_ping_and_the_last_change() -> None:
    story = Story().tell("A0 A1")
    answer = story.answer
    assert isinstance(answer, ViewIs)
    assert answer == ViewIs(7, CLUSTER, story.views.view, True, story.views.history[-1])
    assert story.views.view_is().answers == 0


def test_a_change_is_stamped_once() -> None:
    story = Story().tell("A0")
    story.views.stamp("then")
    story.views.stamp("later")
    assert [change.time for change in story.views.history] == ["then"]


def test_nothing_is_remembered_of_silence() -> None:
    one, other = Story().tell(PAIR), Story().tell(PAIR + ". A2 !A . B2")
    assert isinstance(one.views.memory(), Memory)
    assert one.views.memory() == other.views.memory()


def test_a_restored_server_is_on_no_connection() -> None:
    story = recalled(Story().tell(PAIR))
    assert {server.link for server in story.views.servers.values()} == {NO_LINK}
