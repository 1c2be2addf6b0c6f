"""A machine of one's own, replicated by real processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from client import CommandError
from tests.processes import service, wait_for
from understudy import daemons

pytestmark = pytest.mark.processes


def test_locks_survive_their_primary(tmp_path: Path) -> None:
    options = ("--machine", "examples.locks:Locks")
    with (
        service(tmp_path, ["s1"], server_options=options) as running,
        running.clerk() as clerk,
    ):
        execute, ask = clerk.execute, clerk.ask
        assert execute(["acquire", "printer", "ann", 60_000]) == 1
        running.cluster.add("s2")
        running.safe()
        running["s1"].kill()
        assert ask(["owner", "printer"]) == "ann"
        with pytest.raises(CommandError, match="held by ann") as caught:
            execute(["acquire", "printer", "bob", 1])
        assert caught.value.code == "held"
        assert execute(["release", "printer", "ann"]) is True
        assert execute(["acquire", "printer", "bob", 1000]) == 2
        with pytest.raises(CommandError, match="a lock knows no 'nonsense'"):
            ask("nonsense")


def test_a_server_whose_machine_is_not_found_says_so_and_ends(tmp_path: Path) -> None:
    options = ("--machine", "nowhere:Locks")
    server = daemons.server(tmp_path, "s1", "tcp:127.0.0.1:1", options=options)
    try:
        server.start()
        wait_for(lambda: not server.is_running(), "the end of the server")
        assert server.exit_code() == 1
        assert "nowhere:Locks: there is no module 'nowhere'" in server.last_words()
    finally:
        server.kill()
