"""A comparison in MLflow while it runs and after it has ended in each way, on a real SQLite store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from codeblock.core.config import TrackConfig
from codeblock.core.config.file import load_config
from codeblock.core.errors import CodeBlockError
from codeblock.experiment.cache import check_storage
from codeblock.experiment.plan import Plan, make_plan
from codeblock.experiment.tracking import Tracked, identity_of
from codeblock.report.mlflow.runs import PARENT_TAG, Tracker


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Tracker:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return Tracker(TrackConfig(), tmp_path_factory.mktemp("storage"))


@pytest.fixture
def plan(tmp_path: Path, small_model: Path) -> Plan:
    (tmp_path / "pairs.jsonl").write_text('{"instruction": "Add.", "output": "x = 1"}\n')
    (tmp_path / "config.yaml").write_text(
        f"name: {tmp_path.name}\nstorage: {tmp_path}/runs\npairs: {{path: {tmp_path}/pairs.jsonl}}\n"
        f"model: {{path: {small_model}}}\narms: {{base: {{}}, codeblock: {{strategy: codeblock}}}}\n"
    )
    config = load_config(tmp_path / "config.yaml", [])
    return make_plan(config, check_storage(config.storage))


def row(step: int) -> dict[str, Any]:
    return {"step": step, "loss": 1.0 / step}


def look(step: int) -> dict[str, Any]:
    return {"step": step, "token_class": "core", "supervised": False, "nll": 2.0}


def runs(tracker: Tracker, plan: Plan) -> dict[str, Any]:
    """The parent as "" and the arms by name."""
    (parent,) = tracker.client.search_runs([tracker.experiment_id], f"attributes.run_name = '{plan.config.name}'")
    children = tracker.client.search_runs([tracker.experiment_id], f"tags.`{PARENT_TAG}` = '{parent.info.run_id}'")
    return {"": parent, **{child.info.run_name: child for child in children}}


def steps(tracker: Tracker, run: Any, metric: str) -> list[int]:
    return [point.step for point in tracker.client.get_metric_history(run.info.run_id, metric)]


def test_the_parent_is_open_and_the_curve_is_there_while_an_arm_trains(
    tracker: Tracker, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codeblock.experiment.tracking.SEND_SECONDS", 0.0)
    tracked = Tracked(tracker)
    tracked.begin(plan)
    assert runs(tracker, plan)[""].info.status == "RUNNING"
    arm = plan.arms[1]
    for each in (row(1), look(0), row(2)):
        tracked.row(arm, each)
    found = runs(tracker, plan)
    assert found["codeblock"].info.status == "RUNNING"
    assert steps(tracker, found["codeblock"], "train/loss") == [1, 2]
    assert steps(tracker, found["codeblock"], "dev_nll/core/unsupervised") == [0]
    assert "base" not in found, "an arm that has not begun has no run"


def test_steps_that_a_restarted_worker_tells_again_are_logged_once(
    tracker: Tracker, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codeblock.experiment.tracking.SEND_SECONDS", 0.0)
    tracked = Tracked(tracker)
    tracked.begin(plan)
    for step in (1, 2, 3, 2, 3, 4):
        tracked.row(plan.arms[1], row(step))
    assert steps(tracker, runs(tracker, plan)["codeblock"], "train/loss") == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (ValueError("boom"), "FAILED", "**failed**: boom"),
        (KeyboardInterrupt(), "KILLED", "**interrupted**: KeyboardInterrupt"),
        (SystemExit(143), "KILLED", "**interrupted**: 143"),
    ],
)
def test_a_run_that_ends_early_leaves_no_run_running(
    tracker: Tracker, plan: Plan, error: BaseException, status: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codeblock.experiment.tracking.SEND_SECONDS", 0.0)

    def end_early() -> None:
        with Tracked(tracker) as tracked:
            tracked.begin(plan)
            tracked.row(plan.arms[1], row(1))
            raise error

    with pytest.raises(type(error)):
        end_early()
    found = runs(tracker, plan)
    assert [found[name].info.status for name in ("", "codeblock")] == [status, status]
    assert found[""].data.tags["mlflow.note.content"] == says
    assert tracker.already_logged(identity_of(plan)) is None


def test_a_server_that_goes_away_ends_no_training_and_is_told_once(
    tracker: Tracker, plan: Plan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("codeblock.experiment.tracking.SEND_SECONDS", 0.0)
    tracked, calls = Tracked(tracker), []
    tracked.begin(plan)

    def refuse(*_: Any) -> None:
        calls.append(1)
        raise CodeBlockError("MLflow at http://server: gone")

    monkeypatch.setattr(tracker, "log_rows", refuse)
    for step in (1, 2, 3):
        tracked.row(plan.arms[1], row(step))
    assert capsys.readouterr().out.count("MLflow at http://server: gone (what is missing there is logged at the end)") == 1
    assert len(calls) == 1
