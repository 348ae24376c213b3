"""How the main job ends where it cannot begin or is interrupted: in one line, with nothing that counts as done."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from mlflow import MlflowClient
from tests.small_run import call, markers
from tests.small_run import setting as setting

from codeblock import pipeline
from codeblock.core.config.file import load_config
from codeblock.core.storage.tables import MARKER, read_table
from codeblock.experiment.plan import make_plan
from codeblock.pipeline import check_graders, check_plan


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["pairs.path=nowhere.jsonl"], "pairs.path=nowhere.jsonl: no such file"),
        (["model.path=./nothing"], f"model ./nothing: there is no such directory on {socket.gethostname()}; check the path"),
        (["arms.codeblock.strategy=codeblok"], "did you mean codeblock?"),
        (["evaluate.benchmarks={humanevl: x}"], "benchmark 'humanevl': unknown"),
        (
            ["filter.rating={url: 'http://127.0.0.1:9/v1', model: m, key_env: null}"],
            "no answer (",
        ),
        (["filter.rating={url: 'http://127.0.0.1:9/v1', model: m, key_env: NO_SUCH_KEY}"], "key_env=NO_SUCH_KEY: not set"),
        (["evaluate.engine=vllm", "evaluate.max_new_tokens=9"], "evaluate.engine=vllm: "),  # not installed, or no GPU asked for
        (["cluster.train_workers=3", "train.steps=3"], "3 x 1 CPU asked, the cluster has 2 CPU"),
        (["cluster.gpus_per_worker=1", "train.steps=3"], "1 x 1 GPU asked, the cluster has 0 GPU"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line_before_anything_runs(setting, ray_cluster, capsys, overrides, says):
    before = markers(setting)
    assert call("run", setting / "config.yaml", *overrides) == 1
    assert says in " ".join(capsys.readouterr().err.split())
    assert markers(setting) == before


def test_the_embedded_tasks_are_not_asked_for_before_they_are_made(setting, tmp_path):
    """With a model of one's own, whose prompts are looked at beforehand."""
    config = load_config(setting / "config.yaml", ["evaluate.benchmarks={tiny: tiny}", f"storage={tmp_path}"])
    check_plan(make_plan(config, tmp_path / "cache"))


def test_a_run_without_a_pair_says_which_filter_took_them(setting, ray_cluster, tmp_path, capsys):
    (tmp_path / "prose.jsonl").write_text('{"instruction": "Hi.", "output": "Hello, how are you today?"}\nnot json\n')
    assert call("prepare", setting / "config.yaml", f"pairs.path={tmp_path}/prose.jsonl") == 1
    printed = " ".join(capsys.readouterr().err.split())
    assert "no pair is left of 2 rows" in printed
    assert "no_code took 1" in printed
    (tmp_path / "empty.jsonl").write_text("")
    assert call("prepare", setting / "config.yaml", f"pairs.path={tmp_path}/empty.jsonl") == 1
    assert "no rows there" in " ".join(capsys.readouterr().err.split())


def test_pairs_longer_than_the_context_are_rejected(setting, ray_cluster, capsys):
    assert call("prepare", setting / "config.yaml", "model.max_length=8") == 1
    assert "longer_than_context took 41" in " ".join(capsys.readouterr().err.split())


def test_a_storage_that_cannot_be_written_is_named(setting, ray_cluster, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert call("prepare", setting / "config.yaml", f"storage={tmp_path}/file/runs") == 1
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.slow
def test_an_interrupt_leaves_nothing_that_counts_as_finished(setting, ray_cluster, tmp_path):
    command = [sys.executable, "-m", "codeblock", "prepare", str(setting / "config.yaml"), f"storage={tmp_path}/runs"]
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    job = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True)
    deadline = time.monotonic() + 300
    while not list((tmp_path / "runs" / "cache").glob("pairs-*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(job.pid, signal.SIGINT)
    _, printed = job.communicate(timeout=300)
    assert job.returncode == 130
    assert "interrupted" in printed
    assert not list((tmp_path / "runs" / "cache").glob(f"segmented-*/{MARKER}"))
    assert call("prepare", setting / "config.yaml", f"storage={tmp_path}/runs") == 0
    (segmented,) = (tmp_path / "runs" / "cache").glob("segmented-*")
    assert read_table(segmented).num_rows == 40


@pytest.mark.slow
def test_a_run_that_is_terminated_while_it_trains_shows_its_curve_and_is_killed_in_mlflow(setting, tmp_path):
    storage = tmp_path / "runs"
    overrides = [f"storage={storage}", "train.steps=100000", "train.dev_every=100000", "evaluate.benchmarks={}"]
    overrides.append("arms={base: {}, full: {strategy: full}}")  # neither needs scores
    command = [sys.executable, "-m", "codeblock", "run", str(setting / "config.yaml"), *overrides]
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    with (tmp_path / "log").open("w") as log:
        job = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    client, curve = None, {}
    until = time.monotonic() + 600
    while not curve and time.monotonic() < until and job.poll() is None:
        time.sleep(0.5)
        if (storage / "mlflow.db").exists():
            client = client or MlflowClient(f"sqlite:///{storage}/mlflow.db")
            runs = {run.info.run_name: run for run in client.search_runs(["1"])}
            curve = runs["full"].data.metrics if "full" in runs else {}
    assert "train/loss" in curve, (tmp_path / "log").read_text()
    assert {run.info.status for run in runs.values()} == {"RUNNING"}
    job.send_signal(signal.SIGTERM)
    assert job.wait(300) == 128 + signal.SIGTERM, (tmp_path / "log").read_text()
    assert (tmp_path / "log").read_text().splitlines()[-1].startswith("ended by SIGTERM; finished stages are kept")
    assert {run.info.status for run in client.search_runs(["1"])} == {"KILLED"}


def test_help_is_there_for_every_command(capsys):
    for command in ("run", "prepare", "score", "select", "train", "evaluate", "compare", "sweep", "inspect", "doctor", "ui"):
        assert call(command, "--help") == 0
        assert "Example" in capsys.readouterr().out


EXAMPLES = "rank.by=[runs_examples]"


@pytest.mark.parametrize("address", ["null", "127.0.0.1:9"])
@pytest.mark.parametrize(
    ("asked", "until", "times"), [(EXAMPLES, "prepare", 0), (EXAMPLES, "score", 1), ("", "score", 0), ("", "evaluate", 1)]
)
def test_a_machine_or_a_cluster_is_asked_whether_it_can_run_the_programs_of_a_run(
    setting, tmp_path, monkeypatch, address, asked, until, times
):
    here, there = [], []
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(pipeline, "check_sandbox", lambda *given: here.append(given))
    monkeypatch.setattr(pipeline, "require_graders", there.append)
    overrides = [f"storage={tmp_path}", f"cluster.address={address}", *filter(None, [asked])]
    plan = make_plan(load_config(setting / "config.yaml", overrides), tmp_path / "cache")
    check_plan(plan, until)
    check_graders(plan, until)
    assert [len(here), len(there)] == ([times, 0] if address == "null" else [0, times])
