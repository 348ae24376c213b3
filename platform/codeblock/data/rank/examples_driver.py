"""Share the examples of a pool's responses out over the nodes that can run programs.

A piece is some rows of a part, a task of one CPU with one sandbox. Where no other node can, this machine runs all.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import NamedTuple

from codeblock.core.console import counter
from codeblock.core.errors import CodeBlockError, result_or_told
from codeblock.core.nodes import Node, share_out
from codeblock.core.storage.tables import part_rows, read_part
from codeblock.data.rank.examples import run_examples
from codeblock.data.rank.pool import Signal, joined
from codeblock.sandbox.graders import Needs, graders
from codeblock.sandbox.pool import Settings

COLUMNS = ["messages", "response"]
PIECES = 4
"""Pieces for each CPU that runs them: the last ones end together."""
LEAST = 64
"""Rows of a piece: the examples of fewer take less time than the start of a sandbox."""


class RowRange(NamedTuple):
    """Some rows of a part, which follow each other."""

    part: Path
    first: int
    rows: int


def run_on_nodes(parts: Sequence[Path], settings: Settings) -> Signal:
    """`examples.run_examples` of all rows, on all nodes that can; on this machine where it is alone.

    Raises CodeBlockError as `run_examples`, with the node.
    """
    needs = Needs.of(settings)
    rows = [part_rows(path) for path in parts]
    if not (nodes := graders(needs)):
        return run_examples((read_part(path, COLUMNS) for path in parts), sum(rows), settings)
    pieces, done = cut(parts, rows, sum(node.cpus for node in nodes)), dict[RowRange, Signal]()
    while left := [piece for piece in pieces if piece not in done]:
        if nodes:
            done |= _on_nodes(left, settings, nodes)
            nodes = graders(needs)
        else:  # all are gone
            done |= {piece: run_piece(piece, settings) for piece in left}
    return joined([done[piece] for piece in pieces])


def cut(parts: Sequence[Path], rows: Sequence[int], cpus: float) -> list[RowRange]:
    """Parts with so many rows each in pieces for so many CPUs, in row order."""
    size = max(LEAST, ceil(sum(rows) / (PIECES * ceil(cpus))))
    return [
        RowRange(part, first, min(size, count - first))
        for part, count in zip(parts, rows, strict=True)
        for first in range(0, count, size)
    ]


def run_piece(piece: RowRange, settings: Settings) -> Signal:
    """`run_examples` of one piece."""
    table = read_part(piece.part, COLUMNS).slice(piece.first, piece.rows)
    return run_examples([table], piece.rows, settings)


def _on_nodes(pieces: Sequence[RowRange], settings: Settings, nodes: Sequence[Node]) -> dict[RowRange, Signal]:
    """The values of pieces, as far as the nodes live."""
    at_once = settings.processes and settings.processes * len(nodes)
    work = [(piece, replace(settings, processes=1)) for piece in pieces]
    results, found = share_out("examples", _run, work, nodes, at_once), dict[RowRange, Signal]()
    with counter("examples", sum(piece.rows for piece in pieces)) as advance, closing(results):
        for result in results:
            piece, values = result.answer
            if isinstance(values, str):
                raise CodeBlockError(f"{values} (on {result.node})")
            found[piece] = values
            advance(piece.rows)
    return found


def _run(piece: RowRange, settings: Settings) -> tuple[RowRange, Signal | str]:
    """The values of a piece, on the node that it was given to; in one line what stops the run."""

    def values() -> Signal | str:
        return run_piece(piece, settings)

    return piece, result_or_told(values, str)
