"""Logs: one line for each event, ours and Twisted's, wherever they go."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from twisted.internet.testing import MemoryReactor
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
        Logger("twisted.scripts._twistd_unix.UnixAppLogger").info("reactor class: x.")
        Logger("twisted.internet.protocol.Factory").info("Starting factory x")
        Logger("twisted.internet.base").info("Main loop terminated.")

    texts = [line["text"] for line in lines_of(run)]
    assert texts == ["a warning", "said by a state machine of somebody's own"]


def test_what_is_not_known_as_chatter_is_kept():
    """It may be the only sign of a fault, or of why a process ended."""

    def run() -> None:
        Logger("twisted.internet.base").info("Received SIGTERM, shutting down.")
        Logger("twisted.internet.tcp").info("something new")
        Logger("twisted.of.a.later.version").info("The moon is full.")

    assert len(lines_of(run)) == 3


def test_a_terminal_gets_words():
    stream = io.StringIO()
    publisher = LogPublisher(Lines(stream, is_terminal=True))
    Logger("x", observer=publisher).emit(LogLevel.info, "hello")
    assert "hello" in stream.getvalue()
    assert "{" not in stream.getvalue()


def test_a_terminal_gets_an_ipv6_address_in_brackets():
    stream = io.StringIO()
    lines = Lines(stream, is_terminal=True)
    with capturedLogs() as captured:
        get_logger("x").info("link.made", address="tcp:\\:\\:1:7400", port=7400)
    lines(captured[0])
    assert "tcp:[::1]:7400" in stream.getvalue()
    assert "\\" not in stream.getvalue()


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


def test_a_daemon_that_leaves_the_terminal_has_no_standard_output():
    options = Options()
    options.parent = {"nodaemon": False, "logfile": "-"}
    with pytest.raises(SystemExit, match="no standard output to log to; add -n"):
        logs.lines_for(options)


def test_a_log_file_that_cannot_be_opened_is_told_in_a_line(tmp_path):
    options = Options()
    options.parent = {"nodaemon": True, "logfile": str(tmp_path / "none" / "x.log")}
    with pytest.raises(SystemExit, match=r"--logfile: cannot open .*x\.log: No such"):
        logs.lines_for(options)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_terminal_gets_what_it_can_show(encoding, monkeypatch):
    """Names, paths and exceptions may have any character, or bytes that are none."""
    data = io.BytesIO()
    stream = io.TextIOWrapper(data, encoding=encoding)
    stream.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stdout", stream)
    lines = logs.lines_for()
    assert lines is not None
    Logger("x", observer=LogPublisher(lines)).info("übung {name}", name="€ \udcff")
    written = data.getvalue()
    assert b"\\udcff" in written
    assert ("€".encode() if encoding == "utf-8" else b"\\xe2\\x82\\xac") in written


# -- SIGUSR1 ----------------------------------------------------------------------


@pytest.fixture
def log(tmp_path):
    file = logs.ReopenedLogFile.fromFullPath(tmp_path / "x.log")
    file.write("before\n")
    yield file
    file.close()


def files_of(path: Path) -> dict[str, str]:
    return {each.name: each.read_text() for each in path.iterdir()}


def test_a_log_is_rotated_as_twistd_does(log, tmp_path):
    log.turn_over()
    log.write("after\n")
    assert files_of(tmp_path) == {"x.log": "after\n", "x.log.1": "before\n"}
    log.turn_over()
    assert files_of(tmp_path) == {
        "x.log": "",
        "x.log.1": "after\n",
        "x.log.2": "before\n",
    }


@pytest.mark.parametrize("is_created", [True, False])
def test_a_log_that_was_moved_away_is_opened_again(log, tmp_path, is_created):
    """By logrotate, which may have created the next file already."""
    (tmp_path / "x.log").rename(tmp_path / "moved")
    if is_created:
        (tmp_path / "x.log").touch()
    log.turn_over()
    log.write("after\n")
    assert files_of(tmp_path) == {"x.log": "after\n", "moved": "before\n"}


def test_a_log_that_cannot_be_opened_again_goes_on_where_it_is(log, tmp_path):
    (tmp_path / "x.log").rename(tmp_path / "moved")
    (tmp_path / "x.log").mkdir()
    with capturedLogs() as captured:
        log.turn_over()
    log.write("after\n")
    assert (tmp_path / "moved").read_text() == "before\nafter\n"
    assert captured[0]["understudy_event"] == "log.reopen_failed"


@pytest.fixture
def sigusr1():
    before = signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.usefixtures("sigusr1")
def test_without_a_log_file_the_signal_is_ignored():
    logs.heed_sigusr1(None, Lines(io.StringIO()))
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN


@pytest.mark.usefixtures("sigusr1")
def test_a_handler_that_is_there_stays(log):
    def handler(*_: object) -> None: ...

    signal.signal(signal.SIGUSR1, handler)
    logs.heed_sigusr1(None, Lines(log))
    assert signal.getsignal(signal.SIGUSR1) is handler


@pytest.mark.usefixtures("sigusr1")
def test_the_log_is_turned_over_between_two_lines(log, tmp_path):
    """Not in the handler, which may interrupt a line that is being written."""
    reactor = MemoryReactor()
    asked: list = []
    reactor.callFromThread = asked.append
    logs.heed_sigusr1(reactor, Lines(log))
    signal.raise_signal(signal.SIGUSR1)
    assert files_of(tmp_path).keys() == {"x.log"}
    (turn_over,) = asked
    turn_over()
    assert files_of(tmp_path).keys() == {"x.log", "x.log.1"}
