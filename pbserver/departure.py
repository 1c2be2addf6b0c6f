"""
When a server that is stopping may end.

Pure: what the server knows comes in as a `Standing`, the time as seconds, and
the answer is a `Step`.  The law: a planned stop loses nothing that was answered
if another living server can have it within `STOP_S_MAX`.  A server on which
nothing depends goes at once (docs/design.md, section 5, "A planned stop").
"""

from __future__ import annotations

import enum
from collections.abc import Container
from typing import Final

from attrs import define, evolve, field, frozen

from pbserver.backup import Backup
from pbserver.primary import Primary
from pbserver.replica import Replica
from wire.messages import BACKUP, PRIMARY

#: How long a planned stop may take, in seconds.  Less than the 10 s after which
#: container runtimes send SIGKILL.
STOP_S_MAX: Final = 8.0

#: A backup that its primary is connected to waits less for its last answer, so that
#: the primary hears its Goodbye while there is time.
BACKUP_S_MAX: Final = STOP_S_MAX / 2

#: Ping intervals that a primary without any backup waits while a view can be created:
#: a server that has just started to listen is registered and in a view by then.  When
#: the view service has stopped, a backup that is stopping, too, has said so by then.
ALONE_PINGS: Final = 3

#: Intervals of silence after which a backup does not rely on its primary to be
#: alive; a primary sends something in each one.
SILENT_TICKS: Final = 2

#: `Standing.role` of a server that is in no view.
IDLE: Final = "idle"


class Registration(enum.Enum):
    """The connection to the view service."""

    CONNECTED = "connected"
    #: Lost or never made; it is dialled.
    LOST = "lost"
    #: The view service said that it stops, and has not come back.
    STOPPED = "stopped"


class Act(enum.Enum):
    """What a server that is to stop does now."""

    #: Nothing depends on it: close all connections and end.
    GO = "go"
    #: Ping as leaving and serve on, so that the view service replaces it.
    OFFER = "offer"
    #: Serve on until a living backup holds everything.
    BRING_UP = "bring up"
    #: Serve on for a moment: the view service is about to make a view.
    SETTLE = "settle"


@frozen
class BackupState:
    """One backup of a primary's view."""

    name: str
    #: Has it everything that was answered?
    synced: bool
    connected: bool
    #: It said that it is stopping.
    stopped: bool
    #: Its log equals the primary's up to this entry.
    verified: int = 0


@frozen
class Standing:
    """What a server knows that matters for whether it may go."""

    #: PRIMARY, BACKUP or IDLE, in the newest view that it knows.
    role: str
    #: How many entries its log has, counted from the first one ever.
    entries: int
    #: A primary's backups.
    backups: tuple[BackupState, ...] = ()
    #: Of a backup: is its primary connected, and was it heard just now?
    is_followed: bool = False
    #: Of a backup: can it become primary, for all that it knows?
    is_eligible: bool = False
    registration: Registration = Registration.CONNECTED
    #: Has the view service answered a ping that said that this server leaves?
    #: The view in that answer is the one that `role` is of, or an older one.
    is_confirmed: bool = False
    #: May the view service be in its margin, in which it creates no view?
    is_in_margin: bool = False

    def is_view_delayed(self) -> bool:
        """May it be that no view can be created now, but can be soon?"""
        return self.registration is Registration.LOST or self.is_in_margin

    def may_live(self, backup: BackupState) -> bool:
        """May that backup be alive, for all that is known?  One that is not
        connected is, as long as a view service watches over the view."""
        watched = self.registration is not Registration.STOPPED
        return not backup.stopped and (backup.connected or watched)


def standing_of(
    replica: Replica,
    stopped: Container[str],
    registration: Registration,
    *,
    is_confirmed: bool,
    is_in_margin: bool,
    is_acknowledged: bool,
) -> Standing:
    """The standing of *replica*; *stopped* names the backups that said that they
    are stopping, *is_acknowledged* says whether its view is."""
    role = replica.role
    known = Standing(
        IDLE,
        replica.history.log.end,
        registration=registration,
        is_confirmed=is_confirmed,
        is_in_margin=is_in_margin,
    )
    if isinstance(role, Primary):
        backups = tuple(
            BackupState(
                name,
                each.synced,
                each.link is not None,
                name in stopped,
                each.verified,
            )
            for name, each in role.followers.items()
        )
        return evolve(known, role=PRIMARY, backups=backups)
    if isinstance(role, Backup):
        is_followed = role.link is not None and role.silent_ticks < SILENT_TICKS
        is_eligible = is_acknowledged or replica.me.name in role.view.holders
        return evolve(
            known, role=BACKUP, is_followed=is_followed, is_eligible=is_eligible
        )
    return known


def act(standing: Standing) -> Act:
    """What is right while there is time."""
    if standing.role == IDLE or not standing.entries:
        return Act.GO
    if standing.role == BACKUP:
        if not standing.is_followed:
            # Its primary may be gone, and this copy the only one.
            return Act.SETTLE
        # It may be primary by now without knowing it.  The answer to a ping that
        # says that it leaves shows that, and no view makes it primary after that.
        # A view service that has stopped creates no view.
        stopped = standing.registration is Registration.STOPPED
        done = standing.is_confirmed or stopped
        return Act.GO if done else Act.OFFER
    if any(each.synced and each.connected for each in standing.backups):
        # Not gone before another one is primary: that one could be leaving, too.
        return Act.OFFER
    if any(standing.may_live(each) for each in standing.backups):
        return Act.BRING_UP
    return Act.SETTLE


@frozen
class Step:
    """What to do now."""

    act: Act
    #: It ends although no other server is known to hold its data.
    abandons: bool = False


@define
class Departure:
    """One planned stop, from the signal to the end."""

    began_s: float
    #: Told to end at once.
    is_urgent: bool = field(default=False, init=False)
    #: What it does now, for how long at most, and since when.
    act: Act | None = field(default=None, init=False)
    patience_s: float = field(default=0.0, init=False)
    since_s: float = field(default=0.0, init=False)

    def step(
        self, now_s: float, standing: Standing, ping_s: float, dead_pings: int
    ) -> Step:
        """What to do now; *ping_s* is the ping interval, in seconds."""
        wanted = act(standing)
        patience_s = _patience_s(standing, wanted, ping_s, dead_pings)
        if (wanted, patience_s) != (self.act, self.patience_s):
            self.act, self.patience_s, self.since_s = wanted, patience_s, now_s
        if wanted is Act.GO:
            return Step(Act.GO)
        # Measured from the signal: whether a backup hears its primary may change often.
        is_early = standing.role == BACKUP and now_s - self.began_s < BACKUP_S_MAX
        if (
            self.is_urgent
            or now_s - self.began_s >= STOP_S_MAX
            or (
                now_s - self.since_s >= patience_s
                and not (wanted is Act.OFFER and is_early)
            )
        ):
            return Step(Act.GO, abandons=wanted in {Act.BRING_UP, Act.SETTLE})
        return Step(wanted)


def _patience_s(
    standing: Standing, wanted: Act, ping_s: float, dead_pings: int
) -> float:
    """How long *wanted* may go on."""
    if wanted is Act.BRING_UP:
        return STOP_S_MAX
    alone_s = ALONE_PINGS * ping_s
    if standing.registration is Registration.STOPPED:
        # Probably everything is being stopped.
        return alone_s if wanted is Act.OFFER else 0.0
    if wanted is Act.OFFER:
        return alone_s if standing.role == BACKUP else STOP_S_MAX
    if standing.role == BACKUP:
        # In which a dead primary is found out.  The next one is another server, or
        # none if this one is not eligible.
        return STOP_S_MAX if standing.is_eligible else 2 * dead_pings * ping_s
    return STOP_S_MAX if standing.is_view_delayed() else alone_s


def awaited(standing: Standing) -> str:
    """What keeps this server from going, for the log."""
    if standing.registration is Registration.LOST:
        return f"the view service, and then {_awaited(standing)}"
    return _awaited(standing)


def _awaited(standing: Standing) -> str:
    if standing.role == BACKUP:
        return "its primary to be heard, or a view without it"
    coming = [each for each in standing.backups if standing.may_live(each)]
    if any(each.synced and each.connected for each in coming):
        names = ", ".join(each.name for each in coming if each.synced)
        return f"{names} to become primary"
    if not coming:
        return "a backup to come"
    return ", ".join(f"{each.name} to be synced" for each in coming)


def lost(standing: Standing) -> str:
    """What is lost if this server goes now, for the log."""
    near = ", ".join(
        f"{each.name} has {each.verified}"
        for each in standing.backups
        if standing.may_live(each)
    )
    return (
        f"the keys and sessions of {standing.entries} entries: no other server is known"
        f" to hold them{near and f' ({near} of them)'}"
    )
