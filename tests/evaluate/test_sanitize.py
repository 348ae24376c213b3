"""Answers are cut down the way EvalPlus and BigCodeBench cut them.

Where CODEBLOCK_EVALPLUS names a directory with the package of EvalPlus (and that of BigCodeBench), every answer here is held
against them.
"""

from __future__ import annotations

import time

import pytest
from tests.evaluate.public import public_module

from codeblock.evaluate.sanitize import longest_code, sanitize, sanitize_calibrated

F = "def f(x):\n    return g(x) + 1"
G = "def g(x):\n    return x"

# (answer, what EvalPlus grades for the entry point f)
ANSWERS = [
    (f"{G}\n\n{F}", f"{G}\n{F}"),
    (f"{F}\n\n{G}", f"{F}\n{G}"),
    (f"Here it is:\n\n```python\n{F}\n```\nIt adds 1.", F),
    (f"{F}\n```\nAnd the other one:\n```python\n{G}", F),
    (f"{F}\n\ndef unused(y):\n    return y\n", F),
    (f"{F}\n\nprint(f(1))\nassert f(1) == 2", F),
    (f"import math\n{F}\nfrom os import path\nimport sys", f"import math\nfrom os import path\nimport sys\n{F}"),
    (f"try:\n    import numpy\nexcept ImportError:\n    pass\n{F}", F),
    ("@cache\ndef f(x):\n    return x\n\nimport math", "import math"),
    ("def f(x):\n    print(x)\n\nimport math", "import math"),
    ("def f(x):\n    print(x)", "def f(x):\n    print(x)"),
    ("class A:\n    pass\n\n" + F.replace("g(x)", "A"), "class A:\n    pass\n" + F.replace("g(x)", "A")),
    ("K = 3\nK = 4\n\n" + F.replace("g(x)", "K"), "K = 3\n" + F.replace("g(x)", "K")),
    ("f = lambda x: x\nimport math\ng = 1", "import math\nf = lambda x: x"),
    (f"{F}\n\nif __name__ == '__main__':\n    print(f(1", F),
    ("def f(x):\n    # nothing\n    return x  # here\n# after", "def f(x):\n    # nothing\n    return x  # here"),
    ("a, b = 1, 2\n" + F.replace("g(x)", "a"), F.replace("g(x)", "a")),
    ("I cannot.\nSorry.", "I cannot."),
    ("", ""),
    ("x", "x"),
    ("    return x + 1", "    return x + 1"),
    ("    y = x\n    return y", "    y = x"),
    ("def f(x:\n    return x\n\n# that\n# was it", "\n# that\n# was it"),
    ("x = 1 \\\n\ny = '", "x = 1 \\"),
    ("'''doc\n" + F + "\n'''\n" + F, F),
    ("async def f(x):\n    return x", "async def f(x):\n    return x"),
    (f"\r\n{F}\r\n".replace("\n", "\r\n"), None),
    ("\x0c" + F, None),
    ("é = 1\n" + F.replace("g(x)", "é"), "é = 1\n" + F.replace("g(x)", "é")),
]


@pytest.mark.parametrize(("answer", "graded"), [(a, g) for a, g in ANSWERS if g is not None])
def test_what_evalplus_grades(answer: str, graded: str) -> None:
    assert sanitize(answer, "f") == graded


@pytest.mark.parametrize(
    ("answer", "graded"),
    [
        (f"{F}\n\n{G}", f"{F}\n{G}"),
        ("import math\n\ndef f(x):\n    print(x)", "import math\ndef f(x):\n    print(x)"),
        ("import math\nx = f\n\ndef f(a):\n    return x\n\nx = f(1)", "import math\nx = f\ndef f(a):\n    return x"),
        ("def f(a):\n    return x\n\nx = f(1)\ny = 2", "def f(a):\n    return x"),
        ("def f(a): return a", "def f(a): return a"),
    ],
)
def test_what_bigcodebench_grades(answer: str, graded: str) -> None:
    assert sanitize_calibrated(answer, "f") == graded


@pytest.mark.parametrize(
    "text",
    ["foo bar\n" * 700, "x = 1\n" * 700, "- item: a 'b\n" * 700, "\n" * 1000, "x = 1\n" * 200 + "y = = 2\n" + "x = 1\n" * 200],
)
def test_degenerate_answers_take_seconds(text: str) -> None:
    started = time.process_time()
    sanitize(text, "f")
    assert time.process_time() - started < 20


def test_the_longest_run_is_the_first_of_several_and_has_two_lines() -> None:
    assert longest_code("a b\nx = 1\ny = 2\na b\nz = 3\nw = 4") == "x = 1\ny = 2"
    assert longest_code("a b\nx = 1\na b") == "a b"
    assert longest_code("a b\nx = 1\n\na b") == "x = 1\n"


def test_the_public_packages_cut_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    evalplus, bigcodebench = (public_module(f"{each}.sanitize", monkeypatch) for each in ("evalplus", "bigcodebench"))
    for answer, _ in ANSWERS:
        assert sanitize(answer, "f") == evalplus.sanitize(answer, "f")
        assert sanitize_calibrated(answer, "f") == bigcodebench.sanitize(answer, "f")
