"""How a server stops that was told to."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, put

MUTANTS: Final = (
    Mutant(
        "stop-unreplaced",
        "5 stop 2",
        "a primary goes when a backup is synced, before it has been replaced",
        (
            put(
                "pbserver.departure",
                """
        # Not gone before another one is primary: that one could be leaving, too.
        return Act.OFFER""",
                """
        return Act.GO""",
            ),
        ),
    ),
    Mutant(
        "stop-unwatched",
        "5 stop 2",
        "a primary goes when a backup is synced and the view service is away",
        (
            put(
                "pbserver.departure",
                """
        # Not gone before another one is primary: that one could be leaving, too.
        return Act.OFFER""",
                """
        is_lost = standing.registration is Registration.LOST
        return Act.GO if is_lost else Act.OFFER""",
            ),
        ),
    ),
    Mutant(
        "stop-silently",
        "5 stop 7",
        "when the view service has stopped, a primary waits for no Goodbye of a backup",
        (
            put(
                "pbserver.departure",
                "return alone_s if wanted is Act.OFFER else 0.0",
                "return 0.0",
            ),
        ),
    ),
    Mutant(
        "stop-margin",
        "5 stop 4",
        "a primary alone does not wait for the end of a margin",
        (
            put(
                "pbserver.departure",
                "self.registration is Registration.LOST or self.is_in_margin",
                "self.registration is Registration.LOST",
            ),
        ),
    ),
    Mutant(
        "stop-together",
        "5 stop 5",
        "a backup waits for its last answer as long as its primary for a view",
        (
            put(
                "pbserver.departure",
                "BACKUP_S_MAX: Final = STOP_S_MAX / 2",
                "BACKUP_S_MAX: Final = STOP_S_MAX",
            ),
        ),
    ),
    Mutant(
        "stop-unconnected",
        "5 stop 3",
        "a synced backup counts although its connection is lost",
        (
            put(
                "pbserver.departure",
                "if any(each.synced and each.connected for each in standing.backups):",
                "if any(each.synced for each in standing.backups):",
            ),
        ),
    ),
    Mutant(
        "stop-newcomer",
        "5 stop 3",
        "a primary does not wait for a newcomer",
        (put("pbserver.departure", "return Act.BRING_UP", "return Act.SETTLE"),),
    ),
    Mutant(
        "stop-leaving",
        "5 stop 3",
        "a newcomer that is stopping is waited for",
        (
            put(
                "pbserver.departure",
                "if any(standing.may_live(each) for each in standing.backups):",
                "if standing.backups:",
            ),
        ),
    ),
    Mutant(
        "stop-farewell",
        "5 stop 3",
        "that a backup is stopping is not noticed",
        (put("pbserver.peers", "self._stopped.add(self._member)", "pass"),),
    ),
    Mutant(
        "stop-alone",
        "5 stop 4",
        "a primary alone does not wait for a server that has just started",
        (
            put(
                "pbserver.departure", "ALONE_PINGS: Final = 3", "ALONE_PINGS: Final = 0"
            ),
        ),
    ),
    Mutant(
        "stop-confirmed",
        "5 stop 5",
        "a backup goes without the answer that shows that it is not primary",
        (
            put(
                "pbserver.departure",
                "done = standing.is_confirmed or stopped",
                "done = True",
            ),
        ),
    ),
    Mutant(
        "stop-followed",
        "5 stop 5",
        "a backup relies on a primary that is gone",
        (put("pbserver.departure", "if not standing.is_followed:", "if False:"),),
    ),
    Mutant(
        "stop-silent",
        "5 stop 5",
        "a backup relies on a primary that is silent",
        (
            put(
                "pbserver.departure",
                "role.link is not None and role.silent_ticks < SILENT_TICKS",
                "role.link is not None",
            ),
        ),
    ),
    Mutant(
        "stop-for-ever",
        "5 stop 6",
        "a stop may take as long as it likes",
        (put("pbserver.departure", "or now_s - self.began_s >= STOP_S_MAX", ""),),
    ),
    Mutant(
        "stop-deaf",
        "5 stop 6",
        "a second signal changes nothing",
        (
            put(
                "pbserver.departure",
                """
            self.is_urgent
            or""",
                """
            False
            or""",
            ),
        ),
    ),
    Mutant(
        "stop-failed",
        "5 stop 6",
        "a server that must stop waits all the same",
        (
            put(
                "pbserver.service",
                "if step.act is Act.GO or self._has_failed:",
                "if step.act is Act.GO:",
            ),
        ),
    ),
    Mutant(
        "stop-untold",
        "5 stop 4",
        "that data is abandoned is not logged",
        (
            put(
                "pbserver.departure",
                "abandons=wanted in {Act.BRING_UP, Act.SETTLE}",
                "abandons=False",
            ),
        ),
    ),
    Mutant(
        "stop-kept",
        "5 stop 3",
        "a leaving that was announced is never taken back",
        (
            put(
                "pbserver.pinger",
                "if leaving != self._leaving:",
                "if leaving and not self._leaving:",
            ),
        ),
    ),
    Mutant(
        "wait-stopped",
        "4.7",
        "a server that has stopped is hoped for",
        (put("viewservice.waits", "elif server.stopped:", "elif False:"),),
    ),
    Mutant(
        "wait-forgotten",
        "4.12",
        "that a server has stopped is forgotten in a restart of the view service",
        (
            put(
                "viewservice.server",
                "if known.served and not known.stopped:",
                "if known.served:",
            ),
        ),
    ),
)
