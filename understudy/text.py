"""
Bytes as people and programs read them, and the way to standard output.

A store holds bytes, a terminal shows text and JSON knows only text.  What is
UTF-8 stays readable; everything else is escaped so that no line is broken, no
terminal is upset, and the bytes can be had back.  What the encoding of standard
output lacks is escaped in the same form (`wire.output`), in JSON as ``\\uNNNN``.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
from base64 import b64encode
from typing import Any, Final

from wire.addresses import readable
from wire.output import is_utf8


class _Escapes(dict[int, str]):
    """What stands for each character; a new one is looked at once."""

    def __missing__(self, point: int) -> str:
        letter = chr(point)
        if not letter.isprintable():
            data = letter.encode("utf-8", "surrogateescape")
            letter = "".join(f"\\x{byte:02x}" for byte in data)
        self[point] = letter
        return letter


_ESCAPES: Final = _Escapes(
    str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
)


def escaped(data: bytes) -> str:
    """*data* as one printable line; ``\\xNN`` is a byte that is no text."""
    return data.decode("utf-8", "surrogateescape").translate(_ESCAPES)


def shown(data: bytes, length_max: int = 60) -> str:
    """*data* in quotes for a message, cut where it is long."""
    text = escaped(data[: length_max + 1])
    if len(data) > length_max:
        return f"'{text[:length_max]}...' ({len(data)} bytes)"
    return f"'{text}'"


def as_json(name: str, data: bytes | None) -> dict[str, Any]:
    """*data* as a field of a JSON object: as text under *name*, or, if it is no
    UTF-8, as base 64 under ``NAME_base64``."""
    if data is None:
        return {name: None}
    try:
        return {name: data.decode("utf-8")}
    except UnicodeDecodeError:
        return {f"{name}_base64": b64encode(data).decode("ascii")}


def say(text: str) -> None:
    """One line on standard output, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def say_json(document: Any) -> None:
    """One JSON document on a line of standard output."""
    say_json_text(json.dumps(document, ensure_ascii=False))


#: Outside of its strings JSON has only ASCII, so these stand in strings.
_NOT_ASCII: Final = re.compile(r"[^\x00-\x7f]+")
_SURROGATES: Final = re.compile("[\ud800-\udfff]+")


def say_json_text(text: str) -> None:
    """JSON that is text already, on a line of standard output.  Its non-ASCII
    characters are escaped unless the encoding is UTF-8, which JSON requires."""
    missing = _SURROGATES if is_utf8(sys.stdout) else _NOT_ASCII
    say(missing.sub(lambda found: json.dumps(found[0])[1:-1], text))


def say_bytes(data: bytes) -> None:
    """Bytes on standard output, as they are."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def complain(text: str) -> None:
    """One line on standard error, if that can be written to."""
    with contextlib.suppress(OSError):
        sys.stderr.write(readable(text) + "\n")
        sys.stderr.flush()
