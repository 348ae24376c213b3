"""Every benchmark's own solutions pass, as many as are known to: before any model is graded."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from codeblock.evaluate import GradeResult, Sample, Settings, grade, load
from codeblock.evaluate.benchmarks import Benchmark
from codeblock.sandbox import launch
from codeblock.sandbox.paths import scratch_base

HALF_A_MINUTE = {"Mbpp/255", "Mbpp/599"}
"""Their references run once, as references, and not again as samples."""
SLEEPERS = {f"BigCodeBench/{number}" for number in (195, 220, 324, 348, 459, 819, 857, 1040, 1103, 1104, 1105)}
"""Their tests sleep, up to 74 s: all at a time, while the other tests of this file run."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What references have returned, for the tests that need the same ones."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module", autouse=True)
def sleepers(request: pytest.FixtureRequest, real_data: Path) -> Iterator[Future[GradeResult] | None]:
    """The result of SLEEPERS, begun with the first test of this file; None where nobody asks for it."""
    wanted = any(item.name == "test_bigcodebench" for item in request.session.items) and not below_tmp()
    with ThreadPoolExecutor(1) as pool:
        settings = Settings(processes=len(SLEEPERS))
        yield pool.submit(grade, [], bigcodebench(real_data, asleep=True), settings) if wanted else None


def below_tmp() -> bool:
    """Whether the scratch of solutions is elsewhere, for this Python is there."""
    return scratch_base(launch.interpreter_paths(sys.executable)) != "/tmp"


def bigcodebench(real_data: Path, *, asleep: bool) -> Benchmark:
    """Those of its tasks that need nothing but Python: SLEEPERS, or the others."""
    whole = load("bigcodebench_complete", str(real_data / "benchmarks" / "bigcodebench" / "BigCodeBench.jsonl.gz"))
    return type(whole)([task for task in whole.tasks if not task.needs and (task.task_id in SLEEPERS) is asleep])


def graded(benchmark: Benchmark) -> GradeResult:
    samples = [{"task_id": task.task_id, "completion": task.reference} for task in benchmark.tasks]
    return grade(samples, benchmark)


def failed(result: GradeResult) -> set[str]:
    return {row.task_id for row in result.rows if row.verdict != "passed"}


def test_humaneval(real_data: Path) -> None:
    result = graded(load("humaneval", str(real_data / "benchmarks" / "humaneval" / "HumanEval.jsonl.gz")))
    assert (len(result.rows), failed(result)) == (164, set())


@pytest.mark.slow
@pytest.mark.parametrize(("file", "tasks"), [("mbpp.jsonl", 974), ("sanitized-mbpp.json", 427)])
def test_mbpp(real_data: Path, file: str, tasks: int) -> None:
    result = graded(load("mbpp_all", str(real_data / "benchmarks" / "mbpp" / file)))
    assert (len(result.rows), failed(result), result.reference_failures) == (tasks, set(), {})


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "file", "tasks"),
    [
        ("humanevalplus", "humanevalplus/HumanEvalPlus.jsonl.gz", 164),
        ("mbppplus", "mbppplus/MbppPlus.jsonl.gz", 378),
    ],
)
def test_evalplus(real_data: Path, store: Path, name: str, file: str, tasks: int) -> None:
    benchmark = load(name, str(real_data / "benchmarks" / file))
    samples = [Sample(task.task_id, task.reference) for task in benchmark.tasks if task.task_id not in HALF_A_MINUTE]
    result = grade(samples, benchmark, Settings(store=store))
    assert (len(result.tasks), result.reference_failures, failed(result)) == (tasks, {}, set())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["humanevalplus", "mbppplus"])
def test_what_is_cut_out_of_an_answer_passes_too(real_data: Path, store: Path, name: str) -> None:
    """The first 40 tasks: the whole solution among prose, as an answer to the chat."""
    file = {"humanevalplus": "HumanEvalPlus.jsonl.gz", "mbppplus": "MbppPlus.jsonl.gz"}[name]
    benchmark = load(name, str(real_data / "benchmarks" / name / file), limit=40)
    samples = [
        {
            "task_id": task.task_id,
            "solution": benchmark.completion(task, f"Sure:\n```python\n{task.prompt}{task.reference}\n```\nDone (in one go)."),
        }
        for task in benchmark.tasks
    ]
    assert failed(grade(samples, benchmark, Settings(store=store))) == set()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_bigcodebench(real_data: Path, sleepers: Future[GradeResult] | None) -> None:
    """Where the tests' own Python lacks packages, the tasks that need them are not run: neither passed nor failed."""
    if sleepers is None:
        pytest.skip("this Python lies below /tmp, where some of the tests want to write")
    results = grade([], bigcodebench(real_data, asleep=False)), sleepers.result()
    assert sum(len(result.tasks) for result in results) == 300
    failures = {task_id: why for result in results for task_id, why in result.reference_failures.items()}
    assert len(failures) <= 8, failures
