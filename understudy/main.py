"""
The `understudy` command.

Parsing needs nothing but the standard library, and each noun imports what it
needs when it is called, so that a wrong option is answered in no time and a
`get` soon after.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
import traceback
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from understudy.options import parse
from understudy.outcome import (
    DONE,
    IN_DOUBT,
    INTERNAL,
    UNAVAILABLE,
    USAGE,
    Ended,
    Interrupted,
)
from understudy.text import complain, say_json
from wire.output import discard_stdout, piped

#: Noun -> the module whose ``main(options) -> exit code`` does it.
MODULES: Final = {
    "get": "understudy.keys",
    "put": "understudy.keys",
    "append": "understudy.keys",
    "delete": "understudy.keys",
    "cas": "understudy.keys",
    "incr": "understudy.keys",
    "scan": "understudy.keys",
    "status": "understudy.status",
    "ready": "understudy.ready",
    "watch": "understudy.watch",
    "verify": "understudy.verify",
    "up": "understudy.up",
    "demo": "understudy.demo",
}

#: Nouns that change something, which has happened when its answer cannot be told.
_WRITES: Final = frozenset({"put", "append", "delete", "cas", "incr"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what was typed -> the exit code, one of `understudy.outcome`."""
    if sys.stderr is None:  # closed before this process began
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    if sys.stdout is None:
        text = "standard output is closed; send it to /dev/null if nobody is to read it"
        complain(f"understudy: {text}")
        return USAGE
    return piped(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    # What an exception is blamed on until it is known what was typed.
    options = Namespace(noun="", json=False)
    try:
        try:
            options = parse(arguments)
            code = _do(options)
        except SystemExit as ended:  # argparse printed help, or what was wrong
            code = ended.code if isinstance(ended.code, int) else DONE
        sys.stdout.flush()
    except (Interrupted, KeyboardInterrupt):
        text = "interrupted; nothing was executed"
        return _end(options, Ended(UNAVAILABLE, text, "interrupted"))
    except Ended as ended:
        return _end(options, ended)
    except BrokenPipeError:
        raise  # The reader of the output (`head`) is gone.
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EIO, errno.EBADF}:
            return _end(options, _internal(options))
        discard_stdout()
        text = f"what it came to cannot be written to standard output: {error}"
        code = IN_DOUBT if options.noun in _WRITES else UNAVAILABLE
        return _end(options, Ended(code, text, "not written"))
    except Exception:  # noqa: BLE001 -- no exit code of another meaning
        return _end(options, _internal(options))
    return code


def _internal(options: Namespace) -> Ended:
    """A fault of this program: the traceback is for its report."""
    complain(traceback.format_exc().rstrip())
    text = "this is a fault of the command itself; please report it"
    if options.noun in _WRITES:
        text += ". It may have been executed; look before trying again"
    return Ended(INTERNAL, text)


def _do(options: Namespace) -> int:
    from understudy import notes  # noqa: PLC0415 -- it imports Twisted

    notes.begin()
    module = importlib.import_module(MODULES[options.noun])
    code: int = module.main(options)
    return code


def _end(options: Namespace, ended: Ended) -> int:
    complain(f"understudy {options.noun}".rstrip() + f": {ended.text}")
    if options.json:
        try:
            say_json({"error": {"code": ended.code, "text": ended.text}})
        except OSError:
            discard_stdout()  # The exit code has it.
    return ended.exit_code


if __name__ == "__main__":
    sys.exit(main())
