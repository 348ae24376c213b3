"""The language that a fence names."""

from __future__ import annotations

import pytest

from codeblock.core.markdown import LANGUAGES, tag_of, tag_on_own_line


def known(word: str) -> bool:
    return word.lower() in LANGUAGES


@pytest.mark.parametrize(
    ("info", "tag"),
    [
        ("python", "python"),
        ("Python 3", "Python"),
        ("python3.11", "python"),
        ('python title="x.py"', "python"),
        ('title="x.py"', "python"),
        ("title='a b' python", "python"),
        ("{.python .numberLines}", "python"),
        ("{ .python }", "python"),
        ("{#listing .python startFrom=3}", "python"),
        ("{python, echo=FALSE}", "python"),
        ("{code-cell} ipython3", "ipython3"),
        ("py:main.py", "py"),
        ("src/main.py", "python"),
        ("12:15:src/main.rs", "rust"),
        ("lang=python", "python"),
        ('class="python"', "python"),
        ("language-python", "python"),
        ("python {1,3-4}", "python"),
        ("{1,2}", None),
        (".py", "py"),
        ("c++", "c++"),
        ("c99", "c"),
        ("Output", "Output"),
        ("", None),
    ],
)
def test_the_tag_of_an_info_string(info: str, tag: str | None) -> None:
    assert tag_of(info, known) == tag


def test_a_tag_on_a_line_of_its_own() -> None:
    assert tag_on_own_line("python\nCopy code\nx = 1\n", known) == ("python", 17)
    assert tag_on_own_line("\nPython:\r\nx = 1\n", known) == ("Python", 10)
    assert tag_on_own_line("python = 3\nx = 1\n", known) is None
    assert tag_on_own_line("total\nx = 1\n", known) is None
