"""The def-use graph of each Java construct. Each line is an item; `a -> b` are line numbers from 0."""

from __future__ import annotations

import pytest

from codeblock.segmentation import segment


def edges(body: str) -> set[tuple[int, int]]:
    result = segment(body, "java", max_item_tokens=1)
    assert not result.has_error
    lines = [body[: item.spans[0][0]].count("\n") for item in result.items]
    return {(lines[a], lines[b]) for a, b in result.edges}


METHODS = {
    "definitions kill": ("int x = 1;\nx = 2;\nf(x);", {(1, 2)}),
    "declarations use what they are made from": ("int a = 1, b = a;\nint[] c = {a, b};\nf(c);", {(0, 1), (1, 2)}),
    "augmented, ++": ("int x = 0;\nx += 1;\nx++;\nf(x);", {(0, 1), (1, 2), (2, 3)}),
    "branches unite": ("int x = 1;\nif (c) {\n  x = 2;\n} else if (d) {\n  x = 3;\n}\nf(x);", {(0, 6), (2, 6), (4, 6)}),
    "a way that returns takes no part": ("int x = 1;\nif (c) {\n  x = 2;\n  return;\n}\nf(x);", {(0, 5)}),
    "names end with their block": ("{\n  int x = 2;\n  f(x);\n}\nint x = 3;\nf(x);", {(1, 2), (4, 5)}),
    "for": ("int s = 0;\nfor (int i = 0; i < 9; i++) {\n  s += i;\n}\nf(s);", {(0, 2), (1, 2), (0, 4), (2, 4)}),
    "for each": ("for (String v : list) {\n  f(v);\n}\nf(v);", {(0, 1)}),
    "while": ("int x = 0;\nwhile (x < 3) {\n  x = g(x);\n}\nf(x);", {(0, 1), (2, 1), (0, 2), (0, 4), (2, 4)}),
    "do": ("int x = 0;\ndo {\n  x = 1;\n} while (x < 2);\nf(x);", {(2, 1), (2, 4)}),
    "switch falls through": (
        "int x = 0;\nswitch (x) {\n  case 1:\n    x = 1;\n  case 2:\n    f(x);\n    break;\n  default:\n    x = 3;\n}\nf(x);",
        {(0, 1), (0, 5), (3, 5), (0, 10), (3, 10), (8, 10)},
    ),
    "arms do not": (
        "int x = 0;\nswitch (x) {\n  case 1 -> x = 1;\n  case 2 -> f(x);\n  default -> x = 3;\n}\nf(x);",
        {(0, 1), (0, 3), (0, 6), (2, 6), (4, 6)},
    ),
    "try": (
        "int x = 0;\ntry {\n  x = 1;\n} catch (E | F e) {\n  f(x, e);\n} finally {\n  g(x);\n}\nf(x);",
        {(0, 4), (2, 4), (3, 4), (0, 6), (2, 6), (0, 8), (2, 8)},
    ),
    "try with resources": ("try (R r = new R()) {\n  r.f();\n}\nr.f();", {(0, 1)}),
    "a pattern's name": ("if (o instanceof String s && s.isEmpty()) {\n  f(s);\n}", {(0, 1)}),
    "lambdas": (
        "int k = 1;\nF f = (a, b) -> a + k;\nG g = a -> {\n  return a + k;\n};\nf.go(g, a);",
        {(0, 1), (0, 3), (2, 3), (1, 5), (2, 5)},
    ),
    "fields and methods of others are no uses": ("int x = 1;\no.x = 2;\no.x();\nx();", {(0, 3)}),
}


@pytest.mark.parametrize("name", METHODS)
def test_in_a_method(name: str) -> None:
    source, expected = METHODS[name]
    shifted = {(a + 1, b + 1) for a, b in expected}
    assert edges(f"class Outer {{ void m() {{\n{source}\n}}}}") == shifted


CLASSES = {
    "parameters": ("class A {\n  int f(int a, String... b) {\n    return a + b.length;\n  }\n}", {(1, 2)}),
    "methods see fields and methods, in any order": (
        "class A {\n  int f() {\n    return g(x);\n  }\n  int x = 1;\n  int g(int a) {\n    return a;\n  }\n}",
        {(4, 2), (5, 2), (5, 6)},
    ),
    "this.x is the field": (
        "class A {\n  int x;\n  A(int x) {\n    this.x = x;\n  }\n  int f() {\n    return x;\n  }\n}",
        {(2, 3), (1, 6), (3, 6)},
    ),
    "classes are used where they are made": (
        "import a.b.C;\nclass B extends A {\n}\nclass A {\n  C c = new C(new B());\n}",
        {(0, 4), (1, 4), (3, 1)},
    ),
    "members stay inside": ("class A {\n  int x = 1;\n}\nclass B {\n  int y = x;\n}", set()),
    "records": ("record P(int a) {\n  int f() {\n    return a;\n  }\n}", {(0, 2)}),
}


@pytest.mark.parametrize("name", CLASSES)
def test_classes(name: str) -> None:
    source, expected = CLASSES[name]
    assert edges(source) == expected
