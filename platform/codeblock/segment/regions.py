"""Where the code of a response is: its fenced blocks, else the whole response where that is code, or its lines of code."""

from __future__ import annotations

import re
from typing import NamedTuple

from codeblock.segment.among_prose import code_runs
from codeblock.segment.languages import find_rules
from codeblock.segment.recognise import Parsed, looks_like_code, parse, recognise
from codeblock.segment.transcripts import Transcript, read_transcript
from codeblock.segment.types import Decided, Region, Span

_FENCE_LINE = re.compile(r"^[ \t]*(?P<mark>`{3,}|~{3,})(?P<info>[^\n]*)\n?", re.MULTILINE)
_TAG = re.compile(r"[^\s,:;{}()\[\]=\"'`.]+(?:\.[^\s,:;{}()\[\]=\"'`.]+)*")
_PREFIX = re.compile(r"(?:language|lang|highlight-source)-(?=\w)")
_SESSION_TAGS = {
    "pycon": "python",
    "python-repl": "python",
    "pythonrepl": "python",
    "python-console": "python",
    "doctest": "python",
}


class Block(NamedTuple):
    """Code that is parsed as one: a region, or the lines of code of a session at a prompt, each a region."""

    regions: list[Region]
    parsed: Parsed | None
    start: int
    end: int
    code: str | None = None
    """The text of a session from `start` to `end`, with prompts and output blanked; None where all of it is code."""


def find_regions(response: str) -> list[Region]:
    """The code regions of a response, in order.

    A fenced block (``` or ~~~, indented or not) is a region; its language is the first word after the fence. A fence that
    is never closed runs to the end. A response without fences is one region if it is code, and none if it is prose; where it is
    both, each run of lines of code is a region. In a session at a prompt (`>>> `, `$ `) each line of code is a region, and
    the rest is text.
    """
    return [region for block in blocks_of(response) for region in block.regions]


def blocks_of(response: str) -> list[Block]:
    """The code of a response with its syntax trees, where its languages have grammars."""
    if "```" in response or "~~~" in response:
        fenced = _fenced(response)
        if fenced:
            return [_fenced_block(response, *each) for each in fenced if response[each[0] : each[1]].strip()]
    if not response.strip():
        return []
    block = block_of(response, (0, len(response)), None)
    is_code = block.code is not None or block.regions[0].language is not None or looks_like_code(response)
    parted = _among_prose(response, block, is_code) if _may_hold_prose(block) else []
    return parted or ([block] if is_code else [])


def _may_hold_prose(block: Block) -> bool:
    """Whether a response may be prose and code although, as a whole, it is called code; most grammars take no sentences."""
    if block.code is not None:
        return False
    if block.parsed is None:
        return block.regions[0].language in (None, "sql", "css")
    return block.parsed.has_error or block.parsed.language == "bash"


def _among_prose(response: str, whole: Block, is_code: bool) -> list[Block]:
    """The code between the sentences of a response; none where that cannot be told.

    A run of lines is code where a language takes it without an error. Lines that only look like code make the others
    doubtful, since a part of a program is no program: then all of them are code in an unknown language where the response
    as a whole is that, else nothing is decided here.
    """
    runs = [block_of(response, span, None) for span in code_runs(response)]
    taken = [_told_among_prose(block) for block in runs if _is_taken(block)]
    doubtful = [block for block in runs if not _is_taken(block) and looks_like_code(response[block.start : block.end])]
    if not doubtful:
        return taken
    if not is_code or whole.regions[0].language is not None:
        return []
    unknown = [(block.start, block.end) for block in runs if _is_taken(block) or block in doubtful]
    return [Block([Region(*span, None, False, Decided.UNKNOWN)], None, *span) for span in unknown]


def _is_taken(block: Block) -> bool:
    language = block.regions[0].language
    return language not in (None, "xml") and (block.parsed is None or not block.parsed.has_error)  # `<placeholder>` is no XML


def _told_among_prose(block: Block) -> Block:
    told = {Decided.RECOGNISED.value: Decided.AMONG_PROSE.value}
    return block._replace(regions=[each._replace(decided=told.get(each.decided, each.decided)) for each in block.regions])


def block_of(text: str, span: Span, tag: str | None) -> Block:
    """The code in a span of a text, in the language that its tag names, else in the one that it is recognised as."""
    start, end = span
    tagged = tag is not None
    inner = text[start:end]
    transcript = read_transcript(inner) if tag is None or _may_be_session(tag) else None
    if transcript is not None and transcript.spans:
        return _session(transcript, start, end, tagged)
    rules = find_rules(tag and _SESSION_TAGS.get(tag.lower(), tag))
    if rules is not None:
        parsed = parse(inner, rules)
        decided = Decided.TAG if parsed else Decided.NOT_INSTALLED
        return Block([Region(start, end, rules.name, tagged, decided)], parsed, start, end)
    if tag is not None:
        return Block([Region(start, end, tag.lower(), True, Decided.TAG)], None, start, end)
    language, parsed = recognise(inner)
    decided = Decided.RECOGNISED if language else Decided.UNKNOWN
    if parsed is None and find_rules(language) is not None:
        decided = Decided.NOT_INSTALLED
    return Block([Region(start, end, language, False, decided)], parsed, start, end)


def _may_be_session(tag: str) -> bool:
    rules = find_rules(tag)
    return tag.lower() in _SESSION_TAGS or (rules is not None and rules.name in ("python", "bash"))


def _session(transcript: Transcript, start: int, end: int, tagged: bool) -> Block:
    rules = find_rules(transcript.language)
    parsed = parse(transcript.code, rules) if rules else None
    decided = Decided.TAG if tagged else Decided.RECOGNISED
    if parsed is None:
        decided = Decided.NOT_INSTALLED
    regions = [Region(a + start, b + start, transcript.language, tagged, decided) for a, b in transcript.spans]
    return Block(regions, parsed, start, end, transcript.code)


def _fenced(response: str) -> list[tuple[int, int, str]]:
    """Start, end and info string of each fenced block's content."""
    blocks: list[tuple[int, int, str]] = []
    opening: tuple[int, str, str] | None = None
    for line in _FENCE_LINE.finditer(response):
        mark, info = line["mark"], line["info"].strip()
        if opening is None:
            if mark[0] == "`" and "`" in info:
                continue  # code in running text
            opening = (line.end(), mark, info)
        elif mark.startswith(opening[1]) and not info:
            blocks.append((opening[0], line.start(), opening[2]))
            opening = None
    if opening is not None:
        blocks.append((opening[0], len(response), opening[2]))
    return blocks


def _fenced_block(response: str, start: int, end: int, info: str) -> Block:
    tag = _TAG.search(_PREFIX.sub("", info))
    return block_of(response, (start, end), tag[0] if tag else None)
