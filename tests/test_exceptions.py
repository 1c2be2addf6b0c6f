"""Every exception class of this project survives pickling and copying: a process
pool, or a test runner that spreads over processes, sends it to another process."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
import pkgutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest

from client.errors import ClerkError, CommandError, command_error
from pbserver.simple_machine import Refused
from wire.codec import ProtocolError
from wire.commands import NOT_A_NUMBER, TOO_LARGE

PACKAGES = ("wire", "viewservice", "pbserver", "client", "understudy")


def exception_classes() -> Iterator[type[BaseException]]:
    """All that a module of ours defines, in order of names."""
    found = set()
    for package in map(importlib.import_module, PACKAGES):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                for each in vars(importlib.import_module(module.name)).values():
                    if inspect.isclass(each) and issubclass(each, BaseException):
                        found.add(each)
    ours = [each for each in found if each.__module__.split(".")[0] in PACKAGES]
    yield from sorted(ours, key=lambda each: (each.__module__, each.__qualname__))


CLASSES = list(exception_classes())


def instances(kind: type[BaseException]) -> Iterator[BaseException]:
    """Made in each way that its constructor allows."""
    parameters = []
    if kind.__init__ not in (BaseException.__init__, Exception.__init__):
        parameters = list(inspect.signature(kind.__init__).parameters.values())[1:]
        parameters = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    if not parameters:
        yield kind("what happened")
        yield kind()
        return
    values = {
        p.name: 1 if p.annotation in ("int", int) else f"some {p.name}"
        for p in parameters
    }
    needed = {p.name: values[p.name] for p in parameters if p.default is p.empty}
    yield kind(*values.values())
    yield kind(**values)
    yield kind(**needed)


def seen(error: BaseException) -> Any:
    """Everything that a handler can see of it."""
    return type(error), str(error), repr(error), error.args, vars(error)


def twins(error: BaseException) -> Iterator[BaseException]:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        yield pickle.loads(pickle.dumps(error, protocol))
    yield copy.copy(error)
    yield copy.deepcopy(error)


def test_all_classes_are_looked_at():
    names = {each.__name__ for each in CLASSES}
    assert {"CommandError", "Refused", "ProtocolError", "StateError", "Ended"} <= names
    assert len(CLASSES) > 12


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_an_exception_survives_pickle_and_copy(kind: type[BaseException]):
    for error in instances(kind):
        error.add_note("seen by worker 3")
        for twin in twins(error):
            assert twin is not error
            assert seen(twin) == seen(error)


class ElsewhereError(CommandError):
    """As an application derives one, with a constructor of its own."""

    def __init__(self, place: str, *, text: str) -> None:
        super().__init__("elsewhere", text)
        self.place = place


def test_a_class_that_a_program_derives_survives_too():
    error = ElsewhereError("the moon", text="too far")
    for twin in twins(error):
        assert seen(twin) == seen(error)
        assert twin.place == "the moon"


@pytest.mark.parametrize("code", [NOT_A_NUMBER, TOO_LARGE, "held"])
def test_code_and_text_are_there_after_it(code: str):
    for twin in twins(command_error(code, "by ann")):
        assert isinstance(twin, ClerkError)
        assert (twin.code, str(twin)) == (code, "by ann")
    for twin in twins(Refused(code, "by ann")):
        assert (twin.code, twin.text) == (code, "by ann")
    for twin in twins(ProtocolError("protocol", "by ann")):
        assert (twin.reason, twin.text) == ("protocol", "by ann")


def refuse(code: str) -> None:
    raise command_error(code, "by ann")


def test_a_pool_of_processes_hands_it_over_and_goes_on():
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        for code in ("held", NOT_A_NUMBER):
            with pytest.raises(CommandError, match="by ann"):
                pool.submit(refuse, code).result(timeout=60)
        assert pool.submit(abs, -1).result(timeout=60) == 1
