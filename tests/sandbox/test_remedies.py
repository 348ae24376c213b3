"""Each layer that a machine lacks is named with what would give it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from codeblock.sandbox import remedies

INSTALL = "install bubblewrap (`apt-get install bubblewrap`, `dnf install bubblewrap`)"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without bubblewrap and with no setting that forbids anything, no container."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(remedies, "CONTAINER_MARKS", (str(tmp_path / "container"),))
    monkeypatch.setattr(remedies, "SETTINGS", {str(tmp_path / "clone"): ("0", "sysctl -w clone=1")})
    return tmp_path


def test_bubblewrap_is_the_remedy_where_it_is_not_installed(machine: Path) -> None:
    (machine / "clone").write_text("1\n")
    assert remedies.with_remedies(["disk: full"]) == [f"disk: full -> {INSTALL}"]


def test_a_setting_that_forbids_namespaces_is_named(machine: Path) -> None:
    (machine / "clone").write_text("0\n")
    assert remedies.remedy("processes: x") == f"{INSTALL}, or as root: `sysctl -w clone=1`"


def test_a_container_is_started_with_more(machine: Path) -> None:
    (machine / "bwrap").touch(mode=0o755)
    assert remedies.remedy("files: x") == remedies.NAMESPACED
    (machine / "container").touch()
    assert remedies.remedy("files: x").startswith("let the container make namespaces (`--cap-add SYS_ADMIN")


def test_what_no_namespace_gives_has_its_own_remedy() -> None:
    assert "seccomp" in remedies.remedy("system calls: a program can use every call of the kernel that its user may")
    assert "SETUID" in remedies.remedy("user: programs run as root, without its capabilities")


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap")
def test_a_machine_without_namespaces_is_told_all(tmp_path: Path) -> None:
    """A real one: no rights, no bubblewrap, and no user namespaces."""
    look = (
        "import json\nfrom codeblock.sandbox.sandbox import Sandbox\nfrom codeblock.sandbox.remedies import with_remedies\n"
        "with Sandbox() as sandbox: print(json.dumps(with_remedies(sandbox.missing)))"
    )
    without = ["--unshare-user", "--uid", "1234", "--gid", "1234", "--disable-userns", "--cap-drop", "ALL"]
    command = ["bwrap", "--dev-bind", "/", "/", *without, sys.executable, "-c", look]
    environment = {**os.environ, "PATH": str(tmp_path), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    run = subprocess.run([shutil.which("bwrap") or "", *command[1:]], env=environment, capture_output=True, text=True)
    lines = json.loads(run.stdout)
    assert {line.partition(":")[0] for line in lines} >= {"disk", "user", "processes", "process limit"}, run.stderr
    assert all(INSTALL in line and "\n" not in line for line in lines)
