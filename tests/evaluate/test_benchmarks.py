"""Benchmarks load from their files, say what is wrong with a file, and make programs."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from tests.evaluate.direct import error_of

from codeblock.core.errors import CodeBlockError
from codeblock.evaluate.benchmarks import Benchmark, Task, load
from codeblock.evaluate.benchmarks.humaneval import HumanEval
from codeblock.sandbox.oracles import Script

ROW: dict[str, Any] = {
    "task_id": "t/0",
    "instruction": "Write f.",
    "entry_point": "f",
    "test": "assert f()",
    "reference": "def f(): return 1",
}

PROMPT = (
    'import math\n\n\ndef helper(x):\n    return math.floor(x)\n\n\ndef f(x: float) -> int:\n    """Round down, add one."""\n'
)
TASK = Task(
    task_id="H/0",
    prompt=PROMPT,
    entry_point="f",
    reference="    return helper(x) + 1\n",
    oracle=Script(setup=PROMPT, test="def check(candidate):\n    assert candidate(1.5) == 2\n\ncheck(f)", calls="f"),
)


def write(path: Path, *lines: str) -> str:
    path.write_text("\n".join(lines))
    return str(path)


def test_tiny_loads_with_a_limit_and_skips_blank_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", json.dumps(ROW), "", json.dumps({**ROW, "task_id": "t/1"}))
    assert [task.task_id for task in load("tiny", path).tasks] == ["t/0", "t/1"]
    assert [task.task_id for task in load("tiny", path, limit=1).tasks] == ["t/0"]


def test_tiny_solution_is_the_code_of_the_answer(tiny: Benchmark) -> None:
    task = tiny.tasks[2]
    completion = tiny.completion(task, f"Sure.\n```python\n{task.reference}```")
    assert tiny.code(task, completion) == task.reference.rstrip()
    assert not error_of(task, tiny.code(task, completion))
    assert error_of(task, task.reference.replace("+ 2", "+ 3")).startswith("AssertionError")
    assert tiny.messages(task) == [{"role": "user", "content": task.prompt}]


def test_a_json_array_and_parquet_are_read_like_lines(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    rows = [ROW, {**ROW, "task_id": "t/1"}]
    (tmp_path / "t.json").write_text(json.dumps(rows))
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    lines = load("tiny", write(tmp_path / "t.jsonl", *map(json.dumps, rows))).tasks
    assert load("tiny", str(tmp_path / "t.json")).tasks == lines
    assert load("tiny", str(tmp_path / "t.parquet")).tasks == lines
    write(tmp_path / "t.json", "[{}, 3]")
    with pytest.raises(CodeBlockError, match=r"t\.json row 1: field 'entry_point' is missing"):
        load("tiny", str(tmp_path / "t.json"))
    write(tmp_path / "t.parquet", "PAR1")
    with pytest.raises(CodeBlockError, match="not readable as Parquet") as caught:
        load("tiny", str(tmp_path / "t.parquet"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["{"], "line 1: not JSON"),
        ([json.dumps(ROW), "[1]"], "line 2: a JSON object is needed, not list"),
        ([json.dumps({**ROW, "test": None})], "line 1: field 'test' is missing"),
        ([json.dumps({**ROW, "entry_point": 3})], "line 1: field 'entry_point' is int, not text"),
        ([json.dumps(ROW), json.dumps(ROW)], "line 2: task_id 't/0' occurs twice"),
        ([""], "no tasks"),
    ],
)
def test_a_broken_file_is_named_with_its_line(tmp_path: Path, lines: list[str], message: str) -> None:
    path = write(tmp_path / "t.jsonl", *lines)
    with pytest.raises(CodeBlockError) as caught:
        load("tiny", path)
    assert message in str(caught.value)
    assert path in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [b"not gzip", gzip.compress(b"{}")[:-5], gzip.compress(b"\xff\xfe\n")],
    ids=["no gzip", "cut off", "no UTF-8"],
)
def test_a_broken_archive_is_an_error_of_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "HumanEval.jsonl.gz"
    path.write_bytes(content)
    with pytest.raises(CodeBlockError, match=r"HumanEval\.jsonl\.gz") as caught:
        load("humaneval", str(path))
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_an_unknown_name_say_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(CodeBlockError, match=r"no file .*give the path"):
        load("tiny", str(tmp_path / "none.jsonl"))
    with pytest.raises(CodeBlockError, match="not readable"):
        load("tiny", str(tmp_path))
    with pytest.raises(CodeBlockError, match="unknown; known are bigcodebench_complete, "):
        load("humanevall", "x")


@pytest.mark.parametrize(
    "answer",
    [
        "```python\nimport math\n\ndef f(x):\n    return math.floor(x) + 1\n```",
        "```python\ndef f(x):\n    return math.floor(x) + 1\n```",  # the import is in the prompt only
        "```python\ndef f(x):\n    return helper(x) + 1\n```",  # and so is the helper
        "```python\nfrom __future__ import annotations\ndef f(x: Unknown):\n    return helper(x) + 1\n```".replace(
            "Unknown", "float"
        ),
        f"```python\n{TASK.prompt}{TASK.reference}```",  # the prompt again
        "    return helper(x) + 1",
        "return helper(x) + 1",
        "The body is:\n```python\nreturn helper(x) + 1\n```",
        "```python\ndef f(x):\n    return helper(x) + 1\n\nif __name__ == '__main__':\n    print(f(input()))\n```",
        "```python\ndef f(x):\n    return helper(x) + 1\n\nif __name__ == '__main__':\n    print(f(",  # cut off
        "<think>\nIs it `def f(x): return 0`?\n</think>\n\n```python\ndef f(x):\n    return helper(x) + 1\n```",
        "Assistant: Sure.\n```python\ndef f(x):\n    return helper(x) + 1\n```",
        "[ANSWER]\ndef f(x):\n    return helper(x) + 1\n[/ANSWER]",
    ],
)
def test_humaneval_answers_become_completions_that_go_on_from_the_prompt(answer: str) -> None:
    benchmark = HumanEval([TASK])
    completion = benchmark.completion(TASK, answer)
    code = benchmark.code(TASK, completion)
    assert code == TASK.prompt + completion
    assert not error_of(TASK, code)


def test_an_empty_answer_is_an_empty_completion_and_fails() -> None:
    benchmark = HumanEval([TASK])
    assert benchmark.completion(TASK, "\n") == ""
    assert error_of(TASK, benchmark.code(TASK, "")).startswith("AssertionError")
