"""Every language: how its statements are cut, what is core."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest
from segment_checks import LANGUAGES, SAMPLES, check_invariants, parses_alone

from codeblock.segmentation import segment, segment_response
from codeblock.segmentation.languages import ALL

DATA = Path(os.environ.get("CODEBLOCK_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))


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
