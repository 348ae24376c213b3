"""Samples are graded, counted, and nothing is left out in silence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codeblock.core.errors import CodeBlockError
from codeblock.evaluate import Sample, Settings, Verdict, grade, grade_samples_file
from codeblock.evaluate.benchmarks import Benchmark
from codeblock.sandbox.oracles import Limits, Oracle
from codeblock.sandbox.pool import Pool, check_sandbox, require_layers
from codeblock.sandbox.sandbox import Outcome, Sandbox


def right(benchmark: Benchmark, number: int) -> dict[str, str]:
    task = benchmark.tasks[number]
    return {"task_id": task.task_id, "completion": task.reference}


def wrong(benchmark: Benchmark, number: int) -> dict[str, str]:
    return {"task_id": benchmark.tasks[number].task_id, "completion": "def f(): pass"}


def test_verdicts_and_numbers_of_a_full_set(tiny: Benchmark) -> None:
    samples = [right(tiny, n) if n < 3 else wrong(tiny, n) for n in range(7)]
    result = grade(samples, tiny, Settings(processes=2))
    assert [row.verdict for row in result.rows] == [Verdict.PASSED] * 3 + [Verdict.EXCEPTION] * 4
    assert result.rows[3].error == "NameError: name 'plus_3' is not defined (line 1)"
    facts = result.facts()
    assert (facts["tasks"], facts["passed"], facts["pass_at_1"]) == (7, 3, pytest.approx(3 / 7))
    assert facts["low"] < 3 / 7 < facts["high"]
    assert facts["verdicts"] == {"passed": 3, "exception": 4}
    assert facts["missing_tasks"] == facts["unknown_tasks"] == []
    assert facts["reference_failures"] == {}
    table = result.table()
    assert table.column("task_id").to_pylist() == [task.task_id for task in tiny.tasks]
    assert table.column("verdict").to_pylist()[2:4] == ["passed", "exception"]


def test_a_solution_stands_in_place_of_a_completion(humaneval: Benchmark) -> None:
    one = type(humaneval)(humaneval.tasks[:1])
    task = one.tasks[0]
    whole = task.prompt + task.reference
    result = grade([Sample(task.task_id, solution=whole), Sample(task.task_id, completion=task.reference)], one)
    assert [row.verdict for row in result.rows] == [Verdict.PASSED, Verdict.PASSED]


def test_missing_tasks_count_as_failed_and_are_named(tiny: Benchmark) -> None:
    result = grade([right(tiny, 0), right(tiny, 1)], tiny)
    assert result.missing_tasks == [task.task_id for task in tiny.tasks[2:]]
    assert result.pass_at_k == {1: pytest.approx(2 / 7)}


def test_unknown_tasks_are_named_and_not_graded(tiny: Benchmark) -> None:
    result = grade([right(tiny, 0), {"task_id": "other/9", "completion": "x"}], tiny)
    assert result.unknown_tasks == ["other/9"]
    assert len(result.rows) == 1


def test_several_samples_give_pass_at_k_as_far_as_they_go(tiny: Benchmark) -> None:
    samples = [right(tiny, n) if k == 0 else wrong(tiny, n) for n in range(7) for k in range(10)]
    result = grade(samples, tiny)
    assert result.pass_at_k == {1: pytest.approx(0.1), 10: pytest.approx(1.0)}
    assert [row.sample for row in result.rows[:10]] == list(range(10))
    fewer = grade(samples[:-1], tiny)
    assert list(fewer.pass_at_k) == [1]


def test_samples_that_are_one_program_are_run_once_and_references_of_their_tasks_alone(
    tiny: Benchmark, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    run = Sandbox.run

    def counted(self: Sandbox, code: str, *rest: Any) -> Outcome:
        ran.append(code)
        return run(self, code, *rest)

    monkeypatch.setattr(Sandbox, "run", counted)
    result = grade([right(tiny, 0), wrong(tiny, 0), right(tiny, 0), wrong(tiny, 1), wrong(tiny, 0)], tiny)
    assert len(ran) == 2 + 3
    assert len(result.facts()["missing_tasks"]) == 5
    assert [(row.sample, row.verdict is Verdict.PASSED) for row in result.rows] == [
        (0, True), (1, False), (2, True), (0, False), (3, False)
    ]  # fmt: skip
    assert (result.facts()["samples"], result.facts()["programs"]) == (5, 3)


def test_no_samples_at_all_score_zero(tiny: Benchmark) -> None:
    facts = grade([], tiny).facts()
    assert (facts["pass_at_1"], facts["samples"], len(facts["missing_tasks"])) == (0, 0, 7)


def test_samples_file_is_graded(tiny: Benchmark, tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_text("".join(json.dumps(right(tiny, n)) + "\n" for n in range(7)))
    assert grade_samples_file(path, tiny).pass_at_k == {1: 1.0}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{'task_id'}", "line 2: not JSON"),
        ('{"completion": "x"}', "line 2: no text in 'task_id'"),
        ('{"task_id": "t/1"}', "line 2: no text in 'completion' or 'solution'"),
        ('{"task_id": "t/1", "completion": null}', "line 2: no text in 'completion' or 'solution'"),
    ],
)
def test_a_broken_samples_file_is_named_with_its_line(tiny: Benchmark, tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_text(json.dumps(right(tiny, 0)) + "\n" + line + "\n")
    with pytest.raises(CodeBlockError, match=message):
        grade_samples_file(path, tiny)


def test_a_file_of_another_benchmark_is_refused(tiny: Benchmark, tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_text('{"task_id": "HumanEval/0", "completion": ""}\n')
    with pytest.raises(CodeBlockError, match=r"no sample of benchmark tiny .*HumanEval/0"):
        grade_samples_file(path, tiny)
    path.write_text("")
    with pytest.raises(CodeBlockError, match="it is empty"):
        grade_samples_file(path, tiny)


def test_a_failing_reference_is_named_and_its_task_still_counts(tiny: Benchmark) -> None:
    broken = replace(tiny, tasks=[replace(tiny.tasks[0], reference="def plus_0(x): return -5"), *tiny.tasks[1:]])
    result = grade([right(tiny, n) for n in range(7)], broken)
    assert list(result.reference_failures) == ["t/0"]
    assert result.reference_failures["t/0"].startswith("wrong_answer")
    assert len(result.counts) == 7


def test_references_that_all_fail_stop_the_run(tiny: Benchmark) -> None:
    broken = replace(tiny, tasks=[replace(task, reference="x") for task in tiny.tasks])
    with pytest.raises(CodeBlockError, match=r"all 7 reference solutions fail here .*NameError"):
        grade([right(tiny, n) for n in range(7)], broken)


def test_a_harness_error_stops_the_run(tiny: Benchmark, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Sandbox.run

    def failing(self: Sandbox, code: str, oracle: Oracle, limits: Limits, expected: None = None) -> Outcome:
        broken = "plus_3" in code
        return Outcome(Verdict.HARNESS_ERROR, 0.0, "no more processes") if broken else run(self, code, oracle, limits, expected)

    monkeypatch.setattr(Sandbox, "run", failing)
    with pytest.raises(CodeBlockError, match="t/3: no more processes; the run stops"):
        grade([right(tiny, n) for n in range(7)], tiny, Settings(processes=2))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("grade")]


def test_results_come_in_the_order_of_the_jobs() -> None:
    another = threading.Event()

    def work(sandbox: Sandbox, number: int) -> tuple[int, int]:
        if number:
            another.set()
        else:
            assert another.wait(60), "no other sandbox took a job"
        return number, id(sandbox)

    with Pool(Settings(processes=3), 12) as pool:
        found = pool.map("numbers", work, range(12))
    assert [number for number, _ in found] == list(range(12))
    assert len({sandbox for _, sandbox in found}) > 1


def test_missing_layers_need_an_explicit_word(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CodeBlockError, match=r"lacks 1 layers .*network: .*evaluate.allow_missing_layers=true"):
        require_layers(["network: a solution reaches other machines"])
    monkeypatch.setattr("codeblock.sandbox.pool.require_layers", lambda _: pytest.fail("asked for"))
    assert isinstance(check_sandbox(None, allow_missing_layers=True), list)


def test_a_task_whose_packages_are_missing_is_not_run_and_in_no_number(tiny: Benchmark) -> None:
    first = replace(tiny.tasks[0], needs=("json", "no_such_module_here"))
    result = grade([right(tiny, n) for n in range(6)], replace(tiny, tasks=[first, *tiny.tasks[1:]]))
    assert result.not_run == {"t/0": ["no_such_module_here"]}
    assert result.unknown_tasks == []
    assert len(result.rows) == 5
    assert result.pass_at_k == {1: pytest.approx(5 / 6)}


def test_limits_are_never_below_a_multiple_of_the_reference_s_time(tiny: Benchmark) -> None:
    slow = "import time\ndef plus_0(x):\n    time.sleep(0.4)\n    return x"
    slower, slowest = slow.replace("0.4", "0.8"), slow.replace("0.4", "20")
    task = replace(tiny.tasks[0], reference=slow, limits=Limits(timeout_seconds=0.2))
    one = replace(tiny, tasks=[task])
    assert [row.verdict for row in grade([Sample("t/0", slower)], one).rows] == [Verdict.PASSED]
    strict = replace(one, tasks=[replace(task, limits=Limits(timeout_seconds=0.2, reference_factor=1.2))])
    assert [row.verdict for row in grade([Sample("t/0", slowest)], strict).rows] == [Verdict.TIMEOUT]


def test_a_mix_of_hostile_samples_fails_alone(tiny: Benchmark) -> None:
    hostile = [
        "import os\nos._exit(0)",
        "while True: pass",
        "import os\nwhile True: os.fork()",
        "x = bytearray(10 ** 12)",
        "import sys\nsys.exit(0)",
    ]
    samples = [{"task_id": tiny.tasks[n].task_id, "completion": code} for n, code in enumerate(hostile)]
    result = grade([*samples, right(tiny, 5), right(tiny, 6)], tiny, Settings(timeout_seconds=1, processes=2))
    assert [row.verdict is Verdict.PASSED for row in result.rows] == [False] * 5 + [True] * 2


def references(benchmark: Benchmark) -> list[Sample]:
    return [Sample(task.task_id, task.reference) for task in benchmark.tasks]


def test_all_references_of_humaneval_pass_with_every_core_busy(humaneval: Benchmark) -> None:
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in os.sched_getaffinity(0)]
    try:
        result = grade(references(humaneval), humaneval)
        assert result.reference_failures == {}
        assert result.pass_at_k[1] == 1.0
        assert all(process.poll() is None for process in busy)
    finally:
        for process in busy:
            process.kill()
            process.wait()
