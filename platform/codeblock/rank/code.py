"""What the grammars say of a response's code: whether it parses, and which languages it is in."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from codeblock.segment.regions import blocks_of


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


def code_facts(response: str) -> CodeFacts:
    """The facts of one response."""
    blocks = blocks_of(response)
    parsed = [block.parsed for block in blocks if block.parsed is not None]
    broken = sum(each.has_error for each in parsed)
    names = {region.language for block in blocks for region in block.regions if region.language}
    return CodeFacts(len(parsed) - broken, broken, len(blocks) - len(parsed), _kept_once(tuple(sorted(names))))


@cache
def _kept_once(names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(names)
