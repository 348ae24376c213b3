"""Core logic leaves."""

from __future__ import annotations

import pytest

from codeblock.segmentation import segment


def core(source: str) -> list[str]:
    return [source[start:end] for start, end in segment(source, "python").core]


CASES = {
    "imports are not core": ("import os\nfrom a import b as c\nfrom __future__ import annotations", ""),
    "comments and docstrings are not core": (
        '"""Module."""\n# c\ndef f():\n    # c\n    """Doc."""\n    "value"\nclass A:\n    "doc"',
        'f "value" A',
    ),
    "a string in an if is no docstring": ('if x:\n    "s"', 'if x "s"'),
    "def, class, pass and self are not core": ("class A(B):\n    def f(self): pass", "A B f"),
    "annotations are not core": ("def f(a: int, b: List[str] = 1) -> T: return a\nx: int = 2", "f a b = 1 return a x = 2"),
    "decorators: the name but not the @": ("@a.b(1)\ndef f(): return m @ n", "a b 1 f return m @ n"),
    "delimiters are not core": ("f(a[1:2], {b: c}, (d,)).e", "f a 1 2 b c d e"),
    "control keywords": (
        "try:\n  for a in b:\n    if a and not c or d is not None: continue\n    elif e not in f: break\n"
        "  else: raise g\nexcept h: yield\n",
        "try for a in b if a and not c or d is not None continue elif e not in f break else raise g except h yield",
    ),
    "with, finally, assert and del are not in the list": ("with a as b: assert c\ntry: del d\nfinally: e", "a b c try d e"),
    "lambda, await, walrus and operators": (
        "(lambda: -a ** b)\nawait c\n(d := ~e)\nf //= 2",
        "lambda - a ** b await c d := ~ e f //= 2",
    ),
    "a string is one leaf": ("x = 'a\\n b' b'c'", "x = 'a\\n b' b'c'"),
    "an interpolation is code": ("f'a{b + 1}c'", "f' a b + 1 c '"),
    "global names are not core": ("def f():\n  global a\n  a = 1", "f a = 1"),
}


@pytest.mark.parametrize("name", CASES)
def test_python(name: str) -> None:
    source, expected = CASES[name]
    assert " ".join(core(source)) == expected


def test_offsets_are_characters() -> None:
    assert core("é = '日本😀' + ü") == ["é", "=", "'日本😀'", "+", "ü"]
