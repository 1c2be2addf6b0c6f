"""
Output to a stream whose encoding and whose reader this process did not choose.

A character that the encoding lacks is written as ``\\xNN`` for each byte of its
UTF-8, the form in which `understudy scan` writes every byte that is no text: it
can be decoded again, and it never ends a program.  A reader that goes away
(``head``) has read enough, so it ends a command without an error.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Callable
from typing import Final, TextIO

#: The error handler of that form, under the name that `codecs` knows it by.
ESCAPED: Final = "understudy.escaped"


def _escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    try:
        # A byte that was no text when Python decoded it comes back as it was.
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        data = text.encode("utf-8", "surrogatepass")
    return "".join(f"\\x{byte:02x}" for byte in data), error.end


codecs.register_error(ESCAPED, _escape)


def escape_on(*streams: TextIO | None) -> None:
    """From now on these streams escape what their encoding lacks.

    Whatever is no `io.TextIOWrapper`, such as None for a stream that was closed
    before this process began, is left as it is.
    """
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ESCAPED)


def is_utf8(stream: TextIO) -> bool:
    """Whether *stream* encodes as UTF-8; one that only keeps text does."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return codecs.lookup(encoding).name == "utf-8"


def discard_stdout() -> None:
    """Send the rest of standard output to nowhere: its reader is gone, and the
    flush at the end of this process would fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def piped(main: Callable[[], int | None]) -> int:
    """Run *main*, a whole command -> its exit code.

    Output is escaped where the encoding lacks it; a reader of standard output
    that is gone ends the command with exit code 0.
    """
    escape_on(sys.stdout, sys.stderr)
    try:
        try:
            return main() or 0
        finally:
            # Also after the help that argparse prints before it exits.
            sys.stdout.flush()
    except BrokenPipeError:
        discard_stdout()
        return 0
