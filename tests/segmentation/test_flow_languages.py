"""The def-use graph of the other languages. Each line is an item; `a -> b` are line numbers from 0."""

from __future__ import annotations

from dataclasses import replace

import pytest

from codeblock.segmentation import segment
from codeblock.segmentation.flow import def_use_edges
from codeblock.segmentation.items import draft_items
from codeblock.segmentation.languages import ALL as LANGUAGES
from codeblock.segmentation.languages import find_rules
from codeblock.segmentation.recognise import parse
from codeblock.segmentation.segmenter import rules_of
from codeblock.segmentation.tree import flatten

Case = tuple[str, set[tuple[int, int]]]


def edges(source: str, language: str) -> set[tuple[int, int]]:
    result = segment(source, language, max_item_tokens=1)
    assert not result.has_error
    lines = [source[: item.spans[0][0]].count("\n") for item in result.items]
    return {(lines[a], lines[b]) for a, b in result.edges if lines[a] != lines[b]}


C: dict[str, Case] = {
    "parameters, pointers, arrays": (
        "int f(int a, char *b, int c[]) {\n  int d = a, *p = b;\n  *p = c[d];\n  return *p;\n}",
        {(0, 1), (0, 2), (1, 2), (1, 3)},
    ),
    "loops carry": (
        "int f(int n) {\n  int s = 0;\n  for (int i = 0; i < n; i++) {\n    s += i;\n  }\n  return s;\n}",
        {(0, 2), (1, 3), (2, 3), (1, 5), (3, 5)},
    ),
    "branches unite, names end with their block": (
        "int f(int n) {\n  int s = 0;\n  if (n) {\n    s = 1;\n    int s = 2;\n    g(s);\n  }\n  return s;\n}",
        {(0, 2), (4, 5), (1, 7), (3, 7)},
    ),
    "switch falls through": (
        "void f(int n) {\n  int s = 0;\n  switch (n) {\n    case 1:\n      s = 1;\n    case 2:\n      g(s);\n"
        "      break;\n  }\n  g(s);\n}",
        {(0, 2), (1, 6), (4, 6), (1, 9), (4, 9)},
    ),
    "macros, types, functions": (
        "#define N 3\nstruct P {\n  int a;\n};\ntypedef struct P Q;\nint f(Q *q) {\n  return q->a + N;\n}\n"
        "int main() {\n  return f(0);\n}",
        {(1, 4), (4, 5), (5, 6), (0, 6), (5, 9)},
    ),
}
CPP: dict[str, Case] = {
    "range loops, bindings, references": (
        "void f(map<int, int>& m) {\n  for (auto& [k, v] : m) {\n    g(k, v);\n  }\n  int& r = m[0];\n  g(r);\n}",
        {(0, 1), (1, 2), (0, 4), (4, 5)},
    ),
    "members": (
        "class A {\n  int f() const {\n    return x + this->y;\n  }\n  int x;\n  int y = 1;\n};\nA a;",
        {(4, 2), (5, 2), (0, 7)},
    ),
    "lambdas see what is around": (
        "void f(int k) {\n  auto g = [&](int a) {\n    return a + k;\n  };\n  g(1);\n}",
        {(0, 2), (1, 2), (1, 4)},
    ),
    "try": (
        "void f() {\n  int x = 0;\n  try {\n    x = 1;\n  } catch (const E& e) {\n    g(x, e);\n  }\n  g(x);\n}",
        {(1, 5), (3, 5), (4, 5), (1, 7), (3, 7)},
    ),
    "templates and namespaces": ("namespace n {\nint k = 1;\nint f() {\n  return k;\n}\n}", {(1, 3)}),
}
GO: dict[str, Case] = {
    "short declarations end with their block": (
        "package p\nfunc f(a int) int {\n  x := a\n  if a > 0 {\n    x := 2\n    g(x)\n  }\n  return x\n}",
        {(1, 2), (1, 3), (4, 5), (2, 7)},
    ),
    "if with a statement, its names end with it": (
        "package p\nfunc f(m M) {\n  v := 1\n  if v, ok := m[0]; ok {\n    g(v)\n  }\n  g(v)\n}",
        {(1, 3), (3, 4), (2, 6)},
    ),
    "three kinds of for": (
        "package p\nfunc f(m M) {\n  s := 0\n  for i := 0; i < 3; i++ {\n    s += i\n  }\n"
        "  for k, v := range m {\n    g(k, v)\n  }\n"
        "  for s < 3 {\n    s++\n  }\n  return\n}",
        {(2, 4), (3, 4), (1, 6), (6, 7), (2, 9), (4, 9), (10, 9), (2, 10), (4, 10)},
    ),
    "imports, types, receivers": (
        'package p\nimport "a/fmt"\ntype S struct {\n  a int\n}\nfunc (s *S) f() {\n  fmt.Print(s.a)\n}\nvar t = S{}',
        {(1, 6), (2, 5), (5, 6), (2, 8)},
    ),
    "closures and switch": (
        "package p\nfunc f(a int) {\n  x := 1\n  g := func(b int) int {\n    return b + x\n  }\n  switch a {\n"
        "  case 1:\n    x = 2\n"
        "  default:\n    x = 3\n  }\n  g(x)\n}",
        {(2, 4), (3, 4), (8, 4), (10, 4), (1, 6), (3, 12), (8, 12), (10, 12)},
    ),
}
RUST: dict[str, Case] = {
    "shadowing": ("fn f(a: i32) -> i32 {\n  let x = a;\n  let x = x + 1;\n  x\n}", {(0, 1), (1, 2), (2, 3)}),
    "blocks": ("fn f() {\n  let x = 1;\n  {\n    let x = 2;\n    g(x);\n  }\n  g(x);\n}", {(3, 4), (1, 6)}),
    "if let, while let, for": (
        "fn f(o: O) {\n  if let Some(v) = o {\n    g(v);\n  }\n  while let Some(k) = o.next() {\n    g(k);\n  }\n"
        "  for (i, e) in o.iter() {\n    g(i, e);\n  }\n}",
        {(0, 1), (1, 2), (0, 4), (4, 5), (0, 7), (7, 8)},
    ),
    "match arms": (
        "fn f(a: i32) {\n  let mut y = 0;\n  match a {\n    n if n > 3 => {\n      y = n;\n    }\n    _ => {\n"
        "      y = 2;\n    }\n  }\n  g(y);\n}",
        {(0, 2), (3, 4), (4, 10), (7, 10)},
    ),
    "types, impl, closures, macros": (
        "use a::B;\nstruct P {\n  x: i32,\n}\nimpl P {\n  fn new(x: B) -> P {\n    P { x }\n  }\n}\n"
        "fn main() {\n  let k = 1;\n"
        '  let c = |a: i32| a + k;\n  println!("{}", c(2));\n}',
        {(0, 5), (1, 4), (1, 5), (1, 6), (5, 6), (10, 11), (11, 12)},
    ),
    "loop ends by break": (
        "fn f() {\n  let mut x = 0;\n  loop {\n    x = 1;\n    break;\n  }\n  g(x);\n}",
        {(3, 6)},
    ),
}
CSHARP: dict[str, Case] = {
    "members, parameters": (
        "class A {\n  int x = 1;\n  A(int x) {\n    this.x = x;\n  }\n  int F(int a) {\n    return a + x;\n  }\n}",
        {(2, 3), (1, 6), (3, 6), (5, 6)},
    ),
    "loops": (
        "class A { void F(int n) {\nvar s = 0;\nforeach (var v in G(n)) {\n  s += v;\n}\n"
        "for (int i = 0; i < n; i++) s++;\nH(s);\n}}",
        {(0, 2), (0, 5), (1, 3), (2, 3), (1, 5), (3, 5), (1, 6), (3, 6), (5, 6)},
    ),
    "patterns, out, lambdas": (
        "class A { void F(object o) {\nif (o is string s) {\n  G(s);\n}\nT(o, out var u);\n"
        "Func<int> l = m => m + u;\nl(2);\n}}",
        {(0, 1), (1, 2), (0, 4), (4, 5), (5, 6)},
    ),
    "try, switch": (
        "class A { void F(int a) {\nint x = 0;\ntry {\n  x = 1;\n} catch (E e) {\n  G(x, e);\n}\nswitch (a) {\n"
        "  case 1:\n    x = 2;\n"
        "    break;\n  default:\n    x = 3;\n    break;\n}\nG(x);\n}}",
        {(1, 5), (3, 5), (4, 5), (0, 7), (9, 15), (12, 15)},
    ),
}
KOTLIN: dict[str, Case] = {
    "loops": (
        "fun f(n: Int) {\n  var s = 0\n  for (i in 0..n) {\n    s += i\n  }\n  while (s < 3) {\n    s++\n  }\n  g(s)\n}",
        {(0, 2), (1, 3), (2, 3), (1, 5), (3, 5), (6, 5), (1, 6), (3, 6), (1, 8), (3, 8), (6, 8)},
    ),
    "when, if": (
        "fun f(a: Int): Int {\n  var x = 0\n  when (a) {\n    1 -> x = 1\n    else -> x = 2\n  }\n"
        "  if (a > 1) {\n    x = 3\n  }\n  return x\n}",
        {(0, 2), (0, 6), (3, 9), (4, 9), (7, 9)},
    ),
    "classes and lambdas": (
        "class A(val x: Int) {\n  val y = 1\n  fun f(l: L) {\n    l.map { v -> v + x + y }\n  }\n}\nval a = A(1)",
        {(0, 3), (1, 3), (2, 3), (0, 6)},
    ),
    "destructuring, try": (
        "fun f(p: P) {\n  val (a, b) = p\n  var x = 0\n  try {\n    x = a\n  } catch (e: E) {\n    g(x, e)\n  }\n  g(x, b)\n}",
        {(0, 1), (1, 4), (2, 6), (4, 6), (5, 6), (1, 8), (2, 8), (4, 8)},
    ),
}
PHP: dict[str, Case] = {
    # the tag belongs to the first statement's item
    "functions see no variables outside": (
        "<?php\n$x = 1;\nfunction f($a) {\n  return $a + $x;\n}\necho f($x);",
        {(2, 3), (0, 5), (2, 5)},
    ),
    "closures do": (
        "<?php\n$x = 1;\n$f = function ($p) use ($x) {\n  return $p + $x;\n};\n$g = fn($q) => $q + $x;\n$f($g);",
        {(0, 3), (2, 3), (0, 5), (2, 6), (5, 6)},
    ),
    "loops and branches": (
        "<?php\n$s = 0;\nforeach ($arr as $k => $v) {\n  $s += $v;\n}\nif ($s) {\n  $s = 1;\n} elseif ($k) {\n"
        "  $s = 2;\n} else {\n  $s = 3;\n}\necho $s;",
        {(0, 3), (2, 3), (0, 5), (3, 5), (6, 12), (8, 12), (10, 12), (2, 7)},
    ),
    "global": ("<?php\n$x = 1;\nfunction f() {\n  global $x;\n  $x = 2;\n}\nf();\necho $x;", {(0, 7), (4, 7), (2, 6)}),
    "classes, try": (
        "<?php\nclass A {\n  function f($a) {\n    try {\n      $x = $a;\n    } catch (E $e) {\n      g($e);\n"
        "    }\n    return $x;\n  }\n}\n$o = new A();\n$o->f(1);",
        {(2, 4), (5, 6), (4, 8), (0, 11), (11, 12)},
    ),
}
RUBY: dict[str, Case] = {
    "methods": ("def f(a, b = 2)\n  x, y = a, b\n  x += y\n  x\nend\nf(1)", {(0, 1), (1, 2), (2, 3), (0, 5)}),
    "blocks share the names around": (
        "s = 0\nlist.each do |v|\n  s += v\nend\nputs s",
        {(0, 2), (1, 2), (0, 4), (2, 4)},
    ),
    "branches and modifiers": (
        "x = 1\nif c\n  x = 2\nelsif d\n  x = 3\nelse\n  x = 4\nend\nx = 5 unless x\nputs x",
        {(2, 8), (4, 8), (6, 8), (2, 9), (4, 9), (6, 9), (8, 9)},
    ),
    "rescue, case, while": (
        "x = 0\nbegin\n  x = 1\nrescue E => e\n  p(x, e)\nend\ncase x\nwhen 1\n  x = 2\nelse\n  x = 3\nend\n"
        "while x < 9\n  x += 1\nend",
        {(0, 4), (2, 4), (3, 4), (0, 6), (2, 6), (8, 12), (10, 12), (13, 12), (8, 13), (10, 13)},
    ),
    "instance variables": (
        "class A\n  def initialize(a)\n    @a = a\n  end\n  def f\n    @a\n  end\nend\nA.new(1)",
        {(1, 2), (2, 5), (0, 8)},
    ),
}
BASH: dict[str, Case] = {
    "variables and substitutions": ('x=1\ny=$(cmd "$x")\nexport A=$y\necho "$A ${x}"', {(0, 1), (1, 2), (2, 3), (0, 3)}),
    "branches": (
        'x=1\nif [ "$x" = 1 ]; then\n  y=2\nelif [ "$x" = 2 ]; then\n  y=3\nelse\n  y=4\nfi\necho "$y"',
        {(0, 1), (0, 3), (2, 8), (4, 8), (6, 8)},
    ),
    "loops": (
        'n=0\nfor i in $list; do\n  n=$((n + i))\ndone\nwhile read -r line; do\n  echo "$line"\ndone\necho "$n"',
        {(0, 2), (1, 2), (4, 5), (0, 7), (2, 7)},
    ),
    "functions": ('g=1\nf() {\n  local a=$1\n  echo "$a $g"\n  r=2\n}\nf x\necho "$r $a"', {(2, 3), (0, 3), (1, 6), (4, 7)}),
    "return ends a function": ("f() {\n  x=1\n  return $x\n  y=2\n}\nf\necho $y $x", {(1, 2), (0, 5), (1, 6)}),
    "case": ('x=1\ncase "$x" in\n  a)\n    y=5\n    ;;\n  *)\n    y=6\n    ;;\nesac\necho "$y"', {(0, 1), (3, 9), (6, 9)}),
}
CASES = {"c": C, "cpp": CPP, "go": GO, "rust": RUST, "csharp": CSHARP, "kotlin": KOTLIN, "php": PHP, "ruby": RUBY, "bash": BASH}


@pytest.mark.parametrize(("language", "name"), [(language, name) for language, cases in CASES.items() for name in cases])
def test_language(language: str, name: str) -> None:
    source, expected = CASES[language][name]
    assert edges(source, language) == expected


def test_every_language_has_a_flow_table() -> None:
    assert [rules.name for rules in LANGUAGES if not rules.has_flow] == []


def test_a_language_without_a_flow_table_says_so_and_has_no_edges() -> None:
    go = find_rules("go")
    assert go is not None
    rules = replace(go, flow={})
    assert not rules.has_flow
    parsed = parse("package p\nvar x = 1\nvar y = x", rules)
    assert parsed is not None
    for_items, _, for_flow = rules_of(parsed.grammar)
    tree = flatten(parsed.tree, parsed.source.data, parsed.grammar)
    _, pieces = draft_items(tree, for_items, 1, None)
    assert len(pieces) == 3
    assert def_use_edges(tree, for_flow, pieces, False) == []


@pytest.mark.parametrize("language", [rules.name for rules in LANGUAGES])
def test_nesting_a_thousand_deep_ends(language: str) -> None:
    """The walk has no recursion; blocks, calls and operators that are nested deep are no trouble."""
    rules = find_rules(language)
    assert rules is not None
    shapes = ("{" * 1000 + "}" * 1000, "f(" * 1000 + "x" + ")" * 1000 + ";", "x=" + "-" * 999 + "x;", "if (x) " * 999 + "{}")
    ends = 0
    for nested in shapes:
        source = {"go": "package p\nfunc m() {\n%s\n}", "rust": "fn m() {\n%s\n}"}.get(language, "%s") % nested
        parsed = parse(source, rules)
        assert parsed is not None
        if not parsed.has_error:
            tree = flatten(parsed.tree, parsed.source.data, parsed.grammar)
            assert def_use_edges(tree, rules_of(parsed.grammar)[2], [(0, 0, len(source))], True) == []
            ends += 1
    assert ends
