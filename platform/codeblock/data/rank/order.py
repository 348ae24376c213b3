"""From signals to one ranking. [ours]

N pairs, R rankers. What is unknown of a pair puts it in the middle of the pool, neither before the best nor behind the worst.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from codeblock.core.quality import SCALE, factor_to_scale, quality_bin
from codeblock.data.rank.pool import Signal
from codeblock.data.rank.registry import Scale


def lexicographic(signals: Sequence[Signal], scales: Sequence[Scale], lotteries: Iterable[bytes]) -> NDArray[np.int32]:
    """int32[N], 0 is the best: by the first signal's bin 0..5, then by the second's, and by the last one's value.

    Equals come in the order of `lotteries` (one number a pair).
    """
    keys: list[NDArray[np.floating]] = [in_bins(signal, scale) for signal, scale in zip(signals[:-1], scales[:-1], strict=True)]
    keys += [with_median(signal) for signal in signals[-1:]]
    return _places(keys, lotteries)


def by_mean(signals: Sequence[Signal], lotteries: Iterable[bytes]) -> NDArray[np.int32]:
    """int32[N], 0 is the best: by the mean over the signals of a pair's rank in each, as a share of the pool."""
    if not signals:
        return _places([], lotteries)
    return _places([np.mean([ranks(signal) for signal in signals], axis=0)], lotteries)


def _places(keys: Sequence[NDArray[np.floating]], lotteries: Iterable[bytes]) -> NDArray[np.int32]:
    draws = np.fromiter((int.from_bytes(draw, "big") for draw in lotteries), dtype=np.uint64)
    order = np.lexsort([draws, *(-key for key in reversed(keys))])
    places = np.empty(order.size, dtype=np.int32)
    places[order] = np.arange(order.size)
    return places


def in_bins(signal: Signal, scale: Scale) -> Signal:
    """float32[N]: whole steps 0..5; an unknown value gets the median of the known ones.

    A quality is binned on the scale of the data, a share by fifths (only 1.0 is in bin 5), others by their place in the pool.
    """
    known = np.isfinite(signal)
    bins = np.full(signal.size, np.nan, dtype=np.float32)
    if scale == "quality":
        factor = factor_to_scale(max(signal[known].tolist(), default=0.0))
        bins[known] = [quality_bin(value, factor) for value in signal[known].tolist()]
    elif scale == "share":
        bins[known] = [quality_bin(value, float(SCALE)) for value in signal[known].tolist()]
    else:
        bins[known] = np.minimum(np.floor(ranks(signal)[known] * (SCALE + 1)), SCALE)
    return with_median(bins)


def with_median(signal: Signal) -> Signal:
    """The signal with the median of the known values (of two middle ones the higher) in the place of unknown ones."""
    known = np.sort(signal[np.isfinite(signal)])
    middle = known[known.size // 2] if known.size else np.float32(0)
    return np.where(np.isfinite(signal), signal, middle).astype(np.float32)


def ranks(signal: Signal) -> NDArray[np.float64]:
    """float64[N]: the middle of the places that a value takes among the known ones, 0..1, best highest; 0.5 where unknown."""
    known = np.isfinite(signal)
    found = np.full(signal.size, 0.5)
    found[known] = (rankdata(signal[known]) - 0.5) / max(int(known.sum()), 1)
    return found
