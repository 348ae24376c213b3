"""The best point is chosen on one part of the tasks and reported on the other; and what the table says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from codeblock.core.config import Config
from codeblock.core.config.file import load_config
from codeblock.core.errors import CodeBlockError
from codeblock.core.metrics import Counts
from codeblock.sweep.choose import TaskSplit, check_halves, parts_of, prediction, results_of
from codeblock.sweep.plots import plot_points
from codeblock.sweep.record import Record, core_nll
from codeblock.sweep.table import points_markdown, told

TASKS = [f"t{n}" for n in range(40)]
PARTS = TaskSplit(None)
CHOOSING = [task for task in TASKS if PARTS.chooses("tiny", task)]
REPORTED = [task for task in TASKS if not PARTS.chooses("tiny", task)]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    path = tmp_path / "config.yaml"
    path.write_text("seeds: [0, 1]\nsweep: {space: {select.token_budget: [0.1, 0.2, 0.3]}}\n")
    return load_config(path)


def record(budget: float, seed: int, chosen: int, reported: int, nll: float = 1.0, **more: Any) -> Record:
    """A trial that passes so many of the tasks of each part."""
    passed = {*CHOOSING[:chosen], *REPORTED[:reported]}
    counts: dict[str, Counts] = {task: (1, int(task in passed)) for task in TASKS}
    likely = {"tiny": dict.fromkeys(TASKS, nll)}
    values = {"select.token_budget": budget}
    return Record(values, seed, "", "evaluated", counts={"tiny": counts}, nll=likely, seconds=9.0, **more)


def test_the_parts_are_about_halves_and_have_no_task_in_common() -> None:
    assert sorted([*CHOOSING, *REPORTED]) == sorted(TASKS)
    assert 12 <= len(CHOOSING) <= 28


def test_the_best_is_chosen_without_a_look_at_the_tasks_that_report(config: Config) -> None:
    lucky = [record(0.1, seed, chosen=5, reported=len(REPORTED)) for seed in (0, 1)]
    chosen = [record(0.2, seed, chosen=6, reported=0) for seed in (0, 1)]
    best, other = results_of([*lucky, *chosen], [0, 1], config, {})
    assert (best.point.values, other.point.values) == ({"select.token_budget": 0.2}, {"select.token_budget": 0.1})
    assert (best.scores["tiny"].pass_at_1, other.scores["tiny"].pass_at_1) == (0.0, 1.0)
    assert best.chosen["tiny"].pass_at_1 == pytest.approx(6 / len(CHOOSING))
    assert best.scores["tiny"].tasks == len(REPORTED)


def test_of_equal_points_the_same_is_the_best_whichever_ended_first(config: Config) -> None:
    """Another command that found all of them done would take another one, whose model is gone, for the best."""
    equal = [record(budget, seed, 3, 3) for budget in (0.1, 0.2) for seed in (0, 1)]
    found = [results_of(records, [0, 1], config, {})[0].point.values for records in (equal, equal[::-1])]
    assert found == [{"select.token_budget": 0.1}] * 2


def test_a_point_is_the_mean_of_its_seeds(config: Config) -> None:
    (found,) = results_of([record(0.1, 0, 2, 4), record(0.1, 1, 4, 8)], [0, 1], config, {})
    assert found.merit == pytest.approx(3 / len(CHOOSING))
    assert found.scores["tiny"].pass_at_1 == pytest.approx(6 / len(REPORTED))
    assert found.scores["tiny"].by_seed == pytest.approx((4 / len(REPORTED), 8 / len(REPORTED)))


def test_a_point_of_which_a_seed_was_stopped_is_no_candidate(config: Config) -> None:
    stopped = Record({"select.token_budget": 0.1}, 1, "", "stopped", steps=20)
    found = results_of([record(0.1, 0, 9, 9), stopped, record(0.2, 0, 1, 1), record(0.2, 1, 1, 1)], [0, 1], config, {})
    assert [each.whole for each in found] == [True, False]
    assert found[1].state() == "stopped 1 of 2 at step 20"
    assert "2 points, 1 of them evaluated with every seed" in told(found, [], PARTS.told(["tiny"]))[0]


def test_so_few_tasks_that_a_half_is_empty_are_refused() -> None:
    check_halves(PARTS, {"tiny": TASKS})
    check_halves(PARTS, {})
    with pytest.raises(CodeBlockError, match=r"none of the tasks of tiny is left to report the point.*raise evaluate\.limit"):
        check_halves(PARTS, {"tiny": CHOOSING[:1]})
    with pytest.raises(CodeBlockError, match=r"none of the tasks of tiny is left to choose a point"):
        check_halves(PARTS, {"tiny": REPORTED[:2]})


def test_one_of_several_benchmarks_may_choose() -> None:
    parts = TaskSplit("mbpp")
    assert parts.chooses("mbpp", "t1")
    assert not parts.chooses("humaneval", "t1")
    assert parts.told(["humaneval", "mbpp"]) == "chosen on mbpp, reported on humaneval"


def test_the_reference_nll_may_choose(config: Config, tmp_path: Path) -> None:
    path = tmp_path / "nll.yaml"
    path.write_text("sweep: {space: {select.token_budget: [0.1, 0.2]}, measure: reference_nll}\n")
    likely = load_config(path)
    found = results_of([record(0.1, 0, 9, 9, nll=2.0), record(0.2, 0, 1, 1, nll=1.0)], [0], likely, {})
    assert found[0].point.values == {"select.token_budget": 0.2}
    assert parts_of(likely) == PARTS


def test_a_sweep_in_which_nothing_chooses_is_refused(config: Config) -> None:
    nothing = config.model_copy(update={"evaluate": config.evaluate.model_copy(update={"benchmarks": {}})})
    with pytest.raises(CodeBlockError, match=r"evaluate\.benchmarks: empty, so nothing chooses a point"):
        parts_of(nothing)


def test_how_well_the_reference_nll_foretells_pass_at_1(config: Config) -> None:
    points = [record(budget, seed, 1, solved, nll) for budget, solved, nll in RANKED for seed in (0, 1)]
    found = prediction(results_of(points, [0, 1], config, {}), "tiny")
    assert found is not None
    assert (found.points, found.correlation) == (3, pytest.approx(0.5)), "one of three is out of order"
    assert prediction(results_of(points[:4], [0, 1], config, {}), "tiny") is None, "two points show nothing"


RANKED = [(0.1, 2, 2.0), (0.2, 4, 0.5), (0.3, 6, 1.0)]


def test_the_table_has_a_line_for_each_point_with_both_parts_and_the_nll(config: Config) -> None:
    points = [record(budget, seed, solved, solved, nll) for budget, solved, nll in RANKED for seed in (0, 1)]
    results = results_of(points, [0, 1], config, {"tiny": dict.fromkeys(TASKS, 3.0)})
    lines = points_markdown(results).splitlines()
    assert lines[0].startswith(f"| budget | tiny pass@1, choosing tasks ({len(CHOOSING)} tasks) | tiny pass@1, reported tasks")
    assert lines[2].startswith(f"| 0.3 | {6 / len(CHOOSING):.3f} | {6 / len(REPORTED):.3f} [")
    assert "| 1.000, -2.000" in lines[2]
    assert len(lines) == 5


def test_a_benchmark_that_only_chooses_has_no_empty_column(tmp_path: Path) -> None:
    path = tmp_path / "two.yaml"
    path.write_text(
        "sweep: {space: {select.token_budget: [0.1, 0.2]}, choose_on: mbpp}\nevaluate: {benchmarks: {tiny: tiny, mbpp: m}}\n"
    )
    points = [record(budget, 0, 4, 4) for budget in (0.1, 0.2)]
    for each in points:
        each.counts["mbpp"] = {"m1": (1, 1), "m2": (1, 0)}
    heading = points_markdown(results_of(points, [0], load_config(path), {})).splitlines()[0]
    assert heading == (
        f"| budget | mbpp pass@1, choosing tasks (2 tasks) | tiny pass@1, reported tasks ({len(TASKS)} tasks) "
        "| tiny reference nll, reported tasks | supervised tokens | pairs | train seconds | seeds |"
    )


def test_the_plots_are_written_for_the_keys_that_there_are(config: Config, tmp_path: Path) -> None:
    values = [(0.1, 0.0, 0.0), (0.3, 0.5, 0.0), (0.1, 0.5, 0.5)]
    points = []
    for number, (budget, reach, bridge) in enumerate(values):
        one = record(budget, 0, number, number)
        one.values = {"select.token_budget": budget, "select.reach_weight": reach, "select.bridge_weight": bridge}
        points.append(one)
    files = plot_points(results_of(points, [0], config, {}), "tiny", tmp_path)
    assert [path.name for path in files] == [
        "token_budget_against_pass_tiny.png",
        "map_reach_weight_bridge_weight_tiny.png",
        "parallel_tiny.png",
    ]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in files)


def test_trials_are_stopped_by_core_tokens_supervised_or_not() -> None:
    rows = [
        {"step": 5, "token_class": "core", "supervised": True, "nll": 1.0, "tokens": 30},
        {"step": 5, "token_class": "core", "supervised": False, "nll": 3.0, "tokens": 10},
        {"step": 5, "token_class": "text", "supervised": False, "nll": 9.0, "tokens": 99},
        {"step": 6, "loss": 1.0},
    ]
    assert core_nll(rows) == {5: pytest.approx(1.5)}
