"""Code among prose, without fences: which lines of a response are sentences, and which may be code."""

from __future__ import annotations

import re
from collections.abc import Iterator

from codeblock.segmentation.languages.rules import names
from codeblock.segmentation.recognise import SENTENCE
from codeblock.segmentation.types import Span

MIN_WORDS = 4
"""A line of fewer words is prose only by its shape."""

PLAIN_SHARE = 0.6
"""Share of the words of a sentence that are letters and a punctuation mark."""

MAX_RUNS = 100
"""A response with more runs of code is not parted: each is parsed on its own."""

_STOP_WORDS = names(
    "the this that these you your can will would should which we our of are to be it its has have an using by following"
)
_STRING = re.compile(r"\"[^\"\n]*\"|'[^'\n]*'|`[^`\n]*`")
_PLAIN = re.compile(r"[(\[]?[A-Za-z][A-Za-z'\u2019-]*[)\]]?[.,:;!?]*")
_ENTRY = re.compile(r"[ \t]*(?:[-*+•]|\d+[.)])[ \t]+[A-Za-z\"'`]")
_HEADING = re.compile(r"[ \t]*[A-Z][A-Za-z]*(?:[ ][A-Za-z']+){0,6}[ ]?:[ \t]*$")
_OUTPUT = re.compile(
    r"[ \t]*(?:#+[ \t]*|//[ \t]*)?(?:(?:sample|expected|example|console)[ ])?(?:output|result)s?[ ]?:", re.IGNORECASE
)
_COMMENT = re.compile(r"[ \t]*(?:#|//|/\*|\*/|--|<!--)")
_BEHIND_CODE = re.compile(r"[ \t;{}](?:#|//|--)[ \t]?.*")
_LONG = (("/*", "*/"), ('"""', '"""'), ("'''", "'''"), ("<!--", "-->"))


def code_runs(text: str) -> list[Span]:
    """The runs of lines that are not prose, nor output behind a heading that says so; none where nothing is prose.

    A run begins with its first line and ends with its last that is not blank. A line that is indented more than the first
    of its run belongs to it.
    """
    runs: list[Span] = []
    in_run = some_prose = False
    margin = 0
    output = 0  # 1: its heading was read, 2: and a line of it
    for start, end, in_comment in _lines(text):
        line = text[start:end]
        if not line.strip():
            output = 0 if output == 2 else output
            continue
        indent = len(line) - len(line.lstrip())
        inside = in_comment or (in_run and indent > margin)
        heading = None if inside else _OUTPUT.match(line)
        if heading or (not inside and is_prose(line)):
            in_run, some_prose = False, True
            output = (2 if line[heading.end() :].strip() else 1) if heading else 0
        elif output:
            output = 2
        elif in_run:
            runs[-1] = runs[-1][0], end
        else:
            in_run, margin = True, indent
            runs.append((start, end))
    return runs if some_prose and len(runs) <= MAX_RUNS else []


def is_prose(line: str) -> bool:
    """Whether a line is a sentence, a heading or an entry of a list in natural language; a comment is not."""
    if _COMMENT.match(line):
        return False
    if _HEADING.match(line) or SENTENCE.match(line):
        return True
    words = _STRING.sub("x", _BEHIND_CODE.sub("", line)).split()
    plain = [word for word in words if _PLAIN.fullmatch(word)]
    if _ENTRY.match(line):
        return len(plain) >= PLAIN_SHARE * (len(words) - 1)
    known = sum(word.strip(".,:;!?()").lower() in _STOP_WORDS for word in plain)
    return len(words) >= MIN_WORDS and len(plain) >= PLAIN_SHARE * len(words) and known >= 2


def _lines(text: str) -> Iterator[tuple[int, int, bool]]:
    """Start and end of each line, and whether it begins inside a comment or a string of several lines."""
    closer = ""
    start = 0
    pairs = [pair for pair in _LONG if pair[0] in text]
    while start <= len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        inside = bool(closer)
        closer = _still_open(text, start, end, closer, pairs)
        yield start, end, inside
        start = end + 1


def _still_open(text: str, at: int, end: int, closer: str, pairs: list[tuple[str, str]]) -> str:
    """What closes the comment or string that is open at the end of a line; empty where none is.

    Of `pairs`, openers and closers, those are taken out that are never closed from here on.
    """
    while True:
        if closer:
            at = text.find(closer, at, end)
            if at < 0:
                return closer
            at, closer = at + len(closer), ""
        found = [(place, opener, closer) for opener, closer in pairs if (place := text.find(opener, at, end)) >= 0]
        if not found:
            return ""
        place, opener, closer = min(found)
        at = place + len(opener)
        if text.find(closer, at) < 0:
            pairs.remove((opener, closer))
            closer = ""
