"""A real cluster with its dashboard, started once as `ray start --head` does it on a machine of its own, with a token."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.clusters import ANY_PORTS, WORKERS, one_start
from tests.ports import free_port
from tests.processes import kill_tree

from codeblock.cli.jobs.address import connect
from codeblock.cli.jobs.follow import Lines, Say, exit_code, follow

START_SECONDS = 240.0
TOKEN = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")


@dataclass(frozen=True)
class Cluster:
    """Where it is, and the environment that a user of it has."""

    address: str
    environment: dict[str, str]

    def codeblock(self, *arguments: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
        """Run the command line as a user does, from `cwd`."""
        command = [sys.executable, "-m", "codeblock", *arguments, "--address", self.address]
        return subprocess.run(command, cwd=cwd, env={**self.environment, **more}, capture_output=True, text=True)

    def run(self, client: Any, entrypoint: str, say: Say) -> int:
        """A job of a shell command, followed to its end; its exit status."""
        id_ = client.submit_job(entrypoint=entrypoint)
        return exit_code(follow(client, id_, self.address, Lines(say)))


@pytest.fixture(scope="package")
def cluster() -> Iterator[Cluster]:
    """One CPU, token authentication, and a secret in its environment; no other cluster on the machine is touched."""
    own = {name: os.environ[name] for name in TOKEN} | {"RAY_USAGE_STATS_ENABLED": "0"}
    kept = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
    dashboard = free_port()
    with tempfile.TemporaryDirectory(prefix="r", ignore_cleanup_errors=True) as directory:
        ports = [f"--{name}={free_port()}" for name in ("port", "ray-client-server-port", "dashboard-agent-listen-port")]
        command = [str(Path(sys.executable).parent / "ray"), "start", "--head", "--block", "--num-cpus=1", *ports]
        command += [f"--dashboard-port={dashboard}", f"--temp-dir={directory}", "--include-dashboard=true", *ANY_PORTS]
        environment = {**kept, **own, **WORKERS, "PATH": path, "CLUSTER_SECRET": "from the cluster"}
        address, log = f"http://127.0.0.1:{dashboard}", Path(directory) / "start.log"
        with one_start():
            with log.open("w") as out:
                head = subprocess.Popen(command, env=environment, stdout=out, stderr=out, start_new_session=True)
            _wait_for(address, own, head, log)
        try:
            yield Cluster(address, {**kept, **own})
        finally:
            kill_tree(head)  # `--block` takes 10 s and more to end it


def _wait_for(address: str, own: dict[str, str], head: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    ask = f"from ray.job_submission import JobSubmissionClient as C; C({address!r}).submit_job(entrypoint='true')"
    while subprocess.run([sys.executable, "-c", ask], env={**os.environ, **own}, capture_output=True).returncode:
        if head.poll() is not None or time.monotonic() > until:
            kill_tree(head)  # `--block` takes 10 s and more to end it
            pytest.fail(f"the cluster did not start: {log.read_text()[-2000:]}")
        time.sleep(0.5)


@pytest.fixture
def client(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client as the commands make it."""
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    return connect(cluster.address)


CONFIG = """
name: mine
pairs: {path: pairs.jsonl}
filter: {near_duplicates: null, decontaminate: false}
model: {path: model, max_length: 256}
rank: {by: [random]}
arms: {codeblock: {strategy: codeblock}}
select: {token_budget: 0.3, inside_share: 0.6}
train: {steps: 2, batch_pairs: 4, dev_pairs: 2}
evaluate: {benchmarks: {}}
"""


@pytest.fixture
def project(tmp_path: Path, small_model: Path) -> Path:
    """A user's directory: a config, pairs, and a model beside it."""
    pairs = [
        {"instruction": f"Add {n}.", "response": f"```python\ndef add{n}(a):\n    b = a + {n}\n    return b\n```"}
        for n in range(6)
    ]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    (tmp_path / "model").symlink_to(small_model)
    (tmp_path / "mine.yaml").write_text(CONFIG)
    return tmp_path
