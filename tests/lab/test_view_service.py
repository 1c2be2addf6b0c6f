"""Who is primary: the rules of every course about the view service."""

from __future__ import annotations

from tests.lab.grading import rule
from tests.lab.registry import DEAD, Registry
from wire.messages import CLERK, VERSION, Hello

PART = "view service"


def pair() -> Registry:
    """s1 leads, s2 is its backup, acknowledged."""
    lab = Registry()
    lab.start("s1", "s2")
    lab.tick()
    assert lab.seen == (2, "s1", ("s2",))
    return lab


def trio() -> Registry:
    """The same, and s3 waits."""
    lab = pair()
    lab.start("s3")
    lab.tick()
    return lab


@rule(1, PART, "a view exists only once a server has called")
def test_nobody_leads_before_the_first_ping() -> None:
    lab = Registry()
    lab.tick(3 * DEAD)
    assert lab.seen == (0, None, ())


@rule(1, PART, "asking for the view makes nobody a server")
def test_asking_is_no_ping() -> None:
    lab = Registry()
    assert lab.views.greeted(Hello(VERSION, CLERK)) is None
    for _ in range(3 * DEAD):
        lab.views.view_is()
        lab.tick()
    assert lab.seen == (0, None, ())


@rule(2, PART, "the first server to ping leads, alone")
def test_the_first_server_leads() -> None:
    lab = Registry()
    lab.start("s1")
    assert lab.seen == (1, "s1", ())


@rule(2, PART, "recruit when there is a free place and the view is acknowledged")
def test_the_second_server_becomes_backup() -> None:
    lab = Registry()
    lab.start("s1")
    lab.tick()
    lab.start("s2")
    lab.tick()
    assert lab.seen == (2, "s1", ("s2",))


@rule(2, PART, "remember who waits until the acknowledgement comes")
def test_who_pinged_before_the_acknowledgement_needs_not_ping_again() -> None:
    lab = Registry()
    lab.start("s1", silent=True)
    lab.start("s2", silent=True)
    assert lab.seen == (1, "s1", ())
    lab.ping("s1", 1)
    assert lab.seen == (2, "s1", ("s2",))


@rule(3, PART, "no backup before the primary has acknowledged the view")
def test_no_backup_is_added_before_the_acknowledgement() -> None:
    lab = Registry()
    lab.start("s1", silent=True)
    lab.start("s2")
    for _ in range(DEAD - 1):
        lab.ping("s1", 0)
        lab.tick()
        assert lab.seen == (1, "s1", ())
    lab.ping("s1", 1)
    assert lab.seen == (2, "s1", ("s2",))


@rule(3, PART, "death is a number of silent ticks: not one fewer, not one more")
def test_a_silent_primary_is_replaced_at_the_limit_and_not_before() -> None:
    lab = pair()
    lab.silence("s1", ticks=DEAD - 1)
    assert lab.seen == (2, "s1", ("s2",))
    lab.tick()
    assert lab.seen == (3, "s2", ())


@rule(2, PART, "a ping clears the silence, and one per limit is enough")
def test_one_ping_per_limit_keeps_a_server_alive() -> None:
    lab = pair()
    lab.silence("s1")
    for _ in range(5):
        lab.tick(DEAD - 1)
        lab.ping("s1")
    assert lab.seen == (2, "s1", ("s2",))


@rule(2, PART, "an ousted primary that comes back is a server like any other")
def test_the_old_primary_comes_back_as_backup() -> None:
    lab = pair()
    lab.silence("s1", ticks=DEAD)
    lab.start("s1")
    lab.tick()
    assert lab.seen == (4, "s2", ("s1",))


@rule(3, PART, "promote and recruit in one change, with one number")
def test_promotion_and_recruitment_are_one_step() -> None:
    lab = trio()
    lab.silence("s1", ticks=DEAD)
    assert lab.seen == (3, "s2", ("s3",))
    assert lab.numbers == [1, 2, 3]


@rule(3, PART, "another incarnation has lost what the first one held")
def test_a_primary_that_restarts_without_a_gap_is_replaced() -> None:
    lab = pair()
    lab.start("s1")  # courses say it with a ping of 0
    lab.tick(DEAD)
    assert lab.seen == (4, "s2", ("s1",))
    assert lab.numbers == [1, 2, 3, 4]  # its name was free only then


@rule(2, PART, "who replaces a restarted primary is accompanied at once")
def test_a_restarted_primary_is_replaced_and_the_idle_recruited_in_one_step() -> None:
    lab = trio()
    lab.start("s1")
    lab.tick(DEAD)
    assert lab.seen == (3, "s2", ("s3",))


@rule(2, PART, "a dead backup leaves, its primary stays")
def test_a_dead_backup_leaves() -> None:
    lab = pair()
    lab.silence("s2", ticks=DEAD)
    assert lab.seen == (3, "s1", ())


@rule(2, PART, "a dead backup is replaced in one step")
def test_a_dead_backup_is_replaced_by_who_waits() -> None:
    lab = trio()
    lab.silence("s2", ticks=DEAD)
    assert lab.seen == (3, "s1", ("s3",))


@rule(4, PART, "only the primary's own ping, with the view's number, acknowledges")
def test_without_an_acknowledgement_the_view_stays() -> None:
    lab = Registry()
    lab.start("s1")
    lab.servers["s1"].is_lagging = True
    lab.start("s2")
    lab.tick()
    assert lab.seen == (2, "s1", ("s2",))
    lab.silence("s1")
    for _ in range(4 * DEAD):
        lab.ping("s2", 2)
        lab.views.tick()
    assert lab.seen == (2, "s1", ("s2",))


@rule(3, PART, "who never was a synced backup never leads")
def test_an_idle_server_never_leads() -> None:
    lab = trio()
    lab.silence("s1", "s2", ticks=4 * DEAD)
    assert lab.seen == (2, "s1", ("s2",))
    lab.speak("s2")
    assert lab.seen == (3, "s2", ("s3",))


@rule(2, PART, "recruit only who is alive now")
def test_a_dead_idle_server_is_not_recruited() -> None:
    lab = trio()
    lab.silence("s3", ticks=DEAD)
    lab.silence("s2", ticks=DEAD)
    assert lab.seen == (3, "s1", ())


@rule(2, PART, "a view's number changes with its members, and only then")
def test_the_number_stands_still_while_the_members_do() -> None:
    lab = Registry()
    lab.start("s1")
    lab.tick(10 * DEAD)
    assert lab.seen == (1, "s1", ())
    lab = pair()
    lab.silence("s1", "s2", ticks=3 * DEAD)
    assert lab.seen == (2, "s1", ("s2",))


@rule(3, PART, "the acknowledgement belongs to one view and is cleared with it")
def test_a_new_view_is_to_be_acknowledged_anew() -> None:
    lab = trio()
    lab.servers["s2"].is_lagging = True
    lab.silence("s1", ticks=DEAD)
    assert lab.seen == (3, "s2", ("s3",))
    lab.silence("s2")
    for _ in range(3 * DEAD):
        lab.ping("s3")
        lab.views.tick()
    assert lab.seen == (3, "s2", ("s3",)), "s3 was never said to hold anything"


@rule(2, PART, "an old number acknowledges nothing")
def test_a_ping_of_an_older_view_acknowledges_nothing() -> None:
    lab = pair()
    lab.start("s3")
    lab.silence("s1", "s2", ticks=DEAD)
    lab.ping("s2", 2)  # so s2 leads in view 3, and does not know it
    assert lab.seen == (3, "s2", ("s3",))
    for _ in range(3 * DEAD):
        lab.ping("s2", 2)
        lab.tick()
    assert not lab.views.acknowledged
    lab.ping("s2", 3)
    assert lab.views.acknowledged


@rule(3, PART, "the first-server rule holds once; then data could be lost")
def test_after_total_loss_nobody_starts_over_empty() -> None:
    lab = Registry()
    lab.start("s1")
    lab.tick()
    lab.silence("s1", ticks=DEAD)
    lab.start("s2", "s3")
    lab.tick(3 * DEAD)
    assert lab.seen == (1, "s1", ())
    wait = lab.views.waiting()
    assert wait is not None
    assert wait.names == ("s1",)


@rule(2, PART, "move with the first ping that allows it")
def test_the_view_moves_as_soon_as_it_may() -> None:
    lab = trio()
    lab.silence("s1", "s2", ticks=DEAD - 1)
    lab.ping("s2")
    lab.tick()
    assert lab.seen[0] == 2, "s1 is dead, and nobody has pinged since"
    lab.ping("s2")
    assert lab.seen == (3, "s2", ("s3",))


@rule(2, PART, "one process per name; the newcomer is told why it is refused")
def test_a_second_process_does_not_take_a_living_ones_name() -> None:
    lab = pair()
    lab._links += 1
    other = type(lab.servers["s1"])("s1", 999, lab._links)
    lab.servers["other"] = other
    lab.ping("other")
    assert lab.goodbye is not None
    assert lab.goodbye.reason == "name in use"
    assert lab.seen == (2, "s1", ("s2",))
