"""Utility of items and the gated rerank. METHOD: stages 3 and 4.

Shapes: T tokens, I items. The generalized cross-entropy is Zhang & Sabuncu's (2018); utility over core logic tokens is the
paper's idea, the exact aggregate, the gate and the normalisation are ours.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from codeblock.config import SelectConfig
from codeblock.schema import TokenClass
from codeblock.select.pair import ScoredPair

Floats = NDArray[np.float64]
MIN_CORE_TOKENS = 2
"""An item with fewer core logic tokens has utility 0."""
SIGMOID_SLOPE = 10.0
"""Steepness of the smooth gate over a utility that was normalised to 0..1."""


def generalized_cross_entropy(nll: NDArray[np.float32], q: float) -> Floats:
    """GCE of each token, `(1 - p^q) / q` with `p = exp(-nll)`; q = 0 gives the nll itself. Same shape as `nll`."""
    loss = nll.astype(np.float64)
    return loss if q == 0 else -np.expm1(-q * loss) / q


def item_utility(pair: ScoredPair, q: float, aggregate: Literal["mean", "sum"]) -> Floats:
    """Utility float64[I]: GCE of the item's core logic tokens, their mean or sum; 0 with fewer than two of them."""
    core = (pair.token_class == TokenClass.CORE) & (pair.token_item >= 0) & ~np.isnan(pair.nll)
    owner = pair.token_item[core]
    count = np.bincount(owner, minlength=pair.item_reach.size)
    total = np.bincount(owner, weights=generalized_cross_entropy(pair.nll[core], q), minlength=pair.item_reach.size)
    value = total / np.maximum(count, 1) if aggregate == "mean" else total
    return np.where(count >= MIN_CORE_TOKENS, value, 0.0)


def rerank(utility: Floats, reach: Floats, bridge: Floats, settings: SelectConfig) -> Floats:
    """Priority float64[I] = u + g(u) * (reach_weight * r + bridge_weight * b), normalised inside the response [ours]."""
    if utility.size == 0:
        return utility
    u, r, b = (normalise(signal, settings.normalise) for signal in (utility, reach, bridge))
    return u + _gate(u, settings.gate) * (settings.reach_weight * r + settings.bridge_weight * b)


def normalise(signal: Floats, how: Literal["none", "minmax", "rank"]) -> Floats:
    """Bring a signal to 0..1 inside one response; a constant signal becomes 0. `none` leaves it as it is.

    Inside a response the best item is 1 however well the model knows it, and an only item is 0: harmless where each response
    has a budget of its own, but in one ranking of all responses it prefers those that have a second, easier item.
    """
    if how == "none":
        return signal
    low, high = signal.min(), signal.max()
    if high <= low:
        return np.zeros_like(signal)
    if how == "minmax":
        return np.asarray((signal - low) / (high - low))
    _, rank = np.unique(signal, return_inverse=True)
    return np.asarray(rank / rank.max())


def _gate(u: Floats, gate: Literal["hard", "sigmoid", "none"]) -> Floats:
    if gate == "none":
        return np.ones_like(u)
    if gate == "hard":
        return (u >= _median(u)).astype(np.float64)
    return 1.0 / (1.0 + np.exp(-SIGMOID_SLOPE * (u - _median(u))))


def _median(values: Floats) -> float:
    # np.median takes ten times as long on the few items of a response.
    ordered = np.sort(values)
    return float(ordered[(values.size - 1) // 2] + ordered[values.size // 2]) / 2
