"""The index of the sample pages: what each arm supervises over many pairs, and links to the pages.

The figures are counted pair by pair, so that no table of items is ever held.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codeblock.core.schema import ItemKind
from codeblock.core.storage.tables import write_text
from codeblock.report.pages.page import page_name, sample_page, templates
from codeblock.report.pages.sample import SampleView, check, counts

BINS = 20
COLUMNS, ROWS = 12, 12
Floats = NDArray[np.float64]


@dataclass
class ArmTally:
    """What one arm supervises over the pairs looked at (pairs of its subset, held-out ones left out)."""

    name: str
    strategy: str
    supervised_share: float  # of the pool's response tokens
    asked_share: float | None  # None: the strategy takes no budget
    largest_utility: float = 1.0  # top of the axis; a mean GCE is at most 1/q
    shares: list[float] = field(default_factory=list)  # supervised share of each pair's response tokens
    kind_tokens: Counter[str] = field(default_factory=Counter)
    kind_supervised: Counter[str] = field(default_factory=Counter)
    structure: Counter[tuple[int, int]] = field(default_factory=Counter)  # (column, row): items
    structure_kept: Counter[tuple[int, int]] = field(default_factory=Counter)

    def add_pair(
        self, share: float, kinds: Sequence[str], tokens_I: NDArray[np.int64], supervised_I: NDArray[np.int64]
    ) -> None:
        """Count one pair: its supervised share, and tokens by kind of item."""
        self.shares.append(share)
        for kind, tokens, supervised in zip(kinds, tokens_I.tolist(), supervised_I.tolist(), strict=True):
            self.kind_tokens[kind] += tokens
            self.kind_supervised[kind] += supervised

    def add_structure(self, lift_I: Floats, utility_I: Floats, kept_I: NDArray[np.bool_], largest_lift: float) -> None:
        """Count the items of one pair by structural lift (0 to `largest_lift`) and utility."""
        columns = _cell(lift_I, largest_lift, COLUMNS)
        rows = _cell(utility_I, self.largest_utility, ROWS)
        for cell, kept in zip(zip(columns, rows, strict=True), kept_I.tolist(), strict=True):
            self.structure[cell] += 1
            self.structure_kept[cell] += kept

    @property
    def histogram(self) -> list[int]:
        """Pairs by supervised share, in `BINS` equal steps; pairs without any are not among them."""
        some = [share for share in self.shares if share > 0]
        return list(np.histogram(some, bins=BINS, range=(0.0, 1.0))[0].tolist())

    @property
    def median(self) -> float:
        """Median supervised share of a pair."""
        return float(np.median(self.shares)) if self.shares else 0.0

    @property
    def bare(self) -> int:
        """Pairs of the subset in which nothing is supervised."""
        return sum(share == 0 for share in self.shares)

    def kind_share(self, kind: str) -> float | None:
        """Supervised share of the tokens of one kind of item; None where there are none."""
        tokens = self.kind_tokens[kind]
        return self.kind_supervised[kind] / tokens if tokens else None

    @property
    def cells(self) -> list[tuple[int, int, float, int, int]]:
        """Column, row, side of the square (0..1, by the logarithm of the items), items, and items kept."""
        most = max(self.structure.values(), default=1)
        return [
            (*cell, math.log1p(count) / math.log1p(most), count, self.structure_kept[cell])
            for cell, count in sorted(self.structure.items())
        ]


def index_page(title: str, samples: Sequence[SampleView], tallies: Sequence[ArmTally]) -> str:
    """The index as HTML."""
    rows = [(sample, page_name(sample), [counts(sample, arm) for arm in sample.arms]) for sample in samples]
    kinds = [str(kind) for kind in ItemKind if any(tally.kind_tokens[kind] for tally in tallies)]
    page = templates().get_template("index.html.j2")
    return page.render(title=title, rows=rows, tallies=tallies, kinds=kinds, bins=BINS)


def write_pages(title: str, samples: Sequence[SampleView], tallies: Sequence[ArmTally], directory: Path) -> list[Path]:
    """Write `index.html` and one page per sample; returns the paths, the index first.

    Raises ValueError, before any file is written, where a sample's lists do not fit together.
    """
    for sample in samples:
        check(sample)
    paths = [directory / "index.html", *(directory / page_name(sample) for sample in samples)]
    write_text(paths[0], index_page(title, samples, tallies))
    for path, sample in zip(paths[1:], samples, strict=True):
        write_text(path, sample_page(sample))
    return paths


def _cell(values: Floats, largest: float, steps: int) -> list[int]:
    return list(np.clip(values / max(largest, 1e-9) * steps, 0, steps - 1).astype(np.int64).tolist())
