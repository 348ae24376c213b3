"""The arms of a finished run side by side: what is compared, what is left out, what is shown and written."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from codeblock.core.config import SelectConfig
from codeblock.core.errors import CodeBlockError
from codeblock.core.metrics import compare, pass_at_k_interval
from codeblock.core.storage.tables import write_part
from codeblock.evaluate import GradeResult, Verdict
from codeblock.evaluate.result import VerdictRow
from codeblock.experiment.arms import ArmPlan
from codeblock.experiment.cache import Step
from codeblock.experiment.differences import against_controls, differences, read_counts, write_differences
from codeblock.report.differences import Differences, differences_markdown, differences_table, note
from codeblock.report.findings import findings

BENCHMARKS = ("humaneval", "mbpp")


def write_verdicts(directory: Path, passed: dict[str, list[bool]]) -> dict[str, Any]:
    verdicts = {True: Verdict.PASSED, False: Verdict.WRONG_ANSWER}
    rows = [VerdictRow(task, n, verdicts[each], 0.1, "") for task, found in passed.items() for n, each in enumerate(found)]
    result = GradeResult("humaneval", rows, list(passed), [], {}, [], 1.0, {"lacking": ["pandas"]})
    write_part(directory / "verdicts.parquet", result.table())
    return result.facts()


def evaluated(cache: Path, name: str, passed: dict[str, list[bool]] | None, strategy: str | None = None) -> ArmPlan:
    """An arm with the same verdicts on each benchmark; None: not evaluated yet."""
    steps = {each: Step("graded", f"grade[{name}]", {"arm": name, "benchmark": each}, cache) for each in BENCHMARKS}
    for step in steps.values() if passed is not None else ():
        step.run(lambda directory: write_verdicts(directory, passed or {}))
    return ArmPlan(name, 0, name, strategy, SelectConfig(), [], {}, steps)


def plan_of(*arms: ArmPlan) -> Any:
    return SimpleNamespace(arms=list(arms), config=SimpleNamespace(evaluate=SimpleNamespace(benchmarks=BENCHMARKS)))


@pytest.fixture
def plan(tmp_path: Path) -> Any:
    first = {str(n): [n < 10] for n in range(40)}
    return plan_of(
        evaluated(tmp_path, "base", first),
        evaluated(tmp_path, "full", {str(n): [n % 2 == 0] for n in range(41)}),
        evaluated(tmp_path, "codeblock", {str(n): [n < 20] for n in range(40)}),
    )


def test_every_arm_is_held_against_the_first_on_every_benchmark(plan: Any) -> None:
    found = differences(plan)
    assert [(each.benchmark, each.baseline, list(each.arms)) for each in found] == [
        (name, "base", ["full", "codeblock"]) for name in BENCHMARKS
    ]
    codeblock = found[0].arms["codeblock"]
    assert (codeblock.first, codeblock.second, codeblock.only_first, codeblock.only_second) == (0.25, 0.5, 0, 10)
    assert codeblock.p_value == pytest.approx(2 / 2**10)
    assert codeblock.first_interval == pass_at_k_interval([(1, 1)] * 10 + [(1, 0)] * 30)


def test_tasks_that_an_arm_lacks_or_that_were_not_run_are_left_out_of_all(plan: Any) -> None:
    """Task 40 is one arm's alone; `lacking` was not run by any for want of a package."""
    found = differences(plan)[0]
    assert found.left_out == 2
    assert {arm.tasks for arm in found.arms.values()} == {40}


def test_another_arm_can_be_the_baseline(plan: Any) -> None:
    found = differences(plan, "codeblock")[0]
    assert list(found.arms) == ["base", "full"]
    assert found.arms["base"].difference == -0.25


def test_a_baseline_that_is_no_arm_is_named(plan: Any) -> None:
    with pytest.raises(CodeBlockError, match="--baseline other: no such arm; there are base, full, codeblock"):
        differences(plan, "other")


def test_an_arm_that_was_not_evaluated_is_named(tmp_path: Path) -> None:
    plan = plan_of(evaluated(tmp_path, "base", {"a": [True]}), evaluated(tmp_path, "full", None))
    with pytest.raises(CodeBlockError, match="arm full: not evaluated on humaneval yet"):
        differences(plan)


def test_arms_without_a_common_task_are_not_compared(tmp_path: Path) -> None:
    plan = plan_of(evaluated(tmp_path, "base", {"a": [True]}), evaluated(tmp_path, "full", {"b": [True]}))
    with pytest.raises(CodeBlockError, match="humaneval: no task that every arm has"):
        differences(plan)


def test_one_arm_has_nothing_to_be_held_against(tmp_path: Path) -> None:
    assert differences(plan_of(evaluated(tmp_path, "base", {"a": [True]}))) == []


def test_each_arm_of_the_method_is_held_against_every_arm_of_another_kind(tmp_path: Path) -> None:
    """Arms of the method are found by their strategy, and not held against each other."""
    tasks = [str(n) for n in range(40)]
    plan = plan_of(
        evaluated(tmp_path, "base", {task: [n < 10] for n, task in enumerate(tasks)}),
        evaluated(tmp_path, "full", {task: [n < 20] for n, task in enumerate(tasks)}, "full"),
        evaluated(tmp_path, "blocks", {task: [n < 22] for n, task in enumerate(tasks)}, "codeblock"),
        evaluated(tmp_path, "wider", {task: [n < 24] for n, task in enumerate(tasks)}, "codeblock"),
    )
    found = against_controls(plan)
    assert [(each.baseline, each.benchmark, list(each.arms)) for each in found] == [
        (name, benchmark, ["base", "full"]) for name in ("blocks", "wider") for benchmark in BENCHMARKS
    ]
    assert found[0].arms["base"].difference == pytest.approx(-0.3)
    assert findings(found)[0] == (
        "blocks, humaneval pass@1 over 40 tasks: better than base (+0.300 [+0.143, +0.433]); "
        "no difference shown against full (+0.050 [-0.031, +0.129])"
    )


def test_a_run_without_the_method_or_without_a_control_has_no_finding(tmp_path: Path) -> None:
    alone = evaluated(tmp_path, "blocks", {"a": [True]}, "codeblock")
    other = evaluated(tmp_path, "full", {"a": [True]}, "full")
    assert against_controls(plan_of(alone)) == []
    assert against_controls(plan_of(evaluated(tmp_path, "base", {"a": [True]}), other)) == []


def test_counts_are_by_task_for_several_samples(tmp_path: Path) -> None:
    write_verdicts(tmp_path, {"a": [True, False, True], "b": [False, False, False]})
    assert read_counts(tmp_path / "verdicts.parquet") == {"a": (3, 2), "b": (3, 0)}


def test_what_was_found_is_written(plan: Any, tmp_path: Path) -> None:
    found = differences(plan)
    files = write_differences(found, tmp_path / "report")
    assert [path.name for path in files] == ["compare.md", "compare.json"]
    assert files[0].read_text() == differences_markdown(found)
    facts = json.loads(files[1].read_text())
    assert facts[1]["benchmark"] == "mbpp"
    assert facts[0]["arms"]["codeblock"]["interval"] == list(found[0].arms["codeblock"].interval)


def one(left_out: int = 0) -> Differences:
    first = {str(n): (1, int(n < 10)) for n in range(40)}
    second = {str(n): (1, int(5 < n < 20)) for n in range(40)}
    return Differences("humaneval", "full", {"codeblock": compare(first, second)}, left_out)


def test_the_table_shows_both_arms_their_difference_and_its_interval_in_80_columns() -> None:
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(differences_table(one(7)))
    lines = [line.rstrip() for line in capture.get().splitlines()]
    assert lines[0] == "humaneval: 40 tasks, 7 left out: not run, or not by every arm"
    rows = {line.split()[0]: line.split(maxsplit=1)[1].split() for line in lines if line.startswith(("full", "codeblock"))}
    assert rows["full"] == ["0.250", "[0.14,", "0.40]", "—", "—", "—", "—"]
    found = one().arms["codeblock"]
    low, high = found.interval
    assert rows["codeblock"][3:] == ["+0.100", f"[{low:+.2f},", f"{high:+.2f}]", "6", "10", f"{found.p_value:.3g}"]


def test_the_note_says_how_the_numbers_were_found() -> None:
    assert note(one()) == "pass@1 - full with its 95% interval; exact McNemar, Newcombe interval."
    two = Differences("x", "full", {"a": one().arms["codeblock"], "b": one().arms["codeblock"]}, 0)
    assert note(two).endswith("; 2 comparisons, each p is of one alone.")


def test_markdown_has_a_section_for_each_benchmark() -> None:
    text = differences_markdown([one(), one()])
    assert text.count("## humaneval: 40 tasks\n") == 2
    assert "| codeblock | 0.350 [" in text
