"""Helpers behind isolation, one for each way in which a machine may build them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

import codeblock
from codeblock.sandbox import launch
from codeblock.sandbox.paths import scratch_base

PACKAGE = Path(codeblock.__file__).parent
HELPER = Path(__file__).with_name("helper.py")
ORDINARY_USER = 54321
NAMESPACES = ["files", "processes", "network", "ipc"]
EVERYTHING = [*NAMESPACES, "user", "system calls", "landlock"]


class Mode(NamedTuple):
    """A kind of machine."""

    root: bool
    use_bwrap: bool
    without: list[str]


MODES = {
    "root, bubblewrap": Mode(True, True, []),
    "root, namespaces": Mode(True, False, []),
    "root, no namespaces": Mode(True, False, NAMESPACES),
    "user, bubblewrap": Mode(False, True, []),
    "user, namespaces": Mode(False, False, []),
    "user, no namespaces": Mode(False, False, NAMESPACES),
    "user, nothing": Mode(False, False, EVERYTHING),
}
WHOLE = [name for name, mode in MODES.items() if not mode.without]
"""Where no layer is missing."""


class Answer(NamedTuple):
    """How a program ended, as the helper saw it."""

    status: int | None
    """As of waitpid; None: it was killed at the time limit."""
    survivors: int
    printed: str
    seconds: float


class Helper:
    """A helper in a mode, started as the grader starts it; and a process of the grader's user that holds a secret."""

    def __init__(self, mode: Mode, stage: Path, home: Path) -> None:
        self.mode = mode
        self.root = mode.root and os.geteuid() == 0
        self.user = (
            {"user": ORDINARY_USER, "group": ORDINARY_USER, "extra_groups": []} if not self.root and os.geteuid() == 0 else {}
        )
        self.stage = stage
        self.home = home
        self.python = self._find_python()
        self.process = self._start()
        hello = json.loads(self._line())
        self.missing: list[str] = hello["missing"]
        self.uid: int = hello["uid"]

    def run(self, source: str, timeout: float = 2.0, memory_mb: int = 512, total_mb: int = 0) -> Answer:
        """Run a program; fails where the helper does not answer in time."""
        self.send(source, timeout, memory_mb, total_mb)
        return self.receive()

    def send(self, source: str, timeout: float = 2.0, memory_mb: int = 512, total_mb: int = 0) -> None:
        """Start a program, whose answer is for `receive`."""
        request = {"source": source, "timeout": timeout, "memory_mb": memory_mb, "total_mb": total_mb}
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()

    def receive(self) -> Answer:
        answer = Answer(**json.loads(self._line()))
        assert answer.survivors == 0
        assert "not confined" not in answer.printed, answer
        return answer

    def needs_tmp(self) -> None:
        """Skip where programs have their scratch elsewhere."""
        if scratch_base(launch.interpreter_paths(self.python)) != "/tmp":
            pytest.skip("the interpreter lies below /tmp, so the scratch does not")

    def processes(self) -> list[psutil.Process]:
        """The helper's processes and all below, seen from outside."""
        own = psutil.Process(self.process.pid)
        return [own, *own.children(recursive=True)]

    def server(self) -> psutil.Process:
        """The process that forks the programs: the first of its namespace, if it has one."""
        for process in self.processes():
            numbers = re.search(r"NSpid:\t(.*)", status_of(process.pid))
            if numbers and numbers[1].split()[1:] == ["1"]:
                return process
        return psutil.Process(self.process.pid)

    def program(self) -> psutil.Process:
        """The program that runs, once it is confined."""
        last_wall = "NoNewPrivs:\t1" if any(layer.startswith("system calls") for layer in self.missing) else "Seccomp:\t2"
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for process in self.server().children():
                if last_wall in status_of(process.pid):
                    return process
            time.sleep(0.01)
        raise AssertionError("no program is confined")

    def seen_while_it_runs(self, file: str) -> str:
        """A file of /proc of a program that sleeps; then it is killed."""
        self.send("import time; time.sleep(600)", timeout=60.0)
        program = self.program()
        content = Path(f"/proc/{program.pid}/{file}").read_text()
        program.kill()
        self.receive()
        return content

    def as_grader(self, source: str, **options: Any) -> subprocess.Popen[bytes]:
        """A Python process of the grader's user."""
        environment = {"PYTHONPATH": str(self.stage / "platform"), "PATH": os.environ["PATH"], **options.pop("env", {})}
        return subprocess.Popen([self.python, "-c", source], env=environment, cwd="/", **self.user, **options)

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(20) == 0

    def _line(self) -> bytes:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the helper ended with {self.process.wait(5)}"
        return line

    def _find_python(self) -> str:
        probe = "import sys; sys.exit(sys.version_info < (3, 11))"
        for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
            try:
                if subprocess.run([python, "-c", probe], capture_output=True, cwd="/", **self.user).returncode == 0:
                    return python
            except OSError:
                continue
        return pytest.skip("an ordinary user can run no Python of this machine")

    def _start(self) -> subprocess.Popen[bytes]:
        visible = [str(self.stage / "platform"), str(self.stage / "helper.py")]
        options = {
            "inside_bwrap": self.mode.use_bwrap,
            "visible": visible,
            "home": str(self.home),
            "without": self.mode.without,
        }
        arguments = ["-P", "-s", str(self.stage / "helper.py"), json.dumps(options)]
        command = self._as_user(lambda: self._command(arguments, [Path(path) for path in visible]))
        if not command:
            pytest.skip("bubblewrap is not installed, or does not work here")
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"PATH": os.defpath, "LANG": "C.UTF-8", "PYTHONPATH": str(self.stage / "platform")},
            start_new_session=True,
            cwd="/",
            **self.user,
        )

    def _command(self, arguments: list[str], visible: list[Path]) -> list[str]:
        if self.mode.use_bwrap and not launch.bubblewrap_works(self.python):
            return []
        return launch.command(self.python, arguments, visible, self.mode.use_bwrap)

    def _as_user(self, action: Callable[[], list[str]]) -> list[str]:
        """What the grader's user gets from an action, carried out in a fork."""
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                if self.user:
                    os.setgroups([])
                    os.setgid(ORDINARY_USER)
                    os.setuid(ORDINARY_USER)
                os.write(writing, json.dumps(action()).encode())
            finally:
                os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as answer:
            found: list[str] = json.loads(answer.read())
        os.waitpid(pid, 0)
        return found


@pytest.fixture(scope="session")
def stage() -> Iterator[Path]:
    """A copy of what the helper needs, where every user may read it, and a directory for each user's scratch."""
    directory = Path(tempfile.mkdtemp(prefix="codeblock-isolation-", dir="/var/tmp"))
    directory.chmod(0o755)
    shutil.copytree(PACKAGE / "sandbox", directory / "platform" / "codeblock" / "sandbox")
    for module in PACKAGE.glob("*.py"):
        shutil.copy(module, directory / "platform" / "codeblock")
    shutil.copy(HELPER, directory / "helper.py")
    yield directory
    shutil.rmtree(directory)


def start(name: str, stage: Path) -> Iterator[Helper]:
    mode = MODES[name]
    if not sys.platform.startswith("linux"):
        pytest.skip("isolation is made of Linux")
    if mode.root and os.geteuid() != 0:
        pytest.skip("the tests do not run as root")
    if mode.without == EVERYTHING and os.geteuid() != 0:
        pytest.skip("without isolation a program could reach these tests")
    home = Path(tempfile.mkdtemp(prefix="home-", dir=stage))
    if not mode.root and os.geteuid() == 0:
        os.chown(home, ORDINARY_USER, ORDINARY_USER)
    try:
        helper = Helper(mode, stage, home)
        if not mode.without and helper.missing:
            pytest.skip(f"this machine refuses: {'; '.join(helper.missing)}")
        yield helper
        helper.close()
    finally:
        shutil.rmtree(home)


@pytest.fixture(scope="module", params=MODES)
def any_helper(request: pytest.FixtureRequest, stage: Path) -> Iterator[Helper]:
    """A helper in each mode that this machine has."""
    yield from start(request.param, stage)


@pytest.fixture(scope="module", params=WHOLE)
def helper(request: pytest.FixtureRequest, stage: Path) -> Iterator[Helper]:
    """A helper in each mode in which no layer is missing."""
    yield from start(request.param, stage)


class Victim(NamedTuple):
    """A process of the grader's user, with a secret in its memory and environment."""

    process: subprocess.Popen[bytes]
    secret: str


@pytest.fixture
def victim(helper: Helper) -> Iterator[Victim]:
    secret = "sk-" + os.urandom(16).hex()
    source = "import os, time; copy = os.environ['SECRET'] * 2; print(flush=True); time.sleep(600)"
    process = helper.as_grader(source, env={"SECRET": secret}, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    yield Victim(process, secret)
    assert process.poll() is None, "a program killed a process of the grader's user"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


def status_of(pid: int) -> str:
    """What the kernel says of a process; nothing of one that has ended."""
    try:
        return Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return ""


def processes_with(mark: str) -> list[int]:
    """Processes whose command line holds the mark, seen from outside."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if mark.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def gone(mark: str, seconds: float = 20.0) -> bool:
    """Whether no process has the mark, at the latest after these seconds."""
    deadline = time.monotonic() + seconds
    while processes_with(mark):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
