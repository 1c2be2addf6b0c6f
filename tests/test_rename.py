"""What renames symbols and moves modules: in one file, and over all of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools import rename
from tests.tools.rename import Refused, planned, renamed
from tests.tools.rewriting import Plan, prose, python

KNOWN = ("pbserver.log", "pbserver.bodies", "pbserver.pairs", "wire.link")
PLAN = Plan(
    {"Log": "Journal", "log": "journal", "one": "two", "two": "one"},
    {
        "pbserver.bodies": "pbserver.machine.msgpack_array",
        "pbserver.pairs": "pbserver.machine.pairs",
        "wire.link": "wire.net.link",
    },
    KNOWN,
)

PYTHON = {
    "a definition and its uses": (
        "class Log: pass\nx = Log().log\n",
        "class Journal: pass\nx = Journal().journal\n",
    ),
    "a keyword argument": ("f(log=1)\n", "f(journal=1)\n"),
    "a longer word": ("Logger, _log, log_\n", "Logger, _log, log_\n"),
    "two that are swapped": ("one, two\n", "two, one\n"),
    "text": ('"a log, one"\n', '"a log, one"\n'),
    "text in backquotes": (
        '"""A `Log`, ``x.log``."""\n', '"""A `Journal`, ``x.journal``."""\n'
    ),
    "a comment": ("x = 1  # one `log`\n", "x = 1  # one `journal`\n"),
    "an f-string": ('f"log {log} {x.one:>3}"\n', 'f"log {journal} {x.two:>3}"\n'),
    "raw and formatted": ('rf"{log}"\n', 'rf"{journal}"\n'),
    "a plain string with braces": ('"{log}"\n', '"{log}"\n'),
    "what a mutant quotes": (
        'put("pbserver.pairs", "self.log", "x")\n',
        'put("pbserver.machine.pairs", "self.journal", "x")\n',
    ),
    "what a probe quotes": (
        'at("log = 1", when="one")\n', 'at("journal = 1", when="two")\n'
    ),
    "what a test is given": (
        '@p.mark.parametrize("log", ["log"])\ndef f(log): pass\n',
        '@p.mark.parametrize("journal", ["log"])\ndef f(journal): pass\n',
    ),
    "a program": (
        'x = """\nimport y\ny.log()\n"""\n',
        'x = """\nimport y\ny.journal()\n"""\n',
    ),
    "the name of an attribute": (
        'm.setattr(x, "log", getattr(y, "one"))\n',
        'm.setattr(x, "journal", getattr(y, "two"))\n',
    ),
    "a call of that name on something": ('x.put("log")\n', 'x.put("log")\n'),
    "what follows a character of several bytes": (
        '"é"; put("é", "log"); log\n',
        '"é"; put("é", "journal"); journal\n',
    ),
    "a module that stays": (
        "from pbserver.log import Log\nimport pbserver.log\npbserver.log.log\n",
        "from pbserver.log import Journal\nimport pbserver.log\npbserver.log.journal\n",
    ),
    "a module in a string": ('"pbserver.pairs"\n', '"pbserver.machine.pairs"\n'),
    "a path in a string": ('"pbserver/pairs.py"\n', '"pbserver/machine/pairs.py"\n'),
    "a longer name of a module": ('"pbserver.pairs_of"\n', '"pbserver.pairs_of"\n'),
    "an attribute that is no module": ("x.pbserver.pairs\n", "x.pbserver.pairs\n"),
    "a module that has the name of a symbol": (
        "from pbserver import log\nx = f(log.log, log=log)\n",
        "from pbserver import log\nx = f(log.journal, journal=log)\n",
    ),
    "a module with its dots": (
        "import wire.link\nwire.link.log\n",
        "import wire.net.link\nwire.net.link.journal\n",
    ),
    "a module by its last name": (
        "from pbserver import bodies\nx = bodies.join(y.bodies, bodies=bodies)\n",
        """\
from pbserver.machine import msgpack_array
x = msgpack_array.join(y.bodies, bodies=msgpack_array)
""",
    ),
    "modules of which one stays": (
        "def f():\n    from pbserver import bodies, log, pairs as p\n",
        """\
def f():
    from pbserver.machine import msgpack_array, pairs as p
    from pbserver import log
""",
    ),
    "a module under another name": (
        "from pbserver import bodies as b\nbodies.x\n",
        "from pbserver.machine import msgpack_array as b\nbodies.x\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("before", "after"), PYTHON.values(), ids=PYTHON)
def test_python(before: str, after: str) -> None:
    assert python(before, PLAN) == after


PROSE = {
    "words": ("The log has one log.\n", "The log has one log.\n"),
    "a span": ("`log` and ``a `log` b``\n", "`journal` and ``a `journal` b``\n"),
    "a block": ("log\n```\nx.log\n```\nlog\n", "log\n```\nx.journal\n```\nlog\n"),
    "a link": (
        "[`pbserver/pairs.py`](../pbserver/pairs.py)",
        "[`pbserver/machine/pairs.py`](../pbserver/machine/pairs.py)",
    ),
    "a path that stays": ("`pbserver/log.py::log`", "`pbserver/log.py::journal`"),
    "a module": ("pbserver.pairs.Pairs", "pbserver.machine.pairs.Pairs"),
    "a backquote alone": ("a ` log\n", "a ` log\n"),
}


@pytest.mark.parametrize(("before", "after"), PROSE.values(), ids=PROSE)
def test_prose(before: str, after: str) -> None:
    assert prose(before, PLAN) == after


def test_every_module_moves_at_once() -> None:
    plan = Plan(modules={"a.b": "a.c", "a.c": "a.b"})
    texts = {"a/b.py": "import a.c\n", "a/c.py": '"a.b"\n'}
    assert renamed(texts, plan) == {"a/c.py": "import a.b\n", "a/b.py": '"a.c"\n'}


def test_symbols_change_in_some_folders_and_modules_everywhere() -> None:
    plan = Plan({"x": "y"}, {"a.b": "a.c"})
    texts = {
        "a/b.py": "x\n", "a/d.md": "`x`", "ab/e.py": "x\n", "f.md": "`x` a/b.py"
    }  # fmt: skip
    done = {"a/c.py": "y\n", "a/d.md": "`y`", "f.md": "`x` a/c.py"}
    assert renamed(texts, plan, ["a"]) == done


REFUSED: dict[str, tuple[Plan, str]] = {
    "no such symbol": (Plan({"z": "y"}), "no Python file has 'z'"),
    "a name that is used": (Plan({"x": "w"}), r"'w' is used in a/e.py \(1 files\)"),
    "no such module": (Plan(modules={"a.z": "a.y"}), "there is no a/z.py"),
    "a folder that hides a module": (
        Plan(modules={"a.b": "a.e.b"}),
        "a/e/ would hide a/e.py; move that first",
    ),
    "a place that is taken": (Plan(modules={"a.b": "a.e"}), "a/e.py is there already"),
}


@pytest.mark.parametrize(("plan", "text"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(plan: Plan, text: str) -> None:
    texts = {"a/b.py": "x\n", "a/e.py": "w\n"}
    with pytest.raises(Refused, match=text):
        planned(texts, plan, merge=False)


def test_two_may_become_one_if_that_is_meant() -> None:
    texts = {"a.py": "x, y\n"}
    assert planned(texts, Plan({"x": "y"}), merge=True) == {"a.py": "y, y\n"}


def test_two_may_be_swapped() -> None:
    plan = Plan({"x": "y", "y": "x"})
    assert planned({"a.py": "x, y\n"}, plan) == {"a.py": "y, x\n"}


@pytest.mark.parametrize("bad", [{"names": {"a": "b-c"}}, {"modules": {"a.b": "a."}}])
def test_what_is_no_name_is_refused(bad: dict[str, dict[str, str]]) -> None:
    with pytest.raises(ValueError, match=r"'b-c' is not|'a\.' is not"):
        Plan(**bad)


def test_a_symbol_that_is_only_elsewhere_is_refused() -> None:
    with pytest.raises(Refused, match="none of the symbols is used below b, c"):
        planned({"a/d.py": "x\n"}, Plan({"x": "y"}), ["b", "c"])


def test_files_are_written_and_modules_change_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(("git", "init", "-q"), cwd=tmp_path, check=True)
    files = {"a/b.py": "x = 1\n", "a/c.py": "from a import b\nb.x\n", "d.md": "`x`\n"}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(rename, "ROOT", tmp_path)
    plan = ["a.b=a.c", "a.c=e.f.g", "x=y"]
    assert rename.main(plan) == 0
    assert rename._tracked() == files
    assert rename.main(["--write", *plan]) == 0
    assert rename._tracked() == {
        "a/c.py": "y = 1\n", "d.md": "`y`\n", "e/f/g.py": "from a import c\nc.y\n"
    }  # fmt: skip


def test_a_plan_without_effect_changes_no_file_of_the_project() -> None:
    """And each of them can be read."""
    texts = rename._tracked()
    assert len(texts) > 300
    plan = Plan({"e": "e"}, known=("pbserver.log",))
    assert renamed(texts, plan) == {}


def test_a_rename_and_its_reverse_change_nothing() -> None:
    texts = rename._tracked()
    old = min(name for name in texts if name.startswith("pbserver/a"))
    module = old.removesuffix(".py").replace("/", ".")
    there = renamed(texts, Plan({"View": "Wiew"}, {module: "pbserver.x.y"}))
    moved = {"pbserver/x/y.py": old}
    assert {"docs/design.md", "pbserver/x/y.py"} <= there.keys()
    assert len(there) > 20
    back = {**{k: v for k, v in texts.items() if k != old}, **there}
    again = renamed(back, Plan({"Wiew": "View"}, {"pbserver.x.y": module}))
    assert {moved.get(name, name) for name in there} == again.keys()
    assert {name: texts[name] for name in again} == again


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["Door"], 2, "'Door' is not OLD=NEW"),
        (["no_such_symbol=x_y"], 1, "no Python file has"),
        (["Primary=Qrimary"], 0, "pbserver/primary.py"),
    ],
)
def test_the_command(arguments: list[str], code: int, text: str) -> None:
    command = [sys.executable, "-m", "tests.tools.rename", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert text in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
