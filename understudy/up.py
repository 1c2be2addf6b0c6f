"""
``understudy up``: a whole service on this machine, to try things on.

Real daemons, as anybody would run them; they end with this command.  Whoever
wants to see a failover kills one, by the process ids that are printed.
"""

from __future__ import annotations

import shutil
import tempfile
from argparse import Namespace
from pathlib import Path
from typing import Any, Final

from understudy.cluster import Cluster, DidNotStart
from understudy.daemons import Daemon
from understudy.observer import Observer
from understudy.options import VIEWS_DEFAULT
from understudy.outcome import DONE, UNAVAILABLE, Ended, Interrupted
from understudy.running import pause, run
from understudy.table import columns
from understudy.text import complain, say, say_json
from understudy.watch import show
from wire.messages import VIEW_SERVICE, ViewIs

#: Between two looks at the children, seconds.
_LOOK_S: Final = 0.02


def main(options: Namespace) -> int:
    """Run it until Ctrl-C -> the exit code.  Raises `Ended`."""
    directory = Path(tempfile.mkdtemp(prefix="understudy-"))
    names = [f"s{number}" for number in range(1, options.servers + 1)]
    ports = {}
    if options.base_port:
        ports = {name: options.base_port + at for at, name in enumerate(names, 1)}
        ports["views"] = options.base_port
    cluster = Cluster(directory, names, ports)
    try:
        run(lambda reactor: _tell(reactor, cluster, options))
    except Interrupted:
        cluster.stop()
        # What they held was in memory, so nothing that is left is of any use.
        shutil.rmtree(directory, ignore_errors=True)
        return DONE
    except DidNotStart as error:
        raise Ended(
            UNAVAILABLE,
            f"{error}. Logs are in {directory}; --base-port P takes other ports, 0 any",
        ) from error
    finally:
        cluster.stop()
    raise AssertionError("it does not end by itself")


async def _tell(reactor: Any, cluster: Cluster, options: Namespace) -> None:
    while not cluster.started():
        await pause(reactor, _LOOK_S)
    _introduce(cluster, as_json=options.json)
    observer = Observer(reactor, VIEW_SERVICE, [cluster.address])
    teller = _Teller(cluster, as_json=options.json)
    observer.watch(teller.take)
    dead: set[int] = set()
    try:
        while teller.broken is None:
            for daemon in cluster.all():
                if not daemon.is_running() and daemon.pid not in dead:
                    dead.add(daemon.pid)
                    _mourn(daemon, as_json=options.json)
            await pause(reactor, _LOOK_S)
        raise teller.broken
    finally:
        observer.stop()


class _Teller:
    """Tells of each new view, and once of what could be tried."""

    def __init__(self, cluster: Cluster, *, as_json: bool) -> None:
        self._cluster = cluster
        self._as_json = as_json
        self._number = 0
        self._has_suggested = as_json
        #: Why the output cannot be written, if so.
        self.broken: Exception | None = None

    def take(self, message: ViewIs) -> None:
        """The view service has spoken."""
        view = message.view
        if view.number == self._number or view.primary is None:
            return
        self._number = view.number
        try:
            show(message, as_json=self._as_json)
            if view.backups and not self._has_suggested:
                self._has_suggested = True
                _suggest(self._cluster, view.primary.name)
        except Exception as error:  # noqa: BLE001 -- it ends the command, not the link
            self.broken = error


def _introduce(cluster: Cluster, *, as_json: bool) -> None:
    if as_json:
        say_json(
            {
                "views": cluster.address,
                "directory": str(cluster.directory),
                "processes": [
                    {"name": each.name, "pid": each.pid, "endpoint": each.endpoint}
                    for each in cluster.all()
                ],
            }
        )
        return
    rows = [("process", "pid", "endpoint")]
    rows += [(d.name, str(d.pid), d.endpoint or "") for d in cluster.all()]
    say("\n".join(columns(rows, frozenset({1}))))
    say(f"\nLogs are in {cluster.directory}. Ctrl-C ends everything.\n")


def _suggest(cluster: Cluster, primary: str) -> None:
    """What to try, now that there is somebody to answer."""
    flag = "" if cluster.address == VIEWS_DEFAULT else f" --views {cluster.address}"
    victim = cluster.servers[primary].pid
    say(
        f"\nTry, in another terminal:\n"
        f"  understudy put greeting hello{flag}\n"
        f"  understudy status{flag}\n"
        f"  kill -9 {victim}    # the primary, {primary}\n"
        f"  understudy get greeting{flag}\n"
    )


def _mourn(daemon: Daemon, *, as_json: bool) -> None:
    if as_json:
        say_json({"ended": daemon.name, "pid": daemon.pid, "code": daemon.exit_code()})
    else:
        complain(
            f"{daemon.name} (process {daemon.pid}) has ended: {daemon.complaint()}"
        )
