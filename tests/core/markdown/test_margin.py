"""The indentation that all lines share is no part of the code."""

from __future__ import annotations

import pytest

from codeblock.core.markdown import margin_of, without_margin


@pytest.mark.parametrize(
    ("text", "margin"),
    [
        ("    a\n      b\n", "    "),
        ("\n \n\ta\n\tb", "\t"),
        ("  a\nb", ""),
        ("a\n  b", ""),
        ("    a\n  b\n\n      c", "  "),
        ("  \ta\n    b", "  "),  # as far as they agree
        ("   \n", ""),
        ("", ""),
    ],
)
def test_the_margin_is_what_begins_every_line_that_is_not_blank(text: str, margin: str) -> None:
    assert margin_of(text) == margin


def test_blank_lines_stay_what_they_are() -> None:
    """They may lie inside of a text, which `textwrap.dedent` would change."""
    assert without_margin("    a = '''\n\n        \n    '''") == "a = '''\n\n    \n'''"
    assert without_margin("  a\n \n  b") == "a\n \nb"
