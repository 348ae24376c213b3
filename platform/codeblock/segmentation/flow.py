"""Def-use graph over the items of a region: METHOD stage 4 [ours].

Edge i -> j: a definition in item i can reach a use in item j. `defuse` walks Python, `control` every language whose
names belong to blocks or to the function that assigns them.
"""

from __future__ import annotations

from codeblock.segmentation.bindings import Piece
from codeblock.segmentation.control import ControlFlow
from codeblock.segmentation.defuse import DefUse
from codeblock.segmentation.flow_rules import FlowRules
from codeblock.segmentation.tree import FlatTree


def def_use_edges(tree: FlatTree, rules: FlowRules, pieces: list[Piece], mutation_defines: bool) -> list[tuple[int, int]]:
    """The edges (defining item, using item) of a tree, sorted, without self-edges.

    `pieces` are (item, first byte, end) in the order of the source. A language without a flow table
    (`LanguageRules.has_flow` is False) has no edges.
    """
    if not rules.has_flow or not pieces:
        return []
    if rules.has_blocks:
        return ControlFlow(tree, rules, pieces, mutation_defines).run()
    return DefUse(tree, rules, pieces, mutation_defines).run()
