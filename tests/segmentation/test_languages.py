"""Every language: how its statements are cut, what is core, and what holds for any input."""

from __future__ import annotations

import gzip
import json
import logging
import os
import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from segment_checks import ODD, check_invariants, parses_alone, texts

from codeblock.segmentation import Decided, find_regions, segment, segment_response, tree
from codeblock.segmentation.languages import ALL, find_rules

DATA = Path(os.environ.get("CODEBLOCK_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
SAMPLES = {
    rules.name: path.read_text(encoding="utf-8")
    for path in sorted((Path(__file__).parent / "samples").iterdir())
    if (rules := find_rules(path.suffix[1:])) is not None
}
LANGUAGES = sorted(SAMPLES)


def items(source: str, language: str, limit: int) -> list[tuple[str, ...]]:
    return [tuple(source[a:b] for a, b in item.spans) for item in segment(source, language, max_item_tokens=limit).items]


def test_there_is_a_sample_of_every_language() -> None:
    assert set(SAMPLES) == {rules.name for rules in ALL} - {"python", "tsx"}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("limit", [1, 4, 16, 64])
def test_items_parse_on_their_own(language: str, newline: str, limit: int) -> None:
    source = SAMPLES[language].replace("\n", newline)
    result = segment(source, language, max_item_tokens=limit)
    assert not result.has_error
    check_invariants(source, result)
    if newline == "\n":
        for item in result.items:
            assert parses_alone(source, item, language), [source[a:b] for a, b in item.spans]


def test_the_check_for_validity_is_not_vacuous() -> None:
    for language, broken in (
        ("javascript", "f(("),
        ("java", "int x = ;"),
        ("c", "if (x"),
        ("go", "x := := 1"),
        ("ruby", "def ("),
    ):
        assert not any(parses_alone(broken, item, language) for item in segment(broken, "nosuchlanguage").items)


CUTS: dict[str, tuple[str, list[tuple[str, ...]]]] = {
    "javascript": (
        "app.get('/', (req, res) => { a(); }); // c\nif (a) { b(); } else if (c) { d() } else { e() }",
        [
            ("app.get('/', (req, res) => {", "}); // c"),
            ("a();",),
            ("if (a) {", "}"),
            ("b();",),
            ("else if (c) {", "}"),
            ("d()",),
            ("else {", "}"),
            ("e()",),
        ],
    ),
    "typescript": (
        "@A() export class B { @C() x: number; f(): void { g(); } }",
        [("@A() export class B {", "}"), ("@C() x: number;",), ("f(): void {", "}"), ("g();",)],
    ),
    "java": (
        "@A class B { @C void f() { try { a(); } catch (E e) { b(); } switch (x) { case 1: c(); break; } } }",
        [
            ("@A class B {", "}"),
            ("@C void f() {", "}"),
            ("try {", "}"),
            ("a();",),
            ("catch (E e) {", "}"),
            ("b();",),
            ("switch (x) {", "}"),
            ("case 1:",),
            ("c();",),
            ("break;",),
        ],
    ),
    "c": (
        "#include <a.h>\nstruct A { int x; };\nvoid f() { do { a(); } while (b); }",
        [("#include <a.h>",), ("struct A {", "};"), ("int x;",), ("void f() {", "}"), ("do {", "} while (b);"), ("a();",)],
    ),
    "cpp": (
        "template <typename T> class A { public: A() { f(); } private: int x; };",
        [("template <typename T> class A {", "};"), ("public: A() {", "}"), ("f();",), ("private: int x;",)],
    ),
    "go": (
        "package a\nfunc f() {\n\tif x { a() } else { b() }\n\tswitch y {\n\tcase 1:\n\t\tc()\n\t}\n}",
        [
            ("package a",),
            ("func f() {", "}"),
            ("if x {", "}"),
            ("a()",),
            ("else {", "}"),
            ("b()",),
            ("switch y {", "}"),
            ("case 1:",),
            ("c()",),
        ],
    ),
    "rust": (
        "#[test]\nfn f() { let y = if a { b() } else { c() }; match x { 1 => { d(); } _ => e(), } }",
        [
            ("#[test]\nfn f() {", "}"),
            ("let y = if a {", "}", ";"),
            ("b()",),
            ("else {", "}"),
            ("c()",),
            ("match x {", "}"),
            ("1 => {", "}"),
            ("d();",),
            ("_ => e(),",),
        ],
    ),
    "csharp": (
        "[A] class B { int P { get { return x; } } void F() { foreach (var i in xs) { G(i); } } }",
        [
            ("[A] class B {", "}"),
            ("int P {", "}"),
            ("get {", "}"),
            ("return x;",),
            ("void F() {", "}"),
            ("foreach (var i in xs) {", "}"),
            ("G(i);",),
        ],
    ),
    "ruby": (
        "def f(x)\n  a\nrescue E => e\n  b\nend\nxs.each do |i|\n  p i\nend",
        [("def f(x)", "end"), ("a",), ("rescue E => e",), ("b",), ("xs.each do |i|", "end"), ("p i",)],
    ),
    "php": (
        "<?php\nif ($a) { b(); } elseif ($c) { d(); } else { e(); }",
        [("<?php\nif ($a) {", "}"), ("b();",), ("elseif ($c) {", "}"), ("d();",), ("else {", "}"), ("e();",)],
    ),
    "bash": (
        "if a; then\n  b\nelif c; then\n  d\nelse\n  e\nfi\nfor i in 1 2; do\n  f\ndone",
        [("if a; then", "fi"), ("b",), ("elif c; then",), ("d",), ("else",), ("e",), ("for i in 1 2; do", "done"), ("f",)],
    ),
    "kotlin": (
        "fun f() {\n  when (x) {\n    1 -> { a() }\n    else -> b()\n  }\n  xs.map { y -> c(y) }\n}",
        [
            ("fun f() {", "}"),
            ("when (x) {", "}"),
            ("1 -> {", "}"),
            ("a()",),
            ("else -> b()",),
            ("xs.map { y ->", "}"),
            ("c(y)",),
        ],
    ),
}


@pytest.mark.parametrize("language", CUTS)
def test_a_header_runs_through_its_opener_together_with_its_closer(language: str) -> None:
    source, expected = CUTS[language]
    found = items(source, language, 1)
    assert [tuple(part.strip() for part in item) for item in found] == expected


CORE = {
    "javascript": (
        "import a from 'b'; // c\nfunction f(x) { return this.y + `a${z}`; }\nnew A(1) ?? null",
        "f x return y + a z new A 1 ?? null",
    ),
    "typescript": (
        "class A<T> { private x: number = 1; f(a: string): void { return a as any; } }",
        "A x = 1 f a return a",
    ),
    "java": (
        "import a.B; class C extends D { private static int x = 1; C f(final int a) { return new E<F>(a).g; } }",
        "C x = 1 f a return new E a g",
    ),
    "c": ("#include <a.h>\nstatic int *f(char *s) { if (s->x == 'c') return 1; /* c */ }", "f s if s -> x == 'c' return 1"),
    "cpp": ("using namespace std; int main() { cout << new A(1); auto f = 2; }", "main cout << new A 1 f = 2"),
    "go": (
        'package a\nimport "b"\nfunc f(x int) string { for i := range x { y = P{A: 1} } }',
        "f x for i := range x y = P A 1",
    ),
    "rust": ("use a::b;\n#[c]\npub fn f(x: &mut i32) -> u8 { let y: i32 = x? + 1; match y { _ => g!(y) } }",
             "f x y = x ? + 1 match y g ! y"),
    "csharp": (
        "using A; class B : C { public int F(string s) { foreach (var i in s) { throw new E(1); } } }",
        "B F s foreach i in s throw new E 1",
    ),
    "ruby": ("# c\nclass A < B\n  def f(x)\n    return \"a#{@y}\" unless x.nil?\n  end\nend",
             "A < B f x return a @y unless x nil?"),
    "php": ("<?php use A\\B; class C { private $x = 1; function f(int $a) { return $this->x . \"s\"; } }",
            'C $x = 1 f $a return x . "s"'),
    "bash": ("# c\nx=1\nif [ $x -gt 2 ]; then echo \"a\"; fi", 'x = 1 if x -gt 2 then echo "a"'),
    "kotlin": ("import a.b\nprivate fun f(x: Int): String { return x?.y ?: \"a\" }", 'f x return x ?. y ?: "a"'),
}  # fmt: skip


@pytest.mark.parametrize("language", CORE)
def test_core_logic_leaves(language: str) -> None:
    source, expected = CORE[language]
    result = segment(source, language)
    assert not result.has_error
    assert " ".join(source[a:b] for a, b in result.core) == expected


@pytest.mark.parametrize(
    ("language", "source", "expected"),
    [
        ("typescript", "function f(a?: number, b = x ? 1 : 2) { g(a?.b ?? 1); }", "f a b = x ? 1 2 g a b ?? 1"),
        ("typescript", "interface A { x?: number; f?(y: string): void }\nclass B { q!: number; r?: string }", "A x f y B q r"),
        ("typescript", "type C<T> = T extends string ? 1 : 2; type M = {[K in keyof T]?: T[K]};", "= ="),
        ("rust", "impl<T> A for B<T> { fn f(&self) { for i in x { y(i); } } }", "f for i in x y i"),
        ("bash", "((x++))\nif (( a > 3 )); then b; fi", "x ++ if a > 3 then b"),
    ],
)
def test_marks_of_types_and_implementations_are_no_operators(language: str, source: str, expected: str) -> None:
    assert " ".join(source[a:b] for a, b in segment(source, language).core) == expected


def test_arithmetic_in_double_parentheses_is_no_block() -> None:
    source = "((x++))\nif (( a > 3 )); then\n  b\nfi\nwhile ((n--)); do c; done\n{ d; }"
    assert items(source, "bash", 1) == [
        ("((x++))",),
        ("if (( a > 3 )); then", "fi"),
        ("b",),
        ("while ((n--)); do", "done"),
        ("c;",),
        ("{", "}"),
        ("d;",),
    ]


@st.composite
def mutated(draw: st.DrawFn) -> tuple[str, str]:
    """A sample with a few pieces taken out and put in."""
    language = draw(st.sampled_from(LANGUAGES))
    text = SAMPLES[language]
    start = draw(st.integers(0, len(text)))
    text = text[start : start + draw(st.integers(0, 400))] if draw(st.booleans()) else text
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.sampled_from(["", "{", "}", "else ", *ODD])) + text[at + draw(st.integers(0, 3)) :]
    return language, text


@given(mutated(), st.integers(1, 40))
@settings(max_examples=400, deadline=None)
def test_invariants_hold_on_mutated_code(case: tuple[str, str], limit: int) -> None:
    language, text = case
    check_invariants(text, segment(text, language, max_item_tokens=limit))
    check_invariants(text, segment_response(text, max_item_tokens=limit))


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_byte_order_mark_alone_is_an_item(language: str) -> None:
    assert texts("\ufeff", segment("\ufeff", language)) == ["\ufeff"]


@given(st.text(), st.sampled_from(LANGUAGES), st.integers(1, 70))
@settings(max_examples=400, deadline=None)
def test_invariants_hold_on_any_text(text: str, language: str, limit: int) -> None:
    check_invariants(text, segment(text, language, max_item_tokens=limit))


@pytest.mark.parametrize("language", LANGUAGES)
def test_characters_beyond_ascii_change_no_item(language: str) -> None:
    comment = "# é😀 a\u0301\n" if language in ("bash", "ruby") else "// é😀 a\u0301\n"
    source = SAMPLES[language]
    opening = "<?php\n" if language == "php" else ""
    source = source.removeprefix(opening)
    plain = segment(f"{opening}\n{source}", language, max_item_tokens=4)
    wide = segment(f"{opening}{comment}\n{source}", language, max_item_tokens=4)
    shift = len(comment)
    moved = [list(item.spans) for item in wide.items]
    expected = [[(a + shift, b + shift) for a, b in item.spans] for item in plain.items]
    assert not wide.has_error
    assert [spans for spans in moved if spans in expected][-40:] == expected[-40:]


DEEP = {
    "javascript": ("if (x) {\n", "}\n"),
    "typescript": ("if (x) {\n", "}\n"),
    "java": ("if (x) {\n", "}\n"),
    "c": ("if (x) {\n", "}\n"),
    "cpp": ("if (x) {\n", "}\n"),
    "csharp": ("if (x) {\n", "}\n"),
    "go": ("if x {\n", "}\n"),
    "rust": ("if x {\n", "}\n"),
    "kotlin": ("if (x) {\n", "}\n"),
    "ruby": ("if x\n", "end\n"),
    "php": ("if ($x) {\n", "}\n"),
    "bash": ("if x; then\n", "fi\n"),
}
START = {"php": "<?php\n", "go": "package a\n"}
CALL = {"bash": "y\n", "ruby": "y\n", "php": "y();\n", "go": "y()\n", "kotlin": "y()\n"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_nesting_a_thousand_deep_ends_within_seconds(language: str) -> None:
    opening, closing = DEEP[language]
    function = {"go": ("func f() {\n", "}\n"), "rust": ("fn f() {\n", "}\n"), "kotlin": ("fun f() {\n", "}\n"),
                "c": ("void f() {\n", "}\n"), "cpp": ("void f() {\n", "}\n")}.get(language, ("", ""))  # fmt: skip
    inner = opening * 1000 + CALL.get(language, "y();\n") + closing * 1000
    source = START.get(language, "") + function[0] + inner + function[1]
    for text in (source, START.get(language, "") + "x = " + "(" * 1000 + "1" + ")" * 1000, "(" * 100_000):
        begun = time.process_time()
        check_invariants(text, segment(text, language, max_item_tokens=1))
        check_invariants(text, segment_response(text))
        assert time.process_time() - begun < 10
    found = segment(source, language, max_item_tokens=1)
    assert found.has_error or len(found.items) > 1000


@pytest.mark.slow
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_line_of_a_megabyte_ends_within_seconds(language: str) -> None:
    line = {"php": "$total = $total + $more; ", "bash": "total=$more; "}.get(language, "total = total + more_of_it; ")
    source = START.get(language, "") + line * (1_000_000 // len(line))
    begun = time.process_time()
    assert sum(map(len, texts(source, segment(source, language)))) > 900_000
    assert time.process_time() - begun < 15
    segment_response(source)
    assert time.process_time() - begun < 30


BARE = {
    "javascript": "const add = (a, b) => a + b;\nconsole.log(add(1, 2));",
    "typescript": "interface A {\n  x: number;\n}\nfunction f(a: string): number {\n  return a.length;\n}",
    "java": 'public class A {\n  public static void main(String[] args) {\n    System.out.println("x");\n  }\n}',
    "c": '#include <stdio.h>\nint main() {\n  printf("x");\n  return 0;\n}',
    "cpp": "#include <iostream>\nint main() {\n  std::cout << 1;\n}",
    "go": 'package main\n\nimport "fmt"\n\nfunc main() {\n\tfmt.Println("x")\n}',
    "rust": 'fn main() {\n    let mut x = 1;\n    println!("{}", x);\n}',
    "csharp": 'using System;\nclass A {\n  static void Main() {\n    Console.WriteLine("x");\n  }\n}',
    "ruby": "def f(x)\n  puts x\nend",
    "php": '<?php\necho "x";\n?>',
    "bash": '#!/bin/bash\nfor f in *; do\n  echo "$f"\ndone',
    "kotlin": 'fun main() {\n    val x = 1\n    println("$x")\n}',
    "tsx": "const A = ({ x }: { x: number }) => <div>{x}</div>;",
    "sql": "SELECT name FROM users WHERE age > 3;",
    "html": "<div>\n  <p>x</p>\n</div>",
    "css": ".a {\n  color: red;\n}",
    "json": '{\n  "name": "x"\n}',
}


@pytest.mark.parametrize("language", BARE)
def test_untagged_code_is_recognised(language: str) -> None:
    (region,) = find_regions(BARE[language])
    assert (region.language, region.tagged, region.decided) == (language, False, "recognised")
    assert find_regions(f"Text.\n```\n{BARE[language]}\n```\n")[0].language == language


@pytest.mark.parametrize("directive", ["#include <stdio.h>", '#include "a.h"', "#ifdef X\n#endif", "#define N 3", "#undef N"])
def test_blanks_at_the_end_of_a_directive_are_no_error(directive: str) -> None:
    source = directive.replace("\n", " \t\n") + " \t\nint x;\n"
    for language in ("c", "cpp"):
        result = segment(source, language)
        assert not result.has_error
        assert texts(source, result)[-1] == "int x;"
        check_invariants(source, result)


def test_php_without_its_opening_tag_is_php() -> None:
    source = "function f($x) {\n  $y = strlen($x);\n  echo $y;\n}"
    assert find_regions(source)[0].language == "php"
    assert [item.kind for item in segment(source, "php", max_item_tokens=1).items] == ["function", "definition", "call"]


def test_a_missing_grammar_is_said_once_and_its_code_is_cut_at_blank_lines(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing(rules: object) -> None:
        raise ImportError

    monkeypatch.setattr(tree, "_GRAMMARS", {})
    monkeypatch.setattr(tree, "_SAID", [])
    monkeypatch.setattr(tree, "Grammar", missing)
    with caplog.at_level(logging.WARNING):
        response = f"```java\n{BARE['java']}\n\nclass B {{}}\n```\n```go\npackage a\n```\n"
        result = segment_response(response)
    assert [region.decided for region in result.regions] == [Decided.NOT_INSTALLED] * 2
    assert [region.language for region in result.regions] == ["java", "go"]
    assert (len(result.items), result.language, result.has_error) == (3, "text", False)
    assert len(caplog.messages) == 1
    assert "pip install 'codeblock[languages]'" in caplog.messages[0]


@pytest.mark.parametrize(
    ("session", "expected", "language"),
    [
        (
            ">>> for x in y:\n...     f(x)\n...\n1\n2\n>>> z = 3\n>>> z\n3",
            ["for x in y:|f(x)", "z = 3", "z"],
            "python",
        ),
        ("In [1]: x = 1\n\nIn [2]: x\nOut[2]: 1", ["x = 1", "x"], "python"),
        ("$ ls -l\na b\n$ cat a | \\\n  wc\n3", ["ls -l", "cat a | \\|wc"], "bash"),
        ("user@host:~/a$ cd b\n(venv) user@host:~$ ls", ["cd b", "ls"], "bash"),
    ],
)
def test_of_a_session_at_a_prompt_the_code_alone_is_in_items(session: str, expected: list[str], language: str) -> None:
    for response in (session, f"So 😀:\n```\n{session}\n```\n", f"```{language}\n{session}\n```"):
        result = segment_response(response)
        assert ["|".join(response[a:b] for a, b in item.spans) for item in result.items] == expected
        assert {region.language for region in result.regions} == {language}
        check_invariants(response, result)


def test_data_flows_from_line_to_line_of_a_session() -> None:
    assert segment_response(">>> x = 1\n>>> x\n1\n").edges == [(0, 1)]


def test_a_docstring_with_a_session_is_no_session() -> None:
    source = 'def f():\n    """\n    >>> f()\n    1\n    """\n    return 1'
    assert len(segment_response(source).regions) == 1


def test_the_words_and_signs_of_a_language_are_matched_as_they_are_written() -> None:
    for rules in ALL:
        assert all(re.fullmatch(r"[A-Za-z_]\w*", word) for word in rules.words), rules.name


def test_items_of_real_code_parse_on_their_own() -> None:
    path = DATA / "pairs" / "codealpaca20k" / "codealpaca20k.jsonl.gz"
    if not path.exists():
        pytest.skip(f"no {path.name}; set CODEBLOCK_TEST_DATA to the directory of the test data")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        responses = [json.loads(line)["output"] for line in lines][::12]
    checked, broken = 0, []
    for response in responses:
        result = segment_response(response, max_item_tokens=8)
        if result.language in ("python", "text") or result.has_error:
            continue
        check_invariants(response, result)
        checked += len(result.items)
        broken += [item for item in result.items if not parses_alone(response, item, result.language)]
    assert checked > 1500
    assert len(broken) <= 0.005 * checked
