"""The command that starts a helper shows it Python and the system, and nothing of the grader."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from codeblock.core.errors import CodeBlockError
from codeblock.sandbox import launch
from codeblock.sandbox.paths import links, python_paths, scratch_base, visible_paths


def test_bare_command_where_bubblewrap_is_not_wanted() -> None:
    assert launch.command("python3", ["-c", "x"], [], use_bwrap=False) == ["python3", "-c", "x"]


def test_absent_bubblewrap_is_an_error_only_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    launch.bubblewrap_options.cache_clear()
    assert not launch.bubblewrap_works(sys.executable)
    assert launch.command(sys.executable, ["-c", "x"], []) == [sys.executable, "-c", "x"]
    with pytest.raises(CodeBlockError, match="install the package `bubblewrap`"):
        launch.command(sys.executable, [], [], use_bwrap=True)
    launch.bubblewrap_options.cache_clear()


def test_bubblewrap_that_the_kernel_refuses_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "bwrap"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    launch.bubblewrap_options.cache_clear()
    assert not launch.bubblewrap_works(sys.executable)
    launch.bubblewrap_options.cache_clear()


def test_a_version_is_asked_of_the_program_that_solutions_would_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = tmp_path / "node"
    own.write_text("#!/bin/sh\necho 99\n")
    own.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert launch.version_told(("node", "--version"), sys.executable) != "99"
    assert launch.version_told(("node", "--version"), str(tmp_path / "python")) == "99"
    assert launch.version_told(("python", "-c", "print('3.x\\nmore')"), sys.executable) == "3.x"
    assert launch.version_told(("python", "-c", "import sys; sys.exit('2')"), sys.executable) == ""
    assert launch.version_told(("no-such-program", "--version"), sys.executable) == ""


def test_bubblewrap_runs_the_command(tmp_path: Path) -> None:
    if not launch.bubblewrap_works(sys.executable):
        pytest.skip("bubblewrap is not installed, or does not work here")
    (tmp_path / "seen").write_text("seen")
    (tmp_path / "hidden").write_text("hidden")
    source = "import os, sys; print(os.getpid(), sys.stdin.read(), [os.path.exists(path) for path in sys.argv[1:]])"
    arguments = ["-c", source, str(tmp_path / "seen"), str(tmp_path / "hidden"), "/home", "/etc/passwd", "/usr", "/proc/self"]
    command = launch.command(sys.executable, arguments, [tmp_path / "seen"], use_bwrap=True)
    done = subprocess.run(command, input="through", capture_output=True, text=True, check=True)
    assert done.stdout == "1 through [True, False, False, False, True, True]\n"


def test_python_that_does_not_run_is_named() -> None:
    with pytest.raises(CodeBlockError, match="/nowhere/python does not run"):
        launch.interpreter_paths("/nowhere/python")


def test_paths_of_an_interpreter_are_found_from_outside() -> None:
    assert launch.interpreter_paths(sys.executable) == tuple(python_paths())


def test_directories_that_were_added_to_the_path_stay_hidden(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    repository = str(Path(launch.__file__).parents[2])
    shown = visible_paths(python_paths())
    assert str(tmp_path) not in shown
    assert not any(repository.startswith(path) for path in shown if path != "/usr")


def test_only_outermost_paths_are_shown(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    shown = visible_paths([str(inner), str(tmp_path / "a"), str(tmp_path / "absent")])
    assert str(tmp_path / "a") in shown
    assert not {str(inner), str(tmp_path / "absent")} & set(shown)


def test_scratch_hides_no_path() -> None:
    assert scratch_base(["/usr", "/opt/venv/lib"]) == "/tmp"
    assert links(["/usr"])["/dev/shm"] == links(["/usr"])["/var/tmp"] == "/tmp"
    assert scratch_base(["/usr", "/tmp/venv/lib"]) == "/scratch"
    assert links(["/tmp/venv/lib"])["/dev/shm"] == "/scratch"
    assert "/var/tmp" not in links(["/var/tmp/venv"])
