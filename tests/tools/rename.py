"""
Rename symbols and move modules in everything that mentions them.

    python -m tests.tools.rename [--write] [--merge] [--in FOLDER]... OLD=NEW...

OLD is an identifier, or a module by its dotted name: ``Door=PendingRequests``,
``pbserver.door=pbserver.replica.pending``.  Code, mutants, probes, docs and tests
change together; see `tests.tools.rewriting` for what counts as a mention.  Without
``--write`` only the files are listed.

A symbol is refused if its new name is used already, since the two could not be told
apart afterwards; ``--merge`` allows that.  With ``--in``, only files below those
folders change: for a word that means another thing elsewhere.  Modules are always
moved everywhere; a new folder still needs its ``__init__.py``.

Afterwards: ``ruff check --fix``, ``ruff format``, then ``make test``.

Exit codes: 0 done, 1 refused, 2 usage.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tokenize
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.tools.rewriting import Plan, path, prose, python

ROOT: Final = Path(__file__).parent.parent.parent
#: Text in which modules and symbols are mentioned, besides Python.
_PROSE: Final = (".md", ".toml", ".yml", ".cfg", ".in")
#: This tool and its tests, whose examples mean nothing.
_OWN: Final = ("tests/tools/", "tests/test_rename.py")


class Refused(Exception):  # noqa: N818 (it says what it is)
    """The plan is not carried out; the text says why."""


def renamed(
    texts: Mapping[str, str], plan: Plan, folders: Sequence[str] = ()
) -> dict[str, str]:
    """What each file becomes, by its new path -> its text; only those that differ.
    *texts*: path -> text of all files; *folders*: where symbols are renamed, if not
    everywhere.  `Refused` if a module to move is not there or its place is taken."""
    moves = {path(old): path(new) for old, new in plan.modules.items()}
    for old, new in moves.items():
        if old not in texts:
            raise Refused(f"there is no {old}")
        if new in texts and new not in moves:
            raise Refused(f"{new} is there already")
        for folder in Path(new).parents:
            if (module := f"{folder}.py") in texts and module not in moves:
                raise Refused(f"{folder}/ would hide {module}; move that first")
    moving = Plan(modules=plan.modules, known=plan.known)
    found = {}
    for name, text in texts.items():
        inside = not folders or any(
            name == each or name.startswith(f"{each.rstrip('/')}/") for each in folders
        )
        use = plan if inside else moving
        rewrite = python if name.endswith(".py") else prose
        done = rewrite(text, use) if use.concerns(text) else text
        if done != text or name in moves:
            found[moves.get(name, name)] = done
    if folders and plan.names and not found:
        raise Refused(f"none of the symbols is used below {', '.join(folders)}")
    return found


def uses(texts: Mapping[str, str], names: Iterable[str]) -> dict[str, list[str]]:
    """In which Python files each of the identifiers stands."""
    found: dict[str, list[str]] = {name: [] for name in names}
    for where, text in texts.items():
        if where.endswith(".py"):
            tokens = tokenize.generate_tokens(io.StringIO(text).readline)
            words = {each.string for each in tokens if each.type == tokenize.NAME}
            for name in words & found.keys():
                found[name].append(where)
    return found


def planned(
    texts: Mapping[str, str],
    plan: Plan,
    folders: Sequence[str] = (),
    *,
    merge: bool = False,
) -> dict[str, str]:
    """As `renamed`.  `Refused` if a symbol is not there, or if its new name is used
    already and *merge* is not set."""
    found = uses(texts, {*plan.names, *plan.names.values()})
    for old, new in plan.names.items():
        if not found[old]:
            raise Refused(f"no Python file has {old!r}")
        if found[new] and new not in plan.names and not merge:
            where = ", ".join(found[new][:3])
            raise Refused(f"{new!r} is used in {where} ({len(found[new])} files)")
    return renamed(texts, plan, folders)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command -> its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.tools.rename")
    parser.add_argument("pairs", nargs="+", metavar="OLD=NEW")
    parser.add_argument("--write", action="store_true", help="change the files")
    parser.add_argument("--merge", action="store_true", help="NEW may be in use")
    parser.add_argument(
        "--in", dest="folders", action="append", default=[], metavar="FOLDER"
    )
    options = parser.parse_args(arguments)
    texts = _tracked()
    known = {name[:-3].replace("/", ".") for name in texts if name.endswith(".py")}
    names: dict[str, str] = {}
    modules: dict[str, str] = {}
    for pair in options.pairs:
        old, equals, new = pair.partition("=")
        if not equals:
            parser.error(f"{pair!r} is not OLD=NEW")
        (modules if "." in old else names)[old] = new
    try:
        plan = Plan(names, modules, known)
        found = planned(texts, plan, options.folders, merge=options.merge)
    except (Refused, ValueError) as refused:
        sys.stderr.write(f"rename: {refused}\n")
        return 1
    for name in sorted(found):
        sys.stdout.write(f"{name}\n")
    if options.write:
        _write(found, modules)
    return 0


def _tracked() -> dict[str, str]:
    command = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    texts = {}
    for name in sorted(filter(None, done.stdout.split("\0"))):
        wanted = name.endswith((".py", *_PROSE)) or Path(name).name == "Makefile"
        if wanted and not name.startswith(_OWN) and (ROOT / name).is_file():
            texts[name] = (ROOT / name).read_text()
    return texts


def _write(found: Mapping[str, str], modules: Mapping[str, str]) -> None:
    # All are removed before any is written: two modules may change places.
    for old in modules:
        (ROOT / path(old)).unlink()
    for name, text in found.items():
        (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / name).write_text(text)


if __name__ == "__main__":
    sys.exit(main())
