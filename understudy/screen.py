"""
What the demo shows while it runs.

On a terminal: what happens as lines, and under them one that lives, with who
serves and how many answers come.  Anywhere else: the lines, and nothing that
would look odd in a file.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from math import ceil
from typing import Final, Protocol, TextIO

_SPARKS: Final = " ▁▂▃▄▅▆▇█"
_PLAIN: Final = " .:-=+*#@"

#: Kinds of lines: the sign before it, and its colour on a terminal.
_SIGNS: Final = {
    "news": ("·", ""),
    "strike": ("⚡", "1;31"),
    "view": ("→", "1;36"),
    "good": ("✓", "32"),
    "bad": ("✗", "1;31"),
    "detail": (" ", "2"),
}
_PLAIN_SIGNS: Final = {"·": "-", "⚡": "!", "→": ">", "✓": "+", "✗": "X", " ": " "}


class Screen(Protocol):
    """Where the demo shows itself."""

    def line(self, kind: str, seconds: float, text: str) -> None:
        """Something happened, *seconds* after the beginning."""

    def live(self, text: str, rates: Sequence[float]) -> None:
        """How it stands now."""

    def plain(self, text: str) -> None:
        """Text as it is."""

    def close(self) -> None:
        """Nothing more is shown."""


class Nothing:
    """Shows nothing."""

    def line(self, kind: str, seconds: float, text: str) -> None:
        """Nothing."""

    def live(self, text: str, rates: Sequence[float]) -> None:
        """Nothing."""

    def plain(self, text: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Lines:
    """Lines on *stream*, and the living one if it is a terminal."""

    def __init__(self, stream: TextIO = sys.stdout) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
        self._has_colours = self._is_terminal and "NO_COLOR" not in os.environ
        encoding = (stream.encoding or "ascii").lower()
        self._is_unicode = "utf" in encoding
        self._live = ""

    def line(self, kind: str, seconds: float, text: str) -> None:
        """One line, the living one staying below it."""
        sign, colour = _SIGNS[kind]
        if not self._is_unicode:
            sign = _PLAIN_SIGNS[sign]
        when = " " * 9 if kind == "detail" else f"{seconds:7.2f} s"
        self._write(f"{when}  {self._painted(f'{sign} {text}', colour)}\n")

    def live(self, text: str, rates: Sequence[float]) -> None:
        """Renew the living line."""
        if not self._is_terminal:
            return
        width = max(20, shutil.get_terminal_size().columns - 1)
        spark = self._spark(rates[-max(0, width - len(text) - 3) :])
        self._live = f"{text}  {spark}"[:width]
        self._write("")

    def plain(self, text: str) -> None:
        """Lines without a time."""
        self._write(text + "\n")

    def close(self) -> None:
        """Take the living line away."""
        self._live = ""
        self._write("")

    def _write(self, text: str) -> None:
        clear = "\r\x1b[2K" if self._is_terminal else ""
        self._stream.write(clear + text + self._live)
        self._stream.flush()

    def _painted(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if colour and self._has_colours else text

    def _spark(self, rates: Sequence[float]) -> str:
        """The rates as little columns, the highest being a full one."""
        signs = _SPARKS if self._is_unicode else _PLAIN
        most = max(rates, default=0.0)
        if most <= 0:
            return ""
        top = len(signs) - 1
        return "".join(signs[min(top, ceil(rate * top / most))] for rate in rates)
