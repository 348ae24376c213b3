"""A response's own examples: how they are found, and what the sandbox says of them."""

import math

import pyarrow as pa
import pytest
from tests.rank.conftest import WALLS

from codeblock.rank.examples import program_of, run_examples

ADD = "def add(a, b):\n    return a + b\n"


def fenced(code, tag="python"):
    return f"Here it is:\n\n```{tag}\n{code}```\n\nEnjoy."


def test_prints_calls_asserts_and_doctests_are_examples():
    code = f"""{ADD}
print(add(1, 2))  # 3
add(2, 2)  # returns 4
print(add("a", "b"))
# Output: ab
assert add(0, 0) == 0
print("hello")
print(add(1, 1))
"""
    found = program_of(fenced(code))
    assert found.prints == [(0, "3"), (1, "4"), (2, "ab")]
    assert found.others == 2  # the assert, and the call whose value nobody tells
    assert found.doctests == []


def test_sessions_in_docstrings_and_outside_the_code_are_doctests():
    code = 'def add(a, b):\n    """Add.\n\n    >>> add(1, 2)\n    3\n    """\n    return a + b\n'
    found = program_of(fenced(code) + "\nTry it:\n\n>>> add(2, 2)\n4\n\n>>> add(1, 1)")
    assert found.doctests == [">>> add(1, 2)\n3", ">>> add(2, 2)\n4"]


@pytest.mark.parametrize(
    "response",
    [
        "You add them.",
        fenced(ADD),  # nothing to run
        fenced(ADD + "x = add(1, 2)\n"),
        fenced(ADD + "print('usage')\n"),
        fenced("console.log(add(1, 2)) // 3\n", "javascript"),
        fenced("def add(a, b:\n"),
        fenced(ADD + "print(add(1, 2))  # 3\n" + "x = 1\n" * 10_000),
    ],
)
def test_there_is_nothing_to_run(response):
    assert program_of(response) is None


CASES = [
    (ADD + "print(add(1, 2))  # 3\n", 1),
    (ADD + "print(add(1, 2))  # 4\n", 0),
    (ADD + "print(add(1, 2))  # an example\n", 1),  # it runs
    (ADD + "print(add(1))\n", 0),
    (ADD + "print(subtract(2, 1))  # 1\n", 0),
    (ADD + "assert add(1, 2) == 3\n", 1),
    (ADD + "assert add(1, 2) == 4\n", 0),
    (ADD + "if __name__ == '__main__':\n    print(add(1, 2))  # Output: 4\n", 0),
    (ADD + "print(add('a', 'b'))  # 'ab'\n", 1),
    (ADD + "print(add('a', 'b'))  # => ab\n", 1),
    (ADD + "print(add(0.1, 0.2))  # 0.3\n", 1),
    (ADD + "print(add([1], [2]))  # [1,2]\n", 1),
    (ADD + "print(1, add(1, 1))  # 1 2\n", 1),
    ("def grow(x):\n    x.append(1)\n    return x\n\ny = []\nprint(grow(y))  # [1]\nprint(grow(y))  # [1, 1]\n", 1),
    ('def one():\n    """\n    >>> one()\n    1\n    """\n    return 1\n', 1),
    ('def one():\n    """\n    >>> one()\n    2\n    """\n    return 1\n', 0),
    ("def turn():\n    while True:\n        pass\n\nturn()\n", 0),
    ("from __future__ import annotations\nstr = 'x'\n" + ADD + "print(add(1, 2))  # 3\n", 1),
    ("import no_such_package\nno_such_package.run()\n", math.nan),
    ("def ask():\n    return input()\n\nprint(ask())\n", math.nan),
    ("print(open('data.csv').read())\n", math.nan),
    ("x = 1\n", math.nan),
]


def test_an_example_comes_true_or_not_or_says_nothing():
    responses = [fenced(code) for code, _ in CASES]
    tables = [pa.table({"response": responses[:5]}), pa.table({"response": responses[5:]})]
    found = run_examples(tables, len(responses), WALLS).tolist()
    assert [str(value) for value in found] == [str(float(value)) for _, value in CASES]


def test_no_code_of_the_data_runs_in_this_process(tmp_path):
    """Neither while examples are looked for nor while they are run: the walls let nothing be written."""
    file = tmp_path / "written"
    code = f"from pathlib import Path\n{ADD}\nprint(Path({str(file)!r}).write_text('x'))  # 1\n"
    found = run_examples([pa.table({"response": [fenced(code)]})], 1, WALLS)
    assert not file.exists()
    assert found[0] != 1
