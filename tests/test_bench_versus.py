"""This tree compared with a commit: the figures, the verdict, and what goes wrong."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench import versus
from bench.systems import Missing
from bench.versus import (
    ROOT,
    Count,
    Ratios,
    Tree,
    TreeCluster,
    checked_out,
    interval,
)


def git(*words: str) -> subprocess.CompletedProcess[str]:
    arguments = ["git", "-C", str(ROOT), *words]
    return subprocess.run(arguments, capture_output=True, text=True, check=False)


pytestmark = pytest.mark.skipif(
    shutil.which("git") is None or git("rev-parse", "HEAD").returncode != 0,
    reason="a commit is taken out of git, and this is no repository of its own",
)


def bench(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench.versus", *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=ROOT,
    )


def worktrees() -> str:
    return git("worktree", "list", "--porcelain").stdout


@pytest.mark.parametrize(
    ("cpu", "rate", "is_slower"),
    [
        ([1.02, 0.9, 1.2], [1.0, 1.0, 1.0], False),
        ([1.03, 0.9, 1.2], [1.0, 1.0, 1.0], True),
        ([1.0, 1.0, 1.0], [0.95, 0.1, 2.0], False),
        ([1.0, 1.0, 1.0], [0.94, 0.1, 2.0], True),
    ],
)
def test_the_medians_decide(
    cpu: list[float], rate: list[float], *, is_slower: bool
) -> None:
    assert Ratios(cpu, rate).is_slower is is_slower


def test_ratios_are_of_what_one_operation_costs() -> None:
    ratios = Ratios()
    ratios.add(Count(ops=1000, load_s=2.0, cpu_s=0.03), Count(500, 2.0, 0.01))
    assert (ratios.cpu, ratios.rate) == ([pytest.approx(1.5)], [2.0])
    assert ratios.told() == "cpu 1.500 (1.500 to 1.500), rate 2.000 (2.000 to 2.000)"


@pytest.mark.parametrize(
    ("count", "left"),
    # As in tables of the sign test, two-sided, 5%.
    [(1, 0), (5, 0), (6, 0), (8, 0), (9, 1), (12, 2), (15, 3), (21, 5), (40, 13)],
)
def test_the_interval_of_a_median(count: int, left: int) -> None:
    sample = [float(each) for each in range(count)]
    assert interval(sample[::-1]) == (left, count - 1 - left)


def test_a_commit_is_taken_out_and_put_away() -> None:
    before = worktrees()
    with checked_out("HEAD") as root:
        assert (root / "pbserver" / "service.py").exists()
        assert str(root) in worktrees()
    assert not root.exists()
    assert worktrees() == before


def test_a_commit_that_is_not_there_is_told() -> None:
    done = bench("no-such-commit")
    assert done.returncode == 2
    assert "no-such-commit cannot be checked out" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_tree_that_does_not_run_is_told(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "bench" / "native", tmp_path / "bench" / "native")
    broken = tmp_path / "viewservice"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise ImportError('it is broken')\n")
    with pytest.raises(Missing, match="daemons of it do not run here"):
        Tree.at("it", tmp_path)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("HEAD", "--rows", "put-64x1,nothing"), "'nothing' is no native load"),
        (("HEAD", "--rows", "get-64x1"), "'get-64x1' is no native load that writes"),
        (("HEAD", "--rows", ","), "name a row"),
        (("HEAD", "--pairs", "0"), "--pairs must be above 0"),
        (("HEAD", "--seconds", "-1"), "--seconds must be above 0"),
        ((), "commit"),
    ],
)
def test_usage_is_told(options: tuple[str, ...], text: str) -> None:
    done = bench(*options)
    assert (done.returncode, text in done.stderr) == (2, True), done.stderr


@pytest.mark.processes
@pytest.mark.skipif(shutil.which("cc") is None, reason="compiled by cc")
def test_a_tree_against_itself(capsys: pytest.CaptureFixture[str]) -> None:
    with checked_out("HEAD") as root:
        trees = Tree.at("one", root), Tree.at("other", root)
        load = versus.LOADS["put-8x32"]
        with TreeCluster(trees[0]) as cluster:
            # It is the other tree that runs, and not this one.
            for daemon in cluster.daemons:
                where = Path(f"/proc/{daemon.pid}/cwd").resolve()
                assert where == root.resolve()
        counts = versus.pair(trees, load, 2, 0.2, turned=False)
    for count in counts:
        assert count.ops > 100
        assert count.load_s == pytest.approx(0.4)
        assert 0 < count.cpu_us_per_op < 1000
        assert count.ops_per_s == pytest.approx(count.ops / 0.4)
    assert capsys.readouterr().err == ""
