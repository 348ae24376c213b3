"""The def-use graph of each Python construct. Each line is an item; `a -> b` are line numbers from 0."""

from __future__ import annotations

import pytest

from codeblock.segmentation import segment


def edges(source: str, *, mutation_defines: bool = False) -> set[tuple[int, int]]:
    result = segment(source, "python", max_item_tokens=1, mutation_defines=mutation_defines)
    assert not result.has_error
    lines = [source[: item.spans[0][0]].count("\n") for item in result.items]
    return {(lines[a], lines[b]) for a, b in result.edges}


CASES = {
    "a redefinition kills the one before": ("x = 1\nx = 2\nprint(x)", {(1, 2)}),
    "branches unite": ("x = 1\nif c:\n  x = 2\nprint(x)", {(0, 3), (2, 3)}),
    "two branches leave nothing of the first": ("x = 1\nif c:\n  x = 2\nelse:\n  x = 3\nprint(x)", {(2, 5), (4, 5)}),
    "a branch that returns takes no part": ("x = 1\nif c:\n  x = 2\n  raise E\nprint(x)", {(0, 4)}),
    "loops carry": ("x = 0\nfor i in y:\n  print(x, i)\n  x = 1\nprint(x)", {(0, 2), (1, 2), (3, 2), (0, 4), (3, 4)}),
    "an augmented assignment is use and definition": ("x = 0\nx += 1\nprint(x)", {(0, 1), (1, 2)}),
    "break leaves with what it had": ("x = 0\nwhile True:\n  x = 1\n  break\n  x = 2\nprint(x)", {(2, 5)}),
    "while 1 and while (True) end by break too": (
        "x = 0\nwhile 1:\n  x = 1\n  if c: break\nwhile (True):\n  break\nprint(x)",
        {(2, 6)},
    ),
    "imports define": ("import a.b\nimport c as d\nfrom e import f, g as h\na, c, d\ne, f, g, h", {(0, 3), (1, 3), (2, 4)}),
    "parameters are defined in the header": ("def f(a, b=1, *c, d: int, **e):\n  return a, b, c, d, e", {(0, 1)}),
    "defaults are used outside": ("a = 1\ndef f(a=a):\n  return a", {(0, 1), (1, 2)}),
    "annotations are uses": ("T = int\ndef f(x: T) -> T:\n  pass\nx: T = 1", {(0, 1), (0, 3)}),
    "def and class define": ("def f():\n  pass\nclass A:\n  pass\nf(A)", {(0, 4), (2, 4)}),
    "decorators and bases are used": ("def d():\n  pass\nclass B:\n  pass\n@d\nclass A(B):\n  pass", {(0, 4), (2, 4)}),
    "a body sees all definitions outside": ("x = 1\ndef f():\n  return x\nx = 2\nf()", {(0, 2), (3, 2), (1, 4)}),
    "recursion": ("def f():\n  return f()", {(0, 1)}),
    "an inner function sees the outer's names": (
        "x = 0\ndef f():\n  x = 1\n  def g():\n    return x\n  return g",
        {(2, 4), (3, 5)},
    ),
    "a local name hides the one outside": ("x = 0\ndef f():\n  x = 1\n  return x", {(2, 3)}),
    "a local name hides even before it is bound": ("x = 0\ndef f():\n  print(x)\n  x = 1", set()),
    "methods do not see names of the class": (
        "x = 0\nclass A:\n  x = 1\n  y = x\n  def f(self):\n    return x",
        {(2, 3), (0, 5)},
    ),
    "a class body sees what is around it now": ("x = 0\nx = 1\nclass A:\n  y = x\ny", {(1, 3)}),
    "walrus": ("if (m := f()):\n  print(m)\nprint(m)", {(0, 1), (0, 2)}),
    "a walrus that may not happen kills nothing": ("m = 0\na and (m := 1)\nprint(m)", {(0, 2), (1, 2)}),
    "with as": ("with a as b, c(b) as (d, e):\n  print(b, d, e)", {(0, 1)}),
    "except as, which is deleted": ("e = 0\ntry:\n  a()\nexcept B as e:\n  print(e)\n  raise\nprint(e)", {(3, 4), (0, 6)}),
    "a handler sees any part of the body": ("try:\n  x = 1\n  x = 2\nexcept E:\n  print(x)", {(1, 4), (2, 4)}),
    "finally sees all, what follows only the end": (
        "try:\n  x = 1\n  x = 2\nfinally:\n  print(x)\nprint(x)",
        {(1, 4), (2, 4), (2, 5)},
    ),
    "match captures": (
        "match p:\n  case C(x, k=y) as z if x:\n    print(x, y, z)\n  case [a, *b]:\n    print(a, b)\n  case {'q': d, **e}:\n"
        "    print(d, e)\n  case m.n:\n    print(m)",
        {(1, 2), (3, 4), (5, 6)},
    ),
    "match uses classes and values": ("C = m = 1\nmatch p:\n  case C():\n    pass\n  case m.n:\n    pass", {(0, 2), (0, 4)}),
    "comprehension targets stay inside": ("x = 1\ny = [x for x in x if x]\nprint(x)", {(0, 1), (0, 2)}),
    "comprehension targets hide": ("x = 1\nz = 2\ny = [x for x in z]", {(1, 2)}),
    "a walrus in a comprehension comes out": ("y = [(k := i) for i in z]\nprint(k, i)", {(0, 1)}),
    "lambda parameters hide": ("x = y = 1\nz = 2\nf = lambda x, y=z: x + y", {(1, 2)}),
    "a lambda sees all definitions around": ("x = 1\nf = lambda: x\nx = 2", {(0, 1), (2, 1)}),
    "a lambda default is evaluated now": ("x = 1\nf = lambda x=x: x\nx = 2", {(0, 1)}),
    "global": ("x = 1\ndef f():\n  global x\n  x = 2\nprint(x)", {(0, 4), (3, 4)}),
    "global in a method": ("x = 1\nclass A:\n  def f(self):\n    global x\n    print(x)\n    x = 2", {(0, 4), (5, 4)}),
    "a declared name sees all definitions": ("x = 1\ndef f():\n  global x\n  x += 1\nx = 3", {(0, 3), (4, 3)}),
    "nonlocal": (
        "x = 0\ndef f():\n  x = 1\n  def g():\n    nonlocal x\n    x = 2\n  return x",
        {(2, 6), (5, 6)},
    ),
    "del is a use and ends a definition": ("x = 1\ndel x\nprint(x)", {(0, 1)}),
    "chained and unpacked": ("a = b, *c = d = 1, 2\nprint(a, b, c, d)", {(0, 1)}),
    "an annotation alone defines nothing": ("x = 1\nx: int\nprint(x)", {(0, 2)}),
    "an annotated part uses the whole": ("def f(a):\n  a.x: int", {(0, 1)}),
    "keywords and attributes are no uses": ("a = b = 1\nf(a=2)\nc.b", set()),
    "interpolations are uses": ("x = w = 1\nf'{x:>{w}} y'\n'{x}'", {(0, 1)}),
    "assigning to a part uses the whole": ("x = {}\nk = 1\nx[k] = 2\nprint(x)", {(0, 2), (1, 2), (0, 3)}),
    "type aliases": ("type A = int\nx: A = 1", {(0, 1)}),
    "code after return is never reached": ("def f(x):\n  return 1\n  print(x)", set()),
}


@pytest.mark.parametrize("name", CASES)
def test_python(name: str) -> None:
    source, expected = CASES[name]
    assert edges(source) == expected


def test_mutation_defines_on_request() -> None:
    source = "x = []\nx.append(1)\nx[0] = 2\nx.a.b = 3\nx.index(1)\nprint(x)"
    assert edges(source) == {(0, line) for line in (1, 2, 3, 4, 5)}
    chain = {(a, b) for a in (0, 1, 2, 3) for b in (1, 2, 3, 4, 5) if a < b}
    assert edges(source, mutation_defines=True) == chain


def test_edges_never_join_two_items_that_are_the_same() -> None:
    result = segment("x = 1\nfor i in x:\n    x += i\n", "python", max_item_tokens=1000)
    assert result.edges == [(0, 1)]
