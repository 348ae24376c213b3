"""What the grammars say of a response's code: whether it parses, and which languages it is in."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

from codeblock.segmentation.languages import find_rules
from codeblock.segmentation.recognise import parse
from codeblock.segmentation.regions import blocks_of, find_regions


class CodeFacts(NamedTuple):
    """Counts of a response's blocks of code."""

    whole: int
    """Blocks that parse."""
    broken: int
    """Blocks in a language with a grammar that do not parse."""
    unknown: int
    """Blocks in a language without a grammar here, or in none that is recognised."""
    languages: frozenset[str]
    """Of all blocks, as far as they are known."""
    tagged: bool
    """Whether the response itself names one of them."""


def code_facts(response: str) -> CodeFacts:
    """The facts of one response."""
    blocks = blocks_of(response)
    parsed = [block.parsed for block in blocks if block.parsed is not None]
    broken = sum(each.has_error for each in parsed)
    regions = [region for block in blocks for region in block.regions if region.language]
    names = _kept_once(tuple(sorted({region.language for region in regions if region.language})))
    tagged = any(region.tagged for region in regions)
    return CodeFacts(len(parsed) - broken, broken, len(blocks) - len(parsed), names, tagged)


def parses_as(response: str, languages: Iterable[str]) -> bool | None:
    """Whether some block of code parses in one of some languages; None where there is no grammar for any of them.

    Short code parses in several languages, and is recognised as the first of them.
    """
    rules = [found for name in languages if (found := find_rules(name)) is not None]
    if not rules:
        return None
    texts = [response[region.start : region.end] for region in find_regions(response)]
    trees = [parse(text, each) for text in texts for each in rules]
    return any(tree is not None and not tree.has_error for tree in trees)


@cache
def _kept_once(names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(names)
