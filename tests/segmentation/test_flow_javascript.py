"""The def-use graph of each JavaScript and TypeScript construct. Each line is an item; `a -> b` are line numbers from 0."""

from __future__ import annotations

import pytest

from codeblock.segmentation import segment


def edges(source: str, language: str, *, mutation_defines: bool = False) -> set[tuple[int, int]]:
    result = segment(source, language, max_item_tokens=1, mutation_defines=mutation_defines)
    assert not result.has_error
    lines = [source[: item.spans[0][0]].count("\n") for item in result.items]
    return {(lines[a], lines[b]) for a, b in result.edges}


CASES = {
    "a new definition kills the one before": ("let x = 1;\nx = 2;\nf(x);", {(1, 2)}),
    "destructuring": ("const {a, b: c, d = 4, ...r} = o;\nconst [p, , q] = a;\nf(a, c, d, r, p, q);", {(0, 1), (0, 2), (1, 2)}),
    "keys of a pattern are no names": ("const b = 1;\nconst {b: c} = o;\nf(b, c);", {(0, 2), (1, 2)}),
    "defaults in patterns are used": ("const k = 1;\nconst {d = k} = o;", {(0, 1)}),
    "destructuring of names that are there": ("let a, b;\n[a, b] = [b, a];\nf(a);", {(0, 1), (1, 2)}),
    "properties are no uses": ("const a = 1;\no.a;\nf({a: 2});\nf({a});", {(0, 3)}),
    "augmented, ++": ("let x = 0;\nx += 1;\nx++;\nf(x);", {(0, 1), (1, 2), (2, 3)}),
    "an assignment inside an expression": ("let x = 0;\nif ((x = g())) {\n  f(x);\n}", {(1, 2)}),
    "one that may not happen": ("let x = 0;\na && (x = 1);\nf(x);", {(0, 2), (1, 2)}),
    "branches unite": ("let x = 1;\nif (c) {\n  x = 2;\n}\nf(x);", {(0, 4), (2, 4)}),
    "else if": (
        "let x = 1;\nif (c) {\n  x = 2;\n} else if (d) {\n  x = 3;\n} else {\n  x = 4;\n}\nf(x);",
        {(2, 8), (4, 8), (6, 8)},
    ),
    "branches without braces are one item": ("let x = 1;\nif (c)\n  x = x + 1;\nelse\n  x = 4;\nf(x);", {(0, 1), (1, 5)}),
    "a way that returns takes no part": ("let x = 1;\nif (c) {\n  x = 2;\n  throw x;\n}\nf(x);", {(0, 5), (2, 3)}),
    "let ends with its block": ("let x = 1;\n{\n  let x = 2;\n  f(x);\n}\nf(x);", {(0, 5), (2, 3)}),
    "var does not": ("var x = 1;\nif (c) {\n  var x = 2;\n}\nf(x);", {(0, 4), (2, 4)}),
    "closures see the block's name": (
        "let x = 1;\nif (c) {\n  let x = 2;\n  g(function () {\n    return x;\n  });\n}\nf(x);",
        {(0, 7), (2, 4)},
    ),
    "for carries": (
        "let s = 0;\nfor (let i = 0; i < 9; i++) {\n  s += i;\n}\nf(s);",
        {(0, 2), (1, 2), (0, 4), (2, 4)},
    ),
    "the step runs after continue": (
        "let i = 0;\nfor (;; i++) {\n  f(i);\n  if (c) {\n    continue;\n  }\n  break;\n}\nf(i);",
        {(0, 1), (0, 2), (1, 2), (0, 8), (1, 8)},
    ),
    "for of": ("for (const [k, v] of m) {\n  f(k, v);\n}\nf(k);", {(0, 1)}),
    "for in with a name that is there": ("let k;\nfor (k in o) {\n  f(k);\n}\nf(k);", {(1, 2), (0, 4), (1, 4)}),
    "while": ("let x = 0;\nwhile (x < 3) {\n  x = g(x);\n}\nf(x);", {(0, 1), (2, 1), (0, 2), (0, 4), (2, 4)}),
    "do runs at least once": ("let x = 0;\ndo {\n  x = 1;\n} while (x);\nf(x);", {(2, 1), (2, 4)}),
    "while (true) ends by break": ("let x = 0;\nwhile (true) {\n  x = 1;\n  if (c) { break; }\n}\nf(x);", {(2, 5)}),
    "switch falls through": (
        "let x = 0;\nswitch (x) {\n  case 1:\n    x = 1;\n  case 2:\n    f(x);\n    break;\n  default:\n    x = 3;\n}\nf(x);",
        {(0, 1), (0, 5), (3, 5), (0, 10), (3, 10), (8, 10)},
    ),
    "continue in a switch goes to the loop": (
        "let x = 0;\nfor (const i of y) {\n  switch (i) {\n    case 1:\n      x = 1;\n      continue;\n  }\n  x = 2;\n}\nf(x);",
        {(1, 2), (0, 9), (4, 9), (7, 9)},
    ),
    "try": (
        "let x = 0;\ntry {\n  x = 1;\n  x = 2;\n} catch (e) {\n  f(x, e);\n} finally {\n  g(x);\n}\nf(x);",
        {(0, 5), (2, 5), (3, 5), (4, 5), (0, 7), (2, 7), (3, 7), (0, 9), (2, 9), (3, 9)},
    ),
    "the caught name ends with its handler": ("let e = 0;\ntry {\n  g();\n} catch (e) {\n  f(e);\n}\nf(e);", {(3, 4), (0, 6)}),
    "functions are known before they are defined": ("f(1);\nfunction f(a) {\n  return a;\n}", {(1, 0), (1, 2)}),
    "a body sees all definitions outside": (
        "let x = 1;\nfunction f() {\n  return x;\n}\nx = 2;\nf();",
        {(0, 2), (4, 2), (1, 5)},
    ),
    "an assignment to a name outside": ("let x = 1;\nfunction f() {\n  x = 2;\n}\nf();\ng(x);", {(0, 5), (2, 5), (1, 4)}),
    "parameters, defaults, rest, patterns": (
        "const k = 1;\nconst f = ({a, b: [c]}, d = k, ...e) => {\n  return [a, c, d, e];\n};\nf();",
        {(0, 1), (1, 2), (1, 4)},
    ),
    "an arrow with one parameter": ("const x = 1;\nconst f = x => g(x);\nf(x);", {(0, 2), (1, 2)}),
    "a callback's body": (
        "const k = 2;\nlist.forEach((v) => {\n  const w = v * k;\n  f(w);\n});",
        {(0, 2), (1, 2), (2, 3)},
    ),
    "classes": (
        "class A {\n}\nclass B extends A {\n  m(x) {\n    return new A(x);\n  }\n}\nnew B();",
        {(0, 2), (0, 4), (2, 7), (3, 4)},
    ),
    "imports": ("import D, {e as f, g} from 'm';\nimport * as n from 'o';\nD(f, g, n);\ne;", {(0, 2), (1, 2)}),
    "exported functions": ("export function f() {\n  return 1;\n}\nf();", {(0, 3)}),
    "templates": ("const x = 1;\nf(`a ${x} b`);", {(0, 1)}),
    "code after return is never reached": ("function f(x) {\n  return 1;\n  g(x);\n}", set()),
}


@pytest.mark.parametrize("language", ["javascript", "typescript", "tsx"])
@pytest.mark.parametrize("name", CASES)
def test_javascript(name: str, language: str) -> None:
    source, expected = CASES[name]
    assert edges(source, language) == expected


TYPESCRIPT = {
    "types are used": (
        "interface P {\n  x: number;\n}\ntype Q = P;\nfunction f(p: P): Q {\n  return p;\n}",
        {(0, 3), (0, 4), (3, 4), (4, 5)},
    ),
    "parameters with types and defaults": (
        "const k = 1;\nconst f = (a: number, b?: string, c = k) => {\n  return [a, b, c];\n};",
        {(0, 1), (1, 2)},
    ),
    "enums and type arguments": (
        "enum E {\n  A\n}\nconst m: Map<string, E> = new Map();\nf(m, E.A);",
        {(0, 3), (0, 4), (3, 4)},
    ),
}


@pytest.mark.parametrize("language", ["typescript", "tsx"])
@pytest.mark.parametrize("name", TYPESCRIPT)
def test_typescript(name: str, language: str) -> None:
    source, expected = TYPESCRIPT[name]
    assert edges(source, language) == expected


def test_mutation_defines_on_request() -> None:
    source = "const x = [];\nx.push(1);\nx[0] = 2;\nx.a.b = 3;\nx.at(1);\nf(x);"
    assert edges(source, "javascript") == {(0, line) for line in (1, 2, 3, 4, 5)}
    chain = {(a, b) for a in (0, 1, 2, 3) for b in (1, 2, 3, 4, 5) if a < b}
    assert edges(source, "javascript", mutation_defines=True) == chain
