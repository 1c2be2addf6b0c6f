"""Output that the reader or the encoding of a stream does not take."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest

from tests.processes import ROOT
from understudy.text import say_json, say_json_text
from wire.output import escape_on, is_utf8

WRITTEN = [
    ("ascii", "plain", b"plain"),
    ("ascii", "Z\u00fcrich", b"Z\\xc3\\xbcrich"),
    ("latin-1", "Z\u00fcrich", b"Z\xfcrich"),
    ("latin-1", "8 \u20ac", b"8 \\xe2\\x82\\xac"),
    ("utf-8", "Z\u00fcrich", b"Z\xc3\xbcrich"),
    # A byte of a file name that was no text.
    ("utf-8", "a\udcffb", b"a\\xffb"),
    ("ascii", "a\udcff\u00fcb", b"a\\xff\\xc3\\xbcb"),
    # A surrogate that stands for no byte.
    ("utf-8", "a\ud800b", b"a\\xed\\xa0\\x80b"),
    ("ascii", "\U0001f3ad", b"\\xf0\\x9f\\x8e\\xad"),
]


@pytest.mark.parametrize(("encoding", "text", "expected"), WRITTEN)
def test_what_the_encoding_lacks_is_escaped(encoding, text, expected):
    data = io.BytesIO()
    stream = io.TextIOWrapper(data, encoding=encoding)
    escape_on(stream, None, io.StringIO())
    stream.write(text)
    stream.flush()
    assert data.getvalue() == expected


JSON = {
    ("ascii", "\u00fc"): rb"\u00fc",
    ("latin-1", "\u00fc"): rb"\u00fc",
    ("utf-8", "\u00fc"): "\u00fc".encode(),
    ("ascii", "\U0001f3ad"): rb"\ud83c\udfad",
    ("utf-8", "\udcff"): rb"\udcff",
    ("utf8", 'a "quoted" \\ \n'): rb"a \"quoted\" \\ \n",
}


@pytest.mark.parametrize(("encoding", "text"), JSON)
def test_json_stays_json(encoding, text, monkeypatch):
    data = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(data, encoding=encoding))
    say_json({"it": text})
    assert data.getvalue() == b'{"it": "' + JSON[encoding, text] + b'"}\n'
    say_json_text('{"it":"plain"}')
    assert data.getvalue().endswith(b'\n{"it":"plain"}\n')


def test_a_stream_that_only_keeps_text_takes_all():
    assert is_utf8(io.StringIO())


COMMANDS = [
    ("understudy", "--help"),
    ("understudy", "--version"),
    ("bench", "--list"),
    ("bench", "--help"),
    ("tests.sim", "--help"),
    ("tests.sim", "--seed", "1"),
    ("tests.sim.search", "--list"),
    ("tests.sim.search", "--help"),
    ("tests.mutants", "--help"),
    ("tests.chaos", "--help"),
    ("tests.lab",),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_reader_that_is_gone_is_no_error(command):
    running = subprocess.Popen(
        (sys.executable, "-m", *command),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    assert running.stdout is not None
    running.stdout.close()
    assert running.stderr is not None
    assert running.stderr.read() == b""
    assert running.wait(60) == 0


@pytest.mark.parametrize("plugin", ["viewservice", "pbserver"])
def test_the_help_of_a_daemon_may_be_cut_short(plugin):
    twistd = "from twisted.scripts.twistd import run; run()"
    running = subprocess.Popen(
        (sys.executable, "-c", twistd, plugin, "--help"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    assert running.stdout is not None
    running.stdout.close()
    assert running.stderr is not None
    assert running.stderr.read() == b""
    assert running.wait(20) == 0
