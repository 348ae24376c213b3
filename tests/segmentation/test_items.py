"""Coding items: what one is, and what holds of them for any input."""

from __future__ import annotations

import argparse
import inspect
import json.decoder
import re
import textwrap
import unittest.mock

import numpy as np
import pytest
import tree_sitter_python
from hypothesis import given, settings
from hypothesis import strategies as st
from segment_checks import ODD, check_invariants, texts
from tree_sitter import Language, Parser

from codeblock.segmentation import segment, segment_response

PARSER = Parser(Language(tree_sitter_python.language()))
SOURCES = [inspect.getsource(module) for module in (textwrap, json.decoder)]
FUNCTIONS = [
    inspect.getsource(function)
    for module in (argparse, unittest.mock, inspect)
    for _, function in inspect.getmembers(module, inspect.isfunction)
    if function.__module__ == module.__name__
]
METHODS = [
    inspect.getsource(method)
    for owner in (argparse.ArgumentParser, argparse.HelpFormatter, unittest.mock.NonCallableMock)
    for _, method in inspect.getmembers(owner, inspect.isfunction)
]
PROGRAM = '''import os

@decorator(1)
def walk(top, n=2):  # header comment
    """Doc."""
    # first
    # second

    # third
    total = 0; more = 1;
    if n > 1:
        total += 1
    elif n:
        total = [
            2,
            3]
    else:
        return os
    return total


class Thing: pass
walk(1)  # rides
x: int
'''


def parses_alone(source: str, start: int, end: int) -> bool:
    """Whether an item is valid on its own: dedented, a clause after a stub of its statement, a header with a body."""
    line_start = source.rfind("\n", 0, start) + 1
    indent = source[line_start:start]
    indent = indent if not indent.strip() else ""
    item = source[start:end]
    first = re.match(r"[a-z]+", item)
    word = first[0] if first else ""
    before = {
        "elif": f"{indent}if x: pass\n",
        "else": f"{indent}if x: pass\n",
        "except": f"{indent}try: pass\n",
        "finally": f"{indent}try: pass\n",
    }.get(word, "")
    wrapper = "if 1:\n" if indent and word != "case" else ""
    if word == "case":
        wrapper, before, indent = "", "match x:\n", indent or " "
    bodies = ["", f"\n{indent} pass", f"\n{indent} pass\n{indent}finally: pass", f"\n{indent} case _: pass"]
    return any(not PARSER.parse(f"{wrapper}{before}{indent}{item}{body}\n".encode()).root_node.has_error for body in bodies)


def test_the_check_for_validity_is_not_vacuous() -> None:
    for broken in ("x = (", "a b", "if x:\n  y\nz = ]", "elif:", "for x:"):
        assert not parses_alone(broken, 0, len(broken))


def test_a_statement_that_fits_is_one_item_and_a_larger_one_is_cut_at_its_bodies() -> None:
    result = segment(PROGRAM, "python", max_item_tokens=12)
    assert list(zip((item.kind for item in result.items), texts(PROGRAM, result), strict=True)) == [
        ("import", "import os"),
        ("function", "@decorator(1)\ndef walk(top, n=2):  # header comment"),
        ("comment", '"""Doc."""'),
        ("comment", "# first\n    # second"),
        ("comment", "# third"),
        ("definition", "total = 0;"),
        ("definition", "more = 1;"),
        ("control", "if n > 1:"),
        ("definition", "total += 1"),
        ("control", "elif n:\n        total = [\n            2,\n            3]"),
        ("control", "else:\n        return os"),
        ("return", "return total"),
        ("class", "class Thing: pass"),
        ("call", "walk(1)  # rides"),
        ("definition", "x: int"),
    ]


def test_without_a_limit_in_reach_each_statement_of_the_module_is_one_item() -> None:
    result = segment(PROGRAM, "py", max_item_tokens=1000)
    assert [item.kind for item in result.items] == ["import", "function", "class", "call", "definition"]


def test_tokens_are_those_of_the_model_where_their_starts_are_given() -> None:
    source = "if x:\n    a = 1\n"
    each_character = np.arange(len(source), dtype=np.int32)
    assert len(segment(source, "python", max_item_tokens=14, token_starts=each_character).items) == 2
    assert len(segment(source, "python", max_item_tokens=15, token_starts=each_character).items) == 1
    two = np.array([0, 7], np.int32)
    assert len(segment(source, "python", max_item_tokens=2, token_starts=two).items) == 1
    shifted = f"Ünïcode:\n```py\n{source}```"
    starts = np.array([0, 14, 20], np.int32)  # the second token begins with the newline
    assert len(segment_response(shifted, max_item_tokens=2, token_starts=starts).items) == 1
    assert len(segment_response(shifted, max_item_tokens=1, token_starts=starts).items) == 2


def test_clauses_have_headers_of_their_own() -> None:
    source = "try:\n  a()\nexcept A as e:\n  b()\nelse:\n  c()\nfinally:\n  d()\n"
    source += "match x:\n  case 1 if y:\n    e()\n  case _:\n    f()\n"
    assert texts(source, segment(source, "python", max_item_tokens=1)) == [
        "try:", "a()", "except A as e:", "b()", "else:", "c()", "finally:", "d()",
        "match x:", "case 1 if y:", "e()", "case _:", "f()",
    ]  # fmt: skip


def test_code_that_does_not_parse_is_cut_at_blank_lines_and_says_so() -> None:
    source = "def f(:\n  x\n\n  \ny = 2\n"
    result = segment(source, "python")
    assert texts(source, result) == ["def f(:\n  x", "y = 2"]
    assert {item.kind for item in result.items} == {"other"}
    assert result.has_error
    assert result.language == "python"
    assert not result.core
    assert not result.edges


def test_a_language_without_a_grammar_is_cut_at_blank_lines_without_an_error() -> None:
    source = "let x = 1;\n\nlet y = 2;"
    result = segment(source, "nosuchlanguage")
    assert texts(source, result) == ["let x = 1;", "let y = 2;"]
    assert not result.has_error
    assert result.language == "text"


@pytest.mark.parametrize("limit", [1, 16, 64])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_items_of_real_code_parse_on_their_own(limit: int, newline: str) -> None:
    for source in [*SOURCES, *FUNCTIONS[:60], PROGRAM]:
        text = source.replace("\n", newline)
        result = segment(text, "python", max_item_tokens=limit)
        assert not result.has_error
        check_invariants(text, result)
        for item in result.items:
            for start, end in item.spans:
                assert parses_alone(text, start, end), text[start:end]


def test_code_that_is_indented_as_a_whole_is_segmented_as_if_it_were_not() -> None:
    for source in METHODS:
        indented, flat = segment(source, "python", max_item_tokens=8), textwrap.dedent(source)
        expected = segment(flat, "python", max_item_tokens=8)
        check_invariants(source, indented)
        assert [item.kind for item in indented.items] == [item.kind for item in expected.items]
        assert indented.edges == expected.edges
        assert [source[a:b] for a, b in indented.core] == [flat[a:b] for a, b in expected.core]


def test_characters_beyond_ascii_change_no_item() -> None:
    for source in FUNCTIONS[:30]:
        plain = segment(source, "python", max_item_tokens=8)
        wide = segment("\ufeff# é😀 a\u0301\ud800\n" + source, "python", max_item_tokens=8)
        shift = len("\ufeff# é😀 a\u0301\ud800\n")
        moved = [[(a + shift, b + shift) for a, b in item.spans] for item in plain.items]
        assert [list(item.spans) for item in wide.items][1:] == moved or source.startswith("#")
        assert [(a - shift, b - shift) for a, b in wide.core] == plain.core


@given(st.text(), st.sampled_from([None, "python", "javascript"]), st.integers(1, 70))
@settings(max_examples=300, deadline=None)
def test_invariants_hold_on_any_text(text: str, language: str | None, limit: int) -> None:
    check_invariants(text, segment(text, language, max_item_tokens=limit))
    check_invariants(text, segment_response(text, max_item_tokens=limit))


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """Real Python with a few pieces taken out and put in."""
    text = draw(st.sampled_from(FUNCTIONS + METHODS))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.sampled_from(["", *ODD])) + text[at + draw(st.integers(0, 3)) :]
    return text


@given(mutated(), st.integers(1, 40), st.booleans())
@settings(max_examples=300, deadline=None)
def test_invariants_hold_on_mutated_python(text: str, limit: int, mutation_defines: bool) -> None:
    check_invariants(text, segment(text, "python", max_item_tokens=limit, mutation_defines=mutation_defines))
    check_invariants(text, segment_response(text, max_item_tokens=limit, mutation_defines=mutation_defines))


@given(st.lists(st.one_of(mutated(), st.text(), st.sampled_from(["```python\n", "```\n", "~~~ js\n", "  ```"])), max_size=6))
@settings(max_examples=150, deadline=None)
def test_invariants_hold_on_responses_of_mixed_parts(parts: list[str]) -> None:
    text = "\n".join(parts)
    check_invariants(text, segment_response(text, max_item_tokens=8))


@pytest.mark.parametrize(
    "source",
    [
        "x = " + "(" * 1000 + "1" + ")" * 1000,
        "".join(" " * depth + "if x:\n" for depth in range(500)) + " " * 500 + "y = x\n",
        "".join(" " * depth + f"def f{depth}(x):\n" for depth in range(500)) + " " * 500 + "return x\n",
        "f = " + "lambda a: " * 1000 + "a",
        "x = " + "[y for y in " * 300 + "z" + "]" * 300,
        "if x: pass\n" + "elif y: pass\n" * 3000,
        "x = [" + "1, " * 30_000 + "]",
        "a = b; b = a; " * 20_000,
        "(" * 100_000,
        "The quick brown fox. " * 10_000,
    ],
    ids=["parentheses", "ifs", "defs", "lambdas", "comprehensions", "elifs", "one line", "many statements", "open", "prose"],
)
def test_deep_nesting_and_huge_lines_end(source: str) -> None:
    check_invariants(source, segment(source, "python", max_item_tokens=1))
    check_invariants(source, segment_response(source))


def test_a_line_of_a_megabyte_ends_within_seconds() -> None:
    source = "x = [" + "1, " * 350_000 + "]"
    result = segment(source, "python")
    assert [item.spans for item in result.items] == [((0, len(source)),)]
    assert len(result.core) == 350_002
