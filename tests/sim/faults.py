"""
The kinds of faults, by name, and how common each is.

Pure.  Each seed draws which kinds it knows, so that some worlds are all crashes
and others all slow links: what is rare in one mixture is common in another.
"""

from __future__ import annotations

from typing import Final

#: Faults that come when they come: how many percent of the seeds know each.
SCHEDULED: Final = {
    # Processes, their memory and their clocks.
    "crash": 60,  # a server, back later under its name with nothing in memory
    "crash-two": 15,  # two at once
    "crash-last": 6,  # any server, be it the last one with the data
    "leave": 25,  # a server is stopped in order
    "pause": 40,  # a server or clerk stands still, and its clock goes on
    "freeze": 30,  # it stands still, and by its clock no time has passed
    "jump": 25,  # its clock jumps
    "drift": 20,  # clocks run fast or slow, and change that
    # The view service, and its state file.
    "views-crash": 35,
    "views-pause": 25,
    "views-amnesia": 15,  # it starts without its file, which comes back later
    "views-rollback": 15,  # it starts with an old file, the newest comes back later
    # Clerks.
    "clerk-crash": 20,  # one ends, another one begins
    "clerk-leave": 20,  # one finishes in order, another one begins
    "clerk-away": 20,  # stands still for longer than its session lives
    "give-up": 20,  # waits no more for anything it has asked
    # Connections.
    "break": 50,  # both ends learn of it; what was on its way is lost
    "half-break": 40,  # the other end learns late, and gets old bytes till then
    "half-open": 30,  # the other end never learns of it
    "late-copies": 30,  # all that was on its way comes after what is sent again
    "lag": 30,  # one connection is slower than those beside it
    # Ways between hosts.
    "slow": 40,
    "cut": 40,  # two hosts, in both directions
    "cut-one-way": 40,
    "cut-views": 30,  # a server from the view service only
    "cut-backup": 30,  # the primary from a backup only
    "cut-clerks": 20,  # a server from all clerks
    "isolate": 30,  # a server from everybody
    "split": 25,  # hosts into two groups
    "ring": 15,  # everybody reaches two neighbours
}

#: Faults that come with something else, which is when they hurt most.
TIMELY: Final = {
    "views-crash-before-writing": 20,  # what is decided is neither written nor told
    "views-crash-after-writing": 30,  # what is written was told to nobody
    "just-then": 45,  # a member of a view that was just made
    "founders": 15,  # the first primary, before it can acknowledge
    "slow-transfer": 25,  # the way of a snapshot that has just begun
    "break-transfer": 25,  # its connection, or one of its ends
    "just-said": 40,  # the sender of a message, its connection, or its way
}

KINDS: Final = {**SCHEDULED, **TIMELY}

#: Faults that keep no living server from its view service for longer than it waits
#: after a start: while that has an old state file, only these come.
IN_TRUCE: Final = frozenset(
    {
        *("break", "views-crash"),
        *("views-crash-before-writing", "views-crash-after-writing"),
        *("clerk-crash", "clerk-leave", "clerk-away", "give-up", "cut-clerks"),
    }
)
