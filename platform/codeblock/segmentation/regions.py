"""Where the code of a response is: its fenced blocks, else the whole response where that is code, or its lines of code."""

from __future__ import annotations

import re
from typing import NamedTuple

from codeblock.core.markdown import (
    LANGUAGES,
    Fenced,
    decode_html,
    fenced_blocks,
    html_blocks,
    said_after_thoughts,
    tag_on_own_line,
    tagged_blocks,
    unquote,
)
from codeblock.segmentation.among_prose import code_runs
from codeblock.segmentation.languages import find_rules
from codeblock.segmentation.notebooks import cell_language
from codeblock.segmentation.recognise import Parsed, looks_like_code, parse, recognise
from codeblock.segmentation.transcripts import Transcript, read_transcript
from codeblock.segmentation.types import Decided, Region, Span

_FENCE_LINE = re.compile(r"^[ \t]*(?:`{3,}|~{3,})[^\n]*$", re.MULTILINE)
_LINE = re.compile(r"\S[^\n]*(?<=\S)")
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

    A fenced block is a region, as `core.markdown` reads fences; its language is the one that the fence names. A response
    without fences is one region if it is code, and none if it is prose; where it is both, each run of lines of code is a
    region. In a session at a prompt (`>>> `, `$ `) and in a quote (`> `) each line of code is a region, and the rest is text.
    A thought before the answer (`<think>`) has no region: its drafts are not the answer.
    """
    return [region for block in blocks_of(response) for region in block.regions]


def blocks_of(response: str) -> list[Block]:
    """The code of a response with its syntax trees, where its languages have grammars."""
    said = said_after_thoughts(response)
    if said == [(0, len(response))]:
        return _blocks_in(response)
    return [_moved(block, start) for start, end in said for block in _blocks_in(response[start:end])]


def _blocks_in(text: str) -> list[Block]:
    if "```" in text or "~~~" in text:
        found = _fenced(text)
        if found:
            return found
    if not text.strip():
        return []
    return _wrapped(text) or _unfenced(text)


def _moved(block: Block, shift: int) -> Block:
    regions = [each._replace(start=each.start + shift, end=each.end + shift) for each in block.regions]
    return block._replace(regions=regions, start=block.start + shift, end=block.end + shift)


def _unfenced(text: str) -> list[Block]:
    """The code of a text without fences."""
    named = tag_on_own_line(text, is_known)
    if named is not None:
        block = block_of(text, (named[1], len(text)), named[0])
        if block.parsed is not None and not block.parsed.has_error:
            return [block]
    block = block_of(text, (0, len(text)), None)
    is_code = block.code is not None or block.regions[0].language is not None or looks_like_code(text)
    parted = _among_prose(text, block, is_code) if _may_hold_prose(block) else []
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
    if rules is not None and rules.has_magics and (cell := cell_language(inner)) is not None:
        block = block_of(text, (start + cell[1], end), cell[0])
        return block._replace(regions=[each._replace(start=start) for each in block.regions[:1]] + block.regions[1:])
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


def is_known(tag: str | None) -> bool:
    """Whether a word names a language."""
    return tag is not None and (tag.lower() in LANGUAGES or tag.lower() in _SESSION_TAGS or find_rules(tag) is not None)


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


class _GrammarJudge:
    """What the grammars say, each span asked once."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.blocks: dict[tuple[int, int, str | None], Block] = {}

    def known(self, tag: str) -> bool:
        return is_known(tag)

    def parses(self, start: int, end: int, tag: str | None) -> bool | None:
        parsed = self.block(start, end, tag).parsed
        return None if parsed is None else not parsed.has_error

    def is_code(self, start: int, end: int) -> bool:
        return any(_is_taken(block) for block in _unfenced(self.text[start:end]))

    def block(self, start: int, end: int, tag: str | None) -> Block:
        key = start, end, tag
        if key not in self.blocks:
            self.blocks[key] = block_of(self.text, (start, end), tag)
        return self.blocks[key]


def _fenced(response: str) -> list[Block]:
    """The fenced blocks; besides them the code that a lone fence ends, and that outside of blocks in no language."""
    text = unquote(response)
    judge = _GrammarJudge(text)
    blocks: list[Block] = []
    fenced = fenced_blocks(text, judge)
    for each in fenced:
        block = judge.block(each.start, each.end, each.tag)
        if not each.opened:
            blocks += [_moved(part, each.start) for part in _unfenced(text[each.start : each.end])]
        elif not each.closed and block.parsed is not None and block.parsed.has_error:
            blocks.append(_without_prose_behind(text, each, block))
        else:
            blocks.append(block)
    if fenced and all(region.language is None for block in blocks for region in block.regions):
        blocks = sorted([*blocks, *_outside(text, fenced)], key=lambda block: block.start)
    return [_by_line(block, text, response) for block in blocks]


def _without_prose_behind(text: str, fenced: Fenced, block: Block) -> Block:
    """A block whose fence was never closed, cut before the prose behind its code where the code alone parses."""
    runs = code_runs(text[fenced.start : fenced.end])
    if not runs:
        return block
    cut = block_of(text, (fenced.start, fenced.start + runs[0][1]), fenced.tag)
    return cut if cut.parsed is not None and not cut.parsed.has_error else block


def _outside(text: str, fenced: list[Fenced]) -> list[Block]:
    """The code that surely is in a text outside of its fenced blocks."""
    edges = [0, *(edge for each in fenced for edge in (each.start, each.end)), len(text)]
    blocks: list[Block] = []
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if fence := _FENCE_LINE.match(text, start, end):
            start = fence.end()
        if fence := _FENCE_LINE.search(text, start, end):
            end = fence.start()
        blocks += [_moved(block, start) for block in _unfenced(text[start:end]) if _is_taken(block)]
    return blocks


def _wrapped(text: str) -> list[Block]:
    """The code between tags (`[PYTHON]`) or in HTML (`<pre>`); none where what is between them is not surely code."""
    found = tagged_blocks(text)
    decoded = text
    if not found and "</" in text and "<html" not in text and (found := html_blocks(text)):
        decoded = decode_html(text)
        whole = block_of(text, (0, len(text)), None)
        if _is_taken(whole) and whole.parsed is not None:
            return []  # a program that prints a page
    blocks = [block_of(decoded, (each.start, each.end), each.tag if is_known(each.tag) else None) for each in found]
    return [_with_code(block, decoded, text) for block in blocks if _is_taken(block)]


def _with_code(block: Block, decoded: str, text: str) -> Block:
    """A block of a text that was decoded: what is parsed is not what is there."""
    code = decoded[block.start : block.end]
    if block.code is not None or code == text[block.start : block.end]:
        return block
    return block._replace(code=code)


def _by_line(block: Block, text: str, response: str) -> Block:
    """A block of a quote: its lines are regions, the marks before them are not."""
    start, code = block.start, text[block.start : block.end]
    if block.code is not None or code == response[start : block.end]:
        return block
    region = block.regions[0]
    lines = [(found.start() + start, found.end() + start) for found in _LINE.finditer(code)]
    return block._replace(code=code, regions=[region._replace(start=a, end=b) for a, b in lines])
