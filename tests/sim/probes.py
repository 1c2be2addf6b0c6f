"""
Which rare places of the rules a run has been to.

A simulator that never gets to a branch proves nothing about it, and nobody sees
that it does not.  `tests.sim.places` names the delicate places of the rules; here
they are found in the source and counted.  The call that counts is put in while
the module is imported, in this process alone (`tests.patching`): the code as it
is written knows nothing of it, and a place whose text is not there exactly once
any more is a `Misfit`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby

from tests.patching import Misfit, Patch, path_of
from tests.patching import install as install_patches
from tests.sim.places import PLACES, Place

#: What every module begins with, as the language asks; a second import fits
#: beside it without moving a line.
_FUTURE = "from __future__ import annotations"
_OURS = f"{_FUTURE}; from tests.sim.probes import reached as _reached"

#: Place -> whether nobody should come there.
_WRONG = {place.name: place.is_wrong for place in PLACES}

_counts: Counter[str] = Counter()


def reached(name: str) -> None:
    """That place was come to once more."""
    _counts[name] += 1


def install(places: Iterable[Place] = PLACES) -> None:
    """Count from now on; to be called before any of the modules is imported."""
    by_module = groupby(
        sorted(places, key=lambda place: place.module), lambda place: place.module
    )
    patches = []
    for module, found in by_module:
        source = path_of(module).read_text()
        patches.append(Patch(module, source, probed(source, found)))
    install_patches(patches)


def counts() -> dict[str, int]:
    """Place -> how often it was come to, in this process."""
    return {name: _counts[name] for name in _WRONG}


def taken() -> Counter[str]:
    """The counts since this was last asked, which are forgotten here."""
    found = _counts.copy()
    _counts.clear()
    return found


def unreached(seen: Mapping[str, int] | None = None) -> list[str]:
    """The places that nobody came to, of those that somebody should; *seen* are
    the counts of several processes together, if it was not this one alone."""
    return [name for name in _none(seen) if not _WRONG[name]]


def wrong(seen: Mapping[str, int] | None = None) -> list[str]:
    """The places that somebody came to, though only liars and bugs lead there."""
    none = set(_none(seen))
    return [name for name, is_wrong in _WRONG.items() if is_wrong and name not in none]


def _none(seen: Mapping[str, int] | None) -> list[str]:
    seen = counts() if seen is None else seen
    return [name for name in _WRONG if not seen.get(name)]


# -- putting it in -----------------------------------------------------------------


def probed(source: str, places: Iterable[Place]) -> str:
    """The source with each place counted.  `Misfit` if one is not there once."""
    lines = source.split("\n")
    before: dict[int, list[str]] = {}
    for place in places:
        at = line_of(lines, place)
        indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
        condition = f"if {place.when}: " if place.when else ""
        call = f"{indent}{condition}_reached({place.name!r})"
        before.setdefault(at, []).append(call)
    at = lines.index(_FUTURE)
    lines[at] = _OURS
    return "\n".join(
        text for n, line in enumerate(lines) for text in (*before.get(n, ()), line)
    )


def line_of(lines: list[str], place: Place) -> int:
    """The number of the line before which the place is: the last of its text."""
    found = list(_matches(lines, place.lines))
    if len(found) != 1:
        text = "\n".join(place.lines)
        raise Misfit(f"{place.module} has this {len(found)} times:\n{text}")
    return found[0] + len(place.lines) - 1


def _matches(lines: list[str], text: tuple[str, ...]) -> Iterator[int]:
    for at in range(len(lines) - len(text) + 1):
        pairs = zip(lines[at : at + len(text)], text, strict=True)
        if all(_is(line.strip(), wanted) for line, wanted in pairs):
            yield at


def _is(line: str, wanted: str) -> bool:
    """Three dots stand for the rest of a long line."""
    if wanted.endswith("..."):
        return line.startswith(wanted[:-3])
    return line == wanted
