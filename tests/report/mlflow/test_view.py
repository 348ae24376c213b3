"""The views that MLflow opens on, in a real browser over the real server: pass@1 first, a line for each point or arm."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from codeblock.core.config import Config
from codeblock.core.config.file import load_config
from codeblock.experiment.tracking import run_view
from codeblock.report.mlflow.runs import SEED_TAG, Tracker, in_groups, pass_metrics
from codeblock.report.mlflow.ui import newest_page
from codeblock.report.mlflow.view import View, newest_view, of_parent, runs_page, save_view, shown_at, view_key
from codeblock.sweep.points import Point
from codeblock.sweep.track import POINT_TAG, sweep_view

GRID = [(budget, reach) for budget in (0.05, 0.15) for reach in (0.0, 0.5)]
OVER_BUDGET = "select.token_budget vs. pass_at_1_reported/tiny"
POINTS = [Point.of({"select.token_budget": budget, "select.reach_weight": reach}) for budget, reach in GRID]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    path = tmp_path_factory.mktemp("config") / "config.yaml"
    path.write_text(
        "name: seen\nseeds: [0, 1]\nsweep: {space: {select.token_budget: [0.05, 0.15], select.reach_weight: [0, 0.5]}}\n"
    )
    return load_config(path)


@pytest.fixture(scope="module")
def swept(local_tracker: Tracker, config: Config) -> str:
    """The view of a sweep of four points with two seeds each."""
    parent = local_tracker.start_parent("seen", config, {})
    for number, point in enumerate(POINTS):
        for seed in (0, 1):
            tags = {POINT_TAG: point.name, SEED_TAG: str(seed)}
            child = local_tracker.start_trial(parent, f"{point.name} seed {seed}", tags, {**point.values, "seed": seed})
            rate = 0.2 + 0.1 * number + 0.02 * seed
            local_tracker.log_metrics(child, pass_metrics("tiny", {1: (0.5, 0.4, 0.6)}, 100))
            local_tracker.log_metrics(child, {"pass_at_1_reported/tiny": rate, "pass_at_1_choosing/tiny": 1 - rate})
            local_tracker.finish(child)
    local_tracker.finish(parent)
    view = sweep_view(config, parent)
    return save_view(local_tracker.client, local_tracker.uri, local_tracker.experiment_id, view_key(parent), view)


GROUPS = "(document.body?.innerText ?? '').split('\\n').filter(line => line.startsWith('Group: '))"


def shows(*texts: str) -> str:
    """Whether the page shows all of these: its parts come one by one."""
    return f"{json.dumps(texts)}.every(text => (document.body?.innerText ?? '').includes(text))"


def groups(tab: Any) -> list[str]:
    """The groups of runs that the page lists, in its order."""
    return [str(line) for line in tab.js(GROUPS)]


def text(tab: Any) -> str:
    return str(tab.js("document.body.innerText"))


@pytest.mark.slow
def test_the_view_of_a_sweep_shows_a_line_for_each_point_and_pass_at_1_on_the_tasks_that_report_first(
    server: tuple[str, int], swept: str, chromium: Callable[[], Any]
) -> None:
    tab = chromium()
    tab.look(1600, 1000)
    there = shows("Sweep seen", "pass_at_1_reported/tiny", OVER_BUDGET)
    tab.visit(f"{server[0]}/{swept}", f"{there} && {GROUPS}.length >= {len(POINTS)}")
    assert groups(tab) == [f"Group: {point.name}" for point in reversed(POINTS)], "the best that is told first, seeds together"
    shown = text(tab)
    assert shown.index("Sweep seen") < shown.index("pass_at_1_reported/tiny") < shown.index(OVER_BUDGET)
    assert "Traces 0" not in shown


@pytest.mark.slow
def test_the_view_of_a_run_shows_its_arms(
    server: tuple[str, int], local_tracker: Tracker, config: Config, chromium: Callable[[], Any]
) -> None:
    parent = local_tracker.start_parent("compared", config, {})
    for arm, rate in (("base", 0.2), ("full", 0.4)):
        child = local_tracker.start_arm(parent, arm, f"view:{arm}")
        local_tracker.log_metrics(child, pass_metrics("tiny", {1: (rate, rate - 0.05, rate + 0.05)}, 100))
        local_tracker.finish(child)
    plan = SimpleNamespace(config=config)
    key = view_key(parent)
    view = run_view(plan, parent)  # type: ignore[arg-type]
    address = save_view(local_tracker.client, local_tracker.uri, local_tracker.experiment_id, key, view)
    assert newest_page(local_tracker.uri) == address
    tab = chromium()
    tab.look(1600, 1000)
    tab.visit(f"{server[0]}/{address}", shows("2 matching runs", "Arms of seen", "full", "base"))
    shown = text(tab)
    assert shown.index("full") < shown.index("base"), "the best first"
    assert "Arms of seen" in shown


def test_a_version_that_was_not_tried_gets_the_plain_page_of_runs(
    local_tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlflow.__version__", "9.0.0")
    client, experiment = local_tracker.client, local_tracker.experiment_id
    address = save_view(client, local_tracker.uri, experiment, "other", View("x", of_parent("x"), "pass_at_1/tiny"))
    assert address == runs_page(experiment) == newest_view(client, local_tracker.uri)
    assert "mlflow.sharedViewState.other" not in client.get_experiment(experiment).tags


def test_an_address_is_that_of_the_server_or_of_the_local_ui() -> None:
    assert shown_at("https://host/", "#/experiments/1/runs") == "https://host/#/experiments/1/runs"
    assert shown_at("sqlite:///x.db", "#/experiments/1/runs") == "http://127.0.0.1:5000/#/experiments/1/runs"


def test_figures_of_the_machine_are_a_group_that_comes_last() -> None:
    found = {"pass_at_1/tiny": 0.5, "stage/rank/wall_seconds": 2.0, "stage/rank/driver_peak_mb": 9.0, "select/items": 3.0}
    assert sorted(in_groups(found)) == [
        "pass_at_1/tiny",
        "select/items",
        "system/stage/rank/driver_peak_mb",
        "system/stage/rank/wall_seconds",
    ]
