"""Code without a grammar, or that does not parse: cut at blank lines."""

from __future__ import annotations

import re

from codeblock.segmentation.types import Span

_BLANK_LINES = re.compile(r"\n[^\S\n]*\n\s*")


def blank_line_chunks(text: str, start: int, end: int) -> list[Span]:
    """The runs of lines of `text[start:end]` between blank lines, without white space around them."""
    chunks: list[Span] = []
    at = start
    for gap in _BLANK_LINES.finditer(text, start, end):
        _add(chunks, text, at, gap.start())
        at = gap.end()
    _add(chunks, text, at, end)
    return chunks


def _add(chunks: list[Span], text: str, start: int, end: int) -> None:
    chunk = text[start:end]
    if stripped := chunk.strip():
        start += len(chunk) - len(chunk.lstrip())
        chunks.append((start, start + len(stripped)))
