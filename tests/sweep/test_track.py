"""What a sweep puts into MLflow, where that is more than numbers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from mlflow import MlflowClient

from codeblock.core.config import Config
from codeblock.core.config.file import load_config
from codeblock.report.mlflow.runs import Tracker
from codeblock.sweep.choose import TaskSplit, parts_of
from codeblock.sweep.record import Record
from codeblock.sweep.track import POINT_TAG, SweepRuns, metrics_of, sweep_view

VALUES = {"select.token_budget": 0.15, "strategy": "codeblock"}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    path = tmp_path / "config.yaml"
    space = "{select.token_budget: [0.05, 0.15], strategy: [codeblock, random_items]}"
    path.write_text(f"name: seen\nstorage: {tmp_path}\nsweep: {{register_as: best, space: {space}}}\n")
    return load_config(path)


@pytest.fixture
def runs(server: tuple[str, int], config: Config) -> Iterator[SweepRuns]:
    """The runs of a sweep on a real server, one trial of it begun."""
    tracked = config.track.model_copy(update={"uri": server[0], "experiment": "registered"})
    step = SimpleNamespace(key="k", identity={"input": [{"name": None, "content": "c"}]})
    given = SimpleNamespace(fingerprint="f")
    with SweepRuns(Tracker(tracked, config.storage), config) as found:
        found.begin(SimpleNamespace(pairs=step, model=given, reference=given), None)  # type: ignore[arg-type]
        yield found


@pytest.mark.slow
def test_the_registered_model_has_its_selection_as_tags_and_its_files_on_the_server(
    server: tuple[str, int], runs: SweepRuns, tmp_path: Path
) -> None:
    record = Record(VALUES, 1, "", "evaluated")
    runs.begins(record.point, record.seed)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    runs.register(record, tmp_path / "model")
    runs.register(record, tmp_path / "model")

    client = MlflowClient(server[0])
    versions = sorted(client.search_model_versions("name = 'best'"), key=lambda each: int(each.version))
    assert [int(each.version) for each in versions] == [1, 2], "a sweep that is run again adds a version"
    assert versions[0].tags == {
        "select.token_budget": "0.15",
        "strategy": "codeblock",
        "codeblock.sweep": "seen",
        "codeblock.seed": "1",
    }
    run = client.get_run(versions[0].run_id)
    assert run.info.run_name == "budget 0.15 strategy codeblock seed 1"
    fetched = client.download_artifacts(run.info.run_id, "model/config.json", str(tmp_path))
    assert Path(fetched).read_text() == "{}"


def test_pass_at_1_of_a_trial_is_told_of_the_tasks_that_choose_and_of_those_that_report() -> None:
    counts = {"one": {"a": (1, 1), "b": (1, 0)}, "two": {"c": (2, 1)}}
    found = metrics_of(Record(VALUES, 0, "", "evaluated", counts=counts), TaskSplit("one"))
    assert (found["pass_at_1_choosing/one"], found["pass_at_1_reported/two"]) == (0.5, 0.5)
    assert not {"pass_at_1_reported/one", "pass_at_1_choosing/two"} & found.keys()


@pytest.mark.parametrize(
    ("settings", "first", "columns"),
    [
        ({}, "pass_at_1_reported/a", ["pass_at_1_reported/a", "pass_at_1_reported/b", "pass_at_1_choosing/a"]),
        ({"choose_on": "a"}, "pass_at_1_reported/b", ["pass_at_1_reported/b", "pass_at_1_choosing/a"]),
    ],
)
def test_the_view_begins_with_what_is_reported_and_calls_the_rest_by_its_name(
    config: Config, settings: dict[str, str], first: str, columns: list[str]
) -> None:
    evaluate = config.evaluate.model_copy(update={"benchmarks": {"a": "tiny", "b": "tiny"}})
    sweep = config.sweep.model_copy(update=settings)
    config = config.model_copy(update={"evaluate": evaluate, "sweep": sweep})
    assert parts_of(config) == TaskSplit(sweep.choose_on)
    view = sweep_view(config, "parent")
    assert view.first == first
    shown = [each.removeprefix("metrics.`").removesuffix("`") for each in view.columns]
    assert [each for each in shown if each in columns] == columns
    assert not [each for each in shown if each.startswith("pass_at_1/")], "all tasks together say too much of the chosen point"


def test_runs_are_grouped_by_point_where_there_are_several_seeds(config: Config) -> None:
    assert sweep_view(config, "parent").group_by is None
    assert sweep_view(config.model_copy(update={"seeds": [0, 1]}), "parent").group_by == POINT_TAG
