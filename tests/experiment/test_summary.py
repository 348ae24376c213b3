"""From arms and seeds to rows: what is averaged first, and what the intervals are over."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from codeblock.core.config import SelectConfig
from codeblock.core.errors import CodeBlockError
from codeblock.core.metrics import compare, compare_means, pass_at_k_interval
from codeblock.core.storage.tables import write_part
from codeblock.evaluate.reference_nll import REFERENCE_NLL
from codeblock.evaluate.reference_nll_driver import facts_of
from codeblock.evaluate.result import GradeResult, VerdictRow
from codeblock.experiment.arms import ArmPlan
from codeblock.experiment.cache import Step
from codeblock.experiment.differences import differences, nll_differences, write_differences
from codeblock.experiment.results import ArmResult
from codeblock.experiment.summary import arm_row, by_arm, mean_rows
from codeblock.experiment.tracking import nll_metrics
from codeblock.report.differences import differences_markdown, note
from codeblock.report.findings import findings
from codeblock.report.table import arms_markdown
from codeblock.sandbox.sandbox import Verdict

TASKS = [str(n) for n in range(20)]
UNTRAINED = {"tiny": dict.fromkeys(TASKS, 1.5)}


def write_verdicts(directory: Path, passed: set[int]) -> dict[str, Any]:
    rows = [
        VerdictRow(task, 0, Verdict.PASSED if number in passed else Verdict.WRONG_ANSWER, 0.1, "")
        for number, task in enumerate(TASKS)
    ]
    result = GradeResult("tiny", rows, TASKS, [], {}, [], 1.0)
    write_part(directory / "verdicts.parquet", result.table())
    return result.facts()


def write_nll(directory: Path, nll: dict[str, float]) -> dict[str, Any]:
    rows = [{"task_id": task, "nll": each, "tokens": 9, "closing_tokens": 0, "length": 20} for task, each in nll.items()]
    rows.append({"task_id": "long", "tokens": 9, "closing_tokens": 0, "length": 999, "reason": "longer_than_context"})
    table = pa.Table.from_pylist(rows, REFERENCE_NLL)
    write_part(directory / "reference_nll.parquet", table)
    return facts_of(table)


def result(
    cache: Path, arm: str, seed: int, passed: set[int] | None, nll: dict[str, float], tokens: int | None = None
) -> ArmResult:
    """One seed of an arm; without `passed` it was not asked to answer, without `tokens` it was not trained."""
    identity = {"arm": arm, "seed": seed}
    steps = {name: Step(name, f"{name}[{arm}]", identity, cache) for name in ("graded", "reference_nll")}
    graded = {} if passed is None else {"tiny": steps["graded"]}
    rounds: list[Any] = [] if tokens is None else [None]
    nll_steps = {"tiny": steps["reference_nll"]}
    plan = ArmPlan(arm, seed, f"{arm} seed {seed}", "full", SelectConfig(), rounds, {}, graded, nll_steps)
    found = ArmResult(plan)
    for name, step in graded.items():
        found.evaluated[name] = step.run(lambda out: write_verdicts(out, passed or set()))
    found.reference_nll = {"tiny": steps["reference_nll"].run(lambda out: write_nll(out, nll))}
    if tokens is not None:
        found.selected = {"supervised_tokens": tokens, "supervised_share": tokens / 1000, "inside_share": 0.5}
        found.trained = {"processed_tokens": 2 * tokens, "train_seconds": 1.0 * tokens}
    return found


@pytest.fixture
def arms(tmp_path: Path) -> list[ArmResult]:
    """A base and three seeds of an arm: they pass 8, 10 and 12 of 20 tasks; task n's nll falls by 0.01 n, 0.02 n and 0.03 n."""
    seeds = [
        result(
            tmp_path,
            "blocks",
            seed,
            set(range(6 + 2 * seed)),
            {task: 1.5 - 0.01 * seed * n for n, task in enumerate(TASKS)},
            100 + seed,
        )
        for seed in (1, 2, 3)
    ]
    return [result(tmp_path, "base", 0, {0, 19}, UNTRAINED["tiny"]), *seeds]


def test_seeds_of_an_arm_are_one_row_of_means(arms: list[ArmResult]) -> None:
    groups = by_arm(arms)
    assert {name: len(seeds) for name, seeds in groups.items()} == {"base": 1, "blocks": 3}
    row = arm_row("blocks", groups["blocks"], UNTRAINED, [1.0, 2.0, 3.0])
    assert (row.arm, row.seeds, row.supervised_tokens, row.processed_tokens) == ("blocks", 3, 102, 204)
    assert (row.supervised_share, row.inside_share, row.total_tflops) == pytest.approx((0.102, 0.5, 2.0))
    assert (row.asked_share, row.subset_ratio) == (None, None), "what no seed knows"


def test_pass_at_1_is_averaged_within_tasks_and_its_interval_is_over_tasks(arms: list[ArmResult]) -> None:
    score = arm_row("blocks", arms[1:], UNTRAINED, []).scores["tiny"]
    assert (score.tasks, score.pass_at_1, score.by_seed) == (20, pytest.approx(0.5), (0.4, 0.5, 0.6))
    by_task = [(3, sum(n < 6 + 2 * seed for seed in (1, 2, 3))) for n in range(20)]
    assert (score.low, score.high) == pass_at_k_interval(by_task)
    one = arm_row("blocks seed 2", arms[2:3], UNTRAINED, []).scores["tiny"]
    assert (one.low, one.high) == pass_at_k_interval([(1, 1)] * 10 + [(1, 0)] * 10), "Wilson's of one seed"
    assert one.by_seed == ()


def test_reference_nll_is_paired_with_the_untrained_model_by_task(arms: list[ArmResult]) -> None:
    score = arm_row("blocks", arms[1:], UNTRAINED, []).nll["tiny"]
    changes = [-0.02 * n for n in range(20)]
    mean = sum(changes) / 20
    deviation = math.sqrt(sum((each - mean) ** 2 for each in changes) / 19)
    half = 2.0930240544082634 * deviation / math.sqrt(20)  # Student's t, 19 degrees of freedom, 97.5%
    assert (score.tasks, score.nll, score.change) == (20, pytest.approx(1.31), pytest.approx(-0.19))
    assert (score.low, score.high) == pytest.approx((mean - half, mean + half))
    assert score.by_seed == pytest.approx((-0.095, -0.19, -0.285))
    base = arm_row("base", arms[:1], UNTRAINED, []).nll["tiny"]
    assert (base.nll, base.change) == (1.5, None), "the untrained model has no change"


def plan_of(arms: list[ArmResult]) -> Any:
    config = SimpleNamespace(evaluate=SimpleNamespace(benchmarks=("tiny",)))
    return SimpleNamespace(arms=[arm.plan for arm in arms], config=config, untrained_nll=arms[0].plan.reference_nll)


def test_arms_are_compared_with_their_seeds_averaged(arms: list[ArmResult]) -> None:
    [found] = differences(plan_of(arms))
    base = {task: (1, int(task in ("0", "19"))) for task in TASKS}
    pooled = {task: (3, sum(n < 6 + 2 * seed for seed in (1, 2, 3))) for n, task in enumerate(TASKS)}
    assert found.arms == {"blocks": compare(base, pooled)}
    assert found.arms["blocks"].difference == pytest.approx(0.4)
    assert found.by_seed["blocks"] == pytest.approx((0.3, 0.4, 0.5))
    assert note(found).endswith("; seeds averaged within a task, by seed: blocks +0.300 +0.400 +0.500.")


def test_an_arm_of_several_seeds_shows_them_against_a_control_of_one(arms: list[ArmResult]) -> None:
    [found] = differences(plan_of(arms), "blocks")
    assert found.by_seed["base"] == pytest.approx((-0.3, -0.4, -0.5))
    sentence, reach = findings([found])
    assert sentence.startswith("blocks, tiny pass@1 over 20 tasks: better than base (+0.400 [")
    assert sentence.endswith("], seeds +0.300 to +0.500)")
    assert "; the 3 seeds are averaged within a task, so the intervals are of tasks" in reach


def test_reference_nll_is_compared_too(arms: list[ArmResult], tmp_path: Path) -> None:
    [found] = nll_differences(plan_of(arms))
    assert (found.baseline, list(found.arms)) == ("base", ["blocks"])
    same = compare_means(UNTRAINED["tiny"], {task: 1.5 - 0.02 * n for n, task in enumerate(TASKS)})
    assert asdict(found.arms["blocks"]) == pytest.approx(asdict(same))
    assert found.by_seed["blocks"] == pytest.approx((-0.095, -0.19, -0.285))
    files = write_differences(differences(plan_of(arms)), tmp_path / "report", [found])
    text = files[0].read_text()
    assert text == differences_markdown(differences(plan_of(arms)), [found])
    assert "## tiny, reference nll: 20 tasks\n" in text
    assert "| blocks | 1.3100 | -0.1900 [-0.2454, -0.1346] |" in text


def test_without_an_untrained_arm_the_untrained_model_is_the_baseline(arms: list[ArmResult]) -> None:
    plan = plan_of(arms)
    plan.arms = plan.arms[1:]
    [found] = nll_differences(plan)
    assert found.baseline == "untrained"
    assert found.arms["blocks"].difference == pytest.approx(-0.19)
    assert nll_differences(plan, "blocks") == [], "nothing to hold it against"


def test_an_arm_that_answers_nothing_is_told_apart_by_its_reference_nll(tmp_path: Path, arms: list[ArmResult]) -> None:
    quiet = result(tmp_path, "quiet", 0, None, dict.fromkeys(TASKS, 1.4), 50)
    plan = plan_of([*arms, quiet])
    assert list(differences(plan)[0].arms) == ["blocks"]
    assert list(nll_differences(plan)[0].arms) == ["blocks", "quiet"]
    assert nll_differences(plan)[0].arms["quiet"].p_value is None, "all tasks change alike"
    row = arm_row("quiet", [quiet], UNTRAINED, [])
    assert (row.scores, row.nll["tiny"].change) == ({}, pytest.approx(-0.1))


def test_a_reference_nll_that_was_not_measured_is_named(tmp_path: Path, arms: list[ArmResult]) -> None:
    plan = plan_of(arms)
    step = Step("reference_nll", "reference_nll[later, tiny]", {"arm": "later"}, tmp_path)
    plan.arms.append(ArmPlan("later", 0, "later", "full", SelectConfig(), [None], {}, {}, {"tiny": step}))  # type: ignore[list-item]
    with pytest.raises(CodeBlockError, match=r"arm later: reference_nll\[later, tiny\] not measured yet"):
        nll_differences(plan)


def test_a_benchmark_whose_references_all_are_too_long_does_not_end_the_report(tmp_path: Path) -> None:
    arms = [result(tmp_path, "base", 0, {0}, {}), result(tmp_path, "blocks", 0, {0, 1}, {}, 50)]
    assert nll_differences(plan_of(arms)) == []
    row = arm_row("blocks", arms[1:], {"tiny": {}}, [])
    assert (row.nll["tiny"].tasks, row.nll["tiny"].change) == (0, None)
    assert arms_markdown([row]).splitlines()[2].endswith("| — |")
    assert nll_metrics(arms[1], {"tiny": {}}) == {}


def test_metrics_of_one_seed_are_its_mean_and_its_gain_over_the_untrained_model(arms: list[ArmResult]) -> None:
    metrics = nll_metrics(arms[2], UNTRAINED)
    own = compare_means({task: 1.5 - 0.02 * n for n, task in enumerate(TASKS)}, UNTRAINED["tiny"])
    assert metrics["reference_nll/tiny"] == pytest.approx(1.31)
    assert metrics["reference_nll/tiny_low"] < 1.31 < metrics["reference_nll/tiny_high"]
    assert metrics["reference_nll_gain/tiny"] == pytest.approx(0.19)
    ends = metrics["reference_nll_gain/tiny_low"], metrics["reference_nll_gain/tiny_high"]
    assert ends == pytest.approx((own.low, own.high))
    assert nll_metrics(arms[0], UNTRAINED)["reference_nll_gain/tiny"] == 0


def test_curves_of_seeds_are_averaged_step_by_step() -> None:
    first = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}]
    assert mean_rows([first, [{"step": 1, "loss": 4.0}]], ["step"], "loss") == [
        {"step": 1, "loss": 3.0},
        {"step": 2, "loss": 1.0},
    ]
