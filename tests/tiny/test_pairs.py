"""Pairs: known shares of poor rows, a rating that errs, and nothing that is held out."""

from __future__ import annotations

import ast
import random
import re
from collections import Counter
from typing import Any

import pytest

from codeblock.tiny import Recipe, make_benchmark
from codeblock.tiny.corpus import make_corpus
from codeblock.tiny.holdout import Holdout, draw_task
from codeblock.tiny.pairs import POOR_SHARES, QUALITY_GAPS, make_pairs
from codeblock.tiny.poor import MAKERS, break_syntax, cut_short, wrong
from codeblock.tiny.prose import FORMS, respond
from codeblock.tiny.quality import WEIGHTS, judge, share_passed
from codeblock.tiny.tasks import TinyTask, draw_spec, normal_form

TASKS = Recipe().tasks
COUNT = 500


@pytest.fixture(scope="module")
def holdout() -> Holdout:
    return Holdout.of(make_benchmark(TASKS, seed=0))


@pytest.fixture(scope="module")
def solutions() -> set[str]:
    return {form for task in make_benchmark(TASKS, seed=0) for form in definitions(task.solution)}


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


def some_tasks(count: int, holdout: Holdout) -> list[TinyTask]:
    """Tasks that pairs are made of."""
    rng = random.Random(3)
    drawn = (draw_task(rng, "pairs", 0, holdout) for _ in range(2 * count))
    return [task for task in drawn if task.tells][:count]


def of_kind(rows: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["kind"] == kind]


def chance_of_better(good: list[float], poor: list[float]) -> float:
    """The area under the curve: how often a good row is rated above a poor one, ties by half."""
    return sum((g > p) + 0.5 * (g == p) for g in good for p in poor) / len(good) / len(poor)


def test_poor_rows_have_their_shares(rows: list[dict[str, Any]]) -> None:
    counts = Counter(row["kind"] for row in rows)
    poor = {kind: round(share * COUNT) for kind, share in POOR_SHARES.items()}
    assert counts == {**poor, "good": COUNT - sum(poor.values())}
    assert 0.35 <= sum(POOR_SHARES.values()) <= 0.4


def test_a_kind_is_what_it_says(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        code = code_of(row["response"])
        assert (code is None) == (row["kind"] == "prose_only")
        assert (code is not None and not parses(code)) == (row["kind"] == "broken")


def test_only_copies_repeat_a_row_and_they_repeat_good_ones(rows: list[dict[str, Any]]) -> None:
    good: set[tuple[str, str]] = set()
    for row in rows:
        text = (row["instruction"], row["response"])
        assert (text in good) == (row["kind"] == "duplicate")
        good |= {text} if row["kind"] == "good" else set()
    assert len({(row["instruction"], row["response"]) for row in rows}) == COUNT - len(of_kind(rows, "duplicate"))


def test_near_duplicates_add_a_few_words_to_a_good_row(rows: list[dict[str, Any]]) -> None:
    good = [(row["instruction"], row["response"]) for row in of_kind(rows, "good")]
    for row in of_kind(rows, "near_duplicate"):
        originals = [text for text in good if text[0] in row["instruction"] and text[1] in row["response"]]
        assert originals
        assert len(row["instruction"] + row["response"]) - max(len(i + r) for i, r in originals) < 200


@pytest.mark.parametrize("kind", ["wrong", "broken", "off_topic", "prose_only", "incomplete", "hardcoded", "wrong_names"])
def test_poor_answers_fail_tests(kind: str, holdout: Holdout) -> None:
    rng = random.Random(0)
    for task in some_tasks(25, holdout):
        assert share_passed(MAKERS[kind](task, rng, 0, holdout), task) < 1


def test_a_verbose_answer_is_right_and_several_times_as_long(holdout: Holdout) -> None:
    rng = random.Random(0)
    for task in some_tasks(25, holdout):
        response = MAKERS["verbose"](task, rng, 0, holdout)
        assert share_passed(response, task) == 1
        assert len(response) > 2.5 * len(task.solution)


def test_an_unfinished_answer_parses_and_has_a_note_in_place_of_the_rest(holdout: Holdout) -> None:
    rng = random.Random(0)
    for task in some_tasks(25, holdout):
        code = cut_short(task, rng)
        assert parses(code)
        assert "# " in code
        assert task.lines[-1].code not in code


def test_wrong_names_hide_right_logic(holdout: Holdout) -> None:
    rng = random.Random(0)
    for task in some_tasks(10, holdout):
        code = code_of(MAKERS["wrong_names"](task, rng, 0, holdout))
        assert code is not None
        assert normal_form(task.solution).splitlines()[-1] in normal_form(code)
        assert f" {task.spec.entry_point}" not in code


def test_the_rating_is_a_step_of_a_tenth_with_some_gaps(rows: list[dict[str, Any]]) -> None:
    known = [row["quality"] for row in rows if row["quality"] is not None]
    assert set(known) <= {step / 10 for step in range(11)}
    assert 0.5 * QUALITY_GAPS < 1 - len(known) / COUNT < 1.5 * QUALITY_GAPS


def test_the_rating_helps_and_misleads_now_and_then(rows: list[dict[str, Any]]) -> None:
    known = [row for row in rows if row["quality"] is not None]
    good = [row["quality"] for row in known if row["kind"] == "good"]
    poor = [row["quality"] for row in known if row["kind"] != "good"]
    assert 0.75 < chance_of_better(good, poor) < 0.85
    failing = [row["quality"] for row in known if row["kind"] not in ("good", "verbose", "duplicate", "near_duplicate")]
    assert any(rating >= 0.8 for rating in failing)
    assert any(rating <= 0.6 for rating in good)


def test_the_judge_s_error_is_drawn_anew_each_time(holdout: Holdout) -> None:
    [task] = some_tasks(1, holdout)
    ratings = [judge(f"```python\n{task.solution}```", task, random.Random(seed)) for seed in range(200)]
    assert len(set(ratings)) > 5
    assert abs(sum(ratings) / len(ratings) - (WEIGHTS["passed"] + WEIGHTS["looks"])) < 0.05


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
    for sign in ("O(n", "is empty", "\n1. ", "\n- ", "###", "For example"):
        assert 0.01 < sum(sign in response for response in responses) / COUNT < 0.5


def test_most_answers_have_paragraphs(rows: list[dict[str, Any]]) -> None:
    responses = [row["response"] for row in of_kind(rows, "good")]
    bare = sum(response.startswith("```") and response.endswith("```") for response in responses)
    words = [len(re.sub(r"```python.*?```", "", response, flags=re.DOTALL).split()) for response in responses]
    assert 0.02 < bare / len(responses) < 2 * FORMS["bare"]
    assert sum(count > 30 for count in words) / len(words) > 0.6


def test_what_is_said_of_the_empty_input_is_true(holdout: Holdout) -> None:
    rng, checked = random.Random(0), 0
    for task in some_tasks(60, holdout):
        for _ in range(5):
            call = re.search(r"when the \w+ is empty, `(.*?)` returns `(.*?)`", respond(task, task.solution, rng))
            if call:
                names: dict[str, Any] = {}
                exec(task.solution, names)
                assert repr(eval(call.group(1), names)) == call.group(2)
                checked += 1
    assert checked > 5
