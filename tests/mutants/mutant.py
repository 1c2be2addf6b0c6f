"""What a mutant is."""

from __future__ import annotations

from typing import NamedTuple

from tests.patching import Patch


class Mutant(NamedTuple):
    """One bug, with a name."""

    #: Of `docs/pitfalls.md` where it is there, with a letter if there are more.
    id: str
    #: What it breaks in `docs/design.md`: a promise (``S5``), or a section with
    #: the rule in it (``4.8``, ``5 primary 3``).
    rule: str
    #: What a programmer could have thought or forgotten.
    bug: str
    patches: tuple[Patch, ...]
    #: What `tests.sim.search` is to search; none: everything that is quick.
    configs: tuple[str, ...] = ()
    #: Test files to begin with, beside those of the modules.
    tests: tuple[str, ...] = ()

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules in which it is."""
        return tuple(dict.fromkeys(patch.module for patch in self.patches))


def put(module: str, old: str, new: str) -> Patch:
    """A patch whose texts are written as blocks: the first line break and the
    last are not part of them."""
    return Patch(module, _block(old), _block(new))


def _block(text: str) -> str:
    return text.removeprefix("\n").removesuffix("\n") if text.startswith("\n") else text
