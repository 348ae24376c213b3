"""From source text or a whole response to its segmentation: regions, items, core logic leaves, data flow."""

from __future__ import annotations

from bisect import bisect_left
from functools import cache

import numpy as np
from numpy.typing import NDArray

from codeblock.schema import ItemKind
from codeblock.segment.chunks import blank_line_chunks
from codeblock.segment.core import CoreRules, core_nodes
from codeblock.segment.flow import def_use_edges
from codeblock.segment.flow_rules import FlowRules
from codeblock.segment.headers import ItemRules
from codeblock.segment.items import cover, draft_items
from codeblock.segment.languages import find_rules
from codeblock.segment.recognise import Parsed, parse, recognise
from codeblock.segment.regions import parsed_regions
from codeblock.segment.structure import reach_and_bridge
from codeblock.segment.tree import flatten, grammar_of
from codeblock.segment.types import TEXT, Item, Region, Segmentation, Span

MAX_FLOW_ITEMS = 2048
"""A region with more items (some 30,000 tokens) gets no edges, reach or bridge: their number can grow with its square."""


def segment(
    source: str,
    language: str | None = None,
    *,
    max_item_tokens: int = 64,
    token_starts: NDArray[np.int32] | None = None,
    mutation_defines: bool = False,
) -> Segmentation:
    """Segment one piece of code.

    `language` is a name or alias; None: recognise it. `token_starts` [T], ascending, are the characters at which the
    model's tokens start; without it a statement's tokens are the leaves of its syntax tree. A language without a
    grammar, and code that does not parse, is cut at blank lines: items of kind `other`, no core, no edges.
    """
    if not source.strip():
        return Segmentation()
    rules = find_rules(language)
    if language is None:
        parsed = recognise(source)
        region = Region(0, len(source), parsed.language if parsed else None, False)
    else:
        parsed = parse(source, rules) if rules else None
        region = Region(0, len(source), rules.name if rules else language.lower(), True)
    return _segment_regions(source, [(region, parsed)], max_item_tokens, token_starts, mutation_defines)


def segment_response(
    response: str,
    *,
    max_item_tokens: int = 64,
    token_starts: NDArray[np.int32] | None = None,
    mutation_defines: bool = False,
) -> Segmentation:
    """Find the code regions of a response and segment each; all offsets are characters of the response.

    `token_starts` [T], ascending, are the characters of the response at which its tokens start.
    """
    return _segment_regions(response, parsed_regions(response), max_item_tokens, token_starts, mutation_defines)


@cache
def rules_of(language: str) -> tuple[ItemRules, CoreRules, FlowRules]:
    grammar = grammar_of(language)
    return ItemRules(grammar), CoreRules(grammar), FlowRules(grammar)


def _segment_regions(
    text: str,
    regions: list[tuple[Region, Parsed | None]],
    max_tokens: int,
    token_starts: NDArray[np.int32] | None,
    mutation_defines: bool,
) -> Segmentation:
    items: list[Item] = []
    edges: list[tuple[int, int]] = []
    core: list[Span] = []
    signals: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
    has_error = False
    for region, parsed in regions:
        if parsed is None or parsed.has_error:
            has_error = has_error or parsed is not None
            found = [Item(ItemKind.OTHER.value, (s,)) for s in blank_line_chunks(text, region.start, region.end)]
            inner: list[tuple[int, int]] = []
        else:
            found, inner = _segment_parsed(text, region, parsed, core, max_tokens, token_starts, mutation_defines)
        signals.append(reach_and_bridge(len(found), inner))
        shift = len(items)
        edges.extend((a + shift, b + shift) for a, b in inner)
        items.extend(found)
    largest = max(regions, key=lambda pair: pair[0].end - pair[0].start, default=None)
    return Segmentation(
        items=items,
        edges=edges,
        core=core,
        regions=[region for region, _ in regions],
        reach=np.concatenate([reach for reach, _ in signals]) if signals else np.zeros(0, np.float32),
        bridge=np.concatenate([bridge for _, bridge in signals]) if signals else np.zeros(0, np.float32),
        has_error=has_error,
        language=largest[1].language if largest and largest[1] else TEXT,
    )


def _segment_parsed(
    text: str,
    region: Region,
    parsed: Parsed,
    core: list[Span],
    max_tokens: int,
    token_starts: NDArray[np.int32] | None,
    mutation_defines: bool,
) -> tuple[list[Item], list[tuple[int, int]]]:
    """Items and edges of a region that parses; its core spans are added to `core`."""
    item_rules, core_rules, flow_rules = rules_of(parsed.language)
    tree = flatten(parsed.tree, parsed.source.data, parsed.grammar)
    starts, ends = tree.starts, tree.ends
    to_char, shift = parsed.source.to_char, region.start

    def chars(start: int, end: int) -> Span:
        if to_char is None:
            return start + shift, end + shift
        return to_char[start] + shift, to_char[end - 1] + 1 + shift

    counted = None
    if token_starts is not None:
        counted = _byte_starts(token_starts, to_char, region)
    drafts, pieces = draft_items(tree, item_rules, max_tokens, counted)
    spans = cover([chars(start, end) for _, start, end in pieces], text, region.start, region.end)
    spans_of: list[list[Span]] = [[] for _ in drafts]
    for (item, _, _), span in zip(pieces, spans, strict=True):
        spans_of[item].append(span)
    items = [Item(draft.kind, tuple(own)) for draft, own in zip(drafts, spans_of, strict=True)]
    nodes = core_nodes(tree, core_rules)
    if to_char is None:
        core.extend([(starts[node] + shift, ends[node] + shift) for node in nodes])
    else:
        core.extend([(to_char[starts[node]] + shift, to_char[ends[node] - 1] + 1 + shift) for node in nodes])
    edges: list[tuple[int, int]] = []
    if 1 < len(items) <= MAX_FLOW_ITEMS:
        edges = def_use_edges(tree, flow_rules, pieces, mutation_defines)
    return items, edges


def _byte_starts(token_starts: NDArray[np.int32], to_char: list[int] | None, region: Region) -> list[int]:
    """The tokens that start in a region, and the one before them, by the byte of the region's source."""
    first, last = np.searchsorted(token_starts, (region.start, region.end))
    chars: list[int] = (token_starts[max(first - 1, 0) : last] - region.start).tolist()
    return chars if to_char is None else [bisect_left(to_char, char) for char in chars]
