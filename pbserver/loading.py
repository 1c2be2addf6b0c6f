"""
From ``package.module:factory`` to a machine.

Whatever can be wrong with what a user typed is found out before the server
listens, and said in one line: what, with what value, and what to do.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from pbserver.machine import StateMachine
from pbserver.simple_machine import BatchAdapter, SimpleMachine

MACHINE_METHODS: Final = ("apply", "query", "cut", "load", "digest")
ONE_BY_ONE_METHODS: Final = ("apply_one", "query_one", "dump", "restore")


class NoMachine(ValueError):  # noqa: N818 (it says what is missing)
    """No machine can be made from that name; the text says why."""


def machine_factory(name: str) -> Callable[[], StateMachine]:
    """The factory of that name, which makes one fresh machine a call; a class
    that takes one command at a time is wrapped in `SimpleMachine`.

    The current directory is importable.  One machine is made to see that it
    works.  Raises `NoMachine`.
    """
    module_name, colon, path = name.partition(":")
    if not (module_name and colon and path):
        raise NoMachine(
            f"{name!r} names no machine; write package.module:factory,"
            " as in pbserver.store:Store"
        )
    make = _attribute(_module(name, module_name), name, path)
    if not callable(make):
        raise NoMachine(
            f"{name}: {path} is no function and no class"
            f" but {type(make).__name__} {make!r:.60}"
        )

    def factory() -> StateMachine:
        machine = make()
        return SimpleMachine(machine) if isinstance(machine, BatchAdapter) else machine

    _check(name, make)
    return factory


def _module(name: str, module_name: str) -> Any:
    here = str(Path.cwd())
    if not {here, ""} & set(sys.path):
        sys.path.insert(0, here)
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # Missing is the module itself or a package around it; else it is the
        # module that misses something.
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            raise NoMachine(
                f"{name}: there is no module {error.name!r}; looked in {here}"
                " and where Python is installed"
            ) from error
        raise NoMachine(f"{name}: {module_name} cannot be imported: {error}") from error
    except (Exception, SystemExit) as error:
        raise NoMachine(
            f"{name}: {module_name} cannot be imported: {type(error).__name__}: {error}"
        ) from error


def _attribute(found: Any, name: str, path: str) -> Any:
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            inside = getattr(found, "__name__", path)
            machines = [word for word, each in vars(found).items() if _is_like(each)]
            hint = f"; a machine in it is {' or '.join(machines)}" if machines else ""
            raise NoMachine(f"{name}: {inside} has no {part!r}{hint}") from None
    return found


def _is_like(found: object) -> bool:
    """Whether that is a class which somebody may have meant."""
    if not isinstance(found, type) or getattr(found, "_is_protocol", False):
        return False
    return any(
        all(callable(getattr(found, word, None)) for word in methods)
        for methods in (ONE_BY_ONE_METHODS, MACHINE_METHODS)
    )


def _check(name: str, make: Callable[[], Any]) -> None:
    try:
        machine = make()
    except Exception as error:
        raise NoMachine(
            f"{name}: calling it without arguments raised"
            f" {type(error).__name__}: {error}"
        ) from error
    # Whoever has begun to write one command at a time means that.
    expected = ONE_BY_ONE_METHODS if hasattr(machine, "apply_one") else MACHINE_METHODS
    missing = [word for word in expected if not callable(getattr(machine, word, None))]
    if not missing:
        return
    kind = type(machine).__name__
    a = "an" if kind[0] in "aeioAEIO" else "a"
    text = f"{name}: what it makes is {a} {kind}, which is no machine"
    if len(missing) < len(expected):
        raise NoMachine(f"{text}: it has no {', '.join(missing)}")
    raise NoMachine(
        f"{text}: it has neither {', '.join(ONE_BY_ONE_METHODS)} (one command at a"
        f" time) nor {', '.join(MACHINE_METHODS)} (whole batches)"
    )
