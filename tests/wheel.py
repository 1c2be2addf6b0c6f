"""
``python -m tests.wheel``: is what is published whole?

Builds the wheel, installs it into a fresh virtual environment, and tries it from
a directory that knows nothing of this checkout.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from tests.processes import ROOT
from wire.output import piped


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="understudy-wheel-") as name:
        directory = Path(name)
        wheel = _build(directory)
        _check_content(wheel)
        binaries = _install(directory, wheel)
        _check_plugins(directory, binaries)
        _check_service(directory, binaries)
    sys.stdout.write(f"{wheel.name} is whole\n")
    return 0


def _build(directory: Path) -> Path:
    _run(directory, sys.executable, "-m", "build", "--wheel", "--no-isolation")(
        "--outdir", str(directory), str(ROOT)
    )
    (wheel,) = directory.glob("*.whl")
    return wheel


def _check_content(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    packages = ("wire", "viewservice", "pbserver", "client", "understudy")
    for package in packages:
        assert f"{package}/__init__.py" in names, package
        assert f"{package}/py.typed" in names, package
    assert "twisted/plugins/understudy_plugin.py" in names
    # Either of these would hide the plugin, or all of Twisted.
    assert not names & {"twisted/__init__.py", "twisted/plugins/__init__.py"}
    tops = {each.partition("/")[0] for each in names}
    strange = {each for each in tops if not each.endswith(".dist-info")}
    assert strange == {*packages, "twisted"}, strange


def _install(directory: Path, wheel: Path) -> Path:
    _run(directory, sys.executable, "-m", "venv", str(directory / "venv"))()
    binaries = directory / "venv" / "bin"
    pip = (str(binaries / "python"), "-m", "pip", "--quiet", "install")
    _run(directory, *pip)("-c", str(ROOT / "constraints.txt"), str(wheel))
    return binaries


def _check_plugins(directory: Path, binaries: Path) -> None:
    plugins = _run(directory, str(binaries / "twistd"))("--help")
    for name in ("viewservice", "pbserver"):
        assert f"    {name}" in plugins, plugins
        assert "--listen" in _run(directory, str(binaries / "twistd"))(name, "--help")


def _check_service(directory: Path, binaries: Path) -> None:
    command = str(binaries / "understudy")
    up = subprocess.Popen(
        (command, "up", "--base-port", "0", "--servers", "2", "--json"),
        stdout=subprocess.PIPE,
        cwd=directory,
        env=_environment(),
    )
    try:
        assert up.stdout is not None
        views = json.loads(up.stdout.readline())["views"]
        ask = _run(directory, command, "--views", views)
        ask("status", "--wait", "acknowledged")
        ask("put", "greeting", "hello")
        assert ask("get", "greeting") == "hello\n"
        assert ask("verify").startswith("ok")
        up.send_signal(signal.SIGINT)
        assert up.wait(15) == 0
    finally:
        up.kill()
        up.wait()


def _environment() -> dict[str, str]:
    """Without what would lead back to this checkout."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def _run(directory: Path, *command: str):
    def run(*arguments: str) -> str:
        done = subprocess.run(
            (*command, *arguments),
            cwd=directory,
            env=_environment(),
            stdout=subprocess.PIPE,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{done.args}: exit code {done.returncode}"
        return done.stdout

    return run


if __name__ == "__main__":
    sys.exit(piped(main))
