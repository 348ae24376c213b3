"""Tasks: right references, tests that tell wrong from right, and a split by composition."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from codeblock.tiny import Recipe, make_benchmark
from codeblock.tiny.holdout import Holdout, draw_task
from codeblock.tiny.primitives import imperative
from codeblock.tiny.quality import share_passed
from codeblock.tiny.tasks import FAMILIES, PARTS, TESTS, TinyTask, draw_spec, neighbour, normal_form, part_of


def fenced(source: str) -> str:
    return f"```python\n{source}```"


def run(program: str) -> None:
    exec(compile(program, "<program>", "exec"), {})


@pytest.fixture(scope="module")
def tasks() -> list[TinyTask]:
    return make_benchmark(200, seed=0)


def test_every_reference_passes_its_tests(tasks: list[TinyTask]) -> None:
    for task in tasks:
        run(task.solution + "\n" + task.test)


def test_every_style_of_writing_a_solution_passes_the_tests_of_the_spec(tasks: list[TinyTask]) -> None:
    for task in tasks[:60]:
        for seed in range(8):
            assert share_passed(fenced(TinyTask(task.spec, seed).solution), task) == 1.0


def test_a_task_has_several_tests_that_see_different_answers(tasks: list[TinyTask]) -> None:
    for task in tasks:
        assert len(task.cases) == TESTS
        assert len({repr(answer) for _, answer in task.cases}) >= 3


def test_exchanging_one_step_is_nearly_always_noticed(tasks: list[TinyTask]) -> None:
    rng = random.Random(0)
    passed = [share_passed(fenced(TinyTask(neighbour(t.spec, rng), 1).solution), t) == 1 for t in tasks for _ in range(3)]
    assert sum(passed) / len(passed) < 0.1


def test_a_function_that_does_nothing_fails(tasks: list[TinyTask]) -> None:
    for task in tasks:
        if task.spec.family != "class":
            with pytest.raises(AssertionError):
                run(f"def {task.spec.entry_point}(x):\n    return None\n\n{task.test}")


def test_the_instruction_names_all_that_the_tests_call(tasks: list[TinyTask]) -> None:
    for task in tasks:
        for name in (task.spec.entry_point, task.spec.update, task.spec.query):
            assert name in task.instruction


def test_the_benchmark_has_every_family_and_no_task_twice(tasks: list[TinyTask]) -> None:
    assert {task.spec.family for task in tasks} == set(FAMILIES)
    assert len({(task.spec.composition, tuple(step.k for step in task.spec.steps)) for task in tasks}) == len(tasks)


def test_the_families_have_as_many_held_out_tasks_as_are_asked_for() -> None:
    for seed in range(3):
        tasks = make_benchmark(Recipe().tasks, seed)
        assert len({(task.spec.composition, tuple(step.k for step in task.spec.steps)) for task in tasks}) == 600
        assert set(Counter(task.spec.family for task in tasks).values()) == {120}
        assert len({task.spec.composition for task in tasks}) > 350


def test_more_tasks_than_there_are_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codeblock.tiny._DRAWS", 5)
    with pytest.raises(ValueError, match=r"5000 held-out tasks asked for, but there are only \d+"):
        make_benchmark(5000, 0)


def test_a_composition_keeps_its_part_whatever_its_constants() -> None:
    rng = random.Random(0)
    parts: dict[tuple[str, ...], set[str]] = {}
    for _ in range(600):
        spec = draw_spec(rng, rng.choice(list(PARTS)), seed=3)
        parts.setdefault(spec.composition, set()).add(part_of(spec, seed=3))
    assert all(len(found) == 1 for found in parts.values())
    assert {part for found in parts.values() for part in found} == set(PARTS)


def test_instructions_are_worded_in_many_ways() -> None:
    spec = draw_spec(random.Random(5), "pairs", seed=0)
    assert len({TinyTask(spec, seed).instruction for seed in range(40)}) > 8


@pytest.mark.parametrize(
    ("clause", "command"),
    [
        ("multiplies them by 2", "multiply them by 2"),
        ("otherwise negates it and adds the result to the total", "otherwise negate it and add the result to the total"),
        ("goes through a list", "go through a list"),
    ],
)
def test_clauses_become_commands(clause: str, command: str) -> None:
    assert imperative(clause) == command


def test_the_normal_form_forgets_names_comments_and_docstrings() -> None:
    plain = "def f(x):\n    return x + 1\n"
    dressed = 'def other(x):\n    """Add one."""\n    # plus one\n    return (x + 1)\n'
    assert normal_form(plain) == normal_form(dressed)
    assert normal_form(plain) != normal_form("def f(x):\n    return x + 2\n")


def test_drawing_is_seeded() -> None:
    first, second = (draw_task(random.Random(9), "base", 0, Holdout.of([])) for _ in range(2))
    assert (first.instruction, first.solution, first.test) == (second.instruction, second.solution, second.test)
