"""What the documents say of the code is so: names, links, limits, options."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import attrs
import pytest

from pbserver.service import Options as ServerOptions
from pbserver.simple_machine import BatchAdapter, Refused, SimpleMachine
from tests.documents import (
    PACKAGES,
    ROOT,
    anchors,
    blocks,
    code,
    documents,
    modules,
    prose,
    read,
    section,
    table,
)
from tests.test_architecture import PURE_NAMES
from understudy import outcome
from understudy.main import MODULES
from viewservice.causes import CAUSES
from viewservice.options import Options as ViewServiceOptions
from viewservice.waits import WAITS

DESIGN = read("docs/design.md")
OPERATIONS = read("docs/operations.md")
PITFALLS = read("docs/pitfalls.md")

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
CITED = re.compile(
    r"docs/design\.md`*,?\s+sections?\s+([\d\s,and]+)((?:,\s+rules?\s+[\d\s,andto]+)?)"
)
TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::([^`]+))?`")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


# -- what is named is there, and what is there is named -----------------------


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_every_module_is_named_with_its_noun(path: Path) -> None:
    cells = re.findall(r"^\| (\[`.*) \|$", DESIGN, re.MULTILINE)
    (found,) = [cell for cell in cells if f"`{name_of(path)}`" in cell]
    link, _, noun = found.partition(" | ")
    assert f"[`{name_of(path)}`](../{name_of(path)})" == link
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    module = name_of(path).removesuffix(".py").replace("/", ".")
    is_pure = "\nPure" in docstring or module in PURE_NAMES
    assert is_pure == noun.endswith("(pure)")
    assert noun.removesuffix("(pure)").strip()


def links() -> list[tuple[Path, str]]:
    return [
        (page, target)
        for page in documents()
        for target in LINK.findall(prose(page.read_text()))
        if not re.match(r"[a-z]+://", target)
    ]


@pytest.mark.parametrize(
    ("page", "target"), links(), ids=lambda each: each if isinstance(each, str) else ""
)
def test_every_relative_link_leads_somewhere(page: Path, target: str) -> None:
    path, _, anchor = target.partition("#")
    found = (page.parent / path).resolve() if path else page
    assert found.exists(), f"{name_of(page)} links to {target}"
    if anchor:
        assert anchor in anchors(found.read_text()), f"{name_of(page)}: {target}"


def test_the_sections_that_code_cites_are_there() -> None:
    headings = {int(n) for n in re.findall(r"^## (\d+)\. ", DESIGN, re.MULTILINE)}
    assert set(range(1, 14)) == headings
    views = section(DESIGN, "4. The view service")
    rules = {int(n) for n in re.findall(r"^(\d+)\. \*\*", views, re.MULTILINE)}
    assert set(range(1, 18)) == rules
    cited = 0
    for path in modules():
        for sections, numbers in CITED.findall(path.read_text()):
            cited += 1
            assert {int(n) for n in re.findall(r"\d+", sections)} <= headings, path
            assert {int(n) for n in re.findall(r"\d+", numbers)} <= rules, path
    assert cited > 20, "the pattern no longer fits the citations"


def test_the_pages_name_no_test_that_is_not_there() -> None:
    named = 0
    for page in documents():
        for path, name in TEST.findall(page.read_text()):
            named += 1
            text = read(path)
            if name:
                story = f'"{name}"' in text
                assert story or f"def {name}(" in text, f"{path}::{name}"
    assert named > 20, "the pattern no longer fits"


def test_no_page_names_a_place_that_only_we_have() -> None:
    for page in documents():
        assert not re.search(r"(?<![\w.])/(work|tmp|home|root)/", page.read_text()), (
            page
        )


# -- operations ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("title", "options"),
    [
        ("Options of the view service", ViewServiceOptions),
        ("Options of a server", ServerOptions),
    ],
)
def test_every_option_is_told(title: str, options: Any) -> None:
    defaults = {f"--{name}": value for name, _, value, *_ in options.optParameters}
    shorts = {f"--{name}": short for name, short, *_ in options.optParameters}
    flags = {f"--{name}": None for name, *_ in options.optFlags}
    for word in vars(options):
        if word.startswith("opt_") and len(word) > len("opt_x"):
            flags[f"--{word.removeprefix('opt_')}"] = None
            short = next((w for w in vars(options) if w == f"opt_{word[4]}"), None)
            shorts[f"--{word.removeprefix('opt_')}"] = short and short[-1]
    told = {code(row[0])[0]: row for row in table(section(OPERATIONS, title))}
    assert {*defaults, *flags} == set(told)
    for option, row in told.items():
        short = shorts.get(option)
        assert code(row[0])[1:] == ([f"-{short}"] if short else []), option
        if defaults.get(option) is not None:
            assert [str(defaults[option])] == code(row[1]), option


def test_every_command_is_told() -> None:
    rows = table(section(OPERATIONS, "The command"))
    assert set(MODULES) == {code(row[0])[0].split()[1] for row in rows}


def test_every_exit_code_is_told() -> None:
    text = section(OPERATIONS, "The command")
    rows = table(text[text.index("| exit code") :])
    codes = {outcome.DONE, *outcome.CODES}
    assert codes == {int(row[0]) for row in rows}


def test_every_cause_is_told() -> None:
    rows = table(section(OPERATIONS, "Why the view changed"))
    assert list(CAUSES) == [code(row[0])[0] for row in rows]


def test_everything_that_is_waited_for_is_told() -> None:
    of_servers = {
        node.args[1].value
        for path in (ROOT / "pbserver").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "Wait"
        and isinstance(node.args[1], ast.Constant)
    }
    assert {"transfer", "primary"} <= of_servers
    rows = table(section(OPERATIONS, "What it waits for"))
    assert {*WAITS, *of_servers} == {code(row[0])[0] for row in rows}


LOGGER = re.compile(r"Name\(id='_?log'")


def events() -> dict[str, set[str]]:
    """Every event that is logged, and on which levels where that is plain."""
    found: dict[str, set[str]] = {}
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and LOGGER.search(ast.dump(node.func)):
                words = ast.walk(node.args[0]) if node.args else ()
                for word in words:
                    text = word.value if isinstance(word, ast.Constant) else None
                    if isinstance(text, str) and re.fullmatch(r"[\w.]+", text):
                        levels = found.setdefault(text, set())
                        if isinstance(node.func, ast.Attribute):
                            levels.add(node.func.attr)
    return found


def test_every_event_is_told() -> None:
    rows = table(section(OPERATIONS, "Logs"))
    told = {code(row[0])[0]: row[1] for row in rows}
    logged = events()
    assert logged.keys() == told.keys()
    plain = {event: levels for event, levels in logged.items() if levels}
    assert {event: {told[event]} for event in plain} == plain


# -- limits -------------------------------------------------------------------

UNITS = {
    "": 1,
    "KiB": 1024,
    "MiB": 1024**2,
    "ms": 1,
    "s": 1000,
    "h": 3_600_000,
}
LIMITS = table(section(OPERATIONS, "Limits"))


def amount(text: str) -> int:
    """``16 MiB - 5``, in bytes, milliseconds or pieces."""
    total, sign = 0, 1
    for part in re.split(r" (?=-)", text):
        sign = -1 if part.startswith("-") else 1
        digits, unit = re.fullmatch(
            r"([\d ]*\d) ?([a-zA-Z]*)", part.lstrip("- ")
        ).groups()  # type: ignore[union-attr]
        total += sign * int(digits.replace(" ", "")) * UNITS[unit]
    return total


def value(path: str) -> float:
    """What the code has there: a constant, a field's default, or a parameter's;
    times in milliseconds."""
    parts = path.split(".")
    module = importlib.import_module(".".join(parts[:2]))
    found: Any = module
    for at, part in enumerate(parts[2:], 2):
        if inspect.isclass(found) and attrs.has(found):
            found = getattr(attrs.fields(found), part).default
        elif inspect.isclass(found):
            found = inspect.signature(found).parameters[part].default
        else:
            found = getattr(found, part)
        assert found is not None, parts[: at + 1]
    seconds = parts[-1].lower().endswith(("_s", "_s_default", "_s_max"))
    return found * 1000 if seconds else found


@pytest.mark.parametrize("row", LIMITS, ids=lambda row: code(row[2])[0])
def test_limit(row: list[str]) -> None:
    (path,) = code(row[2])
    assert amount(row[1]) == value(path)
    assert row[3]


def test_every_limit_is_told() -> None:
    #: Not limits on what anybody does, but the range of a number.
    ranges = {"wire.commands.COUNTER_MAX", "wire.messages.COUNTER_MAX"}
    found: set[str] = set()
    for package in PACKAGES[:-1]:
        for path in (ROOT / package).glob("*.py"):
            for name in re.findall(
                r"^([A-Z_]+_MAX)\b.* = ", path.read_text(), re.MULTILINE
            ):
                found.add(f"{package}.{path.stem}.{name}")
    limits = importlib.import_module("pbserver.limits").Limits
    found |= {f"pbserver.limits.Limits.{each.name}" for each in attrs.fields(limits)}
    #: docs/protocol.md has those of fields; tests/test_bounds.py compares them.
    frames = {f"wire.bounds.{name}_BYTES_MAX" for name in ("FRAME", "HELLO")}
    fields = {name for name in found if name.startswith("wire.bounds.")} - frames
    assert len(found) > 30
    assert found - ranges - fields <= {code(row[2])[0] for row in LIMITS}


# -- the README ---------------------------------------------------------------


def test_the_machine_in_the_readme_is_one() -> None:
    (text,) = [b for b in blocks(read("README.md"), "python") if "apply_one" in b]
    names: dict[str, Any] = {}
    exec(compile(text, "README.md", "exec"), names)
    (kind,) = [each for each in names.values() if hasattr(each, "apply_one")]
    machine = kind()
    assert isinstance(machine, BatchAdapter)
    one, other = SimpleMachine(machine), SimpleMachine(kind())
    assert machine.query_one(["leader"]) is None
    assert machine.apply_one(["score", "ann", 3], 0) == 3
    assert machine.apply_one(["score", "ann", 4], 0) == 7
    assert machine.query_one(["leader"]) == "ann"
    # A command of the store, which would seem to succeed on this machine.
    with pytest.raises(Refused):
        machine.apply_one(["put", b"k", b"v"], 0)
    cut = one.cut()
    while piece := cut.take(16):
        other.load(piece)
    other.finish()
    assert one.digest() == other.digest()


@pytest.mark.parametrize("page", documents(), ids=name_of)
def test_python_on_a_page_is_python(page: Path) -> None:
    for text in blocks(page.read_text(), "python"):
        # A page may await where a module may not.
        compile(text, page.name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
