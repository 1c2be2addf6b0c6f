"""Who may import whom (docs/design.md, section 3).  The files are discovered:
a module that says it is pure must stand in the table below."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent


def words(text: str) -> set[str]:
    return set(text.split())


#: Which of our packages each may import besides itself.
STAR = {
    "wire": set(),
    "viewservice": {"wire"},
    "pbserver": {"wire"},
    "client": {"wire"},
    "understudy": {"wire", "client"},
}

#: Modules that know no clock, socket, file, thread, randomness or logger.
PURE = {
    "wire": "addresses bounds codec commands margin messages seldom",
    "viewservice": "causes complaints damping lineage memory reach refusals roster"
    " server status views waits",
    "pbserver": "advert backup budget departure digests discard follower "
    "history limits log machine msgpack_array operations outbox pairs "
    "pending_requests primary progress round_waiters "
    "replica sessions store transfer",
    "client": "arguments bodies calls clerk_core closing errors primary_locator "
    "queries reasons session",
    "understudy": "history moments outcome picture pulse table",
}
PURE_NAMES = {f"{package}.{name}" for package in PURE for name in words(PURE[package])}

#: What pure modules may import besides pure modules of their own package.
HARMLESS = words(
    "__future__ typing types enum collections collections.abc functools itertools "
    "bisect heapq operator struct math copy re html ipaddress zlib hashlib mmap "
    "attrs attrs.validators msgspec msgspec.inspect msgspec.msgpack msgspec.structs "
    "wire.messages wire.commands wire.addresses wire.bounds wire.seldom"
)
#: What needs no import and they may not call; `hash` differs by process.
FORBIDDEN_CALLS = words("open print input eval exec compile __import__ hash")
#: Nothing that comes from outside is ever unpickled.
FORBIDDEN_ANYWHERE = words("pickle marshal shelve tests bench examples")

TREES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): ast.parse(path.read_text())
    for package in [*STAR, "twisted"]
    for path in sorted((ROOT / package).rglob("*.py"))
}


def imports(tree: ast.AST) -> Iterator[str]:
    """Every module that is imported, also inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            yield from inner & TREES.keys() or {"." * node.level + str(node.module)}


def top(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def test_the_picture_is_a_star():
    wrong = {}
    for name, tree in TREES.items():
        package, found = name.split(".")[0], top(set(imports(tree)))
        allowed = STAR.get(package, set()) | {package}
        wrong[name] = found & ({*STAR, ""} | FORBIDDEN_ANYWHERE) - allowed
    assert {name: found for name, found in wrong.items() if found} == {}


def test_pure_modules_are_pure():
    wrong = {}
    for name in PURE_NAMES:
        package = name.split(".")[0]
        siblings = {each for each in PURE_NAMES if each.startswith(f"{package}.")}
        calls = {
            node.func.id
            for node in ast.walk(TREES[name])
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        found = set(imports(TREES[name])) - HARMLESS - siblings
        wrong[name] = found | calls & FORBIDDEN_CALLS
    assert {name: found for name, found in wrong.items() if found} == {}


def test_who_says_that_it_is_pure_stands_in_the_table():
    docstrings = {name: ast.get_docstring(tree) or "" for name, tree in TREES.items()}
    says = {name for name, text in docstrings.items() if "\nPure" in text}
    assert set() == says - PURE_NAMES
    assert len(says) > 20


def test_importing_a_module_starts_no_reactor():
    early = {
        name
        for name, tree in TREES.items()
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module == "twisted.internet"
        if "reactor" in {alias.name for alias in node.names}
    }
    assert set() == early


def test_the_plugin_is_in_no_package():
    """With an __init__.py in plugins the plugin vanishes without a word; with
    one in twisted, Twisted itself is replaced."""
    plugin = "twisted.plugins.understudy_plugin"
    assert [plugin] == [name for name in TREES if name.startswith("twisted")]
    found = set(imports(TREES[plugin]))
    assert found <= {"__future__", "signal", "twisted.application.service"}
