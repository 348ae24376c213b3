"""MBPP+ from the file MbppPlus.jsonl.gz of EvalPlus's release (v0.2.0): 378 MBPP tasks with some 35 times their tests.

JSON has neither tuples nor sets nor complex numbers: `SHAPES` says which arguments of which tasks are such.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from codeblock.evaluate.benchmarks.base import Task
from codeblock.evaluate.benchmarks.evalplus import STOPS, EvalPlus

Shape = Callable[[Any], Any]


def _same(value: Any) -> Any:
    return value


def _tuples(value: Any) -> list[Any]:
    return [tuple(each) for each in value]


def _tuple_of_tuples(value: Any) -> tuple[Any, ...]:
    return tuple(tuple(each) for each in value)


def _tuple_of_some_tuples(value: Any) -> tuple[Any, ...]:
    return tuple(tuple(each) if isinstance(each, list) else each for each in value)


def _sets(value: Any) -> list[Any]:
    return [set(each) if isinstance(each, list) and each else {} for each in value]


def _tuple_values(value: Any) -> dict[str, Any]:
    return {key: tuple(each) for key, each in value.items()}


def _deep_tuple(value: Any) -> Any:
    return tuple(_deep_tuple(each) for each in value) if isinstance(value, list) else value


SHAPES: list[tuple[tuple[Shape, ...], set[int]]] = [
    (
        (tuple,),
        {2, 116, 132, 143, 222, 261, 273, 394, 399, 421, 424, 429, 470, 560, 579, 596, 616, 630, 726, 740, 744, 809},
    ),
    ((_tuples,), {63, 64, 70, 94, 120, 237, 272, 299, 400, 409, 417, 438, 473, 614, 780}),
    ((_tuples, _same), {75, 413, 444, 753}),
    ((_same, tuple), {106, 750}),
    ((tuple, _same), {250, 307, 405, 446, 617, 720, 763, 808}),
    ((_tuple_of_tuples,), {259, 401, 445}),
    ((_tuple_of_some_tuples,), {278}),
    ((_deep_tuple,), {580, 615, 791}),
    ((_tuple_values, _same), {722}),
    ((_sets,), {115}),
    ((float, complex), {124}),
    ((complex,), {252}),
]
"""What the arguments of tasks (by number) are made of; the last shape holds for the arguments after it too."""

SHAPES_OF: dict[int, tuple[Shape, ...]] = {number: shapes for shapes, numbers in SHAPES for number in numbers}


@dataclass(frozen=True)
class MbppPlus(EvalPlus):
    """The prompt is a docstring with the text and the first assert; a completion is a whole solution that follows it."""

    name: ClassVar[str] = "mbppplus"
    stops: ClassVar[tuple[str, ...]] = (*STOPS, '\n"""', "\nassert")
    rules: ClassVar[dict[str, str]] = {
        "are_equivalent": "anything",
        "sum_div": "or_zero",
        "surface_Area": "surface_area",
        "digit_distance_nums": "digit_distance",
        **dict.fromkeys(["check_str", "text_match_three", "text_starta_endb"], "not_none"),
        **dict.fromkeys(["similar_elements", "find_char_long", "common_in_nested_lists", "extract_singly"], "same_set"),
        **dict.fromkeys(["larg_nnum", "intersection_array", "find_dissimilar", "Diff"], "same_set"),
    }
    tasks: list[Task]

    @classmethod
    def arguments(cls, task_id: str, stored: Sequence[Any]) -> list[Any]:
        shapes = SHAPES_OF.get(int(task_id.rpartition("/")[2]), (_same,))
        return [shapes[min(place, len(shapes) - 1)](value) for place, value in enumerate(stored)]
