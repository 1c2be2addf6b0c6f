"""All of them; and two that try the bench itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from tests.mutants import (
    liveness,
    own_backup,
    own_clerks,
    own_clients,
    own_daemons,
    own_identity,
    own_names,
    own_primary,
    own_state,
    own_stop,
    own_strangers,
    own_views,
    own_work,
    replication,
    searched,
    sessions,
    transfer,
    views,
)
from tests.mutants.mutant import Mutant, put

MUTANTS: Final = (
    *searched.MUTANTS,
    *liveness.MUTANTS,
    *views.MUTANTS,
    *transfer.MUTANTS,
    *replication.MUTANTS,
    *sessions.MUTANTS,
    *own_views.MUTANTS,
    *own_primary.MUTANTS,
    *own_backup.MUTANTS,
    *own_state.MUTANTS,
    *own_clerks.MUTANTS,
    *own_clients.MUTANTS,
    *own_daemons.MUTANTS,
    *own_identity.MUTANTS,
    *own_names.MUTANTS,
    *own_stop.MUTANTS,
    *own_strangers.MUTANTS,
    *own_work.MUTANTS,
)

#: Pitfalls that cannot be written against this code, and why.
ABSENT: Final = {
    **searched.ABSENT,
    **liveness.ABSENT,
    **views.ABSENT,
    **transfer.ABSENT,
    **replication.ABSENT,
    **sessions.ABSENT,
}

#: Every layer must notice this one, or it looks at nothing.
CANARY: Final = Mutant(
    "canary",
    "S2",
    "a primary commits what nobody else has",
    (
        put(
            "pbserver.primary",
            "verified = min(verified, follower.verified)",
            "pass",
        ),
    ),
)

#: Nothing is wrong with this one, and every layer must say so.
CLEAN: Final = Mutant("clean", "", "the code as it is", ())


def chosen(only: Iterable[str]) -> list[Mutant]:
    """Those of these ids, or of these letters; all if there are none.
    KeyError: there is no such mutant."""
    found: list[Mutant] = []
    for word in only:
        some = [each for each in MUTANTS if word in {each.id, _family(each.id)}]
        if not some:
            raise KeyError(word)
        found += [each for each in some if each not in found]
    return found or list(MUTANTS)


def pitfall(mutant: Mutant) -> str | None:
    """The id of its line in docs/pitfalls.md, if it is of there."""
    name = mutant.id.rstrip("abcd")
    return name if name[:1].isupper() else None


def _family(name: str) -> str:
    return name.rstrip("abcd").rstrip("0123456789") if name[0].isupper() else "own"
