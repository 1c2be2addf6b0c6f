"""Every rule about views, as stories; `tests.stories` has the notation."""

from __future__ import annotations

import pytest

from tests.stories import PAIR, TRIO, Story, member, of, recalled, shown
from viewservice.damping import FREE_LOSSES_MAX, WAIT_DEADS
from viewservice.roster import Roster
from wire.messages import GOODBYES, Ping

STORIES = {
    # -- the first view
    "nobody before the first ping": (". .", "nobody"),
    "the first to ping leads": ("A0", "1 A"),
    "and acknowledges by knowing": ("A0 A1", "1 A!"),
    "no backup before the acknowledgement": ("A0 B0 B0", "1 A"),
    "a ping before the acknowledgement is remembered": ("A0 B0 A1", "2 A B"),
    "the acknowledgement names every backup": ("A0 B0 A1 A2", "2 A B"),
    "one is enough where there is one": (PAIR, "2 A! =B"),
    "L4 a founding primary dies unheard, the next founds again": (
        "A0 . . . B0",
        "2 B",
    ),
    "L4 and itself under a new incarnation may be the next": (
        "A0 !A . . . A'0",
        "2 A'",
    ),
    "L4 the founding primary may also come back": ("A0 . . . A1", "1 A!"),
    "V18 never again after an acknowledgement": ("A0 A1 . . . B0 B0 B0", "1 A!"),
    "V18 nor for the same name": ("A0 A1 !A . . . A'0 A'0", "1 A!"),
    "V18 nor in a second view that was never acknowledged": (
        "A0 B0 A1 . . . B2 C0",
        "2 A B",
    ),
    # -- promotion, removal, recruitment
    "still primary one interval before the limit": (PAIR + ". B2 . B2", "2 A! =B"),
    "takeover at the limit, by one ping": (PAIR + ". B2 . B2 . B2", "3 B"),
    "the old primary becomes backup": (
        PAIR + ". B2 . B2 . B2 B3 A0 B3",
        "4 B A",
    ),
    "promotion and recruitment are one step": (
        PAIR + "C0 . B2 C0 . B2 C0 . B2",
        "3 B C",
    ),
    "V14 removal and recruitment are one step": (
        PAIR + "C0 . A2 C0 . A2 C0 . A2",
        "3 A C",
    ),
    "dead backup leaves": (PAIR + ". A2 . A2 . A2", "3 A"),
    "V11 a dead idle server is not recruited": (
        PAIR + "C0 . A2 B2 . A2 B2 . A2 B2 . A2 . A2 . A2",
        "3 A",
    ),
    "V11 nor one whose connection is lost": (PAIR + "C0 !C !B . . A2", "3 A"),
    "V11 even if it may still come back": (PAIR + "C0 !B . A2 C0 !C . A2", "3 A"),
    "V12 no number without a change": (
        "A0 A1 A1 . . . A1 . . . A1 . . . . A1 A1",
        "1 A!",
    ),
    "V12 nothing changes when time passes": ("A0 A1 . . . . . . . A1", "1 A!"),
    "V13 the promoted is not its own backup": (PAIR + ". . . B2 B3 B3", "3 B!"),
    "the idle wait in line": (PAIR + "D0 C0 !B . A2 C0 D0 . A2", "3 A D"),
    "who was dead stands at the end of it": (
        PAIR + "D0 C0 . A2 B2 C0 . A2 B2 C0 . A2 B2 C0 D0 !B . A2 C0 D0 . A2",
        "3 A C",
    ),
    # -- who may lead
    "V9 V10 an idle server never leads": (PAIR + "C0 . C0 . C0 . C0 C2 C2", "2 A! =B"),
    "V9 nor does a backup that is dead": (PAIR + "C0 . . . C0", "2 A! =B"),
    "V9 it comes back and leads": (PAIR + ". . . C0 B2", "3 B C"),
    "or the primary does and stays": (PAIR + ". . . C0 A2", "3 A C"),
    "V1 no one leads from an unsynced place": ("A0 B0 A1 . B2 . B2 . B2 B2", "2 A B"),
    "V2 a backup's ping does not acknowledge": ("A0 B0 A1 B2+B B2+A", "2 A B"),
    "V3 an acknowledgement ends with its view": (
        PAIR + "C0 !B . A2 C0 . A2 . C3 . C3 . C3 C3",
        "3 A C",
    ),
    "nor does another incarnation of the primary": (
        PAIR + "!B . . A2 !A . . . A'0 A'3",
        "3 A",
    ),
    "V4 an older number acknowledges nothing": ("A0 B0 A1 A1+B A0+B", "2 A B"),
    "R3 eligible in an earlier view is not eligible": (
        PAIR + "!B . . A2 A3 B0 A3 . B4 . B4 . B4",
        "4 A B",
    ),
    # -- restarts
    "V5 a restarted primary is dead": (PAIR + "!A . . . A'0 B2", "3 B A'"),
    "V5 and the idle one was there before it": (
        PAIR + "C0 !A . C0 . C0 . C0 A'0 B2",
        "3 B C",
    ),
    "V7 V8 a restarted backup is another one": (PAIR + "!B . . . B'0 A2", "3 A B'"),
    "V7 and not eligible": (PAIR + "!B . . . B'0 A2 A3 . B'3 . B'3 . B'3", "3 A B'"),
    "T16 a restart of the backup while it comes up": (
        "A0 B0 A1 !B . . . B'0 A2",
        "3 A B'",
    ),
    # -- the gate
    "T3 a joining backup may die": ("A0 B0 A1 !B . A2 . A2", "3 A"),
    "T3 and be replaced": ("A0 B0 A1 C0 !B . A2 C0 . A2", "3 A C"),
    # -- one voice per name
    "L7 late bytes of an old connection are no ping": (
        PAIR + "!A A2 . ^A2 . ^A2 . ^A2 B2",
        "3 B",
    ),
    "L7 nor do they acknowledge": ("A0 B0 A1 !A A1 ^A2+B", "2 A B"),
    "L7 a late ping of 0 kills nobody": (PAIR + "!A A2 ^A0 B2 ^A0 B2", "2 A! =B"),
    "L7 nor do they bring back the connection": (
        PAIR + "!A ^A2 . ^A2 . B2",
        "3 B",
    ),
    # -- hints
    "a lost connection leaves two ticks": (PAIR + "!A . B2", "2 A! =B"),
    "whatever the silence was before": (PAIR + ". B2 !A . B2", "2 A! =B"),
    "and then means death": (PAIR + "!A . . B2", "3 B"),
    "L3 who calls again is alive": (PAIR + "!A . A2 . . B2", "2 A! =B"),
    "L1 the primary's machine dies, the backup's connection blips": (
        PAIR + ". !B . . B2",
        "3 B",
    ),
    "L1 and even a long absence leaves the backup where it is": (
        PAIR + "!A !B . . . . . . . . B2",
        "3 B",
    ),
    "L2 the own pause is no hint": (PAIR + "!A !B zz . . A2 B2", "2 A! =B"),
    "L2 nor for a while after it": (PAIR + "zz !A . . B2", "2 A! =B"),
    "L2 but who was dead before it stays so": (PAIR + "!A . . zz B2", "3 B"),
    "L2 though silence counts": (PAIR + "!A zz . . . B2", "3 B"),
    # -- leaving
    "who says that it stops is dead at once": (PAIR + "A2~ B2", "3 B"),
    "its last word about others counts": ("A0 B0 A1 A2+B~ B2", "3 B"),
    "a backup that stops": (PAIR + "C0 B2~ A2", "3 A C"),
    "it makes no view with itself in it": (PAIR + "!B . . A2~", "2 A! =B"),
    # -- unreachable
    "P17 an unreachable backup loses its place": (PAIR + "A2-B", "3 A"),
    "to one that waits": (PAIR + "C0 A2-B", "3 A C"),
    "and does not get it back at once": (PAIR + "A2-B B2 A3 B3 A3", "3 A!"),
    "an old report says nothing": (PAIR + "A1-B", "2 A! =B"),
    "a backup that cannot come up is replaced": ("A0 B0 A1 C0 A2-B", "3 A C"),
    "against one eligible backup the primary is believed": (
        PAIR + "B2-A B2-A B2-A . A2 B2-A",
        "2 A! =B",
    ),
    # -- names
    "V16 nobody else's news is a ping": (PAIR + "!A . B2 C0 . B2", "3 B C"),
}

#: The same with --backups 2.
STORIES_OF_TWO = {
    "what was free before stays free when another place is filled": (
        TRIO + "!C . A2 B2 . A2 D0 E0 !B . A2 D0 E0 . A2",
        "4 A D",
    ),
    "what the dead primary said of a backup is no matter": (
        TRIO + "A2-C !A . C2 B2 . B2",
        "3 B =C",
    ),
    "L13 nor does one, after the other who did has died": (
        TRIO + "C2-A !C . . B2-A",
        "2 A! =B =C",
    ),
    "L13 who took it back is weighed anew": (
        TRIO + "A2-BC . B2 C2 A2 . B2 C2 A2-BC . A2-BC",
        "2 A! =B =C",
    ),
    "L13 what was said in another view does not count": (
        TRIO + "D0 C2-A !B . A2 C2-A D0 . A2 A3+CD D3-A",
        "3 A! =C =D",
    ),
    "places are filled up to the limit": (TRIO, "2 A! =B =C"),
    "L5 each synced backup is eligible by itself": (
        "A0 B0 C0 A1 A2+B . B2 C2 . B2 C2 . C2 B2",
        "3 B C",
    ),
    "L5 and the others are not": ("A0 B0 C0 A1 A2+B . B2 C2 . B2 C2 . C2", "2 A =B C"),
    "holders stay eligible in a view that nobody acknowledged": (
        TRIO + "!C . A2 B2 . A2 !A . B2 . B2",
        "4 B",
    ),
    "a place that was free stays so before the acknowledgement": (
        TRIO + "!B !C . A2 . A2 D0 A2 A2",
        "3 A",
    ),
    "a place that becomes free is filled": (
        TRIO + "D0 !B . A2 C2 D0 . A2 E0 !D . A3 C3 E0 . A3",
        "4 A =C E",
    ),
    "L13 two eligible backups outvote the primary": (TRIO + "B2-A C2-A", "3 C =B"),
    "L13 one of two does not": (TRIO + "B2-A C2 B2-A A2", "2 A! =B =C"),
    "L13 nor do two who are not both eligible": (
        "A0 B0 C0 A1 A2+B B2-A C2-A B2-A",
        "2 A =B C",
    ),
    "L13 who takes it back does not count": (TRIO + "B2-A B2 C2-A", "2 A! =B =C"),
    "L13 the primary accuses first, and is weighed": (
        TRIO + "A2-B . A2-BC B2-A C2-A",
        "3 C =B",
    ),
    "L13 and believed if nobody objects": (
        TRIO + "A2-BC . B2 C2 A2-BC . B2 C2 A2-BC",
        "3 A",
    ),
    "L13 and not recruited by those who outvoted it": (
        TRIO + "B2-A C2-A A3 C3+B A3 C3+B",
        "3 C! =B",
    ),
}

#: The same with --ack-gate strict.
STORIES_STRICT = {
    "V4 no change while unacknowledged, though the backup dies": (
        "A0 B0 A1 . A1 . A1 . A1 . A1",
        "2 A B",
    ),
    "nor when it could be replaced": ("A0 B0 A1 C0 !B . A2 C0 . A2 C0", "2 A B"),
    "nor when it cannot be reached": ("A0 B0 A1 A2-B", "2 A B"),
    "all else is as ever": (PAIR + "C0 !A . B2 C0 . B2", "3 B C"),
}


@pytest.mark.parametrize("name", STORIES)
def test_story(name: str) -> None:
    moves, expected = STORIES[name]
    assert expected == shown(Story().tell(moves).views)


@pytest.mark.parametrize("name", STORIES_OF_TWO)
def test_story_of_two(name: str) -> None:
    moves, expected = STORIES_OF_TWO[name]
    assert expected == shown(Story(backups_max=2).tell(moves).views)


@pytest.mark.parametrize("name", STORIES_STRICT)
def test_story_strict(name: str) -> None:
    moves, expected = STORIES_STRICT[name]
    assert expected == shown(Story(strict=True).tell(moves).views)


def test_no_backups_wanted() -> None:
    assert shown(Story(backups_max=0).tell("A0 B0 A1 B0 A1").views) == "1 A!"


# -- a primary that pings, and works no more


def test_f13_a_primary_without_progress_is_replaced() -> None:
    story = Story().tell(PAIR + "A2%5 . A2%5 B2 . A2%5 B2")
    assert shown(story.tell(". A2%5").views) == "2 A! =B"
    assert story.due == {"B"}
    assert shown(story.tell("B2").views) == "3 B"
    assert story.causes[0] == ("A", "stuck", "no progress for 3 ticks")
    # It is not recruited before it works again.
    assert shown(story.tell("B3 . A3%5 B3").views) == "3 B!"
    assert shown(story.tell("A3%6 B3").views) == "4 B A"


def test_f13_a_primary_that_does_not_ping_is_silent_and_not_stuck() -> None:
    # Its last two pings show the same progress; then it is paused.
    story = Story().tell(PAIR + "A2%5 . A2%5 B2 . B2 . B2")
    assert shown(story.views) == "2 A! =B"
    assert shown(story.tell(". B2").views) == "3 B"
    assert story.causes[0] == ("A", "silent", "silent for 3 ticks")


def test_f13_but_not_if_nobody_else_can_lead() -> None:
    story = Story().tell("A0 A1" + " A1%5 . A1%5" * 5)
    assert shown(story.views) == "1 A!"
    # It is still the one that creates views.
    assert shown(story.tell("C0 A1%5").views) == "2 A C"
    story = Story().tell(PAIR + "A2%5 !B" + " . A2%5" * 5)
    assert shown(story.views) == "3 A"


STALL = " . A2%5 B2%5" * 4


def test_f13_a_stuck_backup_does_not_replace_a_stuck_primary() -> None:
    # All are late together, as on a machine that has too much to do.
    story = Story().tell(PAIR + "A2%5 B2%5" + STALL)
    assert shown(story.views) == "2 A! =B"
    # As soon as the backup works again, it takes over.
    assert shown(story.tell("B2%6").views) == "3 B"


def test_f13_a_stuck_backup_does_not_lead_where_another_one_can() -> None:
    story = Story(backups_max=2).tell(TRIO + "A2%5 B2%5 C2" + " . A2%5 B2%5 C2" * 2)
    story.tell(". A2%5 B2%5")
    assert shown(story.views) == "2 A! =B =C"
    assert shown(story.tell("C2").views) == "3 C =B"
    # But a dead primary is replaced by a stuck backup if there is no other.
    story = Story().tell(PAIR + "B2%5" + " . A2 B2%5" * 3 + " !A . B2%5 . B2%5")
    assert shown(story.views) == "3 B"


def test_f13_progress_of_any_kind_is_enough() -> None:
    story = Story().tell(PAIR)
    for progress in range(1, 9):
        story.tell(f"A2%{progress} B2 . B2")
    assert shown(story.views) == "2 A! =B"


# -- refusals: a story, and the reason in the last Goodbye ("" for an answer)

REFUSALS = {
    "a second process under a name": (PAIR + "B'0", "name in use"),
    "until the first is dead": (PAIR + ". . . B'0", ""),
    "a lost connection is no death": (PAIR + "!B . . B'0", "name in use"),
    "but silence is": (PAIR + "!B . . . B'0", ""),
    "nor is leaving, for it may pass its data on": (PAIR + "B2~ B'0", "name in use"),
    "but a farewell is": (PAIR + "B2~ !B~ B'0", ""),
    "L7 a superseded one is never taken again": (
        PAIR + "!B . . . B'0 B2",
        "superseded",
    ),
    "L7 not even when its successor is dead": (
        PAIR + "!B . . . B'0 !B' . . . B2",
        "superseded",
    ),
    "nor when that is superseded, too": (
        PAIR + "!B . . . B'0 !B' . . . B''0 B2",
        "superseded",
    ),
    "unless it was in no view": (PAIR + "C0 !C . . . C'0 !C' . . . C0", ""),
    "and is heard out on its old connection": (PAIR + "!B . . . B'0 ^B2", "superseded"),
    "V20 a number from the future": ("A0 A1 B2", "memory lost"),
    "which a stranger may have made up": ("A0 A1 B2 A1", ""),
    "but not one that has served": ("A0 A1 A2", "memory lost"),
    "and nothing is answered after it": ("A0 A1 A2 A1", "memory lost"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusal(name: str) -> None:
    moves, reason = REFUSALS[name]
    story = Story().tell(moves)
    assert reason == story.goodbye
    assert not reason or reason in GOODBYES


def test_an_older_connection_brings_no_newer_incarnation() -> None:
    story = Story().tell("A0 B0 A1")
    story.links["A'"] = story.links["B"]
    story.tell("!A A1 !A . . . A'0")
    assert story.goodbye == "name in use"
    assert not story.tell("!A' A'0").goodbye


def test_a_refused_process_changes_nothing() -> None:
    story = Story().tell(PAIR)
    before = story.views.fingerprint()
    story.tell("B'0")
    assert before == story.views.fingerprint()


# -- due: a story, and whose next ping makes a view

DUE = {
    "": "",
    PAIR: "",
    "A0 B0": "",  # unacknowledged
    "A0 A1 B0": "A",  # there is somebody to recruit
    PAIR + ". A2 . A2 .": "A",  # its backup is dead
    PAIR + ". B2 . B2 .": "B",  # the primary is dead
    PAIR + "C0 . B2 C0 . B2 C0 .": "B",
    PAIR + ". . . C0": "",  # nobody eligible is alive
    "A0 !A . B0 C0 .": "BC",  # the founding primary is dead
    PAIR + "B2~ !A": "",  # the primary has no connection to ping on
    PAIR + "C0 A2-B A3": "",
    TRIO + "B2-A C2-A": "",  # C outvoted A, with B, and is primary now
    TRIO + "C2-A B2-A C2": "",
    TRIO + "A2-BC .": "",  # weighed
    TRIO + "A2-BC . .": "A",
}


@pytest.mark.parametrize("moves", DUE)
def test_due(moves: str) -> None:
    assert set(DUE[moves]) == of(moves).due


@pytest.mark.parametrize("moves", DUE)
def test_who_is_due_makes_a_view_without_more_news(moves: str) -> None:
    for who in of(moves).links:
        story = of(moves)
        if story.views.roster.is_dead(member(who)):
            continue  # its ping would be news
        before = story.views.view.number
        story.tell(f"{who}0")
        assert (who in DUE[moves]) == (story.views.view.number == before + 1), who


# -- unreachable servers come back, late


def test_an_unreachable_server_is_recruited_again_after_a_while() -> None:
    story = Story().tell(PAIR + "A2-B A3")
    for _ in range(WAIT_DEADS * 3 - 1):
        story.tell(". A3 B3")
        assert shown(story.views) == "3 A!"
    assert shown(story.tell(". B3 A3").views) == "4 A B"


def test_and_after_other_idle_servers() -> None:
    story = Story().tell(PAIR + "A2-B A3")
    for _ in range(WAIT_DEADS * 3):
        story.tell(". B3" + " A3" * (_ < WAIT_DEADS * 3 - 1))
    assert shown(story.tell("C0 A3").views) == "4 A C"


def test_and_no_sooner_under_a_new_incarnation() -> None:
    story = Story().tell(PAIR + "A2-B A3 !B . A3 . A3 . A3 B'0 A3")
    assert shown(story.views) == "3 A!"
    assert shown(story.tell(". B'3 A3 " * 24).views) == "4 A B'"


def test_a_second_loss_waits_twice_as_long() -> None:
    story = Story().tell(PAIR + "A2-B A3" + " . A3 B3" * 24)
    assert shown(story.tell("A3").views) == "4 A B"
    story.tell("A4+B A4-B A5" + " . B5 A5" * (2 * 24 - 1))
    assert shown(story.views) == "5 A!"
    assert shown(story.tell(" . B5 A5").views) == "6 A B"


def test_m2_whatever_the_cause() -> None:
    """A server that stands still again and again is not recruited at once for ever."""
    story = Story().tell(PAIR)
    for loss in range(FREE_LOSSES_MAX + 1):
        number = story.views.view.counter
        story.tell(f". A{number} . A{number} . A{number} A{number + 1}")
        assert shown(story.views) == f"{number + 1} A!"
        story.tell(f"B0 A{number + 1}")
        if loss < FREE_LOSSES_MAX:
            assert shown(story.views) == f"{number + 2} A B"
            story.tell(f"A{number + 2}+B B{number + 2}")
    assert shown(story.views) == f"{number + 1} A!"
    assert story.waits == "backup: B"
    story.tell(f" . B0 A{number + 1}" * 24)
    assert shown(story.views) == f"{number + 2} A B"


def test_what_a_founder_loses_does_not_count() -> None:
    """No one else held its data, and its successor founds without a transfer."""
    story = Story()
    for _ in range(FREE_LOSSES_MAX + 1):
        story.tell("A0 . . . B0 . . .")
    assert shown(story.tell("A0").views) == f"{2 * FREE_LOSSES_MAX + 3} A"
    number = story.views.view.counter
    story.tell(f"A{number} B0 A{number}")
    assert shown(story.views) == f"{number + 1} A B"
    assert not any(each.damping.losses for each in story.views.servers.values())


def test_and_losses_are_forgiven_one_by_one() -> None:
    story = Story().tell(PAIR + "A2-B A3")
    assert story.views.servers["B"].damping.losses == FREE_LOSSES_MAX + 1
    story.tell(". A3 B3 " * 47)
    for losses in reversed(range(FREE_LOSSES_MAX + 1)):
        story.tell(". A3 B3 ")
        assert story.views.servers["B"].damping.losses == losses
        story.tell(". A3 B3 " * 23)


def test_and_those_who_were_not_reached_in_the_order_in_which_that_was() -> None:
    story = of(TRIO + "A2-C . B2 C2 A2-C . B2 C2 A2-C A3-B A4")
    assert shown(story.views) == "4 A!"
    story.tell(" . A4 B4 C4" * 23 + " . B4 C4 A4")
    assert shown(story.views) == "5 A C B"


# -- three backups


#: Four of them, for --backups 3.
FOUR = "A0 B0 C0 D0 A1 A2+BCD "


def test_who_is_no_heir_loses_its_place_at_once() -> None:
    story = Story(backups_max=3).tell("A0 B0 C0 D0 A1 A2+BC A2-D")
    assert shown(story.views) == "3 A =B =C"


def test_l13_in_a_new_view_it_is_weighed_anew() -> None:
    story = Story(backups_max=3).tell(FOUR)
    story.tell("E0 !B . A2-C C2 D2 E0 . A2-C C3 D3 E3 A3-C . A3-C")
    assert shown(story.views) == "3 A =C =D E"


def test_l13_a_primary_that_was_outvoted_makes_no_view() -> None:
    story = Story(backups_max=3).tell(FOUR)
    story.tell(". A2 B2-A D2-A . A2 B2-A D2-A . A2")
    assert shown(story.views) == "2 A! =B =C =D"  # C has died, and has no vote
    assert story.due == {"B", "D"}
    assert shown(story.tell("B2-A").views) == "3 B =D"


def test_only_who_was_not_reached_is_doubted() -> None:
    story = recalled(Story(backups_max=3).tell(FOUR), backups_max=1)
    story.tell("B2-A C2-A D2-A")
    assert shown(story.views) == "3 D =B"
    waiting = {
        name for name, each in story.views.servers.items() if each.damping.is_waiting(3)
    }
    assert waiting == {"A"}


# -- members that move, and places that are no more


def test_a_member_that_moves_is_a_change() -> None:
    story = Story().tell(PAIR)
    moved = Ping(8, member("B", "tcp:elsewhere:2"), 2)
    story.views.ping(story.links["B"], moved)
    story.tell("A2")
    assert shown(story.views) == "3 A =B"
    assert story.causes == [("B", "moved", "is now at tcp:elsewhere:2")]
    assert story.views.view.backups[0].address == "tcp:elsewhere:2"


def test_fewer_backups_than_before_a_restart() -> None:
    story = recalled(of(TRIO), backups_max=1).tell("A2+BC B2 C2")
    assert shown(story.views) == "3 A =B"
    assert story.causes == [("C", "surplus", "at most 1 backup is configured")]
    assert shown(story.tell("A3+B . B3 C3 . B3 C3 . C3 B3").views) == "4 B C"


@pytest.mark.parametrize("dead_pings", [2, 1, 0])
def test_two_silent_ticks_can_never_mean_death(dead_pings: int) -> None:
    with pytest.raises(ValueError, match="dead_pings"):
        Roster(dead_pings)
