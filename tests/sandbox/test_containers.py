"""What a solution does to its arguments is seen, whatever they hold."""

from __future__ import annotations

import array
import collections
from collections.abc import Iterator
from typing import Any

import pytest

from codeblock.sandbox.containers import are_same, containers, items_of
from codeblock.sandbox.oracles import Limits, Script
from codeblock.sandbox.sandbox import Sandbox, Verdict


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


def test_containers_are_told_once_in_the_order_in_which_they_are_met() -> None:
    inner = [1]
    values = ([inner, (2, {"k": inner})], inner)
    found = containers(values)
    assert [id(part) for part in found] == [id(values[0]), id(inner), id(values[0][1][1])]  # type: ignore[index]
    assert found.repeated
    assert not containers(([1], {2: (3, [4])})).repeated


@pytest.mark.parametrize(
    "part", [[1, "a"], {"a": 1}, {1, 2}, collections.deque([1]), collections.Counter("aab"), [(1, 2), None]], ids=repr
)
def test_what_holds_plain_items_is_compared_by_them(part: Any) -> None:
    before = items_of([part])
    assert before is not None
    assert are_same(before, items_of([part]))
    part.clear()
    assert not are_same(before, items_of([part]))


@pytest.mark.parametrize(
    "part",
    [bytearray(b"a"), [array.array("i", [1])], [(1, array.array("i", [1]))], {"k": object()}],
    ids=["bytearray", "array in a list", "array in a tuple", "object in a dict"],
)
def test_what_holds_more_is_not_compared_by_its_items(part: Any) -> None:
    assert items_of([part]) is None


CHANGES = """
import array
def nested(x): x[0].append(3)
def replaced(x): x[0] = [1, 3]
def keyed(x): x["a"]["b"].add(2)
def ordered(x): x.reverse()
def held(x): x[0][0] = 9
def in_tuple(x): x[0][1][0] = 9
def equal_but_other(x): x[0] = True
def grown(x): x += b"b"
"""


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("nested", "[[1]]", "[[1, 3]]"),
        ("replaced", "[[1], 2]", "[[1, 3], 2]"),
        ("keyed", "{'a': {'b': {1}}}", "{'a': {'b': {1, 2}}}"),
        ("ordered", "[1, 'b', None]", "[None, 'b', 1]"),
        ("held", "[array('i', [1, 2])]", "[array('i', [9, 2])]"),
        ("in_tuple", "[(0, array('i', [1, 2]))]", "[(0, array('i', [9, 2]))]"),
        ("equal_but_other", "[1, 2]", "[True, 2]"),
        ("grown", "bytearray(b'a')", "bytearray(b'ab')"),
    ],
)
def test_a_test_sees_what_the_solution_did_to_its_argument(sandbox: Sandbox, name: str, before: str, after: str) -> None:
    test = f"from array import array\nx = {before}\n{name}(x)\nassert repr(x) == repr({after}), x"
    outcome = sandbox.run(CHANGES, Script(setup="", test=test, calls=name), Limits(timeout_seconds=10.0))
    assert outcome.verdict is Verdict.PASSED, outcome


def test_an_argument_given_twice_is_one_there_too(sandbox: Sandbox) -> None:
    code = "def f(x, y, *more):\n    x.append(1)\n    return x is y, [z is x for z in more], y"
    test = "x = []\nassert f(x, x, [x], x) == (True, [False, True], [1]), x\nassert x == [1]"
    outcome = sandbox.run(code, Script(setup="", test=test, calls="f"), Limits(timeout_seconds=10.0))
    assert outcome.verdict is Verdict.PASSED, outcome
