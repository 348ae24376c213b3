"""A cluster of several nodes on one machine, each a `ray start` of its own, which tests may kill."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from tests.clusters import ANY_PORTS, WORKERS, one_start
from tests.ports import free_port
from tests.processes import kill_tree, running_below

START_SECONDS = 240.0
HANGS_SECONDS = 60.0
APART = ["unshare", "--mount", "--pid", "--uts", "--fork", "--mount-proc", "--kill-child", "sh", "-c"]
"""Runs a script of sh as another machine would: with mounts, process ids and a name of its own."""
ON_ITS_OWN_DISK = 'mount -t tmpfs tmpfs "$0" && mkdir "$0/home" "$0/tmp" && hostname "$1" && shift && cd "$0/home" && exec "$@"'
HEALTH = {"RAY_health_check_initial_delay_ms": "1000", "RAY_health_check_period_ms": "500"}
"""A node that is gone is noticed within seconds."""


@dataclass
class Nodes:
    """A head that lends no CPU, where the driver is, and nodes of one CPU each."""

    directory: Path
    """Of Ray's sessions and of the logs of `ray start`; a short path, for sockets lie there."""
    address: str = ""
    started: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    """The `ray start` of each node by its name, `head` among them."""
    apart: bool = False
    """Whether each node but the head sees a disk of its own at `directory`, with `home` and `tmp` for what its processes keep,
    no process of the others, and has a name of its own."""
    environment: dict[str, str] = field(default_factory=dict)
    """Further variables of every node."""

    def start_head(self, **environment: str) -> None:
        port = free_port()
        ports = [f"--{name}={free_port()}" for name in ("ray-client-server-port", "dashboard-agent-listen-port")]
        asked = ["--head", f"--port={port}", "--num-cpus=0", f"--dashboard-port={free_port()}", *ports]
        asked.append(f"--temp-dir={self.directory}")
        self.address = f"127.0.0.1:{port}"
        with one_start():
            self._start("head", asked, environment)
            self._wait_for("head")

    def add(self, *names: str) -> None:
        """Start nodes, each once the one before is of the cluster.

        A cluster of one process, `ray.init`, may start beside it, so one that hangs is started again.
        """
        for name in names:
            with one_start():
                self._add(name)
                if not self._is_up(name, HANGS_SECONDS):
                    self.kill(name)
                    self._add(name)
                    self._wait_for(name)

    def _add(self, name: str) -> None:
        asked = [f"--address={self.address}", "--num-cpus=1", f'--resources={{"{name}": 1}}']
        self._start(name, [*asked, f"--dashboard-agent-listen-port={free_port()}"], {})

    def _is_up(self, name: str, seconds: float) -> bool:
        with suppress(AssertionError):
            self._wait_for(name, seconds)
            return True
        return False

    def kill(self, name: str) -> None:
        """End a node as a machine that goes down does."""
        kill_tree(self.started.pop(name))

    def kill_all(self) -> None:
        for name in sorted(self.started, key=lambda name: name == "head"):
            self.kill(name)

    def node_of(self, process: psutil.Process) -> str:
        """The name of the node that a worker process is on. Raises psutil.NoSuchProcess for one that has ended."""
        if (name := self._node_above(process)) is None:
            raise psutil.NoSuchProcess(process.pid)
        return name

    def workers(self, title: str) -> list[psutil.Process]:
        """The worker processes whose title, such as `ray::MapWorker(...)`, holds `title`."""
        # One look at all that this process has started: one below each node would cost a core where a test looks for a moment.
        return [process for process in running_below(os.getpid(), f"ray::{title}") if self._node_above(process)]

    def _node_above(self, process: psutil.Process) -> str | None:
        with suppress(psutil.NoSuchProcess):
            above = {each.pid for each in process.parents()}
            return next((name for name, top in self.started.items() if top.pid in above), None)
        return None

    def _start(self, name: str, asked: list[str], environment: dict[str, str]) -> None:
        command = [str(Path(sys.executable).parent / "ray"), "start", "--block", *asked, *ANY_PORTS]
        if self.apart and name != "head":
            command = [*APART, ON_ITS_OWN_DISK, str(self.directory), name, *command]
        kept = {key: value for key, value in os.environ.items() if not key.startswith("RAY_") or key.startswith("RAY_AUTH")}
        given = {**kept, **WORKERS, **HEALTH, "RAY_USAGE_STATS_ENABLED": "0", **self.environment, **environment}
        with (self.directory / f"{name}.log").open("w") as log:
            self.started[name] = subprocess.Popen(command, env=given, stdout=log, stderr=log, start_new_session=True)

    def _wait_for(self, name: str, seconds: float = START_SECONDS) -> None:
        log = self.directory / f"{name}.log"
        wait_until(lambda: "Ray runtime started" in log.read_text(), f"node {name}: {log.read_text()}", seconds)


def can_be_apart() -> bool:
    """Whether nodes may have mounts of their own here: that needs root, and a kernel that lets it."""
    if os.geteuid() or shutil.which("unshare") is None:
        return False
    tried = subprocess.run([*APART, "mount -t tmpfs tmpfs /tmp && hostname other"], capture_output=True, check=False)
    return tried.returncode == 0


def wait_until(there: Callable[[], object], what: str, seconds: float = 300.0, pause: float = 0.05) -> None:
    """Wait for a condition; an AssertionError with `what` where it does not come."""
    until = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < until, what
        time.sleep(pause)
