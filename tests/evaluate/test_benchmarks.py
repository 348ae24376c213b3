"""Benchmarks load from their files, say what is wrong with a file, and make programs."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from codeblock.errors import CodeBlockError
from codeblock.evaluate.benchmarks import Benchmark, Task, load
from codeblock.evaluate.benchmarks.humaneval import HumanEval
from codeblock.evaluate.sandbox import Limits, Sandbox, Verdict

ROW: dict[str, Any] = {
    "task_id": "t/0",
    "instruction": "Write f.",
    "entry_point": "f",
    "test": "assert f()",
    "reference": "def f(): return 1",
}

TASK = Task(
    "H/0",
    'import math\n\n\ndef helper(x):\n    return math.floor(x)\n\n\ndef f(x: float) -> int:\n    """Round down, add one."""\n',
    "f",
    "def check(candidate):\n    assert candidate(1.5) == 2\n",
    "    return helper(x) + 1\n",
)


def write(path: Path, *lines: str) -> str:
    path.write_text("\n".join(lines))
    return str(path)


def test_tiny_loads_with_a_limit_and_skips_blank_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", json.dumps(ROW), "", json.dumps({**ROW, "task_id": "t/1"}))
    assert [task.task_id for task in load("tiny", path).tasks] == ["t/0", "t/1"]
    assert [task.task_id for task in load("tiny", path, limit=1).tasks] == ["t/0"]


def test_tiny_program_is_the_code_and_then_the_test(tiny: Benchmark) -> None:
    task = tiny.tasks[2]
    completion = tiny.completion(task, f"Sure.\n```python\n{task.reference}```")
    assert tiny.program(task, tiny.code(task, completion)) == task.reference.rstrip() + "\n\n" + task.test + "\n"
    assert tiny.messages(task) == [{"role": "user", "content": task.prompt}]


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


@pytest.mark.parametrize("content", [b"not gzip", gzip.compress(b"{}")[:-5], gzip.compress(b"\xff\xfe\n")])
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
    with pytest.raises(CodeBlockError, match="unknown; known are humaneval, tiny"):
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
    ],
)
def test_humaneval_answers_become_completions_that_go_on_from_the_prompt(answer: str) -> None:
    benchmark = HumanEval([TASK])
    completion = benchmark.completion(TASK, answer)
    program = benchmark.program(TASK, benchmark.code(TASK, completion))
    assert program == TASK.prompt + completion + "\n" + TASK.test + "\ncheck(f)"
    with Sandbox(Limits()) as sandbox:
        outcome = sandbox.run(program)
    assert outcome.verdict == Verdict.PASSED, outcome


def test_an_empty_answer_is_an_empty_completion_and_fails() -> None:
    benchmark = HumanEval([TASK])
    assert benchmark.completion(TASK, "\n") == ""
    with Sandbox(Limits()) as sandbox:
        assert sandbox.run(benchmark.program(TASK, benchmark.code(TASK, ""))).verdict == Verdict.WRONG_ANSWER


def test_humaneval_has_its_tasks(humaneval: Benchmark) -> None:
    assert len(humaneval.tasks) == 164
    first = humaneval.tasks[0]
    assert first.entry_point == "has_close_elements"
    assert first.prompt.strip() in humaneval.messages(first)[0]["content"]
