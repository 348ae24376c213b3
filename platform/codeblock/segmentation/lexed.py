"""Core logic tokens of code without a syntax tree, by Pygments' lexer of its language. METHOD stage 2 [ours].

What a lexer calls a name, a literal, an operator or a keyword is core; comments, docstrings, punctuation, declaring keywords
and types are not. Without a language there is no lexer, hence no core.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from pygments.lexers import get_lexer_by_name
from pygments.token import Keyword, Literal, Name, Operator, String
from pygments.util import ClassNotFound

from codeblock.segmentation.types import Span

_CORE = (Name, Literal, Operator, Keyword)
_NOT_CORE = (String.Doc, Name.Namespace, Keyword.Declaration, Keyword.Namespace, Keyword.Type)


def lexical_core(code: str, language: str | None) -> list[Span]:
    """The core tokens of a text, in order; offsets are its characters."""
    lexer = _lexer(language) if language else None
    if lexer is None:
        return []
    found: list[Span] = []
    joined = False  # whether the last span may go on: lexers give a string in pieces
    for start, kind, value in lexer.get_tokens_unprocessed(code):
        core = _is_core(kind)
        if core and (word := value.strip()):
            start += len(value) - len(value.lstrip())
            if joined and kind in String and found[-1][1] == start:
                found[-1] = found[-1][0], start + len(word)
            else:
                found.append((start, start + len(word)))
        joined = core and kind in String and value == value.rstrip()
    return found


@cache
def _is_core(kind: Any) -> bool:
    return any(kind in each for each in _CORE) and not any(kind in each for each in _NOT_CORE)


@cache
def _lexer(language: str) -> Any:
    try:
        return get_lexer_by_name(language)
    except ClassNotFound:
        return None
