"""What segmentation returns. Offsets are characters (code points) of the string that was given, never bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

TEXT = "text"
"""Language of code for which no grammar was used."""

Span = tuple[int, int]
"""Start and end of a run of characters, end excluded."""


class Decided(StrEnum):
    """How the language of a region was found."""

    TAG = "tag"  # the response names it
    RECOGNISED = "recognised"  # by a grammar that takes the text, or by how the text begins
    AMONG_PROSE = "among_prose"  # the same, of lines that stand among prose without a fence
    UNKNOWN = "unknown"  # code, in what language cannot be said
    NOT_INSTALLED = "not_installed"  # tagged or recognised, but the package with the grammar is not installed


class Region(NamedTuple):
    """A run of code in a response."""

    start: int
    end: int
    language: str | None
    """Canonical name where rules exist for the language, else the tag as it was written (lower case), None where unknown."""
    tagged: bool
    """Whether the response itself named the language."""
    decided: str
    """A value of `Decided`."""


class Item(NamedTuple):
    """A coding item: the unit that is supervised whole or not at all."""

    kind: str
    """A value of `codeblock.core.schema.ItemKind`."""
    spans: tuple[Span, ...]


def _no_signal() -> NDArray[np.float32]:
    return np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Segmentation:
    """Items, core logic tokens and data flow of a piece of code or of a whole response. I is the number of items."""

    items: list[Item] = field(default_factory=list)
    """In the order of the source."""
    edges: list[tuple[int, int]] = field(default_factory=list)
    """Def-use edges (defining item, using item), sorted, without self-edges; never between two regions, except between
    the lines of one session at a prompt."""
    core: list[Span] = field(default_factory=list)
    """Core logic leaves, sorted and disjoint."""
    regions: list[Region] = field(default_factory=list)
    reach: NDArray[np.float32] = field(default_factory=_no_signal)
    """[I] share of the other items of its region that are reachable, 0..1."""
    bridge: NDArray[np.float32] = field(default_factory=_no_signal)
    """[I] directed betweenness within its region, 0..1."""
    has_error: bool = False
    """A region that is tagged or recognised as a language with an installed grammar does not parse."""
    error: str = ""
    """Language of the first such region and the line where its grammar met something else; empty without an error."""
    language: str = TEXT
    """Of the largest block of code; `text` where no grammar was used."""
    decided: str = Decided.UNKNOWN.value
    """How that language was found, a value of `Decided`."""
