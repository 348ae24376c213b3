"""Pairs: known shares of poor rows, true quality, and nothing that is held out."""

from __future__ import annotations

import ast
import random
import re
from collections import Counter
from typing import Any

import pytest

from codeblock.tiny import make_benchmark
from codeblock.tiny.corpus import make_corpus
from codeblock.tiny.pairs import POOR_SHARES, QUALITY_GAPS, Holdout, break_syntax, draw_task, make_pairs, wrong
from codeblock.tiny.quality import share_passed
from codeblock.tiny.tasks import draw_spec, normal_form

COUNT = 500


@pytest.fixture(scope="module")
def holdout() -> Holdout:
    return Holdout.of(make_benchmark(200, seed=0))


@pytest.fixture(scope="module")
def solutions() -> set[str]:
    return {form for task in make_benchmark(200, seed=0) for form in definitions(task.solution)}


@pytest.fixture(scope="module")
def rows(holdout: Holdout) -> list[dict[str, Any]]:
    return list(make_pairs(COUNT, 0, holdout))


def code_of(text: str) -> str | None:
    fence = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    return fence.group(1) if fence else None


def parses(source: str) -> bool:
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return True


def definitions(source: str) -> list[str]:
    """Normal form of every function and class that the source defines."""
    nodes = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    return [normal_form(ast.unparse(node)) for node in nodes]


def test_no_held_out_task_is_in_the_pairs(rows: list[dict[str, Any]], holdout: Holdout, solutions: set[str]) -> None:
    for row in rows:
        assert row["instruction"] not in holdout.instructions
        code = code_of(row["response"])
        if code is not None and parses(code):
            assert not set(definitions(code)) & solutions


def test_no_held_out_task_is_in_the_base_models_text(holdout: Holdout, solutions: set[str]) -> None:
    seen = 0
    for document in make_corpus(600, 0, holdout):
        text = document if isinstance(document, str) else "\n".join(message["content"] for message in document)
        assert not any(instruction in text for instruction in holdout.instructions)
        code = code_of(text) or text
        if parses(code):
            seen += 1
            assert not set(definitions(code)) & solutions
    assert seen > 300


def test_some_building_blocks_are_new_to_the_base_model() -> None:
    rng = random.Random(0)
    drawn = {part: {step.kind for _ in range(300) for step in draw_spec(rng, part, 0).steps} for part in ("base", "pairs")}
    assert not any(kind.new for kind in drawn["base"])
    assert sum(kind.new for kind in drawn["pairs"]) == 8


def test_the_held_out_check_sees_a_task_that_is_held_out() -> None:
    tasks = make_benchmark(5, seed=0)
    assert all(Holdout.of(tasks).has(task) for task in tasks)


def test_poor_rows_have_their_shares(rows: list[dict[str, Any]]) -> None:
    assert len(rows) == COUNT
    copies = sum(count - 1 for count in Counter((r["instruction"], r["response"]) for r in rows).values())
    assert copies == round(POOR_SHARES["duplicate"] * COUNT)
    unique = {(r["instruction"], r["response"]) for r in rows}
    codes = [code_of(response) for _, response in unique]
    assert sum(code is None for code in codes) == round(POOR_SHARES["prose_only"] * COUNT)
    assert sum(code is not None and not parses(code) for code in codes) == round(POOR_SHARES["broken"] * COUNT)


def test_quality_is_a_share_with_some_gaps(rows: list[dict[str, Any]]) -> None:
    known = [row["quality"] for row in rows if row["quality"] is not None]
    assert all(0 <= quality <= 1 for quality in known)
    assert 0 < COUNT - len(known) < 3 * QUALITY_GAPS * COUNT
    poor = sum(quality < 1 for quality in known) / len(known)
    assert abs(poor - (sum(POOR_SHARES.values()) - POOR_SHARES["duplicate"])) < 0.06


def test_rows_without_working_code_have_quality_zero(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        code = code_of(row["response"])
        if row["quality"] is not None and (code is None or not parses(code)):
            assert row["quality"] == 0


def test_quality_counts_the_tests_passed(holdout: Holdout) -> None:
    task = draw_task(random.Random(1), "pairs", 0, holdout)
    assert share_passed(f"Here:\n```python\n{task.solution}```\nDone.", task) == 1
    assert share_passed("No code at all.", task) == 0
    assert share_passed("```python\ndef unrelated(x):\n    return x\n```", task) == 0
    assert share_passed(f"```python\n{wrong(task, random.Random(2), holdout).solution}```", task) < 1


def test_broken_code_does_not_parse(holdout: Holdout) -> None:
    rng = random.Random(0)
    for _ in range(50):
        assert not parses(break_syntax(draw_task(rng, "pairs", 0, holdout).solution, rng))


def test_responses_vary_in_what_surrounds_the_code(rows: list[dict[str, Any]]) -> None:
    responses = [row["response"] for row in rows]
    for sign in ('"""', "    # ", "print("):
        assert 0.05 < sum(sign in response for response in responses) / COUNT < 0.6
    bare = sum(response.startswith("```") and response.rstrip().endswith("```") for response in responses)
    assert 0 < bare / COUNT < 0.3
