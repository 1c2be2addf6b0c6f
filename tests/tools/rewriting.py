"""
Renames symbols and moves modules, in the text of one file.

Pure: text in, text out.  A plan maps identifiers to identifiers, and modules to
modules.  Names are replaced where they are code, and nowhere else:

- In Python, each identifier token.  There is no type inference: a plan renames
  every identifier of that spelling, in every class and function.  One word has one
  meaning here, so that is the point; where it has two, limit the files.
- In strings that quote source text: every argument of `QUOTING` functions, by
  which mutants, probes and patches name what they change, of those that take the
  name of an attribute, and the first one of ``parametrize``.
- In strings that are programs: a line in them begins with an import.
- In comments, docstrings and Markdown, what stands between backquotes or in a fenced
  block.
- A module's dotted name and its path, in any of these.

All replacements of a plan happen at once, so two names can be swapped.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Collection, Iterator, Mapping
from typing import Final, NamedTuple

from attrs import field, frozen

#: Functions whose string arguments quote source text.
QUOTING: Final = frozenset({"put", "at", "wrong", "Patch"})
#: Functions that take names of attributes.
_NAMING: Final = frozenset({"getattr", "setattr", "hasattr", "delattr", "attrgetter"})

#: Fenced blocks, then code spans of any number of backquotes.
_MARKED: Final = re.compile(r"(?ms)^ *```.*?^ *```|(`+)(?!`).+?(?<!`)\1(?!`)")
#: A string with this is a program that a test runs.
_PROGRAM: Final = re.compile(r"(?m)^(?:from [\w.]+ )?import \w")
#: What is evaluated in an f-string, unless there are braces in it.
_BRACES: Final = re.compile(r"\{[^{}]*\}")


@frozen
class Plan:
    """What gets another name."""

    #: Identifier -> identifier.
    names: Mapping[str, str] = field(factory=dict)
    #: Dotted module -> dotted module.
    modules: Mapping[str, str] = field(factory=dict)
    #: Every module of the project: no part of its dotted name or of its path is an
    #: identifier to rename.
    known: Collection[str] = ()
    _words: dict[str, str] = field(init=False)
    _places: re.Pattern[str] = field(init=False)
    _code: re.Pattern[str] = field(init=False)

    def __attrs_post_init__(self) -> None:
        """ValueError if a name cannot be one."""
        for name in (*self.names, *self.names.values()):
            if not name.isidentifier():
                raise ValueError(f"{name!r} is not an identifier")
        for module in (*self.modules, *self.modules.values()):
            if not all(part.isidentifier() for part in module.split(".")):
                raise ValueError(f"{module!r} is not the name of a module")

    @_words.default
    def _what_becomes_what(self) -> dict[str, str]:
        paths = {path(old): path(new) for old, new in self.modules.items()}
        return {**self.names, **self.modules, **paths}

    @_places.default
    def _where_a_module_is_named(self) -> re.Pattern[str]:
        modules = {*self.modules, *self.known}
        paths = set(map(path, modules))
        return re.compile("|".join((_any_of(modules, r"\w./"), _any_of(paths, r"\w"))))

    @_code.default
    def _what_may_change_in_code(self) -> re.Pattern[str]:
        names = _any_of(self.names, r"\w")
        return re.compile(f"{self._places.pattern}|{names}")

    def concerns(self, text: str) -> bool:
        """False: the text need not be looked at."""
        last = (module.rpartition(".")[2] for module in self.modules)
        return any(word in text for word in (*self.names, *last))

    def code(self, text: str) -> str:
        """A piece of source text that need not be a whole program."""
        return self._code.sub(self._new, text)

    def places(self, text: str) -> str:
        """Only the dotted names and the paths of modules."""
        return self._places.sub(self._new, text)

    def _new(self, found: re.Match[str]) -> str:
        return self._words.get(found[0], found[0])


def path(module: str) -> str:
    """Where a module lies, from the root of the project."""
    return f"{module.replace('.', '/')}.py"


def _any_of(words: Collection[str], not_before: str) -> str:
    # The longest first: one may begin like another.  None: what matches nothing.
    longest = sorted(words, key=len, reverse=True) or ["(?!)"]
    escaped = (word if word == "(?!)" else re.escape(word) for word in longest)
    return rf"(?<![{not_before}])(?:{'|'.join(escaped)})(?!\w)"


# -- prose ------------------------------------------------------------------------


def prose(text: str, plan: Plan) -> str:
    """Markdown, a comment or a docstring."""
    parts, end = [], 0
    for marked in _MARKED.finditer(text):
        parts += [plan.places(text[end : marked.start()]), plan.code(marked[0])]
        end = marked.end()
    return "".join([*parts, plan.places(text[end:])])


# -- Python -----------------------------------------------------------------------


class _Edit(NamedTuple):
    """Positions as `tokenize` has them: line from 1, column from 0."""

    start: tuple[int, int]
    end: tuple[int, int]
    text: str


def python(source: str, plan: Plan) -> str:
    """A Python file.  SyntaxError if it is none."""
    source = _imports(source, plan)
    quoted = list(_quoted(source))
    modules = _imported(source, plan)
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    edits, at = [], 0
    while at < len(tokens):
        token, after = tokens[at], at + 1
        text, end = token.string, token.end
        if token.type == tokenize.NAME:
            after, found = _named(tokens, at, plan, modules)
            text, end = found, tokens[after - 1].end
        elif token.type == tokenize.COMMENT:
            text = prose(text, plan)
        elif token.type == tokenize.STRING:
            if any(start <= token.start < stop for start, stop in quoted):
                text = plan.code(text)
            else:
                text = _string(text, plan)
        edits.append(_Edit(token.start, end, text))
        at = after
    return _edited(source, edits)


def _named(
    tokens: list[tokenize.TokenInfo], at: int, plan: Plan, modules: Collection[str]
) -> tuple[int, str]:
    """Where the name that begins at that token ends, and what it becomes: a module
    with its dots, or else this one identifier."""
    text = tokens[at].string
    if tokens[at - 1].string != ".":
        dotted, stop = text, at + 1
        ends: list[tuple[int, str]] = []
        while tokens[stop].string == "." and tokens[stop + 1].type == tokenize.NAME:
            dotted = f"{dotted}.{tokens[stop + 1].string}"
            stop += 2
            ends.append((stop, dotted))
        for stop, dotted in reversed(ends):
            if dotted in plan.modules or dotted in plan.known:
                return stop, plan.modules.get(dotted, dotted)
        if text in modules and tokens[at + 1].string != "=":
            return at + 1, text
    return at + 1, plan.names.get(text, text)


def _imported(source: str, plan: Plan) -> set[str]:
    """What the file calls modules that it imports by their last name."""
    there = {*plan.known, *plan.modules.values()}
    return {
        alias.asname or alias.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if f"{node.module}.{alias.name}" in there
    }


def _string(text: str, plan: Plan) -> str:
    if "f" in text.partition(text[-1])[0].lower():
        # Before Python 3.12, what is evaluated in it is no token of its own.
        return _BRACES.sub(lambda found: plan.code(found[0]), text)
    return plan.code(text) if _PROGRAM.search(text) else prose(text, plan)


def _quoted(source: str) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Where strings quote source text."""
    lines = source.splitlines(keepends=True)
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        if name in QUOTING:
            yield _extent(lines, node)
        elif name in _NAMING or method in _NAMING:
            yield from (_extent(lines, each) for each in node.args)
        elif method == "parametrize" and node.args:
            yield _extent(lines, node.args[0])


def _extent(
    lines: list[str], node: ast.expr | ast.stmt
) -> tuple[tuple[int, int], tuple[int, int]]:
    """From where to where; `ast` counts bytes, `tokenize` characters."""
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    ends = (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)
    start, end = ((at, len(lines[at - 1].encode()[:to].decode())) for at, to in ends)
    return start, end


def _edited(source: str, edits: list[_Edit]) -> str:
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    for edit in sorted(edits, reverse=True):
        start = starts[edit.start[0] - 1] + edit.start[1]
        end = starts[edit.end[0] - 1] + edit.end[1]
        if source[start:end] != edit.text:
            source = source[:start] + edit.text + source[end:]
    return source


# -- imports of modules by their last name ------------------------------------------


def _imports(source: str, plan: Plan) -> str:
    """``from package import module`` becomes an import from the new package; where
    the last part of the module's name changes, so does what the file calls it."""
    edits = []
    called: dict[str, str] = {}
    lines = source.splitlines(keepends=True)
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.ImportFrom) or node.level or not node.module:
            continue
        moved = {
            alias.name: plan.modules[f"{node.module}.{alias.name}"]
            for alias in node.names
            if f"{node.module}.{alias.name}" in plan.modules
        }
        if not moved:
            continue
        edits.append(_Edit(*_extent(lines, node), _statements(node, moved)))
        for alias in node.names:
            if alias.name in moved and alias.asname is None:
                called[alias.name] = moved[alias.name].rpartition(".")[2]
    source = _edited(source, edits)
    called = {old: new for old, new in called.items() if old != new}
    return _called(source, called) if called else source


def _statements(node: ast.ImportFrom, moved: Mapping[str, str]) -> str:
    by_package: dict[str, list[str]] = {}
    for alias in node.names:
        place = moved.get(alias.name, f"{node.module}.{alias.name}")
        package, _, name = place.rpartition(".")
        as_name = "" if alias.asname is None else f" as {alias.asname}"
        by_package.setdefault(package, []).append(name + as_name)
    indent = "\n" + " " * node.col_offset
    return indent.join(
        f"from {package} import {', '.join(names)}"
        for package, names in by_package.items()
    )


def _called(source: str, names: Mapping[str, str]) -> str:
    """A module that was imported has another name: not an attribute of that name,
    nor a keyword argument, which only the call knows."""
    edits = []
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    for at, token in enumerate(tokens):
        if (
            token.type == tokenize.NAME
            and token.string in names
            and tokens[at - 1].string != "."
            and tokens[at + 1].string in {".", ",", ")"}
        ):
            edits.append(_Edit(token.start, token.end, names[token.string]))
    return _edited(source, edits)
