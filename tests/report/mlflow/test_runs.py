"""What is logged, seen through the same REST search that the MLflow UI uses, on SQLite and on a server."""

from __future__ import annotations

import json
import math
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from mlflow import MlflowClient

from codeblock.core.config import Config, TrackConfig
from codeblock.core.errors import CodeBlockError
from codeblock.report.mlflow.runs import Tracker, flatten, metric_name, pass_metrics

HISTORY = [{"step": step, "loss": 2.0 / (1 + step), "lr": 1e-4, "note": "text"} for step in range(1200)]
DEV = [
    {"step": step, "token_class": kind, "supervised": supervised, "nll": 1.0 + step}
    for step in (0, 20)
    for kind, supervised in ((3, True), (3, False), ("text", False))
]
VERDICTS = pa.table({"task_id": ["t/0", "t/1"], "verdict": ["passed", "wrong_answer"], "seconds": [0.1, None]})


@pytest.fixture(params=["sqlite", pytest.param("server", marks=pytest.mark.slow)])
def tracker(request: pytest.FixtureRequest, local_tracker: Tracker) -> Tracker:
    if request.param == "sqlite":
        return local_tracker
    address, _ = request.getfixturevalue("server")
    return Tracker(TrackConfig(uri=address, experiment="on_a_server"), Path("unused"))


def search(address: str, experiment: str, wanted: str) -> list[dict[str, Any]]:
    """Runs that match, through the server's REST API."""
    body = json.dumps({"experiment_ids": [experiment], "filter": wanted}).encode()
    request = urllib.request.Request(
        f"{address}/api/2.0/mlflow/runs/search", body, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: list[dict[str, Any]] = json.load(answer).get("runs", [])
    return found


def pairs_of(entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {entry["key"]: entry["value"] for entry in entries}


@pytest.mark.slow
def test_an_arm_is_a_finished_child_of_its_parent_in_the_rest_search(
    tracker: Tracker, server: tuple[str, int], tmp_path: Path
) -> None:
    (tmp_path / "plot.png").write_bytes(b"png")
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "index.html").write_text("<p>")
    parent = tracker.start_parent("run", Config(seed=7), {"pairs": "abc"})
    child = tracker.start_arm(parent, "codeblock", "nested")
    running = search(server[0], tracker.experiment_id, f"tags.`mlflow.parentRunId` = '{parent}'")
    assert [run["info"]["status"] for run in running] == ["RUNNING"]
    tracker.log_rows(child, HISTORY, DEV)
    tracker.log_arm(
        child,
        params={"strategy": "codeblock", "select": {"token_budget": 0.019, "long": "x" * 9000}},
        metrics=pass_metrics("humaneval+", {1: (0.31, 0.25, 0.38), 10: (0.5, 0.4, 0.6)}, 164),
        verdicts={"humaneval+": VERDICTS},
        artifacts=[tmp_path / "plot.png", tmp_path / "samples"],
    )
    tracker.finish(child)
    found = search(server[0], tracker.experiment_id, f"tags.`mlflow.parentRunId` = '{parent}'")
    assert [run["info"]["run_id"] for run in found] == [child]
    assert found[0]["info"]["run_name"] == "codeblock"
    assert found[0]["info"]["status"] == "FINISHED"
    params = pairs_of(found[0]["data"]["params"])
    assert params["strategy"] == "codeblock"
    assert params["select.token_budget"] == "0.019"
    assert len(params["select.long"]) == 6000
    metrics = pairs_of(found[0]["data"]["metrics"])
    assert metrics["pass_at_1/humanevalplus"] == 0.31
    assert metrics["pass_at_1/humanevalplus_low"] == 0.25
    assert metrics["pass_at_1/humanevalplus_high"] == 0.38
    assert metrics["pass_at_10/humanevalplus"] == 0.5
    assert metrics["tasks/humanevalplus"] == 164

    whole = yaml.safe_load(Path(tracker.client.download_artifacts(child, "params.yaml", str(tmp_path))).read_text())
    assert whole["select"]["long"] == "x" * 9000
    names = {entry.path for entry in tracker.client.list_artifacts(child)}
    assert {"plot.png", "samples", "params.yaml", "verdicts"} <= names


def test_curves_are_metrics_with_steps(tracker: Tracker) -> None:
    child = tracker.start_arm(tracker.start_parent("run", Config(), {}), "full", "curves")
    tracker.log_rows(child, HISTORY, DEV)
    loss = tracker.client.get_metric_history(child, "train/loss")
    assert [(point.step, point.value) for point in loss] == [(row["step"], row["loss"]) for row in HISTORY]
    run = tracker.client.get_run(child)
    assert set(run.data.metrics) == {
        "train/loss",
        "train/lr",
        "dev_nll/core/supervised",
        "dev_nll/core/unsupervised",
        "dev_nll/text/unsupervised",
    }
    drift = tracker.client.get_metric_history(child, "dev_nll/core/unsupervised")
    assert [(point.step, point.value) for point in drift] == [(0, 1.0), (20, 21.0)]


def test_the_seeds_of_an_arm_are_found_by_its_name(tracker: Tracker) -> None:
    parent = tracker.start_parent("run", Config(), {})
    for seed in (0, 1):
        tracker.start_arm(parent, f"blocks seed {seed}", f"seed {seed}", "blocks", seed)
    tracker.start_arm(parent, "base", "seedless")
    wanted = f"tags.`mlflow.parentRunId` = '{parent}' and tags.`codeblock.arm` = 'blocks'"
    found = tracker.client.search_runs([tracker.experiment_id], wanted)
    assert {(run.info.run_name, run.data.tags["codeblock.seed"]) for run in found} == {
        ("blocks seed 0", "0"),
        ("blocks seed 1", "1"),
    }


def test_verdicts_are_a_table_that_the_ui_can_show(tracker: Tracker, tmp_path: Path) -> None:
    child = tracker.start_arm(tracker.start_parent("run", Config(), {}), "a", "t")
    tracker.log_arm(child, params={}, metrics={}, verdicts={"tiny": VERDICTS})
    logged = json.loads(tracker.client.get_run(child).data.tags["mlflow.loggedArtifacts"])
    assert logged == [{"path": "verdicts/tiny.json", "type": "table"}]
    path = tracker.client.download_artifacts(child, "verdicts/tiny.json", str(tmp_path))
    table = json.loads(Path(path).read_text())
    assert table["columns"] == ["task_id", "verdict", "seconds"]
    assert table["data"] == [["t/0", "passed", 0.1], ["t/1", "wrong_answer", None]]


def test_the_parent_holds_the_whole_config_the_fingerprints_and_the_summary(tracker: Tracker, tmp_path: Path) -> None:
    config = Config(name="mine", seed=7)
    parent = tracker.start_parent("mine", config, {"model": "f00d"})
    tracker.log_summary(parent, "| arm |\n| --- |\n", [])
    tracker.finish(parent)
    run = tracker.client.get_run(parent)
    assert run.info.status == "FINISHED"
    assert run.data.params["seed"] == "7"
    assert run.data.params["arms.codeblock.strategy"] == "codeblock"
    assert run.data.params["fingerprint.model"] == "f00d"
    assert set(flatten(config.model_dump(mode="json"))) <= set(run.data.params)
    assert run.data.tags["mlflow.note.content"].startswith("| arm |")
    path = tracker.client.download_artifacts(parent, "config.yaml", str(tmp_path))
    assert Config.model_validate(yaml.safe_load(Path(path).read_text())) == config


def test_a_directory_is_logged_without_what_another_process_is_writing_there(local_tracker: Tracker, tmp_path: Path) -> None:
    (tmp_path / "samples" / "deep").mkdir(parents=True)
    for name in ("index.html", "deep/page.html", ".page.html.0a1b.tmp"):
        (tmp_path / "samples" / name).write_text(name)
    parent = local_tracker.start_parent("mine", Config(), {})
    local_tracker.log_summary(parent, "", [tmp_path / "samples"])
    local_tracker.finish(parent)

    def files(place: str | None = None) -> set[str]:
        found = local_tracker.client.list_artifacts(parent, place)
        return {each.path for each in found if not each.is_dir}.union(*(files(each.path) for each in found if each.is_dir))

    assert files() == {"config.yaml", "samples/index.html", "samples/deep/page.html"}


def test_an_error_is_the_text_of_the_page(local_tracker: Tracker) -> None:
    parent = local_tracker.start_parent("run", Config(), {})
    local_tracker.finish(parent, "FAILED", "boom")
    run = local_tracker.client.get_run(parent)
    assert (run.info.status, run.data.tags["mlflow.note.content"]) == ("FAILED", "boom")


def test_only_a_finished_run_counts_as_already_logged(local_tracker: Tracker) -> None:
    assert local_tracker.already_logged("once") is None
    parent = local_tracker.start_parent("run", Config(), {}, identity="once")
    assert local_tracker.already_logged("once") is None, "still running"
    child = local_tracker.start_arm(parent, "a", "once:a")
    with pytest.raises(CodeBlockError, match="MLflow at"):
        local_tracker.log_arm(child, params={}, metrics={}, artifacts=[Path("/no/such/file.png")])
    assert local_tracker.already_logged("once:a") is None, "its log is incomplete"
    local_tracker.finish(child)
    local_tracker.finish(parent)
    assert local_tracker.already_logged("once") == parent
    assert local_tracker.already_logged("once:a") == child


def test_a_diverged_loss_is_logged_and_not_an_error(local_tracker: Tracker) -> None:
    history = [{"step": 0, "loss": 1.0}, {"step": 1, "loss": math.nan}]
    child = local_tracker.start_arm(local_tracker.start_parent("run", Config(), {}), "a", "nan")
    local_tracker.log_rows(child, history)
    values = [point.value for point in local_tracker.client.get_metric_history(child, "train/loss")]
    assert values[0] == 1.0
    assert math.isnan(values[1])


def test_more_than_a_hundred_params_are_logged(local_tracker: Tracker) -> None:
    parent = local_tracker.start_parent("run", Config(), {f"k{i}": i for i in range(250)})
    params = local_tracker.client.get_run(parent).data.params
    assert params["fingerprint.k249"] == "249"


def test_metrics_travel_in_batches(local_tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    send = MlflowClient.log_batch

    def count(self: MlflowClient, run_id: str, metrics: Sequence[Any] = (), **rest: Any) -> Any:
        sizes.append(len(metrics))
        return send(self, run_id, metrics=metrics, **rest)

    monkeypatch.setattr(MlflowClient, "log_batch", count)
    local_tracker.log_rows(local_tracker.start_arm(local_tracker.start_parent("run", Config(), {}), "a", "batches"), HISTORY)
    assert [size for size in sizes if size] == [1000, 1000, 400]


def test_the_fluent_state_of_the_process_is_left_alone(local_tracker: Tracker) -> None:
    import mlflow

    before = mlflow.get_tracking_uri()
    local_tracker.start_parent("run", Config(), {})
    assert mlflow.active_run() is None
    assert mlflow.get_tracking_uri() == before


def test_names_that_mlflow_forbids_are_replaced() -> None:
    assert metric_name("humaneval+") == "humanevalplus"
    assert metric_name("pass@1 (x)") == "pass_1 _x_"


def test_nested_params_become_dotted_keys() -> None:
    assert flatten({"a": {"b": 1, "c": {}}, "d": [1]}) == {"a.b": 1, "a.c": {}, "d": [1]}
