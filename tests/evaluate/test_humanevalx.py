"""HumanEval-X in JavaScript: the program that the repository runs, out of a file with its fields, by a node that is there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from codeblock.core.errors import CodeBlockError
from codeblock.evaluate import grade, load
from codeblock.evaluate.benchmarks import Benchmark

HELPER = "/*\n  One more.\n  */\nconst next = (x) => {\n  return x + 1;\n}\n\n"
PROMPT = "/*\n  Two more.\n  >>> twoMore(1)\n  3\n  */\nconst twoMore = (x) => {\n"
TEST = "const testTwoMore = () => {\n  console.assert(twoMore(1) === 3)\n}\n\ntestTwoMore()\n"
ROWS = [
    {"task_id": "JavaScript/0", "prompt": PROMPT, "canonical_solution": "  return x + 2;\n}\n\n", "test": TEST},
    {
        "task_id": "JavaScript/1",
        "prompt": HELPER + PROMPT,
        "canonical_solution": "  return next(next(x));\n}\n\n",
        "test": TEST,
    },
]
WHOLE = "const twoMore = (x) => {\n  return x + 2;\n}"
node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


@pytest.fixture
def benchmark(tmp_path: Path) -> Benchmark:
    path = tmp_path / "humaneval_js.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return load("humanevalx_js", str(path))


def test_tasks(benchmark: Benchmark) -> None:
    plain, helped = benchmark.tasks
    assert (plain.entry_point, helped.entry_point) == ("twoMore", "twoMore")
    assert benchmark.code(plain, plain.reference) == PROMPT + "  return x + 2;\n}\n\n"
    assert benchmark.text(helped) == HELPER + PROMPT
    assert benchmark.messages(plain)[0]["content"].endswith(f"```javascript\n{PROMPT.strip()}\n```")
    answer = benchmark.reference_answer(plain, base=False)
    assert (answer.before, answer.code, answer.after) == (f"```javascript\n{PROMPT}", "  return x + 2;\n}", "\n```")


def test_a_prompt_that_defines_nothing_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps({**ROWS[0], "prompt": "add two"}))
    with pytest.raises(CodeBlockError, match=r"x\.jsonl line 1: the prompt defines no function"):
        load("humanevalx_js", str(path))


@pytest.mark.parametrize(
    ("answer", "solution"),
    [
        (f"Here:\n```javascript\n{WHOLE}\n```\nIt adds two.", WHOLE),
        (f"```js\ntwoMore(1)\n```\n```\n{WHOLE}\n```", WHOLE),
        (f"```python\ndef two_more(x): return x + 2\n```\n```js\n{WHOLE}\n```", WHOLE),
        (WHOLE, WHOLE),
        ("```js\n  return x + 2;\n}\n\ntwoMore(1)\n```", f"{PROMPT}  return x + 2;\n}}"),
        ("", ""),
    ],
)
def test_the_solution_of_a_chat(benchmark: Benchmark, answer: str, solution: str) -> None:
    assert benchmark.completion(benchmark.tasks[0], answer) == solution


def test_a_solution_brings_the_helpers_of_the_prompt_that_it_does_not_define(benchmark: Benchmark) -> None:
    task = benchmark.tasks[1]
    own = "const next = (x) => x + 1\n" + WHOLE
    assert benchmark.completion(task, f"```js\n{WHOLE}\n```") == HELPER.removeprefix("/*\n  One more.\n  */\n") + WHOLE
    assert benchmark.completion(task, f"```js\n{own}\n```") == own


def test_a_base_models_completion_ends_at_its_last_brace(benchmark: Benchmark) -> None:
    assert benchmark.completion(benchmark.tasks[0], "  return x + 2;\n}\nand so", base=True) == f"{PROMPT}  return x + 2;\n}}"


@node
def test_grading(benchmark: Benchmark) -> None:
    solutions = [WHOLE, WHOLE.replace("2", "3"), "console.log(1)\n" + WHOLE, "process.exit(0)", benchmark.tasks[0].prompt]
    samples = [{"task_id": "JavaScript/0", "solution": solution} for solution in solutions]
    samples += [{"task_id": "JavaScript/1", "completion": ROWS[1]["canonical_solution"]}]
    result = grade(samples, benchmark)
    assert [row.verdict.value for row in result.rows] == [
        "passed",
        "wrong_answer",
        "wrong_answer",
        "exception",
        "syntax_error",
        "passed",
    ]
    assert result.reference_failures == {}


@node
def test_the_published_file(real_data: Path) -> None:
    """As with plain node, 3 references of 164 fail: two are wrong (112, 155), one needs a package (162)."""
    path = real_data / "benchmarks" / "humanevalx" / "humaneval_js.jsonl.gz"
    if not path.exists():
        pytest.skip(f"{path.name} is not there")
    benchmark = load("humanevalx_js", str(path))
    result = grade([{"task_id": task.task_id, "completion": task.reference} for task in benchmark.tasks], benchmark)
    failing = {row.task_id for row in result.rows if row.verdict != "passed"}
    assert benchmark.provenance == "official humanevalx_js file"
    assert failing == set(result.reference_failures) == {f"JavaScript/{number}" for number in (112, 155, 162)}
