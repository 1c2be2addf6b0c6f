"""The view service (V)."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, put

MUTANTS: Final = (
    Mutant(
        "V1",
        "4.8",
        "views move on although the primary never said that it knows the current one",
        (
            put(
                "viewservice.views",
                """
            return False
        if self.acknowledged or not has(proposed, view.primary, as_primary=True):
            return True
""",
                """
            return False
        return True
""",
            ),
            put(
                "viewservice.views",
                "places = self.backups_max if self.acknowledged else len(view.backups)",
                "places = self.backups_max",
            ),
        ),
    ),
    Mutant(
        "V2",
        "4.2",
        "a backup's ping of the number acknowledges",
        (
            put(
                "viewservice.views",
                """
            accuser = frozenset((member.name,))
""",
                """
            self.acknowledged = True
            accuser = frozenset((member.name,))
""",
            ),
        ),
    ),
    Mutant(
        "V3",
        "4.2",
        "an acknowledgement outlives its view",
        (
            put(
                "viewservice.views",
                """
        self.acknowledged = False
        self.eligible = """,
                """
        self.eligible = """,
            ),
        ),
    ),
    Mutant(
        "V4",
        "4.2",
        "a primary's ping speaks of the current view, whatever its number",
        (
            put(
                "viewservice.views",
                "if ping.number != view.number or view.primary is None:",
                "if view.primary is None:",
            ),
        ),
    ),
    Mutant(
        "V5",
        "4.4",
        "a primary that restarted between two pings counts as alive",
        (
            put(
                "viewservice.views",
                "if primary is None or self.roster.is_dead(primary):",
                "if primary is None or self.servers[primary.name].is_dead("
                "self.roster.dead_pings):",
            ),
        ),
    ),
    Mutant(
        "V7",
        "4.4",
        "a backup that restarted between two pings counts as alive",
        (
            put(
                "viewservice.views",
                """
            and not self.roster.is_dead(backup)
        ]
""",
                """
            and not self.servers[backup.name].is_dead(self.roster.dead_pings)
        ]
""",
            ),
        ),
    ),
    Mutant(
        "V8",
        "4.9",
        "a view with the same names is the same view",
        (
            put(
                "viewservice.views",
                """
        if proposed.members() == view.members():
            return False
""",
                """
        names = [member.name for member in proposed.members()]
        if names == [member.name for member in view.members()]:
            return False
""",
            ),
        ),
    ),
    Mutant(
        "V9",
        "4.11",
        "a server leads that has just said that it is stopping",
        (
            put(
                "viewservice.views",
                """
        if self.roster.is_dead(member):
            return False
        if not view.number:
""",
                """
        if not view.number:
""",
            ),
            put(
                "viewservice.views",
                """
        assert not any(self.roster.is_dead(each) for each in proposed.members())
""",
                "",
            ),
        ),
    ),
    Mutant(
        "V10",
        "4.3",
        "with the primary dead, whoever pings first leads",
        (
            put(
                "viewservice.views",
                "member.name not in self.eligible or not member.is_same_copy(backup)",
                "backup is not None and member.name not in self.eligible",
            ),
            put(
                "viewservice.views",
                """
            assert primary.name in self.eligible
            assert has(old, primary)
""",
                """
            pass
""",
            ),
        ),
    ),
    Mutant(
        "V11",
        "4.7",
        "an idle server is recruited that died long ago",
        (
            put(
                "viewservice.roster",
                """
                server.connected
                and not server.is_dead(dead_pings)
                and not server.is_stuck""",
                """
                not server.is_stuck""",
            ),
            put(
                "viewservice.views",
                """
        assert not any(self.roster.is_dead(each) for each in proposed.members())
""",
                "",
            ),
        ),
    ),
    Mutant(
        "V12",
        "4.9",
        "the number grows though nobody came or went",
        (
            put(
                "viewservice.views",
                """
        if proposed.members() == view.members():
            return False
""",
                "",
            ),
            put(
                "viewservice.views",
                """
        assert proposed.members() != old.members()
""",
                "",
            ),
        ),
    ),
    Mutant(
        "V13",
        "4.9",
        "who is promoted stays its own backup",
        (
            put(
                "viewservice.views",
                """
            if backup.name != leader.name
            and backup.name not in gone
""",
                """
            if backup.name not in gone
""",
            ),
        ),
    ),
    Mutant(
        "V14",
        "4.9",
        "promotion and recruitment take two views",
        (
            put(
                "viewservice.views",
                "self.roster.idle(view.members(), places - len(kept))),",
                "self.roster.idle(view.members(), stays * (places - len(kept)))),",
            ),
        ),
    ),
    Mutant(
        "V16",
        "4",
        "watching is a sign of life",
        (
            put(
                "viewservice.service",
                """
            self._watchers[link] = None
            self._ask(""",
                """
            self._watchers[link] = None
            self.views.roster.servers.update(
                (name, msgspec.structs.replace(server, silent=0))
                for name, server in self.views.servers.items()
            )
            self._ask(""",
            ),
            put(
                "viewservice.service",
                """
from twisted.application.service import Service
""",
                """
import msgspec
from twisted.application.service import Service
""",
            ),
        ),
    ),
    Mutant(
        "V18",
        "4.1",
        "a founding view that was acknowledged may be founded again",
        (
            put(
                "viewservice.views",
                "return not self.view.number or "
                "(self.view.founding and not self.acknowledged)",
                "return not self.view.number or self.view.founding",
            ),
        ),
    ),
    Mutant(
        "V20",
        "4.12",
        "a restarted view service begins again with no view",
        (
            put(
                "viewservice.views",
                """
        views.view = memory.view
""",
                "",
            ),
        ),
    ),
    Mutant(
        "V21",
        "4.12",
        "a restarted view service forgets that the view was acknowledged",
        (
            put(
                "viewservice.views",
                """
        views.acknowledged = memory.acknowledged
""",
                "",
            ),
        ),
    ),
    Mutant(
        "V21b",
        "4.12",
        "a restarted view service knows nobody who is eligible",
        (
            put(
                "viewservice.views",
                """
        views.eligible = frozenset(memory.eligible)
""",
                "",
            ),
        ),
    ),
)

ABSENT: Final[dict[str, str]] = {}
