"""
Strikes at any time, several at once: who dies may be the last who holds it all.

Then the service must say so, and answer nothing wrong; else it must serve again,
with everything in it, once everybody is awake.
"""

from __future__ import annotations

import time
from pathlib import Path
from random import Random

from tests.chaos.crew import Crew
from tests.chaos.figures import finals_of, judge, say
from tests.chaos.rounds import safe
from tests.chaos.strikes import Strike
from tests.processes import Found, Service, service
from understudy.daemons import Daemon
from understudy.status import is_safe


def run(directory: Path, seed: int, rounds: int, backups: int) -> bool:
    """So many bursts -> whether all promises were kept."""
    names = [f"s{number}" for number in range(1, backups + 3)]
    random = Random(seed)
    strikes = losses = 0
    is_right = True
    with service(directory, names, ("--backups", str(backups))) as running:
        safe(running, backups)
        crew = Crew(directory, running.address, seed)
        try:
            for number in range(1, rounds + 1):
                crew.wait_until_all_answered()
                strikes += _burst(running, random)
                found = _settled(running, backups)
                if not _is_lost(found):
                    continue
                losses += 1
                say(f"burst {number}: {found['waiting']['text']}")
                crew.kill()
                crew.look()
                is_right &= judge(crew.records, None).is_right
                _begin_anew(running)
                safe(running, backups)
                crew = Crew(directory, running.address, seed, generation=number)
            crew.wait_until_all_answered()
            crew.stop()
        except BaseException as error:
            error.add_note(crew.last_words())
            raise
        finally:
            crew.kill()
        is_right &= judge(crew.records, finals_of(running, crew.records)).is_right
        verified = running.command("verify")
        say(verified.stdout.decode().splitlines()[0])
    say(f"{rounds} bursts, {strikes} strikes, {losses} times lost and said to be so")
    return is_right and verified.returncode == 0


def _burst(running: Service, random: Random) -> int:
    """Some strikes, close to each other; in the end all run, or are paused."""
    count = random.randrange(2, 8)
    for _ in range(count):
        daemon = random.choice(running.cluster.all())
        _strike(daemon, random)
        time.sleep(random.choice((0.0, 0.02, 0.1, 0.3)) * random.random())
        if random.random() < 0.5:
            _mend(random.choice(running.cluster.all()))
    return count


def _strike(daemon: Daemon, random: Random) -> None:
    if not daemon.is_running():
        daemon.start()
    elif daemon.is_paused:
        daemon.wake()
    else:
        Strike("any", random.choice(("kill", "kill", "stop")), daemon).hit()


def _mend(daemon: Daemon) -> None:
    if not daemon.is_running():
        daemon.start()
    elif daemon.is_paused:
        daemon.wake()


def _settled(running: Service, backups: int) -> Found:
    """With everybody awake: until it serves, or says that it never will."""
    for daemon in running.cluster.all():
        _mend(daemon)

    def holds(found: Found) -> bool:
        if not _is_up_to_date(running, found):
            return False
        is_whole = is_safe(found) and len(found["view"]["backups"]) == backups
        return is_whole or _is_lost(found)

    return running.until(holds, "it to serve, or to say that it is lost")


def _is_up_to_date(running: Service, found: Found) -> bool:
    """Whether the view service has heard of all servers as they are now, and not
    as they were before they were struck."""
    heard = {
        server["name"]: server["incarnation"]
        for server in found["servers"]
        if server["state"] != "dead"
    }
    are = {
        name: (daemon.event("listening") or {}).get("incarnation")
        for name, daemon in running.cluster.servers.items()
    }
    return heard == are


def _is_lost(found: Found) -> bool:
    return found["waiting"] is not None and found["waiting"]["code"] == "lost"


def _begin_anew(running: Service) -> None:
    """What an operator does when all is lost."""
    for daemon in running.cluster.all():
        daemon.kill()
    views = running.views
    arguments = views.arguments
    views.arguments = (*arguments, "--new-cluster")
    views.start()
    views.arguments = arguments
    for server in running.cluster.servers.values():
        server.start()
