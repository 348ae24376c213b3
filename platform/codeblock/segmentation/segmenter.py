"""From source text or a whole response to its segmentation: regions, items, core logic leaves, data flow."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np
from numpy.typing import NDArray

from codeblock.core.schema import ItemKind
from codeblock.segmentation.chunks import blank_line_chunks
from codeblock.segmentation.core import CoreRules, core_nodes
from codeblock.segmentation.flow import def_use_edges
from codeblock.segmentation.flow_rules import FlowRules
from codeblock.segmentation.headers import ItemRules
from codeblock.segmentation.items import cover, draft_items
from codeblock.segmentation.lexed import lexical_core
from codeblock.segmentation.recognise import Parsed, first_error
from codeblock.segmentation.regions import Block, block_of, blocks_of
from codeblock.segmentation.structure import reach_and_bridge
from codeblock.segmentation.transcripts import within
from codeblock.segmentation.tree import Grammar, flatten
from codeblock.segmentation.types import TEXT, Decided, Item, Segmentation, Span

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
    grammar is cut at blank lines: items of kind `other`, with the core that a lexer of the language finds, and no edges.
    So is code that does not parse, without any core.
    """
    if not source.strip():
        return Segmentation()
    block = block_of(source, (0, len(source)), language)
    return _segment_blocks(source, [block], max_item_tokens, token_starts, mutation_defines)


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
    return _segment_blocks(response, blocks_of(response), max_item_tokens, token_starts, mutation_defines)


_RULES: dict[int, tuple[ItemRules, CoreRules, FlowRules]] = {}


def rules_of(grammar: Grammar) -> tuple[ItemRules, CoreRules, FlowRules]:
    """The tables of a grammar for each step; built once per process."""
    key = id(grammar)  # grammars live as long as the process
    if key not in _RULES:
        _RULES[key] = ItemRules(grammar), CoreRules(grammar), FlowRules(grammar)
    return _RULES[key]


def _segment_blocks(
    text: str, blocks: list[Block], max_tokens: int, token_starts: NDArray[np.int32] | None, mutation_defines: bool
) -> Segmentation:
    items: list[Item] = []
    edges: list[tuple[int, int]] = []
    core: list[Span] = []
    signals: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
    broken: Block | None = None
    for block in blocks:
        parsed = block.parsed
        inner: list[tuple[int, int]] = []
        found: list[Item] = []
        if parsed is not None and not parsed.has_error:
            found, leaves, inner = _segment_parsed(text, block, parsed, max_tokens, token_starts, mutation_defines)
            core.extend(leaves)
        if broken is None and parsed is not None and parsed.has_error:
            broken = block
        if not found:  # no tree, or nothing in it (a byte-order mark alone)
            found = _chunks(text, block)
            if parsed is None:  # what does not parse in a language with a grammar is broken, and not worth a score
                core.extend(_core_of_chunks(text, block, found))
        signals.append(reach_and_bridge(len(found), inner))
        shift = len(items)
        edges.extend((a + shift, b + shift) for a, b in inner)
        items.extend(found)
    largest = max(blocks, key=lambda block: sum(region.end - region.start for region in block.regions), default=None)
    return Segmentation(
        items=items,
        edges=edges,
        core=core,
        regions=[region for block in blocks for region in block.regions],
        reach=np.concatenate([reach for reach, _ in signals]) if signals else np.zeros(0, np.float32),
        bridge=np.concatenate([bridge for _, bridge in signals]) if signals else np.zeros(0, np.float32),
        has_error=broken is not None,
        error=_place_of_error(text, broken) if broken else "",
        language=largest.parsed.language if largest and largest.parsed else TEXT,
        decided=largest.regions[0].decided if largest else Decided.UNKNOWN.value,
    )


def _place_of_error(text: str, block: Block) -> str:
    """The language of a block that does not parse, and the line of the whole text where its grammar met something else."""
    assert block.parsed is not None
    source = block.parsed.source
    at = first_error(block.parsed.tree)
    char = at if source.to_char is None else source.to_char[at]
    return f"{block.parsed.language}, line {text.count(chr(10), 0, block.start + char) + 1}"


def _chunks(text: str, block: Block) -> list[Item]:
    """The runs of lines between blank lines."""
    code = text[block.start : block.end] if block.code is None else block.code
    chunks = [(a + block.start, b + block.start) for a, b in blank_line_chunks(code, 0, len(code))]
    return [Item(ItemKind.OTHER.value, tuple(_in_regions(chunk, block))) for chunk in chunks]


def _core_of_chunks(text: str, block: Block, chunks: list[Item]) -> list[Span]:
    """What a lexer of the language calls names, literals, operators and keywords; none where the language is not known."""
    code = text[block.start : block.end] if block.code is None else block.code
    spans = [span for chunk in chunks for span in chunk.spans]
    core = lexical_core(code, block.regions[0].language)
    return [part for a, b in core for part in within((a + block.start, b + block.start), spans)]


def _in_regions(span: Span, block: Block) -> list[Span]:
    """A span without what is prompt or output in it."""
    return [span] if block.code is None else within(span, [(region.start, region.end) for region in block.regions])


def _segment_parsed(
    text: str,
    block: Block,
    parsed: Parsed,
    max_tokens: int,
    token_starts: NDArray[np.int32] | None,
    mutation_defines: bool,
) -> tuple[list[Item], list[Span], list[tuple[int, int]]]:
    """Items, core leaves and edges of a block that parses."""
    item_rules, core_rules, flow_rules = rules_of(parsed.grammar)
    tree = flatten(parsed.tree, parsed.source.data, parsed.grammar, parsed.lead)
    starts, ends = tree.starts, tree.ends
    to_char, shift = parsed.source.to_char, block.start

    def chars(start: int, end: int) -> Span:
        if to_char is None:
            return start + shift, end + shift
        return to_char[start] + shift, to_char[end - 1] + 1 + shift

    counted = None if token_starts is None else _byte_starts(token_starts, to_char, block)
    drafts, pieces = draft_items(tree, item_rules, max_tokens, counted)
    in_one = len(block.regions) == 1  # what is parsed may be shorter than what is there (`&lt;`), but nothing lies between
    covered = text if block.code is None or in_one else " " * block.start + block.code
    spans = cover([chars(start, end) for _, start, end in pieces], covered, block.start, block.end)
    spans_of: list[list[Span]] = [[] for _ in drafts]
    for (item, _, _), span in zip(pieces, spans, strict=True):
        spans_of[item].extend(_in_regions(span, block))
    items = [Item(draft.kind, tuple(own)) for draft, own in zip(drafts, spans_of, strict=True)]
    data = tree.data
    leaves = [(starts[node], ends[node]) for node in core_nodes(tree, core_rules)]
    if not tree.grammar.rules.documented:  # some leaves of other grammars end with the line: the text of a here-document
        leaves = [(a, a + len(data[a:b].rstrip())) for a, b in leaves if data[a:b].strip()]
    core = [(a + shift, b + shift) for a, b in leaves] if to_char is None else [chars(a, b) for a, b in leaves]
    if block.code is not None:
        core = [part for leaf in core for part in _in_regions(leaf, block)]
    edges: list[tuple[int, int]] = []
    if 1 < len(items) <= MAX_FLOW_ITEMS:
        edges = def_use_edges(tree, flow_rules, pieces, mutation_defines)
    return items, core, edges


def _byte_starts(token_starts: NDArray[np.int32], to_char: list[int] | None, block: Block) -> list[int]:
    """The tokens that start in a region, and the one before them, by the byte of the block's source."""
    first, last = np.searchsorted(token_starts, (block.start, block.end))
    chars: list[int] = (token_starts[max(first - 1, 0) : last] - block.start).tolist()
    return chars if to_char is None else [bisect_left(to_char, char) for char in chars]
