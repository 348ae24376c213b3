"""A sweep through its command line: real Tune over real Train, a second Ray instance on the machine, cut and gone on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from mlflow import MlflowClient
from ray.util import placement_group_table
from tests.small_run import call
from tests.sweep.small import told, write_data

from codeblock.core.config.file import load_config
from codeblock.core.storage.tables import MARKER
from codeblock.experiment.cache import check_storage
from codeblock.experiment.plan import make_plan

pytestmark = pytest.mark.slow

CONFIG = """
name: swept
storage: {home}/runs
pairs: {{path: {home}/pairs.jsonl}}
filter: {{near_duplicates: null}}
model: {{path: {model}, max_length: 256}}
seeds: [0, 1]
select: {{token_budget: 0.2, subset_ratio: 1.0, nl_share: 0}}
arms: {{base: {{}}, codeblock: {{strategy: codeblock}}}}
train: {{steps: 16, batch_pairs: 4, dev_pairs: 4, dev_every: 1, learning_rate: 1.0e-2}}
evaluate: {{benchmarks: {{tiny: {home}/tasks.jsonl}}, max_new_tokens: 4}}
cluster: {{cpus_per_worker: 0.9}}
sweep:
  space: {{train.learning_rate: [1.0e-2, 1.0e-9]}}
  stopping: {{after: 1}}
"""
BESIDE = """
import ray, time
ray.init(address="local", num_cpus=1, include_dashboard=False)
print("up", flush=True)
time.sleep(900)
"""


@pytest.fixture(scope="module")
def second_ray() -> Iterator[None]:
    """Another Ray instance on the machine."""
    process = subprocess.Popen([sys.executable, "-c", BESIDE], stdout=subprocess.PIPE, start_new_session=True, text=True)
    assert process.stdout is not None
    assert "up" in process.stdout.readline() or process.poll() is None
    yield
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(200)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, small_model: Path) -> Path:
    home = tmp_path_factory.mktemp("sweep")
    write_data(home)
    (home / "config.yaml").write_text(CONFIG.format(home=home, model=small_model))
    return home


def records(home: Path) -> dict[Path, dict[str, Any]]:
    return {path: json.loads(path.read_text()) for path in (home / "runs" / "swept" / "trials").glob("*/record.json")}


def runs(home: Path) -> list[Any]:
    client = MlflowClient(f"sqlite:///{home}/runs/mlflow.db")
    return list(client.search_runs([each.experiment_id for each in client.search_experiments()], max_results=1000))


@pytest.fixture(scope="module")
def cut(home: Path, second_ray: None) -> dict[Path, float]:
    """When the first records were written: the command is terminated after the first trial."""
    command = [sys.executable, "-m", "codeblock", "sweep", str(home / "config.yaml"), "sweep.at_once=1"]
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    with (home / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    until = time.monotonic() + 300
    while not records(home) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(200) == 128 + signal.SIGTERM, (home / "log").read_text()
    assert "KILLED" in {run.info.status for run in runs(home)} <= {"KILLED", "FINISHED"}
    assert "Traceback" not in (home / "log").read_text()
    return {path: path.stat().st_mtime for path in records(home)}


@pytest.fixture(scope="module")
def done(home: Path, cut: dict[Path, float], ray_cluster: None) -> Path:
    """The home after the same command was run to its end."""
    assert call("sweep", home / "config.yaml", "sweep.register_as=best") == 0
    return home


def test_the_plan_tells_trials_shared_steps_and_the_time_of_a_trial(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("sweep", done / "config.yaml", "seeds=[0, 1, 2]", "--plan") == 0
    said = told(capsys.readouterr().out)
    assert "2 points (grid) x 3 seeds = 6 trials of the arm codeblock 4 have ended before, 2 would run" in said
    assert "shared score cached" in said
    assert "a trial has taken" in said


def test_early_stopping_ends_two_of_four_and_leaves_no_placement_group(done: Path) -> None:
    found = sorted((each["values"]["train.learning_rate"], each["seed"], each["status"]) for each in records(done).values())
    assert found == [(1e-9, 0, "stopped"), (1e-9, 1, "stopped"), (1e-2, 0, "evaluated"), (1e-2, 1, "evaluated")]
    assert all(each["steps"] < 16 for each in records(done).values() if each["status"] == "stopped")
    assert [each["state"] for each in placement_group_table().values() if each["state"] not in ("REMOVED",)] == []
    until = time.monotonic() + 120
    while ray.available_resources().get("CPU", 0) < 2 and time.monotonic() < until:
        time.sleep(0.2)
    assert ray.available_resources()["CPU"] == 2


def test_the_same_command_runs_no_finished_trial_again(done: Path, cut: dict[Path, float]) -> None:
    assert cut
    assert {path: path.stat().st_mtime for path in cut} == cut


def test_seeds_share_one_scored_table(done: Path) -> None:
    assert len(list((done / "runs" / "cache").glob(f"scored-*/{MARKER}"))) == 1


def test_models_of_the_best_point_are_kept_and_nothing_else_of_a_trial(done: Path) -> None:
    cache = done / "runs" / "cache"
    assert len(list(cache.glob("trained-*"))) == 2, "the two seeds of the one best point"
    assert not list((cache / ".work").glob("trained-*"))
    assert len(list(cache.glob("selected-*"))) == 1, "both seeds select the same"
    assert not (done / "runs" / "swept" / "tune").exists()


def test_every_child_has_its_parent_and_none_is_running(done: Path) -> None:
    every = runs(done)
    parents = {run.info.run_id for run in every if run.data.tags["codeblock.kind"] == "sweep"}
    children = [run for run in every if run.data.tags["codeblock.kind"] == "trial"]
    assert {run.info.status for run in every} <= {"FINISHED", "KILLED"}
    assert all(run.data.tags["mlflow.parentRunId"] in parents for run in children)
    newest = max((run for run in every if run.info.run_id in parents), key=lambda run: run.info.start_time)
    mine = [run for run in children if run.data.tags["mlflow.parentRunId"] == newest.info.run_id]
    assert sorted(run.info.run_name for run in mine) == [
        f"learning rate {rate} seed {seed}" for rate in ("0.01", "1e-09") for seed in (0, 1)
    ]
    good = next(run for run in mine if run.info.run_name == "learning rate 0.01 seed 1")
    assert good.data.params["train.learning_rate"] == "0.01"
    assert good.data.tags["codeblock.point"] == "learning rate 0.01"
    assert {"pass_at_1/tiny", "pass_at_1_choosing/tiny", "reference_nll/tiny", "dev_nll/core"} <= good.data.metrics.keys()
    assert [each.dataset.name for each in good.inputs.dataset_inputs] == ["pairs"]


def test_the_best_model_is_registered_with_its_selection(done: Path) -> None:
    client = MlflowClient(f"sqlite:///{done}/runs/mlflow.db")
    (version,) = client.search_model_versions("name = 'best'")
    assert version.tags == {"train.learning_rate": "0.01", "codeblock.sweep": "swept", "codeblock.seed": "0"}
    assert {each.path for each in client.list_artifacts(version.run_id, "model")} >= {"model/config.json"}


def test_best_yaml_is_the_point_that_run_finds_done(done: Path) -> None:
    config = load_config(done / "runs" / "swept" / "best.yaml")
    plan = make_plan(config, check_storage(config.storage))
    assert config.train.learning_rate == 1e-2
    assert [arm.name for arm in plan.arms] == ["base", "codeblock seed 0", "codeblock seed 1"]
    assert all(step.facts is not None for arm in plan.arms[1:] for step in arm.steps())


def test_a_hopeless_point_among_good_ones_is_tried_twice_and_told(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    space = ["sweep.space.train.learning_rate=[1.0e-2]", "sweep.space.select.token_budget=[0.2, 1.0e-6]"]
    assert call("sweep", done / "config.yaml", *space, "seeds=[0]", "sweep.stopping=null") == 0
    said = told(capsys.readouterr().out)
    assert "learning rate 0.01 budget 1e-06 seed 0: failed twice:" in said
    assert "Traceback" not in said
    assert "2 points, 1 of them evaluated with every seed" in said


def test_three_equal_errors_end_the_sweep(home: Path, ray_cluster: None, capsys: pytest.CaptureFixture[str]) -> None:
    space = ["sweep.space={select.token_budget: [1.0e-6, 2.0e-6, 3.0e-6, 4.0e-6, 5.0e-6]}", "sweep.at_once=1"]
    assert call("sweep", home / "config.yaml", "name=errors", "seeds=[0]", "sweep.stopping=null", *space) == 1
    said = capsys.readouterr()
    assert "error: sweep stopped: 3 trials failed with the same error:" in told(said.err)
    assert said.out.count("failed twice:") == 2 * 3, "as they fail, and below the table; the other two never began"


def test_optuna_goes_on_from_what_it_knows(home: Path, ray_cluster: None, capsys: pytest.CaptureFixture[str]) -> None:
    space = ["sweep.space={select.token_budget: {uniform: [0.1, 0.4]}}", "sweep.search=optuna", "sweep.stopping=null"]
    command = ["sweep", home / "config.yaml", "name=suggested", "seeds=[0]", *space]
    assert call(*command, "sweep.samples=1") == 0
    assert call(*command, "sweep.samples=2") == 0
    said = told(capsys.readouterr().out)
    assert "1 points, 1 of them evaluated" in said
    assert "2 of 2 budget" in said
    assert "2 points, 2 of them evaluated" in said
