"""Names that others use, too: `client`, `wire` and the like are what a program's own
modules may be called."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import client
import understudy
from tests.processes import ROOT

STRANGERS = ("client", "wire", "pbserver", "viewservice", "msgspec", "json", "argparse")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """One with modules of those names, none of which may be imported."""
    for name in STRANGERS:
        text = f"raise SystemExit('{name}.py of the program was imported')\n"
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path


def python(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        env={name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        check=False,
    )


def test_the_names_of_the_client_can_be_had_from_understudy():
    assert understudy.__all__ == client.__all__
    for name in client.__all__:
        assert getattr(understudy, name) is getattr(client, name)
    with pytest.raises(AttributeError, match="no attribute 'Clark'"):
        _ = understudy.Clark


@pytest.mark.parametrize("arguments", [("--help",), ("get", "--help"), ("get",)])
def test_the_command_does_not_care_for_the_current_directory(
    directory: Path, arguments: tuple[str, ...]
):
    done = python(directory, "-m", "understudy", *arguments)
    assert done.returncode == (2 if arguments == ("get",) else 0), done.stderr
    assert "was imported" not in done.stderr
    assert "understudy" in done.stdout + done.stderr


def test_a_noun_does_not_either(directory: Path):
    where = ("--views", "tcp:127.0.0.1:1", "--timeout", "0.1")
    done = python(directory, "-m", "understudy", "get", "k", *where)
    assert done.returncode == 4, done.stderr
    assert "connection refused" in done.stderr


@pytest.mark.parametrize("name", ["client", "wire"])
def test_a_script_may_be_called_as_a_package_of_ours(tmp_path: Path, name: str):
    script = tmp_path / f"{name}.py"
    script.write_text(
        "from understudy import BlockingClerk, NotExecuted\n"
        "try:\n"
        "    BlockingClerk('tcp:127.0.0.1:1', timeout=0.05).get('k')\n"
        "except NotExecuted as error:\n"
        "    print(error)\n"
    )
    done = python(tmp_path, str(script))
    assert done.returncode == 0, done.stderr
    assert "connection refused" in done.stdout


def test_what_was_imported_under_such_a_name_before_is_named(tmp_path: Path):
    (tmp_path / "client.py").write_text("")
    source = "import client\nfrom understudy import BlockingClerk\n"
    done = python(tmp_path, "-c", source)
    assert done.returncode == 1
    assert f"has imported {tmp_path / 'client.py'} under that name" in done.stderr


def test_the_command_starts_without_the_client():
    source = "import sys, understudy.main; print('client' in sys.modules)"
    assert python(ROOT, "-c", source).stdout == "False\n"
