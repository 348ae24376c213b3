"""Sessions at a prompt: which characters are code, and which are prompts and output."""

from __future__ import annotations

import re
from typing import NamedTuple

from codeblock.segmentation.types import Span

_PYTHON = re.compile(r"(?P<first>[ \t]*(?:>>>|In \[\d+\]:)(?:[ ]|$))|[ \t]*(?:\.\.\.|\.\.\.:)(?:[ ]|$)")
_SHELL = re.compile(r"(?P<first>[ \t]*(?:\([\w.-]+\)[ ])?(?:[\w.-]+@[\w.-]+(?:[: ][^$#\n]*)?)?\$[ ])|[ \t]*>[ ]")
_SESSIONS = (("python", _PYTHON), ("bash", _SHELL))


class Transcript(NamedTuple):
    """A session's code: its language, its characters with everything else blanked, and where it is."""

    language: str
    code: str
    spans: list[Span]
    """One for each line of code, without its prompt and the white space around it."""


def read_transcript(text: str) -> Transcript | None:
    """The code of a session that begins with a prompt (`>>> `, `In [1]: `, `$ `); None for any other text."""
    start = text.lstrip()[:80]
    for language, prompt in _SESSIONS:
        found = prompt.match(start)
        if found is not None and found["first"]:
            return _read(text, language, prompt)
    return None


def _read(text: str, language: str, prompt: re.Pattern[str]) -> Transcript:
    kept: list[str] = []
    spans: list[Span] = []
    at = 0
    running = False  # whether the line before is code, so that a second prompt or a backslash can continue it
    for line in text.split("\n"):
        found = prompt.match(line)
        if found is not None and (found["first"] or running):
            begin = found.end()
        elif running and kept[-1].rstrip().endswith("\\"):
            begin = 0
        else:
            begin = len(line)
        running = begin < len(line) or (found is not None and running)
        code = line[begin:]
        kept.append(" " * begin + code)
        if stripped := code.strip():
            first = at + begin + len(code) - len(code.lstrip())
            spans.append((first, first + len(stripped)))
        at += len(line) + 1
    return Transcript(language, "\n".join(kept), spans)


def within(span: Span, lines: list[Span]) -> list[Span]:
    """The parts of a span that lie in `lines` (sorted, disjoint)."""
    start, end = span
    return [(max(start, a), min(end, b)) for a, b in lines if a < end and b > start]
