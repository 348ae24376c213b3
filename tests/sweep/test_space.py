"""The space of a sweep: which points there are, and which mistakes are told before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from codeblock.core.config import Config
from codeblock.core.config.file import load_config
from codeblock.core.errors import CodeBlockError
from codeblock.sweep.points import Point, best_config, config_of
from codeblock.sweep.run import plan_sweep
from codeblock.sweep.space import corners, distributions, points_of, snapped


def sweep(tmp_path: Path, space: str, **settings: Any) -> Config:
    told = "".join(f", {key}: {value}" for key, value in settings.items())
    path = tmp_path / "config.yaml"
    path.write_text(f"select: {{token_budget: 0.15, inside_share: 0.4}}\nsweep: {{space: {space}{told}}}\n")
    return load_config(path)


def test_a_grid_is_all_combinations_the_last_key_changing_first(tmp_path: Path) -> None:
    config = sweep(tmp_path, "{select.token_budget: [0.05, 0.15], select.reach_weight: [0, 0.5]}")
    assert [point.name for point in points_of(config)] == [
        "budget 0.05 reach 0",
        "budget 0.05 reach 0.5",
        "budget 0.15 reach 0",
        "budget 0.15 reach 0.5",
    ]


def test_a_number_that_yaml_takes_for_a_word_is_a_number(tmp_path: Path) -> None:
    (point,) = points_of(sweep(tmp_path, "{train.learning_rate: [1e-3, 0.001]}"))
    assert point.values == {"train.learning_rate": 0.001}


def test_random_points_lie_on_their_steps_and_are_drawn_alike_each_time(tmp_path: Path) -> None:
    space = "{train.learning_rate: {loguniform: [1.0e-5, 1.0e-2]}, select.reach_weight: {uniform: [0, 1], step: 0.25}"
    config = sweep(tmp_path, space + ", train.batch_pairs: {uniform: [8, 32], step: 8}}", search="random", samples=30)
    points = points_of(config)
    assert len(points) == len(set(points)) == 30
    assert points == points_of(config)
    assert {point.values["select.reach_weight"] for point in points} == {0, 0.25, 0.5, 0.75, 1}
    assert {type(point.values["train.batch_pairs"]) for point in points} == {int}
    rates = [point.values["train.learning_rate"] for point in points]
    assert all(1e-5 <= rate <= 1e-2 for rate in rates)
    assert 5 <= sum(rate < 10**-3.5 for rate in rates) <= 25, "equal factors are alike"


def test_a_small_space_gives_the_points_that_it_has(tmp_path: Path) -> None:
    assert len(points_of(sweep(tmp_path, "{select.gce_q: [0, 0.7]}", search="random", samples=5))) == 2


def test_what_is_the_arms_own_leaves_the_held_out_pairs_of_all_points_alike(tmp_path: Path) -> None:
    config = sweep(tmp_path, "{select.token_budget: [0.3], strategy: [random_items], train.learning_rate: [0.01]}")
    (point,) = points_of(config)
    found = config_of(config, point)
    assert found.select == config.select
    assert list(found.arms) == ["codeblock"]
    assert (found.arms["codeblock"].strategy, found.settings_of("codeblock").token_budget) == ("random_items", 0.3)
    assert found.train.learning_rate == 0.01


def test_the_best_config_has_the_untrained_arms_beside_the_point(tmp_path: Path) -> None:
    config = sweep(tmp_path, "{select.token_budget: [0.3]}")
    best = best_config(config, Point.of({"select.token_budget": 0.3}))
    assert (best.name, list(best.arms), best.sweep.space) == ("run-best", ["base", "codeblock"], {})
    assert best.settings_of("codeblock").token_budget == 0.3


def test_a_key_of_an_override_replaces_that_of_the_file(tmp_path: Path) -> None:
    sweep(tmp_path, "{select.gce_q: [0, 0.7]}")
    config = load_config(tmp_path / "config.yaml", ["sweep.space.select.gce_q=[0.5]"])
    assert [point.name for point in points_of(config)] == ["gce q 0.5"]


def test_the_corners_of_a_space_leave_out_what_cannot_be(tmp_path: Path) -> None:
    config = sweep(tmp_path, "{select.token_budget: {loguniform: [0.01, 0.9]}}", search="random")
    assert [point.values["select.token_budget"] for point in corners(config)] == [0.01], "0.9 cannot be spent at 40% inside"


def test_optuna_gets_the_space_and_its_suggestions_become_points(tmp_path: Path) -> None:
    space = "{select.token_budget: {loguniform: [0.01, 0.3]}, select.reach_weight: {uniform: [0, 1], step: 0.25}}"
    config = sweep(tmp_path, space, search="optuna")
    found = distributions(config.sweep)
    assert (found["select.token_budget"].log, found["select.reach_weight"].step) == (True, 0.25)
    point = snapped(config.sweep, {"select.token_budget": 0.123456, "select.reach_weight": 0.75})
    assert point.name == "budget 0.1235 reach 0.75"


@pytest.mark.parametrize(
    ("space", "says"),
    [
        ("{}", "sweep.space: empty"),
        ("{select.tokn_budget: [0.1]}", "select.tokn_budget: unknown key; did you mean select.token_budget"),
        ("{train.lr: [1]}", "train.lr: unknown key"),
        ("{select.token_budget: [0.1, 0.9]}", "point budget 0.9: .*cannot be spent at inside_share=0.4"),
        ("{select.token_budget: [nan]}", "select.token_budget"),
        ("{seed: [1]}", "sweep.space.seed: cannot be swept, seeds are repeated at each point: set seeds="),
        ("{storage: [a]}", "sweep.space.storage: cannot be swept"),
        ("{train.steps: {uniform: [1, 2]}}", "search=grid takes lists, and train.steps is a range"),
        ("{train.steps: {uniform: [2, 1]}}", r"train.steps: \[2, 1\] is no range"),
        ("{train.steps: {uniform: [20, 50], step: 20}}", r"the ends 20 and 50 are no multiples of step=20"),
        ("{train.steps: []}", "sweep.space.train.steps: no values; list some"),
        (
            "{rank.by: [[length], [random]]}",
            r"rank.by: a value has to be a number, a word or null \(found \['length'\]",
        ),
        (
            f"{{train.steps: {[*range(101)]}, train.batch_pairs: {[*range(101)]}}}",
            "10,201 points, and a sweep has at most 10,000",
        ),
        ("{train.steps: 3}", "train.steps: write a list of values, or a range"),
        ("{strategy: [no_such]}", "no_such"),
    ],
)
def test_a_mistake_in_the_space_is_one_line(tmp_path: Path, space: str, says: str) -> None:

    with pytest.raises(CodeBlockError, match=says) as caught:
        plan_sweep(sweep(tmp_path, space).model_copy(update={"storage": tmp_path / "runs"}))
    assert "\n" not in str(caught.value)


def test_a_plan_makes_no_directory(tmp_path: Path) -> None:
    """Its storage may be misspelt."""
    planned = plan_sweep(sweep(tmp_path, "{select.gce_q: [0, 0.7]}").model_copy(update={"storage": tmp_path / "rnus"}))
    assert (planned.trials, (tmp_path / "rnus").exists()) == (2, False)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"search": "optuna", "stopping": "{after: 5}"}, "sweep.search=optuna learns from evaluated points"),
        ({"arm": "nope"}, "sweep.arm=nope: no arm that is trained; there are: full, random_tokens, codeblock"),
        ({"arm": "base"}, "sweep.arm=base: no arm that is trained"),
        ({"choose_on": "mbpp"}, "sweep.choose_on=mbpp: has to be one of several benchmarks"),
        ({"stopping": "{after: 200}"}, "no look before the last of train.steps="),
    ],
)
def test_settings_that_do_not_go_together_are_one_line(tmp_path: Path, settings: dict[str, Any], says: str) -> None:

    def plan() -> None:
        config = sweep(tmp_path, "{select.gce_q: [0, 0.7]}", **settings)
        plan_sweep(config.model_copy(update={"storage": tmp_path, "train": config.train.model_copy(update={"steps": 60})}))

    with pytest.raises(CodeBlockError, match=says) as caught:
        plan()
    assert "\n" not in str(caught.value)
