"""A response's own examples: how they are found, and what the sandbox says of them."""

import math

import pyarrow as pa
import pytest
from tests.data.rank.conftest import WALLS

from codeblock.core.schema import MESSAGES_TYPE
from codeblock.data.rank.examples import program_of, run_examples

ADD = "def add(a, b):\n    return a + b\n"


def fenced(code, tag="python"):
    return f"Here it is:\n\n```{tag}\n{code}```\n\nEnjoy."


def table_of(responses, instruction=""):
    messages = pa.array([[{"role": "user", "content": instruction}]] * len(responses), MESSAGES_TYPE)
    return pa.table({"messages": messages, "response": responses})


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


@pytest.mark.parametrize("mark", ["\x0c", "\x85", "\u2028"])
def test_lines_are_counted_as_python_does(mark):
    """A mark that only `str.splitlines` takes for a line's end, and letters of two bytes where the wrong line would be cut."""
    found = program_of(fenced(f"# page{mark} {'ä' * 20}\n{ADD}print(add(1, 2))  # 3\n"))
    assert found.prints == [(0, "3")]
    assert program_of(fenced(f"x = '{mark}'\n# {'ä' * 20}\nprint(max(1, 22))  # 22\n")).prints == [(0, "22")]


@pytest.mark.filterwarnings("error")
def test_escapes_that_are_none_are_not_warned_of():
    assert program_of(fenced(ADD + "print(add('\\d', '\\w'))  # '\\d\\w'\n")).prints == [(0, r"'\d\w'")]


@pytest.mark.parametrize(
    "response",
    [
        "You add them.",
        fenced(ADD),  # nothing to run
        fenced(ADD + "x = add(1, 2)\n"),
        fenced(ADD + "print('usage')\n"),
        fenced("console.log(add(1, 2)) // 3\n", "javascript"),
        fenced("def add(a, b:\n"),
        fenced(f"import numpy\n{ADD}print(add(1, 2))  # 3\n"),  # another machine may not have it
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
    ("def ask():\n    return input()\n\nprint(ask())\n", math.nan),
    ("print(open('data.csv').read())\n", math.nan),
    ("x = 1\n", math.nan),
]


def test_an_example_comes_true_or_not_or_says_nothing():
    responses = [fenced(code) for code, _ in CASES]
    tables = [table_of(responses[:5]), table_of(responses[5:])]
    found = run_examples(tables, len(responses), WALLS).tolist()
    assert [str(value) for value in found] == [str(float(value)) for _, value in CASES]


def test_no_code_of_the_data_runs_in_this_process(tmp_path):
    """Neither while examples are looked for nor while they are run: the walls let nothing be written."""
    file = tmp_path / "written"
    code = f"from pathlib import Path\n{ADD}\nprint(Path({str(file)!r}).write_text('x'))  # 1\n"
    found = run_examples([table_of([fenced(code)])], 1, WALLS)
    assert not file.exists()
    assert found[0] != 1


def test_a_value_that_the_request_gives_is_no_fault_of_the_code():
    table = table_of([fenced(ADD + "print(add(first, 2))\n"), fenced(ADD + "print(add(second, 2))\n")], "Add.\n\nfirst = 1")
    assert str(run_examples([table], 2, WALLS).tolist()) == "[nan, 0.0]"
