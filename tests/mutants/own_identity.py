"""Identities of views, old states, strangers, names, and losses that add up."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, put

MUTANTS: Final = (
    Mutant(
        "id-plain-order",
        "4.14",
        "a replica compares views as plain integers",
        (
            put(
                "pbserver.replica",
                "if view.number == mine.number or view.counter < mine.counter:",
                "if view.number <= mine.number:",
            ),
            put(
                "pbserver.replica",
                "        assert view.counter > self.view.counter\n",
                "",
            ),
        ),
    ),
    Mutant(
        "id-no-bits",
        "4.14",
        "the view service draws no bits for a view",
        (
            put(
                "viewservice.service",
                "bits = self._random.getrandbits(32)",
                "bits = 0",
            ),
        ),
    ),
    Mutant(
        "id-other-bits",
        "4.14",
        "a known counter is enough, whatever its bits",
        (
            put(
                "viewservice.lineage",
                "Verdict.KNOWN if bits == number >> COUNTER_BITS else Verdict.OTHER",
                "Verdict.KNOWN",
            ),
        ),
        configs=("rolled-back", "rolled-back-late"),
    ),
    Mutant(
        "id-newer",
        "4.14",
        "a view with a greater counter is no proof of an old state",
        (put("viewservice.lineage", "return Verdict.NEWER", "return Verdict.KNOWN"),),
        configs=("rolled-back",),
    ),
    Mutant(
        "id-second-view",
        "4.14",
        "a replica takes a second view with its counter for an older one",
        (
            put(
                "pbserver.replica",
                "if view.number == mine.number or view.counter < mine.counter:",
                "if view.counter <= mine.counter:",
            ),
        ),
    ),
    Mutant(
        "id-recovery",
        "4.14",
        "a server that follows a recovery adopts views of the lost branch",
        (
            put(
                "pbserver.replica",
                "if mine.recoveries and mine.recoveries[-1] not in view.recoveries:",
                "if False:",
            ),
        ),
    ),
    Mutant(
        "id-margin",
        "4.14",
        "a view service that has read a file creates views at once",
        (
            put(
                "viewservice.views",
                "views.settling = views.margin_ticks",
                "views.settling = 0",
            ),
        ),
        configs=("rolled-back",),
    ),
    Mutant(
        "id-margin-short",
        "4.14",
        "the margin is the dead time, which a redial can take longer than",
        (
            put(
                "wire.margin",
                "margin_s = CONNECT_S + max(HELLO_S, dead_s) + REDIAL_S + dead_s",
                "margin_s = dead_s",
            ),
        ),
    ),
    Mutant(
        "id-founding-beside",
        "4.1",
        "an unacknowledged founding stands although a server with data calls",
        (
            put(
                "viewservice.views",
                "if self.new_cluster or not self.is_unfounded():",
                "if self.new_cluster or self.view.number:",
            ),
        ),
    ),
    Mutant(
        "id-stranger-persists",
        "4.14",
        "whoever claims to know another view makes the state lost for good",
        (
            put(
                "viewservice.views",
                "if self.roster.has_served(member):",
                "if True:",
            ),
        ),
    ),
    Mutant(
        "id-claims",
        "4.14",
        "views are created while a stranger calls that knows another one",
        (
            put(
                "viewservice.views",
                "self.settling = max(self.settling, self.margin_ticks, "
                "self.roster.dead_pings)",
                "pass",
            ),
        ),
    ),
    Mutant(
        "id-lost-forgotten",
        "4.14",
        "that the state is lost is not remembered",
        (
            put(
                "viewservice.views",
                """
            machine=self.machine,
            lost=self.lost if self.is_lost_for_good else "",""",
                """
            machine=self.machine,
            lost="",""",
            ),
        ),
    ),
    Mutant(
        "id-clerk-evidence",
        "4.14",
        "what a clerk knows of views counts",
        (
            put(
                "viewservice.views",
                "if hello.role == SERVER and hello.member is not None:",
                "if True:",
            ),
            put(
                "viewservice.views",
                """
            return self._wrong_machine(
                hello.member, hello.machine
            ) or self._contradiction(hello.member, hello.number)
""",
                """
            member = hello.member or Member("a clerk", 0, "")
            return self._contradiction(member, hello.number)
""",
            ),
        ),
    ),
    Mutant(
        "id-greet",
        "5 backup 1",
        "a greeting with a newer view is believed, from whichever server",
        (
            put(
                "pbserver.replica",
                "and not self._may_adopt(view, sender)",
                "and False",
            ),
        ),
    ),
    Mutant(
        "id-greet-unknown",
        "5 backup 1",
        "a greeting is believed although its sender is in no view that is known",
        (
            put(
                "pbserver.replica",
                """
            and any(sender.is_same_copy(each) for each in self.view.members())""",
                "",
            ),
        ),
    ),
    Mutant(
        "id-name-hint",
        "4.5",
        "a lost connection frees a name",
        (
            put(
                "viewservice.server",
                "return not self.stopped and self.silent < dead_pings",
                "return self.connected and not self.is_dead(dead_pings)",
            ),
        ),
    ),
    Mutant(
        "id-name-leaving",
        "4.5",
        "a server that is leaving loses its name while it passes its data on",
        (
            put(
                "viewservice.server",
                "return not self.stopped and self.silent < dead_pings",
                "return not self.leaving and self.silent < dead_pings",
            ),
        ),
    ),
    Mutant(
        "id-stuck",
        "4.17",
        "a primary that pings and does no work stays",
        (
            put(
                "viewservice.views",
                "if self.roster.is_stuck(primary) and self._heirs_at_work():",
                "if False:",
            ),
        ),
    ),
    Mutant(
        "id-stuck-alone",
        "4.17",
        "a primary without progress is given up although no other can lead",
        (
            put(
                "viewservice.views",
                "if self.roster.is_stuck(primary) and self._heirs_at_work():",
                "if self.roster.is_stuck(primary):",
            ),
        ),
    ),
    Mutant(
        "id-stuck-heir",
        "4.17",
        "a stuck primary is replaced by a stuck backup",
        (
            put(
                "viewservice.views",
                "if self.roster.is_stuck(primary) and self._heirs_at_work():",
                "if self.roster.is_stuck(primary) and self.heirs():",
            ),
        ),
    ),
    Mutant(
        "id-stuck-leader",
        "4.17",
        "a stuck backup becomes primary although another one is at work",
        (
            put(
                "viewservice.views",
                "return not at_work or member.name in at_work",
                "return True",
            ),
        ),
    ),
    Mutant(
        "id-damping-founder",
        "4.15",
        "the losses of founders count, though they cost nobody a transfer",
        (
            put(
                "viewservice.views",
                "counts = not self.is_unfounded()",
                "counts = True",
            ),
        ),
    ),
    Mutant(
        "id-damping-cause",
        "4.15",
        "only servers that could not be reached wait for their next place",
        (
            put(
                "viewservice.damping",
                "least = FREE_LOSSES_MAX + 1 if unreachable else 1",
                "least = FREE_LOSSES_MAX + 1 if unreachable else -99",
            ),
            put(
                "viewservice.damping",
                "return Damping(min(most, max(least, self.losses + 1)))",
                "return self if least < 0 else "
                "Damping(min(most, max(least, self.losses + 1)))",
            ),
        ),
    ),
    Mutant(
        "id-damping-flat",
        "4.15",
        "the wait for the next place does not grow",
        (
            put(
                "viewservice.damping",
                "return WAIT_DEADS * dead_pings << min(over - 1, DOUBLINGS_MAX)",
                "return WAIT_DEADS * dead_pings",
            ),
        ),
    ),
    Mutant(
        "id-damping-forgiven",
        "4.15",
        "a loss is never forgiven",
        (
            put(
                "viewservice.damping",
                "if quiet >= wait + max(wait, WAIT_DEADS * dead_pings):",
                "if False:",
            ),
        ),
    ),
    Mutant(
        "id-machine",
        "4.16",
        "a server with another state machine is registered",
        (
            put(
                "viewservice.views",
                "if not self.machine or machine == self.machine "
                "or self.is_unfounded():",
                "if True:",
            ),
        ),
    ),
    Mutant(
        "id-version",
        "8",
        "a message is sent although the other end speaks an older version",
        (
            put(
                "wire.link",
                "self._unspoken = frozenset("
                "kind for kind in SINCE if SINCE[kind] > version)",
                "pass",
            ),
        ),
    ),
    Mutant(
        "id-old-founding",
        "4.2",
        "a founding view of a state that may be old is acknowledged at once",
        (
            put(
                "viewservice.views",
                " and not (view.founding and self.settling):",
                ":",
            ),
        ),
        tests=("views_memory",),
    ),
)
