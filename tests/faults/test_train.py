"""Fits that lose their worker, their node, their driver, the tracking server: the losses of one that nothing happened to."""

import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from mlflow import MlflowClient
from tests.faults.conftest import STEPS, facts_of, step_of
from tests.faults.nodes import wait_until
from tests.ports import free_port

from codeblock.core.config.file import load_config
from codeblock.core.models.load import load_model
from codeblock.train.driver import HISTORY
from codeblock.train.loop import Session
from codeblock.train.model import MaskedLM
from codeblock.train.rows import read_pairs, trim_all
from codeblock.train.step import DistContext

pytestmark = pytest.mark.slow
FEW_STEPS = 100
"""Of the fit whose tracking server is lost: enough for a loss of it to be logged before, and others after."""


def losses_without_ray(storage, home, steps):
    """The losses of the bare loop in this process, never interrupted."""
    config = load_config(home / "config.yaml", [f"train.steps={steps}"])
    torch.manual_seed(config.seed)
    pairs, _ = trim_all(read_pairs(step_of(storage, "selected"), "train"))
    masked = MaskedLM(load_model(config.model.path), config.train.dtype)
    session = Session(masked, pairs, [], config.train, config.seed, DistContext(torch.device("cpu")))
    session.run()
    return [row["loss"] for row in session.history]


def check_losses(storage, home, steps):
    history = pq.read_table(step_of(storage, "trained") / HISTORY).to_pydict()
    assert history["step"] == list(range(1, steps + 1))
    assert history["loss"] == pytest.approx(losses_without_ray(storage, home, steps), rel=1e-6)


def runs_of(uri):
    """The runs in MLflow: name, status and the number of losses that were logged, sorted."""
    client = MlflowClient(uri)
    runs = client.search_runs([client.get_experiment_by_name("codeblock").experiment_id])
    return sorted(
        (run.info.run_name, run.info.status, len(client.get_metric_history(run.info.run_id, "train/loss"))) for run in runs
    )


@pytest.mark.long
def test_a_fit_that_loses_its_worker_its_node_and_its_driver_ends_with_the_same_losses(storage, begin_in, nodes, home):
    run = begin_in(storage, "run", "train.max_failures=2")
    lost = run.loses_worker_and_node(nodes, 3)
    run.reaches_checkpoints(3)
    os.kill(run.process.pid, signal.SIGKILL)
    run.process.wait()
    assert not list((storage / "cache").glob("trained-*"))
    nodes.add(lost)

    again = begin_in(storage, "run")
    assert again.end() == 0, again.told()
    assert "constructor arguments" not in again.told(), "Ray's warning of an actor of its own"
    assert facts_of(storage, "trained")["resumed_from_step"] >= 30
    check_losses(storage, home, STEPS)
    found = runs_of(f"sqlite:///{storage}/mlflow.db")
    assert [(name, status) for name, status, _ in found] == [
        ("codeblock", "FINISHED"),
        ("codeblock", "KILLED"),
        ("small", "FINISHED"),
        ("small", "KILLED"),
    ]
    assert found[0] == ("codeblock", "FINISHED", STEPS)


@pytest.fixture
def server(tmp_path):
    """Starts a tracking server; the second call of it starts it again on the same runs. With its URI and a way to kill it."""
    uri, started = f"http://127.0.0.1:{free_port()}", []

    def answers():
        try:
            return urllib.request.urlopen(f"{uri}/health", timeout=1).status == 200
        except OSError:
            return False

    def start():
        port, store = uri.rpartition(":")[2], ["--backend-store-uri", f"sqlite:///{tmp_path}/server.db", "--workers", "1"]
        kept = ["--artifacts-destination", str(tmp_path / "artifacts"), "--host", "127.0.0.1", "--port", port]
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with Path(tmp_path / "server.log").open("a") as log:
            command = [sys.executable, "-m", "mlflow", "server", *store, *kept]
            started.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True))
        wait_until(answers, "the tracking server does not start", pause=0.2)

    def kill():
        while started:
            os.killpg(started[-1].pid, signal.SIGKILL)
            started.pop().wait()

    yield uri, start, kill
    kill()


def test_what_a_tracking_server_missed_is_logged_by_the_same_command_and_nothing_is_computed_again(
    storage, begin_in, home, server
):
    uri, start, kill = server
    start()
    given = (storage, "run", f"track.uri={uri}", f"train.steps={FEW_STEPS}")
    impatient = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
    run = begin_in(*given, **impatient)
    run.reaches_checkpoints(1)
    kill()
    line = run.error()
    assert line == (
        f"error: MLflow at {uri}: no answer; check track.uri or MLFLOW_TRACKING_URI, that `mlflow server` runs there, and "
        f"MLFLOW_TRACKING_TOKEN where it asks for one; the results lie in {storage}/small: the same command logs them once "
        "MLflow answers, and computes nothing again"
    )
    assert "(what is missing there is logged at the end)" in run.told()
    assert (storage / "small" / "arms.md").exists()
    check_losses(storage, home, FEW_STEPS)
    assert begin_in(*given, **impatient).error().startswith(f"error: MLflow at {uri}: no answer; ")

    start()
    again = begin_in(*given, RAY_ADDRESS="127.0.0.1:1")  # nothing is left for a cluster to do
    assert again.end() == 0, again.told()
    found = runs_of(uri)
    assert ("codeblock", "FINISHED", FEW_STEPS) in found
    assert {status for _, status, _ in found} == {"FINISHED", "KILLED"}
