"""
This tree and another commit of it, side by side: is it slower?

    python -m bench.versus COMMIT [--rows NAME,...] [--pairs N] [--slices N]
        [--seconds S]

In each pair both trees run a fresh cluster at the same time, and one of them at a
time is under load, in short slices that alternate: whatever else the machine does
falls on both alike.  Each tree is driven by the load generator of its own, for
they need not speak the same version.  Servers do not spin (`--spin-us 0`), so the
processor time is that of the work.

Slices of a tenth of a second are short beside what disturbs a machine: of one commit
against itself, single pairs gave 0.94 to 1.04, and with slices of 0.8 s 0.85 to 1.13.
What is left is that two processes of the same program differ, for as long as they
live.  So there are many pairs, and each figure comes with a confidence interval of
95% for the median.

The other tree is taken out of git into a directory of its own, and has to run with
the packages that are installed here.  Published figures come from a Python that is
built with optimization, such as Debian's:

    make bench-versus PYTHON=/usr/bin/python3 VENV=.venv-debian BASE=COMMIT

Exit codes: 0 this tree is not slower, 1 it is, or something failed, 2 usage, or
something is missing, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import comb
from pathlib import Path
from random import Random
from statistics import median
from typing import Final

from attrs import define, field, frozen

from bench.loadgen import compiled, many
from bench.rows import LOADS, Load
from bench.systems import WAIT_S, Missing, System, ended
from understudy.daemons import TWISTD, Daemon, free_port
from wire.output import piped

ROOT: Final = Path(__file__).parent.parent
ROWS: Final = ("put-64x1", "put-8x32")

#: What "not slower" means, of the medians over all pairs: processor time of all
#: server processes for each operation, and operations in a second.
CPU_RATIO_MAX: Final = 1.02
RATE_RATIO_MIN: Final = 0.95

#: The options of a server that is measured.
_SERVER_OPTIONS: Final = ("--spin-us", "0")
#: A slice is about speed: a moment in which the machine is busy with something
#: else must not cause a failover.
_VIEW_OPTIONS: Final = ("--volatile", "--dead-pings", "30")


@frozen
class Tree:
    """The sources in a directory, and its own load generator."""

    name: str
    root: Path
    loadgen: Path
    #: What its view service needs to begin without data.
    founding: tuple[str, ...]

    @classmethod
    def at(cls, name: str, root: Path) -> Tree:
        """Look at what is there.  Raises `Missing`."""
        program = compiled(root / "bench")
        done = ended(_run_in(root, (*TWISTD, "viewservice", "--help")), WAIT_S)
        if done.returncode:
            raise Missing(f"the daemons of {name} do not run here:\n{done.stderr}")
        needed = "--new-cluster" in done.stdout
        return cls(name, root, program, ("--new-cluster",) if needed else ())


def _run_in(root: Path, arguments: Sequence[str]) -> tuple[str, ...]:
    # A program finds modules where it is run first.  `env` becomes that program, so
    # the process is the same one.
    return ("/usr/bin/env", "-C", str(root), f"PYTHONPATH={root}", *arguments)


class TreeCluster(System):
    """A view service, a primary and its backup, of one tree."""

    batches = True

    def __init__(self, tree: Tree) -> None:
        super().__init__()
        self.tree = tree
        self.name = tree.name.partition(" ")[0]

    def start(self) -> None:
        random = Random()
        service = self._twistd(
            "views", "viewservice", 0, *_VIEW_OPTIONS, *self.tree.founding
        )
        views = self.wait_for("no view service", lambda: service.endpoint)
        ports = {name: free_port(random) for name in ("s1", "s2")}
        for name, port in ports.items():
            where = ("--name", name, "--views", views)
            server = self._twistd(name, "pbserver", port, *where, *_SERVER_OPTIONS)
            self.wait_for(f"no {name}", lambda: server.endpoint)  # noqa: B023
        ask = ("status", "--wait", "safe", "--json", "--views", views)
        words = _run_in(self.tree.root, (sys.executable, "-m", "understudy", *ask))
        done = ended(words, WAIT_S)
        if done.returncode:
            raise RuntimeError(f"{self.tree.name} is not ready: {done.stderr.strip()}")
        self.port = ports[json.loads(done.stdout)["view"]["primary"]]

    def _twistd(self, name: str, plugin: str, port: int, *options: str) -> Daemon:
        listen = ("--listen", f"tcp:{port}:interface=127.0.0.1")
        arguments = (*TWISTD, plugin, *listen, *options)
        return self.daemon(name, *_run_in(self.tree.root, arguments))


@define
class Count:
    """What the slices of one tree in one pair add up to."""

    ops: int = 0
    load_s: float = 0.0
    cpu_s: float = 0.0

    @property
    def cpu_us_per_op(self) -> float:
        return self.cpu_s * 1e6 / self.ops

    @property
    def ops_per_s(self) -> float:
        return self.ops / self.load_s


@define
class Ratios:
    """This tree over the other, one figure for each pair."""

    cpu: list[float] = field(factory=list)
    rate: list[float] = field(factory=list)

    def add(self, new: Count, base: Count) -> None:
        self.cpu.append(new.cpu_us_per_op / base.cpu_us_per_op)
        self.rate.append(new.ops_per_s / base.ops_per_s)

    @property
    def is_slower(self) -> bool:
        return median(self.cpu) > CPU_RATIO_MAX or median(self.rate) < RATE_RATIO_MIN

    def told(self) -> str:
        """Each median, and the interval that the true one is in."""
        texts = []
        for what, each in (("cpu", self.cpu), ("rate", self.rate)):
            low, high = interval(each)
            texts.append(f"{what} {median(each):.3f} ({low:.3f} to {high:.3f})")
        return ", ".join(texts)


def interval(sample: Sequence[float]) -> tuple[float, float]:
    """A confidence interval of 95% for the median, by order statistics; of a sample
    that is too small for it, the whole range."""
    ordered, count = sorted(sample), len(sample)
    at, error = 0, 1 / 2**count
    # The true median is below the figure at that place if so many figures of the
    # sample, or fewer, are below the true median.
    while (error := error + comb(count, at + 1) / 2**count) <= 0.025:
        at += 1
    return ordered[at], ordered[count - 1 - at]


def slice_of(cluster: TreeCluster, load: Load, seconds: float, count: Count) -> None:
    """Load it for so long.  Raises RuntimeError if any request failed."""
    words = [str(cluster.tree.loadgen), "--proto", "understudy", "--host", "127.0.0.1"]
    words += ["--port", str(cluster.port), "--connections", str(load.connections)]
    words += [*many(cluster, load.outstanding), "--seconds", str(seconds)]
    words += ["--warmup", "0", "--keys", str(load.keys)]
    words += ["--value-bytes", str(load.value_bytes), "--reads", str(load.reads)]
    before_s = cluster.cpu_s()
    done = ended(words, seconds + WAIT_S)
    if done.returncode:
        raise RuntimeError(f"{cluster.tree.name}: {done.stderr.strip()}")
    count.cpu_s += cluster.cpu_s() - before_s
    count.ops += json.loads(done.stdout)["ops_all"]
    count.load_s += seconds


def pair(
    trees: tuple[Tree, Tree], load: Load, slices: int, seconds: float, *, turned: bool
) -> tuple[Count, Count]:
    """Both trees under that load, in turns -> what each did."""
    with TreeCluster(trees[0]) as new, TreeCluster(trees[1]) as base:
        counts = Count(), Count()
        for at in range(slices):
            order = [(new, counts[0]), (base, counts[1])]
            # A drift of the machine falls on both alike: A B B A A B ...
            for cluster, count in order[:: -1 if turned != bool(at % 2) else 1]:
                slice_of(cluster, load, seconds, count)
    return counts


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """The sources of *commit*, in a directory that is removed again.  Raises
    `Missing` if there is no such commit."""
    with tempfile.TemporaryDirectory(prefix="bench-versus-") as directory:
        root = Path(directory, "tree")
        git = ("git", "-C", str(ROOT), "worktree")
        done = ended((*git, "add", "--detach", str(root), commit), WAIT_S)
        if done.returncode:
            raise Missing(f"{commit} cannot be checked out: {done.stderr.strip()}")
        try:
            yield root
        finally:
            ended((*git, "remove", "--force", str(root)), WAIT_S)


def main(arguments: Sequence[str] | None = None) -> int:
    # A terminated run ends its children as an interrupted one does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    options = _options(arguments)
    try:
        if shutil.which("git") is None:
            raise Missing("git is not there; try: apt-get install git")
        with checked_out(options.commit) as root:
            trees = Tree.at("this tree", ROOT), Tree.at(options.commit, root)
            return _compare(trees, options)
    except Missing as missing:
        print(f"bench.versus: {missing}", file=sys.stderr)
        return 2
    except RuntimeError as error:
        print(f"bench.versus: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench.versus: interrupted", file=sys.stderr)
        return 130


def _compare(trees: tuple[Tree, Tree], options: argparse.Namespace) -> int:
    found = {name: Ratios() for name in options.rows}
    for at in range(options.pairs):
        for name, ratios in found.items():
            counts = pair(
                trees, LOADS[name], options.slices, options.seconds, turned=at % 2 == 1
            )
            ratios.add(*counts)
            figures = ", ".join(
                f"{tree.name} {count.cpu_us_per_op:.2f} us {count.ops_per_s:,.0f} op/s"
                for tree, count in zip(trees, counts, strict=True)
            )
            last = f"cpu {ratios.cpu[-1]:.3f}, rate {ratios.rate[-1]:.3f}"
            print(f"{at + 1}: {name}: {last}; {figures}", file=sys.stderr, flush=True)
    is_slower = False
    for name, ratios in found.items():
        is_slower |= ratios.is_slower
        verdict = "slower" if ratios.is_slower else "not slower"
        print(f"{name} over {options.commit}: {ratios.told()}: {verdict}")
    return int(is_slower)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.versus", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("commit", help="what to compare with, as git names it")
    parser.add_argument("--rows", type=_rows, default=list(ROWS), help="native loads")
    parser.add_argument("--pairs", type=int, default=21, help="of fresh clusters")
    parser.add_argument("--slices", type=int, default=24, help="in each, of each tree")
    parser.add_argument("--seconds", type=float, default=0.1, help="of each slice")
    options = parser.parse_args(arguments)
    for name in ("pairs", "slices", "seconds"):
        if not 0 < getattr(options, name) <= 1000:
            text = f"must be above 0 and at most 1000, not {getattr(options, name)}"
            parser.error(f"--{name} {text}")
    return options


def _rows(text: str) -> list[str]:
    names = [name for name in text.split(",") if name]
    for name in names:
        if name not in LOADS or not LOADS[name].is_native or LOADS[name].reads:
            raise argparse.ArgumentTypeError(
                f"{name!r} is no native load that writes; python -m bench --list shows"
                " them"
            )
    if not names:
        raise argparse.ArgumentTypeError("name a row")
    return names


if __name__ == "__main__":
    sys.exit(piped(main))
