"""Logs: one line for each event, ours and Twisted's, wherever they go."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from twisted.logger import Logger, LogLevel, LogPublisher, capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.python.usage import Options

from wire import logs
from wire.logs import Lines, get_logger

ROOT = Path(__file__).parent.parent


def lines_of(run, **options: bool) -> list[dict]:
    """What a JSON log says of all that *run* does."""
    stream = io.StringIO()
    with capturedLogs() as captured:
        run()
    lines = Lines(stream, **options)
    for event in captured:
        lines(event)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_has_a_name_and_values():
    (line,) = lines_of(
        lambda: get_logger("x").info("view.changed", number=7, backups=["s2"])
    )
    assert line.pop("timestamp").endswith("+00:00")
    expected = {
        "level": "info",
        "event": "view.changed",
        "number": 7,
        "backups": ["s2"],
    }
    assert expected == line


LEVELS = ["debug", "info", "warning", "error", "critical"]


@pytest.mark.parametrize("level", LEVELS)
def test_levels(level):
    (line,) = lines_of(
        lambda: getattr(get_logger("x"), level)("a.happened"), is_verbose=True
    )
    assert level == line["level"]


def test_debug_is_left_out_unless_asked_for():
    assert lines_of(lambda: get_logger("x").debug("link.closed")) == []


def test_what_is_bound_comes_along():
    log = get_logger("x").bind(server="s1")
    (line,) = lines_of(lambda: log.warning("server.stopped", why="superseded"))
    assert (line["server"], line["why"]) == ("s1", "superseded")


def test_values_that_json_does_not_know():
    (line,) = lines_of(lambda: get_logger("x").info("a.happened", key=b"\xff", at={1}))
    assert (line["key"], line["at"]) == ("b'\\xff'", "{1}")


def test_values_with_braces_are_not_formats():
    """What a peer said may contain anything."""
    with capturedLogs() as captured:
        get_logger("x").info("link.broken", text="{0} {evil!r} {")
    assert formatEvent(captured[0]) == "link.broken text='{0} {evil!r} {'"


def test_a_value_may_have_any_name():
    names = {"level": 1, "format": 2, "log_level": 3, "words": 4, "namespace": 5}
    (line,) = lines_of(lambda: get_logger("x").info("a.happened", **names))
    assert names.items() <= line.items()


def test_an_exception_brings_its_traceback():
    def run() -> None:
        try:
            int("seven")
        except ValueError:
            get_logger("x").exception("state.unreadable", file="view.json")

    (line,) = lines_of(run)
    assert line["level"] == "error"
    assert "ValueError: invalid literal" in line["exception"]


def test_a_program_that_embeds_us_reads_words():
    with capturedLogs() as captured:
        get_logger("client").info("link.made", address="tcp:127.0.0.1:7400")
    assert formatEvent(captured[0]) == "link.made address='tcp:127.0.0.1:7400'"
    assert captured[0]["log_namespace"] == "client"


def test_nothing_is_printed_by_itself():
    program = "from wire.logs import get_logger; get_logger('x').warning('a.b', c=1)"
    run = subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert (run.stdout, run.stderr) == ("", "")


def test_twisteds_own_events_are_lines_too():
    def run() -> None:
        try:
            int("seven")
        except ValueError:
            Logger("twisted.internet.base").failure("while handling a call", Failure())

    (line,) = lines_of(run)
    assert (line["level"], line["event"]) == ("critical", "twisted.logged")
    assert line["text"] == "while handling a call"
    assert "ValueError: invalid literal" in line["exception"]


def test_twisteds_chatter_is_left_out():
    def run() -> None:
        from twisted.python import log

        Logger("twisted.application.internet").info("Scheduling retry 1 to connect")
        Logger("twisted.internet.base").warn("a warning")
        log.msg("Listener starting on 7400")
        log.msg("(TCP Port 7400 Closed)")
        log.msg("said by a state machine of somebody's own")

    texts = [line["text"] for line in lines_of(run)]
    assert texts == ["a warning", "said by a state machine of somebody's own"]


def test_a_terminal_gets_words():
    stream = io.StringIO()
    publisher = LogPublisher(Lines(stream, is_terminal=True))
    Logger("x", observer=publisher).emit(LogLevel.info, "hello")
    assert "hello" in stream.getvalue()
    assert "{" not in stream.getvalue()


# -- twistd ---------------------------------------------------------------------

TAC = """
from twisted.application.service import Application, MultiService
from twisted.internet import reactor
from wire import logs

class Daemon(logs.Logged, MultiService):
    def startService(self):
        MultiService.startService(self)
        logs.get_logger("x").info("daemon.started", answer=42)
        reactor.callLater(0, print, "printed")
        reactor.callLater(0.01, reactor.stop)

class Options:
    parent = {options!r}

application = Application("x")
daemon = Daemon()
daemon.lines = logs.lines_for(Options())
daemon.setServiceParent(application)
"""


def twistd(tmp_path: Path, options: dict) -> str:
    (tmp_path / "x.tac").write_text(TAC.format(options=options))
    run = subprocess.run(
        [Path(sys.executable).with_name("twistd"), "-n", "--pidfile=", "-y", "x.tac"],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
    )
    assert (run.returncode, run.stderr) == (0, "")
    return run.stdout


def names_of(text: str) -> list[str]:
    found = [json.loads(line) for line in text.splitlines()]
    return [line.get("text") or line["event"] for line in found]


def test_twistd_logs_only_our_lines_to_stdout(tmp_path):
    out = twistd(tmp_path, {"nodaemon": True})
    expected = ["Loading x.tac...", "Loaded.", "daemon.started", "printed"]
    assert expected == names_of(out)


def test_twistd_is_told_a_file(tmp_path):
    assert twistd(tmp_path, {"nodaemon": True, "logfile": "some.log"}) == ""
    assert "daemon.started" in names_of((tmp_path / "some.log").read_text())


def test_twistd_leaves_the_terminal(tmp_path):
    assert twistd(tmp_path, {"nodaemon": False}) == ""
    assert "daemon.started" in names_of((tmp_path / "twistd.log").read_text())


def test_twistd_keeps_its_syslog():
    options = Options()
    options.parent = {"syslog": True}
    assert logs.lines_for(options) is None
