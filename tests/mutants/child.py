"""
``python -m tests.mutants.child LAYER MUTANT ...``: one layer in a
process of its own, over patched code.  The last line that it says is the
verdict.
"""

from __future__ import annotations

import importlib
import json
import signal
import sys
from collections.abc import Callable
from typing import Any

from tests.mutants.layers import (
    BESIDE,
    BROKEN,
    KILLED,
    STUCK_S,
    SURVIVED,
    WORK_S,
)
from tests.patching import Misfit, Patch, install

#: Outcome, by what, and how much was looked at.
Found = tuple[str, str, str]

#: How much of what was found is told.
TOLD = 110


def tables(*files: str) -> Found:
    """The tests of the pure modules, up to the first that fails."""
    import pytest
    from hypothesis import Phase, settings

    # That an example fails is enough; to look for a shorter one takes minutes.
    settings.register_profile("found", phases=(Phase.explicit, Phase.generate))
    settings.load_profile("found")
    witness = Witness()
    options = ["-x", "-q", "-m", "not processes"]
    code = pytest.main([*options, *files], plugins=[witness])
    if witness.wreck:
        return BROKEN, witness.wreck, ""
    if witness.failed:
        return KILLED, witness.failed, ""
    if code != pytest.ExitCode.OK:
        return BROKEN, f"pytest ended with {code!r}", ""
    return SURVIVED, "", f"{witness.count} tests"


class Witness:
    """Looks on while pytest runs."""

    def __init__(self) -> None:
        self.failed = self.wreck = ""
        self.count = 0

    def pytest_runtest_logreport(self, report: Any) -> None:
        """A test has come a step further."""
        self.count += report.when == "call"
        if report.failed and not self.failed:
            self.failed = report.nodeid.removeprefix("tests/")

    def pytest_collectreport(self, report: Any) -> None:
        """A file was read."""
        if report.failed:
            self.wreck = f"{report.nodeid} cannot be read: {report.longreprtext}"


def sim(worlds: str) -> Found:
    """Simulated worlds, up to the first in which something is wrong."""
    from tests.sim.run import run

    for seed in range(1, int(worlds) + 1):
        try:
            violation = run(seed).violation
        except Exception as error:  # noqa: BLE001 -- whatever it is, it shows
            return KILLED, f"seed {seed}: {type(error).__name__}: {error}", ""
        if violation is not None:
            return KILLED, f"seed {seed}: {violation}", ""
    return SURVIVED, "", f"{worlds} worlds"


def search(states: str, configs: str, *walks: str) -> Found:
    """The searcher: much of what is meant for this mutant, or else a little of
    everything; and the walks of the view service, if they are about it."""
    from tests.sim.chronicle import Violation
    from tests.sim.search.breadth import Breadth
    from tests.sim.search.stages import BY_NAME

    total = 0
    for name in configs.split(",") if configs else BY_NAME:
        try:
            model, start = BY_NAME[name].start()
        except (AssertionError, Violation) as error:
            return KILLED, f"{name}: its beginning is out of reach: {error}", ""
        found = Breadth(model, start).run(states_max=int(states))
        if found.rule:
            what = f"{name}, {found.depth} steps: {found.rule}: {found.text}"
            return KILLED, what, ""
        total += found.states
    if walks:
        outcome, by, _ = tables(*walks)
        if outcome != SURVIVED:
            return outcome, f"views alone: {by.partition('::')[2]}", ""
    return SURVIVED, "", f"{total} states"


RUN: dict[str, Callable[..., Found]] = {"tables": tables, "search": search, "sim": sim}
#: What a layer imports before it begins; tables import what they like.
BEGINS = {"search": "tests.sim.search.stages", "sim": "tests.sim.run"}


def main(layer: str, mutant: str, *args: str) -> Found:
    """Patch, and let loose; what gets stuck is ended by a signal."""
    modules = {}
    signal.alarm(STUCK_S)
    signal.setitimer(signal.ITIMER_PROF, WORK_S)
    patches = [Patch(*each) for each in json.loads(mutant)[3]]
    try:
        install(patches)
        if layer in BEGINS:
            importlib.import_module(BEGINS[layer])
        modules = {patch.module: patch.module in sys.modules for patch in patches}
        for module in modules:
            importlib.import_module(module)
    except Misfit as misfit:
        return BROKEN, str(misfit).replace("\n", " "), ""
    except Exception as error:  # noqa: BLE001 -- a patch may be any nonsense
        return BROKEN, f"cannot be imported: {error!r}", ""
    if layer in BEGINS and modules and not any(modules.values()):
        return BESIDE, "", ""
    return RUN[layer](*args)


if __name__ == "__main__":
    outcome, by, effort = main(*sys.argv[1:])
    by = " ".join(by.split())
    found = (outcome, by if len(by) <= TOLD else by[:TOLD] + "...", effort)
    sys.stdout.write(f"\nverdict {json.dumps(found)}\n")
