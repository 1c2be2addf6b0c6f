"""
What a view service must not forget.

Pure: a value.  `Views.memory` makes it, `Views.recalled` takes it back, and
whatever is in it is on disk before anybody is told of it (``docs/design.md``,
section 4, rule 12).  Who is silent is not in it: after a restart everyone
known has time to call.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from viewservice.lineage import Lineage
from wire.messages import Change, Member, View


class Known(Struct, frozen=True, gc=False):
    """The last incarnation of a name that was in a view, and those before it."""

    member: Member
    #: Incarnations that lost the name, oldest first; *member* itself may be the last.
    superseded: tuple[int, ...] = ()
    #: Does it still hold its name?
    served: bool = False
    #: Has *member* said Goodbye as its process ended?  Then its copy is gone.
    stopped: bool = False


class Memory(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """All that outlives the process."""

    cluster: Annotated[bytes, Meta(min_length=16, max_length=16)]
    view: View
    acknowledged: bool
    eligible: tuple[str, ...]
    #: Servers in the order in which they began to wait.
    servers: tuple[Known, ...]
    history: tuple[Change, ...]
    #: The identities of all views so far.
    lineage: Lineage = Lineage()
    #: The state machine of this cluster, ``module:factory``; "" before its first
    #: view.
    machine: str = ""
    #: How it was found out that this memory is older than the cluster, or "".
    lost: str = ""
    #: Whether an operator said that callers of another cluster are to be
    #: expected, and to be turned away.
    new_cluster: bool = False
