"""
The real code with a few lines put differently, in this process alone.

A patch names a module, a text that stands in it exactly once, and what is to
stand there instead.  It is applied to the source while it is imported, so no
file changes, and whatever imports the module gets the patched one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

ROOT = Path(__file__).parent.parent


class Patch(NamedTuple):
    """In the module of that name, *old* becomes *new*."""

    module: str
    old: str
    new: str


class Misfit(ValueError):  # noqa: N818 (it says what is wrong with a patch)
    """The text is not in the module exactly once."""


def path_of(module: str) -> Path:
    """Where the module's source is."""
    return ROOT / f"{module.replace('.', '/')}.py"


def patched(source: str, patches: Iterable[Patch]) -> str:
    """The source with those patches, one after the other.  `Misfit` if one
    does not fit."""
    for patch in patches:
        count = source.count(patch.old)
        if count != 1:
            raise Misfit(f"{patch.module} has this {count} times:\n{patch.old}")
        source = source.replace(patch.old, patch.new)
    return source


def install(patches: Iterable[Patch]) -> None:
    """Have the modules patched when they are imported, which none may be yet."""
    by_module: dict[str, list[Patch]] = {}
    for patch in patches:
        if patch.module in sys.modules:
            raise Misfit(f"{patch.module} is imported already")
        by_module.setdefault(patch.module, []).append(patch)
        patched(path_of(patch.module).read_text(), by_module[patch.module])
    sys.meta_path.insert(0, _Finder(by_module))


class _Finder(MetaPathFinder):
    def __init__(self, patches: dict[str, list[Patch]]) -> None:
        self._patches = patches

    def find_spec(
        self, fullname: str, path: object = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        patches = self._patches.get(fullname)
        if patches is None:
            return None
        spec = PathFinder.find_spec(fullname, path, target)  # type: ignore[arg-type]
        assert spec is not None, fullname
        loader = spec.loader
        assert isinstance(loader, SourceFileLoader), loader
        spec.loader = _Loader(loader, patches)
        return spec


class _Loader(Loader):
    """Compiles the patched source; no cached bytecode is read or written."""

    def __init__(self, loader: SourceFileLoader, patches: list[Patch]) -> None:
        self._loader = loader
        self._patches = patches

    def create_module(self, spec: ModuleSpec) -> None:  # noqa: ARG002
        return None

    def exec_module(self, module: ModuleType) -> None:
        source = Path(self._loader.path).read_text()
        code = compile(patched(source, self._patches), self._loader.path, "exec")
        exec(code, module.__dict__)
