"""Thoughts, tags, HTML and quotes around code."""

from __future__ import annotations

import pytest

from codeblock.core.markdown import decode_html, html_blocks, said_after_thoughts, tagged_blocks, unquote


def said(text: str) -> list[str]:
    return [text[start:end].strip() for start, end in said_after_thoughts(text)]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("x = 1", ["x = 1"]),
        ("<think>\nx = 0\n</think>\nx = 1", ["x = 1"]),
        ("<thinking>x = 0</thinking>x = 1", ["x = 1"]),
        ("[THINK]x = 0[/THINK]\nx = 1", ["x = 1"]),
        ("Sure.\n<reasoning>\nx = 0\n</reasoning>\nx = 1", ["Sure.", "x = 1"]),
        ("<think>a</think>\n<think>b</think>\nx = 1", ["x = 1"]),
        ("x = 0, or so\n</think>\n\nx = 1", ["x = 1"]),
        ("<|channel|>analysis<|message|>x = 0<|channel|>final<|message|>x = 1", ["x = 1"]),
        ("<think>\nx = 0", []),
        ("<reasoning>\nwords\n<answer>\nx = 1", ["<answer>\nx = 1"]),
        ("```\n<think>x</think>\n```", ["```\n<think>x</think>\n```"]),
        ('x = t.split("</think>")', ['x = t.split("</think>")']),
    ],
)
def test_what_is_said_after_a_thought(text: str, parts: list[str]) -> None:
    assert said(text) == parts


def test_code_between_tags() -> None:
    text = "Words [PYTHON]\nx = 1\n[/PYTHON] words"
    ((start, end, tag),) = tagged_blocks(text)
    assert (text[start:end], tag) == ("\nx = 1\n", "python")
    text = "<answer>\nx = 1\n</answer>"
    ((start, end, tag),) = tagged_blocks(text)
    assert (text[start:end], tag) == ("\nx = 1\n", None)
    assert tagged_blocks("[ANSWER] \n") == []


def test_code_in_html_but_not_in_a_web_page() -> None:
    text = '<p>So:</p><pre class="x"><code class="language-python">x = 1\n</code></pre> and <code>y</code>'
    ((start, end, tag),) = html_blocks(text)
    assert (text[start:end], tag) == ("x = 1\n", "python")
    assert html_blocks(f"<html>{text}</html>") == []


def test_decoded_html_is_as_long_as_before_and_its_operators_whole() -> None:
    text = "a &lt;= b &amp;&amp; c-&gt;d &quot;e&quot; &#39;"
    assert decode_html(text) == 'a <=    b &&         c->   d "     e"      \'    '
    assert len(decode_html(text)) == len(text)


def test_quote_marks_become_blanks_at_the_depth_of_the_fence() -> None:
    assert unquote("> ```\n> >>> x\n> ```\n") == "  ```\n  >>> x\n  ```\n"
    assert unquote(">> ```\n>> x\n>> ```\n") == "   ```\n   x\n   ```\n"
    assert unquote("> words\n") == "> words\n"
    assert unquote("> words\n", fenced=False) == "  words\n"
