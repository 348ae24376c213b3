"""What is known of all kept pairs before any is ranked: a pass over them, in memory that does not grow with their number.

Quantiles come from histograms whose counts add up, so they do not depend on where one part ends. A bin is one of 2^17 ranges
of float32 (by their leading bits), so a quantile is right to 0.4%.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from codeblock.core.config import SelectConfig
from codeblock.selection.pair import NO_POOL, PoolStatistics, ScoredPair
from codeblock.selection.strategies import Strategy
from codeblock.selection.utility import core_tokens
from codeblock.selection.words import BUCKETS, buckets

SHIFT = 15
"""Bits of a float32 that a bin leaves out."""

Passes = Callable[[], Iterable[ScoredPair]]
"""Begins a pass over the kept pairs."""


def survey(passes: Passes, rule: Strategy, settings: SelectConfig) -> PoolStatistics:
    """What the rule and the settings ask of the kept pairs: one pass, none with the defaults."""
    quantile = settings.noise_quantile if "noise_quantile" in rule.uses else None
    words = "word_rank" in rule.uses and settings.word_rank == "specific"
    if quantile is None and not words:
        return NO_POOL
    losses, pairs_with = Histogram(), np.zeros(BUCKETS, dtype=np.int32)
    seen = 0
    for pair in passes():
        seen += 1
        if quantile is not None:
            losses.add(pair.nll[core_tokens(pair)])
        if words:
            pairs_with[np.unique(buckets(pair)[1])] += 1
    noise = losses.quantile(quantile) if quantile is not None else None
    return PoolStatistics(seen, noise, pairs_with if words else None)


class Histogram:
    """Counts of float32 by their leading bits, from which quantiles are read."""

    def __init__(self) -> None:
        self._counts = np.zeros(1 << (32 - SHIFT), dtype=np.int64)

    def add(self, values: NDArray[np.float32]) -> None:
        """Count these."""
        bits = (values + np.float32(0)).view(np.uint32)
        sign = np.uint32(1 << 31)
        keys = np.where(bits & sign, ~bits, bits | sign) >> np.uint32(SHIFT)
        self._counts += np.bincount(keys, minlength=self._counts.size)

    def quantile(self, share: float) -> float:
        """The upper end of the bin in which this share of the values is reached; 0 without a value."""
        counts = np.cumsum(self._counts)
        if counts[-1] == 0:
            return 0.0
        at = int(np.searchsorted(counts, share * counts[-1], side="left"))
        key = np.uint32((at << SHIFT) + (1 << SHIFT) - 1)
        sign = np.uint32(1 << 31)
        bits = key ^ sign if key & sign else ~key
        return float(np.array([bits], dtype=np.uint32).view(np.float32)[0])
