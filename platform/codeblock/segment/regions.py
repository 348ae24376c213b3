"""Where the code of a response is: its fenced blocks, else the whole response where that is code."""

from __future__ import annotations

import re

from codeblock.segment.languages import find_rules
from codeblock.segment.recognise import Parsed, looks_like_code, parse, recognise
from codeblock.segment.types import Region

_FENCE_LINE = re.compile(r"^[ \t]*(?P<mark>`{3,}|~{3,})(?P<info>[^\n]*)\n?", re.MULTILINE)
_TAG = re.compile(r"[^\s,:;{}()\[\]=\"'`.]+(?:\.[^\s,:;{}()\[\]=\"'`.]+)*")


def find_regions(response: str) -> list[Region]:
    """The code regions of a response, in order.

    A fenced block (``` or ~~~, indented or not) is a region; its language is the first word after the fence. A fence that
    is never closed runs to the end. A response without fences is one region if it is code, and none if it is prose.
    """
    return [region for region, _ in parsed_regions(response)]


def parsed_regions(response: str) -> list[tuple[Region, Parsed | None]]:
    """The regions, each with its syntax tree where its language has a grammar."""
    if "```" in response or "~~~" in response:
        blocks = _fenced(response)
        if blocks:
            return [_fenced_region(response, *block) for block in blocks if response[block[0] : block[1]].strip()]
    if not response.strip():
        return []
    parsed = recognise(response)
    if parsed is None and not looks_like_code(response):
        return []
    return [(Region(0, len(response), parsed.language if parsed else None, False), parsed)]


def _fenced(response: str) -> list[tuple[int, int, str]]:
    """Start, end and tag of each fenced block's content."""
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


def _fenced_region(response: str, start: int, end: int, info: str) -> tuple[Region, Parsed | None]:
    text = response[start:end]
    tag = _TAG.search(info)
    if tag is None:
        parsed = recognise(text)
        return Region(start, end, parsed.language if parsed else None, False), parsed
    rules = find_rules(tag[0])
    if rules is None:
        return Region(start, end, tag[0].lower(), True), None
    return Region(start, end, rules.name, True), parse(text, rules)
