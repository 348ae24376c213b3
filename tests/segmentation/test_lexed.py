"""The core of code without a syntax tree."""

from __future__ import annotations

import pytest
from segment_checks import check_invariants

from codeblock.segmentation import segment, segment_response, tree

CASES = {
    "sql": (
        "SELECT a.name -- c\nFROM users a\nWHERE a.age > 3 AND b = 'x y'; /* d */",
        "SELECT a name FROM users a WHERE a age > 3 AND b = 'x y'",
    ),
    "html": ('<!-- c -->\n<p class="a">Some text</p>\n<script>let x = f(1);</script>', 'p class = "a" p script x = f 1 script'),
    "css": ("p > a { color: #fff; /* c */ }", "p > a color #fff"),
    "r": ('library(a)\nx <- c(1) # d\n\nif (x > 3) print("a")', 'library a x <- c 1 if x > 3 print "a"'),
    "haskell": ("f x = x + 1 -- c", "f x = x + 1"),
    "text": ("words and = 1", ""),
    "nosuchlanguage": ("x = 1", ""),
}


@pytest.mark.parametrize("language", CASES)
def test_names_literals_operators_and_keywords_are_core(language: str) -> None:
    code, expected = CASES[language]
    text = f"Sö 😀:\n```{language}\n{code}\n```\n"
    result = segment_response(text)
    assert " ".join(text[start:end] for start, end in result.core) == expected
    assert len(result.reach) == len(result.items) == code.count("\n\n") + 1
    assert result.edges == []
    check_invariants(text, result)


def test_a_language_whose_grammar_is_not_installed_has_a_core_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(rules: object) -> None:
        raise ImportError

    monkeypatch.setattr(tree, "_GRAMMARS", {})
    monkeypatch.setattr(tree, "Grammar", missing)
    source = "func f(x int) int { return x + 1 } // c"
    assert [source[start:end] for start, end in segment(source, "go").core] == ["f", "x", "return", "x", "+", "1"]


def test_a_string_over_a_blank_line_is_core_in_both_of_its_chunks() -> None:
    source = "SELECT 'a\n\nb';"
    result = segment(source, "sql")
    assert [source[start:end] for start, end in result.core] == ["SELECT", "'a", "b'"]
    check_invariants(source, result)
