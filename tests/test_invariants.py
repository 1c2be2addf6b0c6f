"""A broken invariant ends a daemon, and no process that is not ours."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from wire.fail_stop import guard

PROGRAM = """
import sys
from twisted.internet import reactor
from twisted.internet.task import LoopingCall
from twisted.logger import globalLogBeginner
from wire.fail_stop import guard, own_process
from wire.logs import lines_for

own_process()

globalLogBeginner.beginLoggingTo([lines_for()], redirectStandardIO=False)

@guard
def turn():
    commit, verified = 5, 3
    assert commit <= verified, f"commit {commit} is past verified {verified}"

reactor.addSystemEventTrigger("before", "shutdown", print, "an orderly end")
LoopingCall(turn).start(0.01, now=False)
reactor.run()
"""


def test_a_broken_invariant_ends_the_process_at_once():
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        check=False,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert run.returncode == 1
    (line,) = run.stdout.splitlines()
    values = json.loads(line)
    assert values["level"] == "critical"
    assert values["event"] == "invariant.broken"
    assert values["error"] == "commit 5 is past verified 3"
    assert "in turn" in values["exception"]


def test_without_a_log_it_says_so_on_stderr():
    program = (
        "from wire.fail_stop import guard, own_process\nown_process()\n"
        "@guard\ndef f(): assert 0, 'five'\nf()"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert run.returncode == 1
    assert run.stdout == ""
    assert "invariant.broken" in run.stderr
    assert "five" in run.stderr


def test_a_program_that_embeds_a_clerk_is_not_ours_to_end():
    @guard
    def half(number: int, *, by: int = 2) -> float:
        """Some words."""
        return number / by

    assert half(3) == 1.5
    assert half.__doc__ == "Some words."
    with pytest.raises(ZeroDivisionError):
        half(3, by=0)


def test_what_a_peer_does_wrong_ends_no_process():
    program = (
        "from wire.codec import ProtocolError\n"
        "from wire.fail_stop import guard, own_process\nown_process()\n"
        "@guard\ndef f(): raise ProtocolError('protocol', 'nonsense')\n"
        "try: f()\nexcept ProtocolError: print('goes on')"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert (run.returncode, run.stdout) == (0, "goes on\n")
