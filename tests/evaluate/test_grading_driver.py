"""A grading that nodes share gives the verdicts of one machine, goes on where it was cut off, and loses no program."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from codeblock.core.errors import CodeBlockError
from codeblock.core.nodes import Node, SharedAnswer, living_nodes
from codeblock.evaluate import GradeResult, Settings, Verdict, grade, grading_driver
from codeblock.evaluate.benchmarks import Benchmark
from codeblock.evaluate.grading import Graded, Program, grade_by, run_here
from codeblock.evaluate.grading_driver import needs_of, run_on_nodes
from codeblock.sandbox.graders import Needs
from codeblock.sandbox.oracles import Command

ANOTHER = Node("another", "another (127.0.0.2)", 2.0, False)
WRONG = ["def f(): pass", "import os\nos._exit(0)", "x = '\ud800'\ndef"]


def samples_of(benchmark: Benchmark) -> list[dict[str, str]]:
    """Right solutions, and wrong ones of every kind; some of them twice."""
    right = [{"task_id": task.task_id, "completion": task.reference} for task in benchmark.tasks]
    return [*right, *({"task_id": f"t/{n}", "completion": code} for n, code in enumerate([*WRONG, WRONG[0]])), right[0]]


def without_times(result: GradeResult) -> dict[str, Any]:
    facts = {key: value for key, value in result.facts().items() if key not in ("grade_seconds", "graded_on")}
    rows = [(row.task_id, row.sample, row.verdict, row.error, row.base_verdict) for row in result.rows]
    return {**facts, "rows": rows}


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One other node, whose parts run in this process; gives the number of tasks of each part that ran."""
    ran: list[int] = []

    def share_out(what: str, work: Any, parts: Sequence[Any], *_: object) -> Iterator[SharedAnswer[Any]]:
        for part in parts:
            ran.append(len(part[0].tasks))
            yield SharedAnswer(work(*part), ANOTHER.name)

    monkeypatch.setattr(grading_driver, "share_out", share_out)
    monkeypatch.setattr(grading_driver, "graders", lambda _: [ANOTHER])
    return ran


def test_verdicts_are_those_of_this_machine(
    tiny: Benchmark, ray_cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By real tasks of Ray, on the only node that there is."""
    (node,) = living_nodes()
    monkeypatch.setattr(grading_driver, "graders", lambda _: [node])
    broken = replace(tiny, tasks=[*tiny.tasks[:6], replace(tiny.tasks[6], reference="def plus_6(x): return -5")])
    settings = Settings(store=tmp_path / "expected")
    found = grade_by(partial(run_on_nodes, tmp_path), samples_of(broken), broken, settings)
    assert without_times(found) == without_times(grade(samples_of(broken), broken))
    assert list(found.reference_failures) == ["t/6"]
    assert found.facts()["graded_on"] == {node.name: found.programs} == {node.name: 11}
    assert list(tmp_path.glob("part-*")) == []
    assert len(list((tmp_path / "expected").iterdir())) == 6


def test_where_this_machine_grades_alone_nothing_is_kept(
    tiny: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grading_driver, "graders", lambda _: [])
    found = grade_by(partial(run_on_nodes, tmp_path), samples_of(tiny), tiny, Settings())
    assert "graded_on" not in found.facts()
    assert list(tmp_path.iterdir()) == []


def test_a_grading_that_was_cut_off_goes_on_with_the_tasks_that_are_missing(
    tiny: Benchmark, shared: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = grading_driver.share_out

    def cut_off(*given: Any) -> Iterator[SharedAnswer[Any]]:
        yield next(whole(*given))
        raise KeyboardInterrupt

    monkeypatch.setattr(grading_driver, "share_out", cut_off)
    run = partial(run_on_nodes, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        grade_by(run, samples_of(tiny), tiny, Settings())
    assert len(list(tmp_path.glob("part-*.json"))) == 1
    (done,) = shared
    monkeypatch.setattr(grading_driver, "share_out", whole)
    found = grade_by(run, samples_of(tiny), tiny, Settings())
    assert sum(shared) == 7, "no task is graded twice"
    assert 0 < done < 7
    assert without_times(found) == without_times(grade(samples_of(tiny), tiny))


def test_what_was_graded_without_layers_does_not_stay_where_they_have_to_be_there(
    tiny: Benchmark, shared: list[int], tmp_path: Path
) -> None:
    allowed = Settings(allow_missing_layers=True)
    grading = grading_driver._Grading(tmp_path, tiny, [Program("t/0", tiny.tasks[0].reference)], allowed)
    grading._keep(replace_layers(run_here(*grading._part(tiny.tasks), allowed), ["network"]), "another")
    grading.read_parts()
    assert (grading.tasks_left(), grading.done.missing_layers) == ([], ["network"])
    strict = replace(grading, settings=Settings(), done=Graded())
    strict.read_parts()
    assert len(strict.tasks_left()) == 7


def replace_layers(graded: Graded, missing: list[str]) -> Graded:
    return replace(graded, missing_layers=missing)


def test_what_nodes_that_are_gone_have_left_is_graded_by_others_and_at_last_here(
    tiny: Benchmark, shared: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = grading_driver.share_out
    monkeypatch.setattr(grading_driver, "share_out", lambda *given: iter_closing(next(whole(*given))))
    left = [[ANOTHER], [replace(ANOTHER, name="third")], []]
    monkeypatch.setattr(grading_driver, "graders", lambda _: left.pop(0))
    found = grade_by(partial(run_on_nodes, tmp_path), samples_of(tiny), tiny, Settings())
    assert left == []
    assert without_times(found) == without_times(grade(samples_of(tiny), tiny))
    assert sum(found.nodes.values()) == found.programs
    assert len(found.nodes) == 2


def iter_closing(one: SharedAnswer[Any]) -> Iterator[SharedAnswer[Any]]:
    yield one


def test_what_stops_the_run_names_the_node(
    tiny: Benchmark, shared: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object, **__: object) -> Graded:
        raise CodeBlockError("grading: t/3: no more processes; the run stops")

    monkeypatch.setattr(grading_driver, "run_here", failing)
    with pytest.raises(CodeBlockError, match=r"t/3: no more processes; the run stops \(on another \(127.0.0.2\)\)"):
        grade_by(partial(run_on_nodes, tmp_path), samples_of(tiny), tiny, Settings())


def test_references_that_fail_everywhere_stop_the_run(tiny: Benchmark, shared: list[int], tmp_path: Path) -> None:
    broken = replace(tiny, tasks=[replace(task, reference="x") for task in tiny.tasks])
    with pytest.raises(CodeBlockError, match=r"all 7 reference solutions fail here .*NameError"):
        grade_by(partial(run_on_nodes, tmp_path), samples_of(tiny), broken, Settings())
    one = replace(tiny, tasks=[replace(tiny.tasks[0], reference="x"), *tiny.tasks[1:]])
    found = grade_by(partial(run_on_nodes, tmp_path / "one"), samples_of(tiny), one, Settings())
    assert list(found.reference_failures) == ["t/0"]


def test_a_large_grading_has_several_parts_for_each_cpu(tiny: Benchmark, tmp_path: Path) -> None:
    tasks = [replace(tiny.tasks[0], task_id=str(number)) for number in range(100)]
    grading = grading_driver._Grading(tmp_path, replace(tiny, tasks=tasks), [], Settings(store=Path("expected")))
    parts = grading._cut(tasks, 3.0)
    assert len(parts) == 12
    assert sorted(int(task.task_id) for part in parts for task in part) == list(range(100))
    assert {len(part) for part in parts} <= {8, 9}
    assert len(grading._cut(tasks, 100.0)) == 25
    assert len(grading._cut(tasks[:1], 100.0)) == 1
    given = grading._settings_of_nodes()
    assert (given.processes, given.store) == (1, Path("expected").absolute())


def test_the_verdict_of_base_inputs_is_kept(tiny: Benchmark, tmp_path: Path) -> None:
    program = Program("t/0", "")
    grading = grading_driver._Grading(tmp_path, tiny, [program], Settings())
    passed = run_here(replace(tiny, tasks=tiny.tasks[:1]), [Program("t/0", tiny.tasks[0].reference)], Settings())
    (outcome,) = passed.outcomes.values()
    part = replace(passed, outcomes={program: replace(outcome, base=Verdict.PASSED, verdict=Verdict.WRONG_ANSWER)})
    grading._keep(part, "another")
    grading.read_parts()
    assert grading.done.outcomes == part.outcomes
    assert grading.done.references == part.references


def test_a_node_needs_what_tasks_use(tiny: Benchmark) -> None:
    command = Command(("node", "x"), "x", "", "", ("node", "--version"))
    other = replace(tiny.tasks[0], needs=("json", "numpy"), oracle=command)
    found = needs_of([other, *tiny.tasks[1:]], Settings(allow_missing_layers=True))
    assert found == Needs(None, True, ("json", "numpy"), ("node",), (("node", "--version"),))
