"""What stays of a solution when it becomes a program that is graded."""

from __future__ import annotations

import pytest

from codeblock.evaluate.program import program, solves, without_future

F = "def f(x):\n    return x + 1"


@pytest.mark.parametrize(
    "acting",
    [
        "print(f(1))",
        "assert f(1) == 3",
        "n = int(input())",
        "a, b = map(int, input().split())",
        "x: int = int(input())",
        "import sys\nsys.exit(0)".partition("\n")[2],
        "main()",
        "raise ValueError",
        "del nothing",
        "return 3",
        "for i in range(3):\n    print(f(i))",
        "with open('nowhere') as h:\n    print(h)",
        "try:\n    print(f(input()))\nexcept ValueError:\n    raise",
        "if f(1) == 2:\n    raise ValueError",
        "if __name__ != 'x':\n    raise ValueError",
        "class T:\n    a = nothing",
        "@nothing\ndef g():\n    pass",
        "so: x + 1",
        "Done",
        "...; print(1)".partition("; ")[2],
    ],
)
def test_what_only_acts_goes(acting: str) -> None:
    assert program(f"{F}\n{acting}", [], "f") == F


@pytest.mark.parametrize(
    "needed",
    [
        "import math",
        "from math import *",
        "try:\n    import numpy\nexcept ImportError:\n    numpy = None",
        "K = 10**9 + 7",
        "import sys\nsys.setrecursionlimit(10**6)",
        "from collections import namedtuple\nPair = namedtuple('Pair', 'a b')",
        "class Pair:\n    def __init__(self, a):\n        self.a = a",
        "def g(x):\n    print(x)",
        "if True:\n    def h(x):\n        return x",
        "if __name__ == '__main__':\n    print(f(1))",
        '"""Words."""',
    ],
)
def test_definitions_stay_whether_they_are_reached_or_not(needed: str) -> None:
    code = f"{needed}\n\n{F}"
    assert program(code, [], "f") == code


@pytest.mark.parametrize(
    "filled",
    ["T = {}\nfor i in range(3):\n    T[i] = i", "T = []\nT.append(1)", "T = 0\nT += 1", "T = list(map(int, '1 2'.split()))"],
)
def test_what_fills_what_is_reached_stays(filled: str) -> None:
    code = f"{filled}\ndef f(x):\n    return T"
    assert program(code, [], "f") == code
    assert "+=" not in program(f"{filled}\n{F}", [], "f")


def test_a_name_inside_a_function_reaches_nothing() -> None:
    assert program("n = int(input())\ndef f(n):\n    return n", [], "f") == "def f(n):\n    return n"


def test_lines_that_hold_something_else_stay() -> None:
    assert program(f"{F}\nprint(1); K = 3", [], "f") == f"{F}\nprint(1); K = 3"


def test_a_stub_beside_the_definition_goes_wherever_it_stands() -> None:
    stub = 'def f(x):\n    """Add."""\n    pass'
    assert program(f"{stub}\n{F}", [], "f") == program(f"{F}\n{stub}", [], "f") == F


def test_what_is_lacking_comes_from_the_other_pieces_with_what_it_needs() -> None:
    others = [
        "def g(x):\n    return h(x)\n\nprint(g(1))",
        "import math\n\ndef h(x):\n    return math.ceil(x)",
        "def unused(): pass",
        "def f(x: ",
    ]
    assert program("def f(x):\n    return g(x)", others, "f") == (
        "import math\ndef g(x):\n    return h(x)\ndef h(x):\n    return math.ceil(x)\ndef f(x):\n    return g(x)"
    )


def test_a_future_import_stays_first() -> None:
    code = "from __future__ import annotations\ndef f(x: Foo):\n    return math.ceil(x)"
    assert program(code, ["import math"], "f") == (
        "from __future__ import annotations\nimport math\ndef f(x: Foo):\n    return math.ceil(x)"
    )


def test_without_its_future_imports_the_annotations_are_still_not_looked_up() -> None:
    head = "def f(x: Foo | None, *, y: 'é' = 1) -> Bar:"
    bare = without_future(f"from __future__ import (\n    annotations,\n)\n{head}\n    z: Foo = x\n    return z + 1")
    assert bare == "def f(x: 'Foo | None', *, y: \"'é'\" = 1) -> 'Bar':\n    z: 'Foo' = x\n    return z + 1"
    scope: dict[str, object] = {}
    exec(bare, scope)
    assert without_future("from __future__ import division\nx = 1") == "x = 1"
    assert without_future(F) == F


def test_a_stub_solves_nothing() -> None:
    assert solves(F, "f")
    assert solves("f = lambda x: x", "f")
    assert solves("from m import f", "f")
    assert solves("try:\n    def f(x): return 1\nfinally:\n    pass", "f")
    for body in ("pass", "...", '"""Doc."""', "raise NotImplementedError", "raise NotImplementedError('x')"):
        assert not solves(f"def f(x):\n    {body}", "f")
    assert not solves("class A:\n    def f(self): return 1", "f")
    assert not solves("def f(x:", "f")
