"""
What can be typed: nouns, their arguments, and the options that all share.

Nothing is imported here that a wrong option should have to wait for.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NoReturn

from wire.addresses import normal_address

#: Where a view service is looked for if nobody says otherwise.
VIEWS_DEFAULT: Final = "tcp:127.0.0.1:7400"
VIEWS_VARIABLE: Final = "UNDERSTUDY_VIEWS"
TIMEOUT_S_DEFAULT: Final = 10.0
TIMEOUT_S_MAX: Final = 86_400.0

_DIGITS: Final = re.compile(r"[+-]?[0-9]{1,19}")

_EPILOG: Final = """\
exit codes:  0 done   1 the store said no, or: not ready   2 usage   3 in doubt:
it may have been executed   4 not available: nothing was executed   5 a fault of
the command

A key or value that begins with a dash is written after a double dash:
understudy put -- -key -value
"""

#: After this, a dash is nothing but a dash.
_NO_MORE_OPTIONS: Final = "--"
#: With nothing or a command after it, it prints help; so does nothing typed.
_HELP: Final = "help"


class _Parser(argparse.ArgumentParser):
    """Says what was wrong first, and how to go on; exit code 2."""

    #: What it was given to parse.
    typed: tuple[str, ...] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does, which calls this for the parser of a command, too."""
        self.typed = tuple(args or ())
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        usage = self.format_usage().strip()
        hint = self._dash_hint() or f"Try: {self.prog} --help"
        self.exit(2, f"{self.prog}: {message}\n{usage}\n{hint}\n")

    def _dash_hint(self) -> str:
        """How to write a key or value that begins with a dash, if one seems to have
        been meant; else "".  argparse considers it an option."""
        known, words, options = self._option_string_actions, list[str](), list[str]()
        typed = iter(self.typed)
        for word in typed:
            option = known.get(word.partition("=")[0])
            if option is None:
                words.append(word)
                continue
            options.append(word)
            if option.nargs is not None or "=" in word:
                continue  # No value follows.
            value = next(typed, "")
            if value.startswith("-") and value not in known:
                return f"A value that begins with a dash: {word}={shlex.quote(value)}"
            options.append(value)
        takes = self._get_positional_actions()
        least = sum(each.nargs != "?" for each in takes)
        most = sum(2 if each.nargs == "+" else 1 for each in takes)
        is_dashed = any(each.startswith("-") and each != "-" for each in words)
        if (
            _NO_MORE_OPTIONS in words
            or not is_dashed
            or not least <= len(words) <= most
        ):
            return ""
        line = f"{self.prog} {shlex.join([*options, _NO_MORE_OPTIONS, *words])}"
        return f"What begins with a dash and is no option comes after --: {line}"


#: Adds a noun, with what it does in a few words.
_Noun = Callable[[str, str], argparse.ArgumentParser]


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What was typed.  Exits with code 2 if it makes no sense."""
    typed = sys.argv[1:] if arguments is None else list(arguments)
    parser, nouns = _parser()
    if not typed or typed[0] == _HELP:
        _help(parser, nouns, typed[1:])
    options: argparse.Namespace
    options, rest = parser.parse_known_args(typed)
    noun = nouns[options.noun]
    if rest:
        noun.error(f"not understood: {' '.join(rest)}")
    given = getattr(options, "views", None)
    if given is None:
        given = _views_from_environment(parser)
    options.views = tuple(given)
    options.timeout = getattr(options, "timeout", TIMEOUT_S_DEFAULT)
    options.json = getattr(options, "json", False)
    if options.noun in {"put", "append"}:
        is_quoted = typed[-1:] == ["-"] and _NO_MORE_OPTIONS in typed
        options.is_from_stdin = options.value == b"-" and not is_quoted
    if options.noun == "cas":
        _settle_cas(noun, options)
    if options.noun == "scan":
        _settle_scan(noun, options)
    return options


def _help(
    parser: argparse.ArgumentParser,
    nouns: Mapping[str, argparse.ArgumentParser],
    about: Sequence[str],
) -> NoReturn:
    """Print what there is, or how one command is used, and exit."""
    if not about:
        parser.print_help()
        parser.exit()
    if about[0] not in nouns or len(about) > 1:
        parser.error(f"{_HELP}: no command {' '.join(about)!r}")
    nouns[about[0]].print_help()
    parser.exit()


def _parser() -> tuple[_Parser, Mapping[str, argparse.ArgumentParser]]:
    """The parser, and those of the nouns."""
    shared = _shared()
    parser = _Parser(
        prog="understudy",
        description="Talk to a service kept alive by Understudy, look at it, try it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[shared],
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version", action=_Version, nargs=0, help="print the version, and end"
    )
    nouns = parser.add_subparsers(
        dest="noun",
        required=True,
        metavar="COMMAND",
        help=f"`understudy {_HELP} COMMAND` prints its options",
    )

    def noun(name: str, what: str) -> argparse.ArgumentParser:
        return nouns.add_parser(
            name, help=what, description=what, parents=[shared], allow_abbrev=False
        )

    def local(name: str, what: str) -> argparse.ArgumentParser:
        """One that brings its own view service."""
        own = nouns.add_parser(name, help=what, description=what, allow_abbrev=False)
        _add_json(own)
        return own

    _add_key_commands(noun)
    _add_cluster_commands(noun)
    _add_local_commands(local)
    return parser, nouns.choices


class _Version(argparse.Action):
    """Prints it; looked up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version  # noqa: PLC0415 -- it takes time

        from wire.messages import VERSION  # noqa: PLC0415 -- likewise

        sys.stdout.write(f"understudy {version('understudy')}, protocol {VERSION}\n")
        parser.exit()


def _shared() -> _Parser:
    shared = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    shared.add_argument(
        "--views",
        action="append",
        type=_address,
        metavar="tcp:HOST:PORT",
        help="an address of the view service; may be repeated "
        f"(default: ${VIEWS_VARIABLE}, or {VIEWS_DEFAULT})",
    )
    shared.add_argument(
        "--timeout",
        type=_seconds,
        metavar="SECONDS",
        help=f"give up after so long (default: {TIMEOUT_S_DEFAULT:g})",
    )
    _add_json(shared)
    return shared


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--json",
        action="store_true",
        default=argparse.SUPPRESS,
        help="answer in JSON",
    )


def _add_key_commands(noun: _Noun) -> None:
    get = noun("get", "print the value of a key")
    get.add_argument("key", metavar="K", type=os.fsencode)
    get.add_argument("--raw", action="store_true", help="the value alone, no newline")

    from_stdin = "- reads standard input (K -- - is a dash)"
    put = noun("put", "set a key to a value")
    put.add_argument("key", metavar="K", type=os.fsencode)
    put.add_argument("value", metavar="V", type=os.fsencode, help=from_stdin)

    append = noun("append", "append to a value; prints its new length")
    append.add_argument("key", metavar="K", type=os.fsencode)
    append.add_argument("value", metavar="V", type=os.fsencode, help=from_stdin)

    delete = noun("delete", "delete a key")
    delete.add_argument("key", metavar="K", type=os.fsencode)

    cas = noun("cas", "set a key to NEW if its value is OLD")
    cas.usage = "%(prog)s K OLD NEW | %(prog)s K NEW --absent"
    cas.add_argument("key", metavar="K", type=os.fsencode)
    cas.add_argument("values", metavar="OLD NEW", nargs="+", type=os.fsencode)
    cas.add_argument(
        "--absent", action="store_true", help="if there is no such key (no OLD then)"
    )

    incr = noun("incr", "add to a number; prints the new one")
    incr.add_argument("key", metavar="K", type=os.fsencode)
    incr.add_argument(
        "by",
        metavar="BY",
        type=_integer,
        nargs="?",
        default=1,
        help="how much to add (default: 1)",
    )

    scan = noun("scan", "print keys and values in order: KEY, tab, VALUE, escaped")
    scan.add_argument(
        "--prefix", metavar="P", type=os.fsencode, help="keys that begin with it"
    )
    scan.add_argument("--start", metavar="A", type=os.fsencode, help="from this key on")
    scan.add_argument("--end", metavar="B", type=os.fsencode, help="up to before it")
    scan.add_argument(
        "--limit",
        type=_positive,
        default=100,
        metavar="N",
        help="at most so many keys (default: 100)",
    )


def _add_cluster_commands(noun: _Noun) -> None:
    status = noun("status", "who serves, who could, and what is waited for")
    status.add_argument(
        "--wait",
        choices=["acknowledged", "safe"],
        help="acknowledged: until the primary serves with the backups that it has up "
        "to date; safe: until those are as many as the view service was told to have",
    )
    ready = noun("ready", "report by exit code if a server is up, or may be stopped")
    ready.add_argument("name", metavar="NAME", help="the server's --name")
    ready.add_argument(
        "--to",
        choices=["serve", "stop"],
        default="serve",
        help="serve: it is primary, backup with everything, or idle; stop: another "
        "living server holds everything that was answered (default: serve)",
    )
    ready.add_argument(
        "--wait", action="store_true", help="wait until it is, at most --timeout"
    )
    noun("watch", "print every change of the view as it happens, until Ctrl-C")
    noun("verify", "compare the states of all members of the view, byte for byte")


def _add_local_commands(noun: _Noun) -> None:
    up = noun("up", "a view service and servers on this machine, until Ctrl-C")
    up.add_argument(
        "--servers",
        type=_servers,
        default=3,
        metavar="N",
        help="how many servers (default: 3)",
    )
    up.add_argument(
        "--base-port",
        type=_base_port,
        default=7400,
        metavar="P",
        help="the view service listens on P, server N on P+N; 0: on any "
        "(default: 7400)",
    )

    demo = noun("demo", "kill, pause and restart servers under load; check everything")
    demo.add_argument("--picture", metavar="FILE", help="also draw it, as an SVG")


# -- one argument each -----------------------------------------------------------------


def _address(text: str) -> str:
    try:
        return normal_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= TIMEOUT_S_MAX:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no number of seconds above 0 and up to {TIMEOUT_S_MAX:g}"
        )
    return seconds


def _integer(text: str) -> int:
    number = int(text) if _DIGITS.fullmatch(text) else 2**63
    if not -(2**63) <= number < 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is no signed 64-bit integer")
    return number


def _between(least: int, most: int, what: str, text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not least <= int(text) <= most:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no {what} from {least} to {most}"
        )
    return int(text)


def _positive(text: str) -> int:
    return _between(1, 10_000, "number", text)


def _servers(text: str) -> int:
    return _between(1, 20, "number of servers", text)


def _base_port(text: str) -> int:
    return _between(0, 65_500, "port", text)


# -- what several arguments mean together ----------------------------------------------


def _views_from_environment(parser: argparse.ArgumentParser) -> list[str]:
    text = os.environ.get(VIEWS_VARIABLE, "").strip()
    if not text:
        return [VIEWS_DEFAULT]
    try:
        views = [_address(each.strip()) for each in text.split(",") if each.strip()]
    except argparse.ArgumentTypeError as error:
        parser.error(f"environment variable {VIEWS_VARIABLE}: {error}")
    if not views:
        parser.error(
            f"environment variable {VIEWS_VARIABLE}: there is no address in {text!r}"
        )
    return views


def _settle_cas(noun: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """`options.old` (None: must be absent) and `options.new`."""
    values = options.values
    if options.absent:
        # An empty OLD before it is what people type who leave nothing out.
        if len(values) == 2 and values[0] == b"":
            values = values[1:]
        if len(values) != 1:
            noun.error("with --absent there is no OLD, only K and NEW")
        options.old, options.new = None, values[0]
        return
    if len(values) != 2:
        noun.error(
            "K, OLD and NEW are needed, and "
            + ("NEW is missing" if len(values) == 1 else "there is more")
        )
    options.old, options.new = values


def _settle_scan(noun: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    ranged = options.start is not None or options.end is not None
    if options.prefix is not None and ranged:
        noun.error("--prefix excludes --start and --end")
