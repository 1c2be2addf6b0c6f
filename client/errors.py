"""
What a call can end with, other than its result.

    ClerkError
    +-- InDoubt             it was sent, and may have been executed
    +-- NotExecuted         it was not executed, and will not be
    |   +-- WrongCluster    what the clerk reached is not the cluster it belongs to
    +-- CommandError        the machine answered: this command changed nothing
        +-- NotANumber      what is there is no number, or would not be one
        +-- TooLarge        a key, a value or an answer is over its limit

Nothing is ever called "failed" that may have happened: that is `InDoubt`
(``docs/design.md``, section 2, S3).
"""

# ruff: noqa: N818 -- these are outcomes, and named as the promises name them

from __future__ import annotations

from typing import Any

from wire.commands import NOT_A_NUMBER, TOO_LARGE


class ClerkError(Exception):
    """A call did not end with a result.

    It can be pickled and copied, classes derived from it included.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        # By default Python passes `args` to the constructor, which need not take
        # them: a CommandError is made of a code and a text.
        return _restored, (type(self), self.args), self.__dict__


class InDoubt(ClerkError):
    """The call was sent, and no answer will be seen: it may have been executed,
    may yet be, or may never be."""


class NotExecuted(ClerkError):
    """The call was not executed, and never will be; making it again is safe.

    A read always ends like this when it does not end with a result.
    """


class WrongCluster(NotExecuted):
    """The view service belongs to another cluster than the one that this clerk
    met first.  A clerk never changes clusters: make a new one."""


class CommandError(ClerkError):
    """The machine refused this command, which changed nothing.

    *code* is one of the codes in `wire.commands`.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class NotANumber(CommandError):
    """`incr` met a value that is no signed 64-bit decimal number, or would have
    made one that does not fit."""

    def __init__(self, text: str) -> None:
        super().__init__(NOT_A_NUMBER, text)


class TooLarge(CommandError):
    """A key, a value, a whole command or an answer is over its limit."""

    def __init__(self, text: str) -> None:
        super().__init__(TOO_LARGE, text)


def _restored(kind: type[ClerkError], args: tuple[Any, ...]) -> ClerkError:
    """An error of *kind* with these `args`, its constructor not called."""
    return kind.__new__(kind, *args)


def command_error(code: str, text: str) -> CommandError:
    """What an answer `wire.commands.Failed` means to the caller."""
    if code == NOT_A_NUMBER:
        return NotANumber(text)
    if code == TOO_LARGE:
        return TooLarge(text)
    return CommandError(code, text)
