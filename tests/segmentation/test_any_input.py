"""What holds for any text in any language: nothing is lost, and nothing takes long."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from segment_checks import LANGUAGES, ODD, SAMPLES, check_invariants, texts

from codeblock.segmentation import segment, segment_response


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
