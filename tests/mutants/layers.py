"""
The layers of tests, and how each is let loose on a mutant.

Every run is a process of its own: the patch must be there before anything is
imported, and what a bug leaves behind must not meet the next one.  A layer that
does not exist, or that does not run the code in question, says so; neither
counts as having looked.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from typing import Final, NamedTuple

from tests.mutants.mutant import Mutant
from tests.patching import ROOT

KILLED: Final = "killed"
SURVIVED: Final = "survived"
#: There is no such layer, or it never runs the patched module.
MISSING: Final = "missing"
BESIDE: Final = "beside"
#: The patch does not fit, or what it makes is no program.
BROKEN: Final = "broken"

LAYERS: Final = ("tables", "search", "sim")

#: When a run is taken to have got stuck: seconds of work, and seconds in all, be
#: the machine ever so busy.
WORK_S: Final = 150
STUCK_S: Final = 600

#: How many worlds live, and how many states the search keeps of each of its
#: configurations; of those that are meant for a mutant, more.
WORLDS: Final = 100
STATES: Final = 1_500
STATES_MEANT: Final = 200_000

WALKS: Final = ("tests/test_views_walk.py", "tests/test_views_safety.py")

VIEWS: Final = "views views_memory viewservice views_words statefile"
REPLICA: Final = "replica turns transfer attacks sessions log"
CLERK: Final = (
    "conversation conversation_silence conversation_faults clerk clerk_silence blocking"
)
STORE: Final = "store store_bodies budget transfer pairs"

#: Which test files look at a module, those that say most about it first.
TESTS: Final = {
    "viewservice.views": VIEWS,
    "viewservice.roster": VIEWS,
    "viewservice.server": VIEWS,
    "viewservice.lineage": f"lineage views_memory {VIEWS}",
    "viewservice.damping": f"views {VIEWS}",
    "viewservice.options": "viewservice viewservice_margin",
    "viewservice.memory": f"views_memory statefile {VIEWS}",
    "viewservice.causes": f"views_words {VIEWS}",
    "viewservice.waits": f"views_words {VIEWS}",
    "viewservice.state_file": "statefile viewservice",
    "viewservice.service": "viewservice",
    "viewservice.ticker": "ticker viewservice",
    "pbserver.replica": REPLICA,
    "pbserver.primary": REPLICA,
    "pbserver.departure": "departure",
    "pbserver.peers": "departure",
    "pbserver.service": "departure",
    "pbserver.backup": REPLICA,
    "pbserver.follower": REPLICA,
    "pbserver.round_waiters": REPLICA,
    "pbserver.pending_requests": REPLICA,
    "pbserver.digests": REPLICA,
    "pbserver.discard": REPLICA,
    "pbserver.history": REPLICA,
    "pbserver.limits": REPLICA,
    "pbserver.progress": "progress",
    "pbserver.log": f"log {REPLICA}",
    "pbserver.sessions": f"sessions {REPLICA}",
    "pbserver.transfer": f"transfer {REPLICA}",
    "pbserver.store": STORE,
    "pbserver.budget": STORE,
    "pbserver.operations": STORE,
    "pbserver.msgpack_array": STORE,
    "pbserver.pairs": STORE,
    "client.clerk_core": CLERK,
    "client.session": CLERK,
    "client.calls": CLERK,
    "client.queries": CLERK,
    "client.closing": CLERK,
    "client.primary_locator": CLERK,
    "client.reasons": CLERK,
    "client.errors": "exceptions",
    "client.blocking": "blocking",
    "client.background": "blocking",
    "wire.messages": f"codec {REPLICA}",
    "wire.codec": "codec links",
    "wire.link": "links sockets",
    "wire.listener": "listener",
    "wire.dialler": "dialler",
    "wire.names": "names dialler",
    "wire.race": "race dialler",
    "wire.margin": "viewservice_margin",
    "wire.survey": "survey pinger",
    "wire.addresses": "addresses advert",
    "pbserver.advert": "advert pinger",
    "pbserver.pinger": "progress pinger departure",
    "viewservice.reach": "reach viewservice",
    "wire.daemon": "daemon",
    "wire.logs": "logs",
    "wire.output": "output",
    "viewservice.status": "status_document viewservice",
}


class Verdict(NamedTuple):
    """What came of a mutant in a layer."""

    layer: str
    outcome: str
    #: What noticed it.
    by: str = ""
    #: How much was looked at, for one that was not noticed.
    effort: str = ""
    seconds: float = 0.0


class Effort(NamedTuple):
    """How much is done in each layer."""

    worlds: int = WORLDS
    states: int = STATES


USUAL: Final = Effort()


def files_for(mutants: Iterable[Mutant]) -> list[str]:
    """The test files for these, each once."""
    names = [
        name
        for mutant in mutants
        for name in (*mutant.tests, *_tests_of(mutant.modules))
    ]
    return [f"tests/test_{name}.py" for name in dict.fromkeys(names)]


def _tests_of(modules: Iterable[str]) -> list[str]:
    return [name for module in modules for name in TESTS[module].split()]


def is_there(layer: str) -> bool:
    """Does this layer exist?"""
    return layer != "search" or (ROOT / "tests/sim/search/__main__.py").exists()


def run(
    layer: str, mutant: Mutant, effort: Effort = USUAL, files: Iterable[str] = ()
) -> Verdict:
    """Let *layer* loose on *mutant*; *files*: those instead of its own."""
    if not is_there(layer):
        return Verdict(layer, MISSING)
    if layer == "tables":
        args = list(files) or files_for([mutant])
    elif layer == "search":
        states = STATES_MEANT if mutant.configs else effort.states
        args = [str(states), ",".join(mutant.configs), *_walks(mutant)]
    else:
        args = [str(effort.worlds)]
    began = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-m", "tests.mutants.child", layer, json.dumps(mutant), *args],
        cwd=ROOT,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    seconds = time.monotonic() - began
    return _verdict(layer, ended)._replace(seconds=seconds)


def _walks(mutant: Mutant) -> tuple[str, ...]:
    """The view service alone is searched to its end by tests."""
    is_viewed = any(module.startswith("viewservice.") for module in mutant.modules)
    return WALKS if is_viewed else ()


def _verdict(layer: str, ended: subprocess.CompletedProcess[str]) -> Verdict:
    said = ended.stdout.splitlines()
    if said and said[-1].startswith("verdict "):
        return Verdict(layer, *json.loads(said[-1].removeprefix("verdict ")))
    if ended.returncode in {-signal.SIGPROF, -signal.SIGALRM}:
        return Verdict(layer, KILLED, "it never ends")
    last = (ended.stderr.strip().splitlines() or ["nothing said"])[-1]
    return Verdict(layer, KILLED, f"the process ended: {last}")
