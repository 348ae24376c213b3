"""Texts that a solution had a hand in are one short line that can be stored and shown anywhere."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeblock.sandbox.text import MAX_TEXT, clean, describe


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ValueError: no", "ValueError: no"),
        ("caf\u00e9 \u4e16\u754c \U0001f600", "caf\u00e9 \u4e16\u754c \U0001f600"),
        ("a\r\nb\t c\u2028d\u00a0e", "a b c d e"),
        ("\x00\x07\x7f\x85\x9f", "\\x00\\x07\\x7f \\x9f"),
        ("\ud800", "\\ud800"),
        ("\x1b[31mred\x1b[0m \x1b]0;title\x07\x1bM\x9b2J!", "red !"),
        ("\x1b[", "\\x1b["),
        ("\u202eabc\u2066\u200b\ufeff", "\\u202eabc\\u2066\\u200b\\ufeff"),
        ("\U000e0041\ue000\uffff", "\\U000e0041\\ue000\\uffff"),
        ("e" + "\u0301" * 9, "e" + "\u0301" * 3),
        ("x" * 1000, "x" * (MAX_TEXT - 3) + "..."),
        ("x" * MAX_TEXT, "x" * MAX_TEXT),
        (b"bytes", "(bytes)"),
        (None, "(NoneType)"),
    ],
)
def test_a_text(text: Any, expected: str) -> None:
    assert clean(text) == expected


@given(st.text(st.characters(), max_size=2000))
def test_any_text_can_be_encoded_printed_and_is_short(text: str) -> None:
    found = clean(text)
    assert len(found) <= MAX_TEXT
    assert found == json.loads(json.dumps(found, ensure_ascii=False).encode().decode())
    assert len(found.splitlines()) <= 1
    assert clean(found) == found


def test_120_mib_are_not_worked_through() -> None:
    assert clean("\x1b" * (120 << 20)).startswith("\\x1b\\x1b")


def test_an_error_without_a_text() -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise OSError

    assert describe(MuteError(), "nowhere") == "MuteError: (its text raised an error)"
