"""Whatever EvalPlus finds a right solution in, a right solution is found in here.

Answers are put together at random of right, wrong and unfinished code, acting statements, prose and fences of every kind. Where
CODEBLOCK_EVALPLUS names a directory with the package of EvalPlus, its own function is asked, else what is held against it.
"""

from __future__ import annotations

import ast
import contextlib
import io
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.evaluate.public import public_module

from codeblock.evaluate.extract import extract_code
from codeblock.evaluate.program import statements_of
from codeblock.evaluate.sanitize import sanitize

RIGHT = [
    "def f(x: int) -> int:\n    return x + 1",
    "import math\n\ndef f(x):\n    return math.floor(x) + 1",
    "def g(x):\n    return x + 1\n\ndef f(x):\n    y = g(x)\n\n    return y",
    'K = 1\n\ndef f(x):\n    """Add.\n\n    ```\n    f(1)\n    ```\n    """\n    return x + K',
    "class A:\n    v = 1\n\ndef f(x):\n    return x + A().v",
    "f = lambda x: x + 1\ng = 2",
    "memo = {}\nmemo[0] = 1\n\ndef f(x):\n    return memo[0] + x",
]
WRONG = [
    "def f(x):\n    return 0",
    "def f(x):\n    ...",
    "def f(x):\n    a = 1\n    b = 2\n    c = 3\n    return a",
    "def f(x:\n    return",
]
ACTING = [
    "print(f(1))",
    "assert f(1) == 3",
    "n = int(input())\nprint(f(n))",
    "if __name__ == '__main__':\n    print(f(1))",
    "def main():\n    print(f(int(input())))\n\nmain()",
    "import sys\nsys.exit(0)",
    "x = f(2)\ny = x / 0",
    "for i in range(3):\n    assert f(i) < 1",
    "class T:\n    a = undefined",
    "@undefined\ndef h():\n    return 1",
    "return 3",
    "results = [f(v) for v in range(3)][9]",
]
PROSE = [
    "Here is the function:",
    "It adds one to x, as you asked.",
    "",
    "Note",
    "**So**: it adds.",
    "Output:\n2",
    "x = it",
    "So: x + 1",
    "> quoted",
]
TAGS = ["python", "", "py", 'python title="a.py"', "{.python}", "text", "bash"]
FENCES = [
    "```{tag}\n{code}\n```",
    "```{tag}\n{code}```",
    "{code}\n```",
    "```{tag}\n{code}",
    "Here: ```{tag}\n{code}\n```",
    "~~~{tag}\n{code}\n~~~",
    "```{tag}\n{code}\n    ```",
    "{code}",
]  # fmt: skip


def right(code: str) -> bool:
    """Whether a program of the texts above defines the right function."""

    def no_input(*_: object) -> str:
        raise EOFError

    scope: dict[str, object] = {"__name__": "program", "input": no_input}
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(code, "<answer>", "exec", dont_inherit=True), scope)
            found = scope["f"]
            return callable(found) and found(1) == 2 and found(5) == 6
    except (Exception, SystemExit):
        return False


@st.composite
def answers(draw: st.DrawFn) -> str:
    parts = []
    for _ in range(draw(st.integers(1, 4))):
        code = draw(st.sampled_from([*RIGHT, *WRONG, *ACTING, None]))
        if code is None:
            parts.append(draw(st.sampled_from(PROSE)))
            continue
        if code in RIGHT and draw(st.booleans()):
            code += f"\n\n{draw(st.sampled_from(ACTING))}"
        parts.append(draw(st.sampled_from(FENCES)).format(tag=draw(st.sampled_from(TAGS)), code=code))
    text = draw(st.sampled_from(["\n", "\n\n"])).join(parts)
    return draw(st.sampled_from([text, text, text.replace("    ", "\t"), text.replace("\n", "\r\n"), f"\ufeff{text}"]))


def defines_twice(program: str) -> bool:
    """Whether a name is bound by two statements."""
    bound = Counter(name for each in statements_of(ast.parse(program)) for name in each.bound)
    return max(bound.values(), default=0) > 1


def check(theirs: Callable[[str, str], str], answer: str) -> None:
    graded = theirs(answer.replace("\t", "    "), "f")
    program = extract_code(answer, "f")
    # Of two definitions in one program Python takes the last and EvalPlus the first.
    assert not right(graded) or right(program) or defines_twice(program)


@given(answers())
@settings(max_examples=400, deadline=None)
def test_it_is_never_less_lenient(answer: str) -> None:
    check(sanitize, answer)


def test_it_is_never_less_lenient_than_the_public_package(monkeypatch: pytest.MonkeyPatch) -> None:
    public = public_module("evalplus.sanitize", monkeypatch)

    @given(answers())
    @settings(max_examples=400, deadline=None)
    def each(answer: str) -> None:
        check(public.sanitize, answer)

    each()
