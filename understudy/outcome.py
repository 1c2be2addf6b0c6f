"""
How a command ends: exit codes, and what is said about them.

Pure.  The codes are a promise to scripts (``docs/design.md``, section 10): 3 is
the only one after which something may have been executed that was not answered,
except for 5, an internal error of the command, which leaves that open.
"""

from __future__ import annotations

from typing import Final

DONE: Final = 0
REFUSED: Final = 1
USAGE: Final = 2
IN_DOUBT: Final = 3
UNAVAILABLE: Final = 4
INTERNAL: Final = 5

#: What a program reads as ``code`` in the error of ``--json``.
CODES: Final = {
    REFUSED: "refused",
    USAGE: "usage",
    IN_DOUBT: "in doubt",
    UNAVAILABLE: "not available",
    INTERNAL: "internal error",
}


class Ended(Exception):  # noqa: N818 -- an end, and not always an error
    """The command ends here, and not with success.

    *exit_code* is one of the above; *text* says what is wrong, with the value,
    and what to do; *code* is a word for programs.
    """

    def __init__(self, exit_code: int, text: str, code: str = "") -> None:
        # `args` are what the constructor takes, so that it can be pickled.
        super().__init__(exit_code, text, code)
        self.exit_code = exit_code
        self.text = text
        self.code = code or CODES[exit_code]

    def __str__(self) -> str:
        return self.text


class Interrupted(Exception):  # noqa: N818 -- nothing went wrong
    """Somebody pressed Ctrl-C, or told the process to end."""
