"""What of a benchmark's file changes which step: tests change verdicts alone, prompts all, solutions what reads them."""

from __future__ import annotations

import gzip
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from codeblock.core.errors import CodeBlockError
from codeblock.evaluate.benchmarks import PromptKind
from codeblock.evaluate.fingerprints import Fingerprints, fingerprints

TINY = {
    "task_id": "t",
    "instruction": "Write f.",
    "entry_point": "f",
    "test": "assert f(1)",
    "reference": "def f(x):\n    return x",
}
MBPP = [
    {
        "task_id": n,
        "text": f"Add {n}.",
        "code": "def f(x):\n    return x",
        "test_list": ["assert f(1) == 1", "assert f(2) == 2"],
    }
    for n in (2, 3, 4, 11)
]
HUMANEVAL = {
    "task_id": "HumanEval/0",
    "prompt": "def f(x):\n",
    "entry_point": "f",
    "canonical_solution": "    return x\n",
    "test": "def check(candidate):\n    assert candidate(1)\n",
}
BIGCODEBENCH = {
    "task_id": "BigCodeBench/0",
    "complete_prompt": "def task_func(x):\n",
    "instruct_prompt": "Return it.",
    "code_prompt": "def task_func(x):\n",
    "canonical_solution": "    return x\n",
    "test": "class TestCases: pass",
    "entry_point": "task_func",
    "libs": "[]",
}
PLUS = {
    "task_id": "HumanEval/0",
    "prompt": "def f(x):\n",
    "entry_point": "f",
    "canonical_solution": "    return x\n",
    "base_input": [[1]],
    "plus_input": [[2]],
    "atol": 0,
}
JAVASCRIPT = {
    "task_id": "JavaScript/0",
    "prompt": "const f = (x) => {\n",
    "canonical_solution": "  return x;\n}\n",
    "test": "console.assert(f(1) === 1)",
}


def of(tmp_path: Path, name: str, rows: list[dict[str, Any]], prompt: PromptKind = "auto") -> Fingerprints:
    path = tmp_path / f"{len(list(tmp_path.iterdir()))}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return fingerprints(name, str(path), prompt)


def changed(one: Fingerprints, other: Fingerprints) -> set[str]:
    return {each.name for each in fields(Fingerprints) if getattr(one, each.name) != getattr(other, each.name)}


@pytest.mark.parametrize(
    ("name", "row", "change"),
    [
        ("tiny", TINY, {"test": "assert f(2)"}),
        ("humaneval", HUMANEVAL, {"test": "def check(candidate):\n    assert candidate(2)\n"}),
        ("humanevalplus", PLUS, {"plus_input": [[3]]}),
        ("humanevalplus", PLUS, {"atol": 0.1}),
        ("bigcodebench_complete", BIGCODEBENCH, {"test": "class TestCases: x = 1"}),
        ("bigcodebench_instruct", BIGCODEBENCH, {"libs": "['numpy']"}),
        ("humanevalx_js", JAVASCRIPT, {"test": "console.assert(f(2) === 2)"}),
    ],
)
def test_another_oracle_changes_what_grades_alone(
    tmp_path: Path, name: str, row: dict[str, Any], change: dict[str, Any]
) -> None:
    assert changed(of(tmp_path, name, [row]), of(tmp_path, name, [{**row, **change}])) == {"whole"}


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"reference": "def f(y):\n    return y"}, {"whole", "references", "texts"}),
        ({"instruction": "Write f(x)."}, {"whole", "asked", "references", "texts"}),
        ({"task_id": "u"}, {"whole", "asked", "references", "texts"}),
        ({"note": "not read"}, {"whole"}),
    ],
)
def test_what_a_model_is_asked_and_what_answers_it_change_what_reads_them(
    tmp_path: Path, change: dict[str, Any], parts: set[str]
) -> None:
    assert changed(of(tmp_path, "tiny", [TINY]), of(tmp_path, "tiny", [{**TINY, **change}])) == parts


@pytest.mark.parametrize(("prompt", "parts"), [("chat", {"whole"}), ("base", {"whole", "asked", "references"})])
def test_tests_that_a_base_model_is_shown_are_a_part_of_its_prompt(tmp_path: Path, prompt: PromptKind, parts: set[str]) -> None:
    """MBPP's prompt of three shots has all tests; its chat has the first one."""
    others = [{**row, "test_list": ["assert f(1) == 1", "assert f(3) == 3"]} for row in MBPP]
    assert changed(of(tmp_path, "mbpp", MBPP, prompt), of(tmp_path, "mbpp", others, prompt)) == parts
    first = [{**row, "test_list": ["assert f(3) == 3"]} for row in MBPP]
    assert "asked" in changed(of(tmp_path, "mbpp", MBPP, prompt), of(tmp_path, "mbpp", first, prompt))


def test_benchmarks_in_one_file_that_ask_differently_are_told_apart(tmp_path: Path) -> None:
    complete, instruct = (of(tmp_path, f"bigcodebench_{kind}", [BIGCODEBENCH]) for kind in ("complete", "instruct"))
    assert complete.asked != instruct.asked
    assert of(tmp_path, "mbpp", MBPP).asked != of(tmp_path, "mbpp_all", MBPP).asked
    assert complete == of(tmp_path, "bigcodebench_hard_complete", [BIGCODEBENCH])


def test_a_benchmark_that_cannot_be_asked_in_one_way_is_known_by_the_other(tmp_path: Path) -> None:
    """Whether it is asked at all is found where it is."""
    assert of(tmp_path, "mbpp", MBPP[3:]).asked != of(tmp_path, "mbpp", [{**MBPP[3], "text": "Subtract."}]).asked
    assert of(tmp_path, "mbpp", MBPP[3:], "base").asked


def test_content_counts_whatever_its_name_and_compression(tmp_path: Path) -> None:
    one = of(tmp_path, "tiny", [TINY])
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress((tmp_path / "0.jsonl").read_bytes()))
    assert fingerprints("tiny", str(tmp_path / "b.jsonl.gz")) == one
    (tmp_path / "0.jsonl").write_text(json.dumps({**TINY, "test": "assert f(3)"}) + "\n" * 3)
    assert fingerprints("tiny", str(tmp_path / "0.jsonl")) != one, "the same file, changed"


def test_a_file_that_is_not_there_or_of_no_known_benchmark_is_told(tmp_path: Path) -> None:
    with pytest.raises(CodeBlockError, match=r"no file .*none\.jsonl"):
        fingerprints("tiny", str(tmp_path / "none.jsonl"))
    (tmp_path / "a.jsonl").write_text(json.dumps(TINY))
    with pytest.raises(CodeBlockError, match="unknown; known are"):
        fingerprints("humanevall", str(tmp_path / "a.jsonl"))


def test_the_versions_of_other_languages_are_asked_for_by_their_own_commands(tmp_path: Path) -> None:
    assert of(tmp_path, "humanevalx_js", [JAVASCRIPT]).versions == (("node", "--version"),)
    assert of(tmp_path, "tiny", [TINY]).versions == ()
