"""
What one types after ``python -m tests.sim``.

Whatever cannot be meant is refused before anything runs, in one line that says
what was typed and what to type instead.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from tests.sim.agenda import S
from tests.sim.excerpt import Excerpt
from tests.sim.faults import KINDS

EPILOG = f"kinds of faults: {', '.join(KINDS)}"

#: Options that say something about one world only.
OF_ONE = ("only", "from", "until", "clerks", "calls", "story", "trace", "shrink")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options, with `seeds` a range (of one for ``--seed``; None for ``--for``)
    and `excerpt` made of those that leave something out."""
    parser = _parser()
    options = parser.parse_args(arguments)
    _refuse_contradictions(parser, options)
    if options.seed is not None:
        options.seeds = range(options.seed, options.seed + 1)
    options.excerpt = Excerpt(
        kinds=options.faults,
        only=options.only,
        from_us=getattr(options, "from") or 0,
        until_us=options.until,
        clerks=options.clerks,
        calls=options.calls,
    )
    return options


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m tests.sim", epilog=EPILOG, allow_abbrev=False, add_help=True
    )
    add = parser.add_argument
    add("--seed", type=_seed, metavar="N", help="one world")
    add("--seeds", type=_seeds, metavar="A..B", help="many, B among them")
    add(
        *("--for",),
        dest="seconds",
        type=_seconds,
        metavar="SECONDS",
        help="new ones, for as long as that",
    )
    add("--jobs", type=_jobs, default=1, metavar="N", help="processes that run them")
    add("--probes", action="store_true", help="count which rare places are come to")
    add("--first", action="store_true", help="stop at the first violation")
    add("--json", action="store_true", help="the summary as JSON, and nothing else")
    add("--story", action="store_true", help="print everything that happens")
    add("--trace", type=writable, metavar="FILE", help="write it as a page to look at")
    add(
        *("--faults",),
        type=_kinds,
        metavar="KIND,...",
        help="those instead of the ones that a seed draws; none; all",
    )
    add("--only", type=_names, metavar="NAME,...", help="the faults that strike; none")
    add(
        *("--from",),
        type=_moment,
        metavar="SECONDS",
        help="when clerks begin to call",
    )
    add("--until", type=_moment, metavar="SECONDS", help="when misfortune ends")
    add("--clerks", type=_clerks, metavar="N", help="at most so many clerks")
    add("--calls", type=_calls, metavar="N", help="at most so many calls")
    add("--shrink", action="store_true", help="find the least of it that still fails")
    return parser


def _refuse_contradictions(
    parser: argparse.ArgumentParser, options: argparse.Namespace
) -> None:
    ways = {"--seed": options.seed, "--seeds": options.seeds, "--for": options.seconds}
    chosen = [name for name, value in ways.items() if value is not None]
    if not chosen:
        parser.error(
            "which worlds? Give --seed N for one, --seeds A..B for many, or"
            " --for SECONDS for new ones"
        )
    if len(chosen) > 1:
        parser.error(f"{chosen[0]} and {chosen[1]} contradict each other; give one")
    for name in OF_ONE:
        value = getattr(options, name)
        if options.seed is None and value is not None and value is not False:
            parser.error(f"--{name} is about one world; give --seed N, not {chosen[0]}")
    for name in ("story", "shrink"):
        if options.json and getattr(options, name):
            parser.error(
                f"--json prints one document and --{name} prints lines; drop one"
            )
    if options.story and options.shrink:
        parser.error(
            "--shrink lives through many worlds and --story tells of one; shrink first,"
            " then tell what it prints"
        )


# -- one value each -----------------------------------------------------------


def _number(text: str) -> int:
    # int() would take 1_000 and digits of any script.
    if not (text.isascii() and text.isdigit()):
        raise ValueError(text)
    return int(text)


def _seed(text: str) -> int:
    try:
        return _number(text)
    except ValueError:
        raise _bad(text, "is no seed; give a whole number, as in --seed 17") from None


def _seeds(text: str) -> range:
    try:
        first, last = (_number(part) for part in text.split(".."))
    except ValueError:
        raise _bad(text, "is no range; give two seeds, as in --seeds 1..100") from None
    if last < first:
        raise _bad(text, f"is empty; --seeds {last}..{first} is not")
    return range(first, last + 1)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds < 10**7:
        raise _bad(text, "is no time; give seconds above 0, as in --for 60")
    return seconds


def _moment(text: str) -> int:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds < 10**7:
        raise _bad(text, "is no moment; give simulated seconds, as in 1.25")
    return round(seconds * S)


def _at_least(text: str, least: int, example: str) -> int:
    try:
        number = _number(text)
    except ValueError:
        number = -1
    if number < least:
        raise _bad(text, f"is not a number from {least} up; an example is {example}")
    return number


def _jobs(text: str) -> int:
    return _at_least(text, 1, f"--jobs {os.cpu_count()}")


def _clerks(text: str) -> int:
    return _at_least(text, 1, "--clerks 1")


def _calls(text: str) -> int:
    return _at_least(text, 0, "--calls 6")


def _kinds(text: str) -> frozenset[str]:
    if text in {"none", "all"}:
        return frozenset(KINDS if text == "all" else ())
    kinds = text.split(",")
    for kind in kinds:
        if kind not in KINDS:
            raise _bad(kind, f"is no kind of fault; there are {', '.join(KINDS)}")
    return frozenset(kinds)


def _names(text: str) -> tuple[str, ...]:
    if text == "none":
        return ()
    names = tuple(text.split(","))
    for name in names:
        number = name[1:] if name[:1] in {"v", "t", "b", "w", "s"} else name
        if not (number.isascii() and number.isdigit()):
            raise _bad(
                name, "is no fault's name; --story shows them, as in --only 3,9,v4"
            )
    return names


def writable(text: str) -> Path:
    """A file that can be written, which is made sure of."""
    path = Path(text)
    is_new = not path.exists()
    try:
        path.open("ab").close()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise _bad(text, f"cannot be written ({reason}); give another file") from None
    if is_new:
        path.unlink()
    return path


def _bad(value: str, why: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(f"{value!r} {why}")
