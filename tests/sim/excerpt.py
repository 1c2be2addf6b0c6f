"""
An excerpt of a world: the same seed, with less going on.

Pure.  It says what is left out, and writes itself as the options that make it
again: a violation is reported with the least excerpt that still shows it.
"""

from __future__ import annotations

from attrs import frozen

from tests.sim.agenda import S


@frozen
class Excerpt:
    """What is left of a seed's world; None: all of it."""

    #: The kinds of faults there are, instead of those that the seed draws.
    kinds: frozenset[str] | None = None
    #: The faults that strike, by name.
    only: tuple[str, ...] | None = None
    #: When misfortune ends, if it has not ended before.
    until_us: int | None = None
    #: When clerks begin to call.
    from_us: int = 0
    #: How many clerks there are at most, and how many calls they make together.
    clerks: int | None = None
    calls: int | None = None

    def options(self) -> str:
        """As one types it, with a space before each; "" is the whole world."""
        found = ""
        if self.kinds is not None:
            found += f" --faults {','.join(sorted(self.kinds)) or 'none'}"
        if self.only is not None:
            found += f" --only {','.join(self.only) or 'none'}"
        if self.from_us:
            found += f" --from {self.from_us / S:g}"
        if self.until_us is not None:
            found += f" --until {self.until_us / S:g}"
        if self.clerks is not None:
            found += f" --clerks {self.clerks}"
        if self.calls is not None:
            found += f" --calls {self.calls}"
        return found

    def has(self, fault: str) -> bool:
        """Does the fault of that name strike?"""
        return self.only is None or fault in self.only


#: Everything that the seed has.
WHOLE = Excerpt()


def replay(seed: int, excerpt: Excerpt = WHOLE) -> str:
    """The command that shows it again."""
    return f"python -m tests.sim --seed {seed}{excerpt.options()} --story"
