"""What Tune is told: decisions by points, what is remembered, and Optuna's warm start. Needs Ray, no fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ray.tune.schedulers import TrialScheduler

from codeblock.core.config import Config, StoppingConfig
from codeblock.core.config.file import load_config
from codeblock.sweep.record import Record
from codeblock.sweep.stopping import NLL, POINT, STEP, Board, PoliteASHA, StopAsked
from codeblock.sweep.tuner import _optuna, at_once, shared_out

STOPPING = StoppingConfig(after=2, factor=2)


def look(point: str, step: int, nll: float) -> dict[str, Any]:
    return {POINT: point, STEP: step, NLL: nll}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    path = tmp_path / "config.yaml"
    path.write_text(
        "seeds: [0, 1]\nselect: {token_budget: 0.15, inside_share: 0.4}\n"
        "sweep: {search: optuna, samples: 4, space: {select.token_budget: {loguniform: [0.01, 0.3]}}}\n"
    )
    return load_config(path)


def test_a_point_is_asked_to_stop_and_never_killed(ray_cluster: None) -> None:
    board: Any = Board.remote()  # type: ignore[attr-defined]
    asha = PoliteASHA(board, STOPPING, 8)
    for point, nll in (("a", 1.0), ("b", 1.1), ("a", 1.2)):
        assert asha.on_trial_result(None, None, look(point, 2, nll)) == TrialScheduler.CONTINUE
    assert [StopAsked(board, point)() for point in ("a", "b")] == [False, True], (
        "the other seed of a goes on, though it is worse"
    )
    assert asha.on_trial_result(None, None, {"point": {}}) == TrialScheduler.CONTINUE


def test_nobody_is_stopped_for_being_near_the_end(ray_cluster: None) -> None:
    board: Any = Board.remote()  # type: ignore[attr-defined]
    asha = PoliteASHA(board, STOPPING, 8)
    asha.on_trial_result(None, None, look("a", 8, 1.0))
    assert not StopAsked(board, "a")()


def test_decisions_go_on_where_an_earlier_command_was_cut(ray_cluster: None) -> None:
    board: Any = Board.remote()  # type: ignore[attr-defined]
    asha = PoliteASHA(board, STOPPING, 8)
    good = Record({"x": 1}, 0, "", "evaluated", looks=[(2, 1.0), (4, 0.9)])
    stopped = Record({"x": 2}, 0, "", "stopped", looks=[(2, 2.0)])
    asha.remember([good, stopped])
    asha.on_trial_result(None, None, look("new", 2, 1.6))
    assert [StopAsked(board, point)() for point in ("new", stopped.point.key, good.point.key)] == [True, True, False]


def test_trials_at_once_are_what_the_cluster_has_room_for(ray_cluster: None, config: Config) -> None:
    def trials(**cluster: Any) -> int:
        return at_once(config.model_copy(update={"cluster": config.cluster.model_copy(update=cluster)}))

    assert trials(cpus_per_worker=0.9) == 2
    assert trials(cpus_per_worker=1.0) == 2, "a trial of one worker is that worker itself"
    assert trials(cpus_per_worker=0.4) == 5
    assert trials(cpus_per_worker=0.5, train_workers=2) == 1, "four workers of half a CPU leave none for what drives them"
    assert trials(cpus_per_worker=0.4, train_workers=2) == 2
    assert shared_out(config.cluster.model_copy(update={"grade_processes": 8}), 3).grade_processes == 2


def test_optuna_starts_with_what_is_known_and_asks_for_begun_points_first(config: Config) -> None:
    def record(budget: float, seed: int, passed: int) -> Record:
        counts = {"tiny": {f"t{n}": (1, int(n < passed)) for n in range(20)}}
        return Record({"select.token_budget": budget}, seed, "", "evaluated", counts=counts)

    search = _optuna(config, [record(0.1, 0, 20), record(0.1, 1, 0), record(0.2, 0, 5)])
    study = search.searcher._ot_study
    known = [trial for trial in study.trials if trial.state.is_finished()]
    assert [(trial.params, trial.value) for trial in known] == [({"select.token_budget": 0.1}, 0.5)]
    first = [search.suggest(f"trial-{n}") for n in (0, 1)]
    assert [(each["select.token_budget"], each["__trial_index__"]) for each in first] == [(0.2, 0), (0.2, 1)]
    assert search.suggest("trial-2")["select.token_budget"] != 0.2
