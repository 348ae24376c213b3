"""A sweep on a cluster whose head goes down: one line, all runs closed, and the same command on another cluster goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from tests.faults.nodes import Nodes, wait_until
from tests.sweep.small import write_data

pytestmark = pytest.mark.slow

CONFIG = """
name: swept
storage: {home}/runs
pairs: {{path: {home}/pairs.jsonl}}
filter: {{near_duplicates: null, decontaminate: false}}
model: {{path: {model}, max_length: 256}}
select: {{token_budget: 0.2, subset_ratio: 1.0, nl_share: 0}}
arms: {{base: {{}}, codeblock: {{strategy: codeblock}}}}
train: {{batch_pairs: 4, dev_pairs: 4, dev_every: 10, checkpoint_every: 10}}
evaluate: {{benchmarks: {{tiny: {home}/tasks.jsonl}}, max_new_tokens: 4, reference_nll: false}}
sweep: {{space: {{train.steps: [2, 200]}}, at_once: 1}}
"""
IMPATIENT = """
import codeblock.core.cluster_watch as watch
from codeblock.cli.commands import main
watch.GONE_SECONDS, watch.UNWIND_SECONDS, watch.LOOK_SECONDS = 5.0, 5.0, 1.0
main()
"""
"""The command line, with less time for what may come back."""


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    """A head, which lends no CPU, and a node of one CPU."""
    started = Nodes(Path(tempfile.mkdtemp(prefix="f")))
    try:
        _start(started)
        yield started
    finally:
        started.kill_all()
        shutil.rmtree(started.directory, ignore_errors=True)


def _start(nodes: Nodes) -> None:
    nodes.start_head()
    nodes.add("one")


@pytest.fixture
def home(tmp_path: Path, small_model: Path) -> Path:
    write_data(tmp_path)
    (tmp_path / "config.yaml").write_text(CONFIG.format(home=tmp_path, model=small_model))
    return tmp_path


@pytest.mark.long
def test_a_head_that_is_lost_ends_the_sweep_and_the_same_command_goes_on_elsewhere(home: Path, nodes: Nodes) -> None:
    run, log = _begin(home, nodes, "log")
    checkpoints = home / "runs" / "cache" / ".work"
    wait_until(lambda: run.poll() is not None or list(checkpoints.glob("trained-*/**/*check*")), "no checkpoint")
    assert run.poll() is None, log.read_text()
    (first,) = _records(home)
    written = first.stat().st_mtime_ns
    nodes.kill("head")
    try:
        assert run.wait(200) == 1, log.read_text()
    finally:
        _end(run)
    said = log.read_text()
    (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: cluster ")
    assert line.endswith(
        ": its head does not answer any more; what was finished is kept; the same command goes on from there, on this cluster "
        "or another (RAY_ADDRESS)"
    )
    assert "Traceback" not in said
    assert _states(home) == {("swept", "FAILED"), ("steps 2 seed 0", "FINISHED"), ("steps 200 seed 0", "FAILED")}

    nodes.kill_all()
    _start(nodes)
    again, log = _begin(home, nodes, "again")
    try:
        assert again.wait(400) == 0, log.read_text()
    finally:
        _end(again)
    assert first.stat().st_mtime_ns == written
    (second,) = _records(home) - {first}
    assert json.loads(second.read_text())["trained"]["resumed_from_step"] >= 10


def _begin(home: Path, nodes: Nodes, name: str) -> tuple[subprocess.Popen[bytes], Path]:
    """`codeblock sweep` on the cluster, and what it prints."""
    log, environment = home / name, {**os.environ, "RAY_ADDRESS": nodes.address}
    command = [sys.executable, "-c", IMPATIENT, "sweep", str(home / "config.yaml")]
    with log.open("w") as out:
        return subprocess.Popen(command, stdout=out, stderr=out, env=environment, start_new_session=True), log


def _end(run: subprocess.Popen[bytes]) -> None:
    if run.poll() is None:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()


def _records(home: Path) -> set[Path]:
    return set((home / "runs" / "swept" / "trials").glob("*/record.json"))


def _states(home: Path) -> set[tuple[str, str]]:
    """Name and state of each run in MLflow."""
    client = MlflowClient(f"sqlite:///{home}/runs/mlflow.db")
    experiments = [each.experiment_id for each in client.search_experiments()]
    return {(run.info.run_name, run.info.status) for run in client.search_runs(experiments)}
