"""What holds of the items of any text, and whether an item is valid code on its own."""

from __future__ import annotations

import textwrap
from pathlib import Path

from codeblock.segmentation import Item, Segmentation
from codeblock.segmentation.languages import find_rules
from codeblock.segmentation.recognise import parse

SAMPLES = {
    rules.name: path.read_text(encoding="utf-8")
    for path in sorted((Path(__file__).parent / "samples").iterdir())
    if (rules := find_rules(path.suffix[1:])) is not None
}
LANGUAGES = sorted(SAMPLES)

ODD = [
    "\r\n",
    "\r",
    "\t",
    "é",
    "😀",
    "a\u0301",
    "\ufeff",
    "\ud800",
    "\x00",
    "\x0c",
    "```",
    "(",
    '"""',
    "\\",
    "#",
    ";",
    "\n\n",
    "日本",
]


def texts(source: str, result: Segmentation) -> list[str]:
    return ["".join(source[start:end] for start, end in item.spans) for item in result.items]


def check_invariants(text: str, result: Segmentation) -> None:
    """Items in order and disjoint, every non-blank character of a region in one; edges and core in bounds."""
    spans = sorted(span for item in result.items for span in item.spans)
    assert all(list(item.spans) == sorted(item.spans) for item in result.items)
    assert [item.spans[0] for item in result.items] == sorted(item.spans[0] for item in result.items)
    at = 0
    inside = [False] * len(text)
    for start, end in spans:
        assert at <= start < end <= len(text)
        at = end
        inside[start:end] = [True] * (end - start)
    in_region = [False] * len(text)
    for region in result.regions:
        assert 0 <= region.start <= region.end <= len(text)
        in_region[region.start : region.end] = [True] * (region.end - region.start)
    for char, covered, wanted in zip(text, inside, in_region, strict=True):
        assert covered <= wanted
        assert char.isspace() or covered == wanted
    assert len(result.reach) == len(result.bridge) == len(result.items)
    for source, target in result.edges:
        assert source != target
        assert 0 <= source < len(result.items)
        assert 0 <= target < len(result.items)
    at = 0
    for start, end in result.core:
        assert at <= start < end
        assert all(inside[start:end])
        at = end


_MEMBER = ("class A {{ {} }}",)
_CASE = ("switch (x) {{ {} }}", "switch (x) {{ {} break; }}")
_BRANCH = (
    "if (x) {{}} {}",
    "try {{}} {}",
    "try {{}} {} finally {{}}",
    "if (x) {} else {{}}",
    "{} catch (...) {{}}",
    "{} finally {{}}",
    "do {} while (x);",
)

STUBS: dict[str, tuple[str, ...]] = {
    "javascript": (*_MEMBER, *_CASE, *_BRANCH, "async function f() {{ {} }}", "function* f() {{ {} }}", "while (1) {{ {} }}"),
    "java": (
        *_MEMBER,
        *_CASE,
        *_BRANCH,
        "enum E {{ {} }}",
        "enum E {{ A; {} }}",
        "class A {{ void f() {{ {} }} }}",
        "class A {{ A() {{ {} }} }}",
        "class A {{ int x = switch (x) {{ {} }}; }}",
    ),
    "c": (*_CASE, *_BRANCH, "struct A {{ {} }};", "enum E {{ {} }};", "void f() {{ {} }}", "#if X\n{}\n#endif"),
    "go": (
        "package a\n{}",
        "package a\nfunc f() {{\n{}\n}}",
        "package a\ntype A struct {{\n{}\n}}",
        "package a\ntype A struct {{ {} B int }}",
        "package a\nfunc f() {{\nif x {{}} {}\n}}",
        "package a\nfunc f() {{\nswitch x {{\n{}\n}}\n}}",
        "package a\nfunc f() {{\nswitch x := y.(type) {{\n{}\n}}\n}}",
        "package a\nfunc f() {{\nselect {{\n{}\n}}\n}}",
    ),
    "rust": (
        "fn f() {{ {} }}",
        "fn f() {{ if x {{}} {} }}",
        "fn f() {{ match x {{ {} }} }}",
        "struct A {{ {} }}",
        "enum A {{ {} }}",
        "impl A {{ {} }}",
        "trait A {{ {} }}",
    ),
    "csharp": (*_MEMBER, *_CASE, *_BRANCH, "class A {{ int x {{ {} }} }}", "enum E {{ {} }}",
               "class A {{ void f() {{ {} }} }}"),
    "ruby": (
        "begin\n{}\nend",
        "if x\n{}\nend",
        "case x\n{}\nend",
        "case x\nwhen 1\n{}\nend",
        "begin\nrescue\n{}\nend",
        "def f\n{}\nend",
    ),
    "php": (
        "<?php {} finally {{}}",
        "<?php {} ?>",
        "<?php {}",
        "<?php class A {{ {} }}",
        "<?php if (x) {{}} {}",
        "<?php if (x): {} endif;",
        "<?php try {{}} {}",
        "<?php try {{}} {} finally {{}}",
        "<?php switch (x) {{ {} }}",
        "<?php $x = match ($x) {{ {} }};",
    ),
    "bash": ("if x; then\n:\n{}\nfi", "case x in\n{}\nesac", "{}\n:", "f() {{\n{}\n}}"),
    "kotlin": (
        "fun f() {{\n{}\n}}",
        "class A {{\n{}\n}}",
        "enum class A {{ {} }}",
        "fun f() {{ if (x) {{}} {} }}",
        "fun f() {{ try {{}} {} }}",
        "fun f() {{ try {{}} {} finally {{}} }}",
        "fun f() {{ when (x) {{\n{}\n}} }}",
    ),
}  # fmt: skip
STUBS["typescript"] = STUBS["tsx"] = (
    *STUBS["javascript"],
    "interface A {{ {} }}",
    "enum A {{ {} }}",
    "abstract class A {{ {} }}",
)
STUBS["cpp"] = (
    *STUBS["c"],
    "class A {{ {} }};",
    "class A : B {{ public: {} }};",
    "namespace a {{ {} }}",
    "enum class E {{ {} }};",
)


def parses_alone(source: str, item: Item, language: str) -> bool:
    """Whether the stretches of an item, one behind the other, parse as they are or in one of the language's stubs.

    A clause needs its statement before it, a member its class, a branch its `switch`.
    """
    rules = find_rules(language)
    assert rules is not None
    parts = []
    for start, end in item.spans:
        line = source[source.rfind("\n", 0, start) + 1 : start]
        parts.append(line + source[start:end] if not line.strip() else source[start:end])
    for filler in ("\n", "\n:\n") if language == "bash" else ("\n",):
        text = textwrap.dedent(filler.join(parts))
        for stub in ("{}", *STUBS[language]):
            parsed = parse(stub.format(text if language == "go" else f"\n{text}\n") + "\n", rules)
            if parsed is not None and not parsed.has_error:
                return True
    return False
