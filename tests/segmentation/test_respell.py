"""Valid code that a grammar refuses at first is read again; what compilers refuse stays refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from segment_checks import check_invariants

from codeblock.segmentation import Segmentation, segment, segment_response
from codeblock.segmentation.languages import ALL, find_rules
from codeblock.segmentation.recognise import recognise
from codeblock.segmentation.respell import JOINED, first_branches, other_readings, respell, respelling

VALID: dict[str, tuple[str, ...]] = {
    "cuda": (
        "__global__ void scale(float* v, float k) { v[threadIdx.x] *= k; }",
        "static __device__ __forceinline__ int half_of(int n) { return n / 2; }",
        "scale<<<(n + 63) / 64, 64, 0, stream>>>(v, 2.0f);\ncudaFree(v);",
        "template <class T> __global__ __launch_bounds__(128) void fill(T* p) { __shared__ T s[32]; }\n"
        "void go() { fill<int><<<dim3(2), 32>>>(p); }",
        "__constant__ float weights[8];\nextern __shared__ int pool[];",
        "struct __align__(8) Pair { __host__ __device__ Pair() {} float a, b; };",
        "auto twice = [=] __device__ (int i) { return 2 * i; };",
    ),
    "cpp": (
        "std::cerr << total << '\\n';",
        "double r;\ncin >> r;\ncout << 3.14 * r * r;",
        "in >> word;\nlog << word << ' ' << 1, ++n;",
        "a == b;\nflags & 4;",
        "int **rows = new int*[n];\nrows[0] = new int[m];",
        "explicit Shape(int sides) : sides_(sides) {}",
        "private:\n  int x_;\n  void grow() { ++x_; }",
        "export module shapes;\nimport std;\nexport int area(int a) { return a * a; }",
        "import <vector>;\nint n;",
        "struct V { template <class Me> auto&& at(this Me&& me, int i) { return me.d[i]; } };",
        "constexpr int f() { if consteval { return 1; } else { return 2; } }",
        "template class Pool<int>;\nint n = 1;",
        "class Panel : public QWidget {\n  Q_OBJECT\n signals:\n  void closed();\n public slots:\n  void open();\n};",
        "class Fake : public Db { MOCK_METHOD(int, load, (int key), (const, override)); };",
        "API_EXPORT const char* name() noexcept { return n; }",
        "LRESULT CALLBACK Proc(HWND w, UINT m) { return 0; }",
        "int n = 1;\n#include <map>",
    ),
    "c": (
        "char *word = va_arg(list, char *);",
        "struct task *t = container_of(node, struct task, link);",
        "list_for_each_entry(t, &tasks, link) { run(t); }",
        "static int __init start(void) { return 0; }",
        "LIB_API int count(void) { return 1; }",
        "switch (c) { case '0' ... '9': return 1; default: return 0; }",
        '#ifdef __cplusplus\nextern "C" {\n#endif\nint f(void);\n#ifdef __cplusplus\n}\n#endif\n',
        "int f(int x) {\n#if A\n  if (x) {\n#else\n  if (!x) {\n#endif\n    x++;\n  }\n  return x;\n}",
        "#if 0\nit's not code\n#endif\nint x;",
        "double complex z = 1;\nauto n = 3;\ngoto *table[n];",
        "mask & 1;",
        "#define TWICE(x) ((x) * 2)",
    ),
    "kotlin": (
        "interface Named { val name: String }",
        "object Ids { fun next(): Int { return 1 } }",
        "class Grid { companion object { val EMPTY = Grid() } }",
        "class Meter { var total: Int = 0; private set }",
        "enum class Op { PLUS { override fun of(a: Int) = a }; abstract fun of(a: Int): Int }",
        'val kind = when (shape) {\n    is Square if shape.side > 3 -> "big"\n    else if empty -> ""\n    else -> "small"\n}',
        "context(log: Log)\nfun work() { log.add(1) }",
        "class Key internal actual constructor(val id: Int)",
        "val id = Users.insert { it[name] = n } get Users.id",
        "init { check(n > 0) }\ncompanion object { const val MAX = 9 }",
        'val price = $$"costs $$amount"',
    ),
    "typescript": (
        "interface Reader<out T> { read(): T }",
        "type Pipe<in A, out B> = (a: A) => B;",
        "class Cell<in out T> { constructor(public value: T) {} }",
        "export type * from './shapes';\nexport type * as all from './all';",
        "for (using file of files) { file.read(); }",
        "constructor(private readonly api: Api) {}\nload(): Promise<Item[]> { return this.api.all<Item>(); }",
        "@Input() title: string;\ncount = 0;",
        "let pair: ['a', 'b'?];",
    ),
    "javascript": (
        "render() { return <p>{this.props.text}</p>; }",
        "state = { open: false };\ntoggle = () => this.setState({});\nasync load() { await f(); }",
        '{ "name": "x", "sizes": [1, 2] }',
        "data() { return { n: 0 }; },\nmethods: { add() { this.n++; } }",
        "import rows from './rows.json' assert { type: 'json' };\nrows[0];",
        "class Box { static accessor size = 1; }",
        'const field = <label for="a" class="b">{text}</label>;',
        "import defer * as heavy from 'heavy';\nheavy.run();",
    ),
    "python": (
        "class Tree[K, V = dict[str, int]]:\n    pass",
        "type Row[*Ts = *tuple[int, ...]] = tuple[*Ts]",
        "%load_ext autoreload\nx = 1",
        "!pip install requests\nfiles = !ls\nfiles?\nx = 1",
        "%%timeit\nsum(range(9))",
    ),
    "bash": (
        "rm -- !(keep|*.log)",
        'for f in +([0-9]).txt; do cat "$f"; done',
        'echo "${text:$from:$count}"',
        "echo $((10#$n + 1))",
    ),
    "java": (
        "public Point(int x) { this.x = x; }\nprivate final int x;",
        "static { ready = true; }",
        "import module java.base;\nint n = 1;",
        "class B extends A { B(int n) { check(n); super(n); } }",
    ),
    "csharp": (
        'public string Name { get; private set; } = "";',
        "public Point(int x) { X = x; }",
        "public static Point operator +(Point a, Point b) => a;",
        "#:package Humanizer@2.14.1\nConsole.WriteLine(1);",
        "static class Texts { extension(string s) { public int Size => s.Length; } }",
        'user?.Name = "x";',
        "if (xs is [var first, .. var rest]) { }",
    ),
    "php": (
        "private array $rows = [];\npublic function all(): array { return $this->rows; }",
        "use Illuminate\\Support\\Str;\nprotected $casts = ['a' => 'int'];\npublic function f() {}",
    ),
    "rust": ("let n = 2;\nn + 1", "xs.iter().sum::<i32>()", 'unsafe extern "C" { safe fn abs(n: i32) -> i32; }'),
    "go": ("var n = 1\n\ntype Point struct { X, Y int }", "for i := range 3 { use(i) }", "const ( A = iota; B )"),
    "ruby": ('def hello(name) = puts "hi"', "x = case pair in [a, b] then a end"),
}

BROKEN: dict[str, tuple[str, ...]] = {
    "cuda": ("__global__ void k(float* a { }", "k<<<1, 2>>(a);"),
    "cpp": ("std::cout << ;", "int x = 1\nstd::cout << x;", "cout << 1; }", "int a; } void f() { int b;", "int x = (1;"),
    "c": ("int f( { }", "x & ;", "#if A\nint x = ;\n#endif", "#endif\nint f( {"),
    "kotlin": ("class A { fun f( { } }", "class A { val }"),
    "typescript": ("interface A<out> { x: ; }", "let x: = 1;"),
    "javascript": ("f((;", "render() { return <p>; }", "{ a: 1, b: }", "x = 1) + (2"),
    "python": ("class A[T = ]:\n    pass", "x = (1", "%magic\ndef f(:\n    pass"),
    "bash": ("if true; then", "echo ${a:$b", "!(a"),
    "java": ("public Point(int x) { this.x = ; }", "int a; } class B {", "int x = 1"),
    "csharp": ("public int X { get; set }", "int a; } class B {"),
    "php": ("public function f( { }", "$x = ;"),
    "rust": ("let n = ;", "n + "),
    "go": ("func f( {", "const ( A = "),
    "ruby": ("def f = ", "case x in"),
}


def each(texts: dict[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    return [(language, text) for language, group in texts.items() for text in group]


def items_of(text: str, found: Segmentation) -> list[str]:
    return ["".join(text[a:b] for a, b in item.spans) for item in found.items]


@pytest.mark.parametrize(("language", "text"), each(VALID))
@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_valid_code_has_items_with_core(language: str, text: str, ending: str) -> None:
    source = text + ending
    found = segment(source, language, max_item_tokens=8)
    assert not found.has_error
    assert found.error == ""
    assert found.core
    check_invariants(source, found)


@pytest.mark.parametrize(("language", "text"), each(BROKEN))
def test_broken_code_stays_broken(language: str, text: str) -> None:
    assert segment(text, language).has_error


def test_valid_and_broken_code_is_there_for_every_grammar() -> None:
    named = {rules.name for rules in ALL} - {"tsx"} | {"cuda"}
    assert set(VALID) == set(BROKEN) == named


def test_a_launch_uses_its_kernel_its_grid_and_its_arguments() -> None:
    source = "__global__ void fill(int* p) { p[0] = 1; }\nint main() {\n  dim3 grid(4);\n  fill<<<grid, 32>>>(data);\n}\n"
    found = segment(source, "cu", max_item_tokens=1)
    names = items_of(source, found)
    launch = names.index("fill<<<grid, 32>>>(data);")
    users = {names[a] for a, b in found.edges if b == launch}
    assert users == {"__global__ void fill(int* p) {}", "dim3 grid(4);"}
    a, b = found.items[launch].spans[0]
    assert [source[x:y] for x, y in found.core if a <= x < b] == ["fill", "grid", "32", "data"]


def test_what_is_put_around_a_text_is_no_part_of_its_items() -> None:
    source = "private int é = 1;\npublic Point(int x) {\n  this.é = x;\n}"
    found = segment(source, "java", max_item_tokens=4)
    assert items_of(source, found) == ["private int é = 1;", "public Point(int x) {}", "this.é = x;"]
    assert [item.kind for item in found.items] == ["definition", "function", "definition"]


def test_the_data_flow_of_statements_on_the_top_level() -> None:
    source = "int n = 3;\nstd::cin >> n;\nstd::cout << n * n;\n"
    found = segment(source, "cpp", max_item_tokens=1)
    assert items_of(source, found) == ["int n = 3;", "std::cin >> n;", "std::cout << n * n;"]
    assert sorted(tuple(edge) for edge in found.edges) == [(0, 1), (0, 2)]


def test_a_magic_is_a_comment() -> None:
    found = segment("%matplotlib inline\nx = 1\n", "python", max_item_tokens=1)
    assert [item.kind for item in found.items] == ["comment", "definition"]


def test_a_response_says_where_it_is_broken() -> None:
    response = "Two ways.\n\n```python\nx = 1\n```\n\n```java\nint é = 1;\nint y = ;\n```\n"
    found = segment_response(response)
    assert found.has_error
    assert found.error == "java, line 9"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("var old = from p in people\n          where p.Age > 60\n          select p;", "csharp"),
        ("IEnumerable<int> Odd() {\n    yield return 1;\n    yield return 3;\n}", "csharp"),
        ("let n = Int.random(in: 1..<7)\nprint(n)", "swift"),
        ('let words = ["a", "b"]\nfor word in words {\n    print(word)\n}', "swift"),
        ("import { Api } from './api';\n\nexport class Page {\n  constructor(private api: Api) { }\n}", "typescript"),
        ('#!/bin/bash\necho "Users:";\nwho | wc -l;', "bash"),
        ("int n = 4;\nstd::cout << n << std::endl;", "cpp"),
    ],
)
def test_untagged_code_that_another_grammar_refuses(text: str, language: str) -> None:
    name, parsed = recognise(text)
    assert name == language
    assert parsed is None or not parsed.has_error


def test_the_first_line_does_not_decide_against_the_grammar() -> None:
    name, _ = recognise("#!/bin/bash\nimport os\n\ndef f(x):\n    return os.path.join(x, 'a')\n")
    assert name != "bash"


# -- how


def test_groups_get_their_stand_ins_and_all_else_stays() -> None:
    spelling = respelling(r"(from)\s+(.*?);", "x", JOINED)
    assert respell(b"a from b  c*;\nfrom d;", (spelling,)) == b"a x    ___c_;\nx    _;"
    assert respell(b"keep\n from\nhere", (respelling(r"(from\nhere)"),)) == b"keep\n     \n    "


def test_a_match_may_begin_in_the_one_before_it() -> None:
    assert respell(b"(char, char, char)", (respelling(r"[(,]\s*(char)(?=[,)])", JOINED),)) == b"(_har, _har, _har)"


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        (b"#if A\n1\n#else\n2\n#endif\n3", b"     \n1\n     \n \n      \n3"),
        (b"#if 0\n1\n#elif B\n2\n#else\n3\n#endif", b"     \n \n       \n2\n     \n \n      "),
        (b"#ifdef A\n#if B\n1\n#else\n2\n#endif\n#else\n3\n#endif", b"        \n     \n1\n     \n \n      \n     \n \n      "),
        (b"#ifndef A \\\n  B\n1\n#endif", b"           \n   \n1\n      "),
        (b"#endif\n1", b"#endif\n1"),
        (b"#if A\n1", b"#if A\n1"),
    ],
)
def test_the_first_branch_stays(source: bytes, wanted: bytes) -> None:
    assert first_branches(source) == wanted


@given(
    st.sampled_from([rules.name for rules in ALL]),
    st.text("ab <>(){}[]%!?$#\n*.:;='\"éTEST if in out export va_arg", max_size=60),
)
def test_readings_are_as_long_as_the_text(language: str, text: str) -> None:
    rules = find_rules(language)
    assert rules is not None
    data = text.encode()
    closings = {(len(before), len(after)) for before, after in rules.enclosures} | {(0, 0)}
    for lead, other in other_readings(data, rules):
        assert (lead, len(other) - lead - len(data)) in closings
    if text.strip():
        check_invariants(text, segment(text, language))
