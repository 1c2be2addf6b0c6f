"""
One strike a round, made only while all is well: then nothing may be lost, and
every clerk must be answered again within five seconds.

All is well when the view is acknowledged with all of its backups: whoever dies
now, somebody who holds everything is left.
"""

from __future__ import annotations

import time
from pathlib import Path
from random import Random

from tests.chaos.crew import Crew
from tests.chaos.figures import RECOVERY_S_MAX, Figures, finals_of, judge, say
from tests.chaos.strikes import Strike, draw, gone
from tests.processes import Found, Service, service, wait_for
from understudy.load import now_ns
from understudy.status import is_safe

#: The longest pause that is too short to be noticed as a death, milliseconds.
BLINK_MS_MAX = 300

#: How long it may take until all is well again, seconds.  A server that loses its
#: place again and again waits longer each time (``docs/design.md``, rule 15), and
#: here every server does: after five losses for half a minute.
SAFE_S_MAX = 120.0


def run(directory: Path, seed: int, rounds: int, backups: int) -> bool:
    """So many rounds -> whether all promises were kept."""
    names = [f"s{number}" for number in range(1, backups + 3)]
    figures = Figures()
    random = Random(seed)
    with service(directory, names, ("--backups", str(backups))) as running:
        safe(running, backups)
        crew = Crew(directory, running.address, seed)
        try:
            crew.wait_until_all_answered()
            began = time.monotonic()
            for number in range(1, rounds + 1):
                _round(running, crew, random, figures, number, backups)
            seconds = time.monotonic() - began
            safe(running, backups)
            crew.stop()
        except BaseException as error:
            error.add_note(crew.last_words())
            raise
        finally:
            crew.kill()
        verdict = judge(crew.records, finals_of(running, crew.records))
        figures.tell()
        verified = running.command("verify")
        say(verified.stdout.decode().splitlines()[0])
    say(f"{rounds} rounds in {seconds:.0f} s, {seconds / rounds:.1f} s each")
    return verdict.is_right and verified.returncode == 0


def safe(running: Service, backups: int) -> Found:
    """Until all is well."""
    return running.until(
        lambda found: is_safe(found) and len(found["view"]["backups"]) == backups,
        f"an acknowledged view with {backups} backups",
        SAFE_S_MAX,
    )


def _round(  # noqa: PLR0917 -- everything that a round has to do with
    running: Service,
    crew: Crew,
    random: Random,
    figures: Figures,
    number: int,
    backups: int,
) -> None:
    found = safe(running, backups)
    strike = draw(random, running, found)
    twice = backups == 2 and strike.whom == "primary" and strike.how == "kill"
    # Between two looks of the view service, or at one: the moment is any.
    time.sleep(random.random() * 0.1)
    crew.forget()
    strike.hit()
    struck_ns = now_ns()
    kind = strike.kind
    second: Strike | None = None
    if twice:
        second = _strike_successor(running, found["view"]["primary"])
        kind = "kill twice"
    if strike.how == "blink":
        time.sleep(random.uniform(0.02, BLINK_MS_MAX / 1000))
        strike.heal()
    recovery_ns = wait_for(
        lambda: crew.recovery_ns(struck_ns),
        f"round {number}: every clerk to be answered after {strike}",
        RECOVERY_S_MAX,
    )
    figures.add(kind, recovery_ns)
    if number % 10 == 0:
        say(f"round {number}: {strike}: {recovery_ns / 1e6:.0f} ms")
    if strike.how == "stop" and strike.whom in {"primary", "backup"}:
        running.until(gone(strike), f"round {number}: {strike} to be replaced")
    for each in (strike, second):
        if each is not None and each.how != "blink":
            each.heal()


def _strike_successor(running: Service, first: str) -> Strike:
    """Kill whoever has followed *first*, as soon as anybody has."""
    found = running.until(
        lambda found: found["view"]["primary"] != first, f"a successor of {first}"
    )
    successor = Strike("primary", "kill", running[found["view"]["primary"]])
    successor.hit()
    return successor
