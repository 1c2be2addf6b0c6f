"""Reading the documents: sections, tables, fenced blocks, links."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
PACKAGES: Final = ("wire", "viewservice", "pbserver", "client", "understudy")

_HEADING = re.compile(r"^(#+) (.*)$", re.MULTILINE)
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`]*)`")


def documents() -> list[Path]:
    """Every page that is written for people."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def modules() -> list[Path]:
    """Every module of the packages that says something."""
    found = [path for package in PACKAGES for path in (ROOT / package).glob("*.py")]
    return sorted(path for path in found if not path.name.startswith("__"))


def read(name: str) -> str:
    return (ROOT / name).read_text()


def prose(text: str) -> str:
    """The same without fenced blocks."""
    return _FENCED.sub("", text)


def section(text: str, title: str) -> str:
    """What stands under a heading, up to the next of its rank."""
    for found in _HEADING.finditer(text):
        if found[2] == title:
            rank = len(found[1])
            rest = text[found.end() :]
            for after in _HEADING.finditer(rest):
                if len(after[1]) <= rank:
                    return rest[: after.start()]
            return rest
    raise AssertionError(f"no heading {title!r}")


def table(text: str) -> list[list[str]]:
    """The cells of the first table, without its head."""
    rows: list[list[str]] = []
    for line in text.splitlines():
        if line.startswith("|"):
            cells = re.split(r"(?<!\\)\|", line)[1:-1]
            rows.append([cell.strip().replace("\\|", "|") for cell in cells])
        elif rows:
            break
    assert len(rows) > 2, "there is no table"
    return rows[2:]


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks in that language."""
    return [found[2] for found in _FENCED.finditer(text) if found[1] == language]


def code(cell: str) -> list[str]:
    """Everything that is set as code."""
    return _CODE.findall(cell)


def anchors(text: str) -> set[str]:
    """What a link into a page may name, as GitHub makes it from headings."""
    found: dict[str, int] = {}
    names: set[str] = set()
    for heading in _HEADING.finditer(prose(text)):
        plain = re.sub(r"[`*]|\[([^]]*)\]\([^)]*\)", r"\1", heading[2]).lower()
        slug = re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-")
        count = found.get(slug, 0)
        found[slug] = count + 1
        names.add(f"{slug}-{count}" if count else slug)
    return names
