"""Utility of items and the gated rerank. METHOD: stages 3 and 4.

Shapes: T tokens, I items. The generalized cross-entropy is Zhang & Sabuncu's (2018); utility over core logic tokens is the
paper's idea, the exact aggregate, the noise, the gate and the normalisation are ours.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from codeblock.core.config import SelectConfig
from codeblock.core.errors import CodeBlockError
from codeblock.core.schema import TokenClass
from codeblock.selection.pair import ScoredPair

Floats = NDArray[np.float64]
MIN_CORE_TOKENS = 2
"""An item with fewer core logic tokens has utility 0."""


def generalized_cross_entropy(nll: NDArray[np.float32], q: float) -> Floats:
    """GCE of each token, `(1 - p^q) / q` with `p = exp(-nll)`; q = 0 gives the nll itself. Same shape as `nll`."""
    loss = nll.astype(np.float64)
    return loss if q == 0 else -np.expm1(-q * loss) / q


def token_value(pair: ScoredPair, q: float, excess: bool = False) -> Floats:
    """What learning each token is worth, float64[T], NaN where it has no nll: its GCE under the reference.

    `excess`: less its GCE under a second, trained model: what training can still remove. Raises CodeBlockError without
    `nll_second`.
    """
    value = generalized_cross_entropy(pair.nll, q)
    if excess:
        value = value - generalized_cross_entropy(require_column(pair, "nll_second"), q)
    return value


def core_tokens(pair: ScoredPair) -> NDArray[np.bool_]:
    """Which tokens are scored core logic tokens of an item, bool[T]."""
    core: NDArray[np.bool_] = (pair.token_class == TokenClass.CORE) & (pair.token_item >= 0) & ~np.isnan(pair.nll)
    return core


def item_utility(pair: ScoredPair, settings: SelectConfig, excess: bool = False) -> Floats:
    """Utility float64[I]: the values of the item's core logic tokens, aggregated; 0 with fewer than two of them.

    A token above `pair.pool.noise_nll` counts as 0, and still as a token.
    """
    core = core_tokens(pair)
    owner, value = pair.token_item[core], token_value(pair, settings.gce_q, excess)[core]
    if pair.pool.noise_nll is not None:
        value = np.where(pair.nll[core] > pair.pool.noise_nll, 0.0, value)
    count = np.bincount(owner, minlength=pair.item_reach.size)
    total = np.bincount(owner, weights=value, minlength=pair.item_reach.size).astype(np.float64)
    return np.where(count >= MIN_CORE_TOKENS, aggregate(total, count, settings), 0.0)


def aggregate(total: Floats, count: NDArray[np.signedinteger[Any]], settings: SelectConfig) -> Floats:
    """One number of `count` values whose sum is `total`; same shape."""
    if settings.aggregate == "sum":
        return total
    more = settings.shrink_tokens if settings.aggregate == "shrunk" else 0.0
    return np.asarray(total / np.maximum(count + more, 1), dtype=np.float64)


def rerank(utility: Floats, pair: ScoredPair, settings: SelectConfig) -> Floats:
    """Priority float64[I] of the items, from their utility and their structure [ours].

    `u + g(u) * s` with s = reach_weight * r + bridge_weight * b, the three normalised inside the response and r and b shrunk
    by its size; g is 1 from the response's median on (`hard`), the utility itself (`product`), or 1 everywhere.
    """
    if utility.size == 0 or (settings.reach_weight == 0 and settings.bridge_weight == 0):
        return normalise(utility, settings.normalise) if utility.size else utility
    structure = (pair.item_reach.astype(np.float64), pair.item_bridge.astype(np.float64))
    u, r, b = (normalise(signal, settings.normalise) for signal in (utility, *structure))
    others = utility.size - 1
    size = others / (others + settings.shrink_items) if others else 0.0
    return u + _gate(u, settings.gate) * size * (settings.reach_weight * r + settings.bridge_weight * b)


def require_column(pair: ScoredPair, name: str) -> NDArray[np.float32]:
    """A column that not every run has. Raises CodeBlockError where it is missing."""
    values: NDArray[np.float32] | None = getattr(pair, name)
    if values is None:
        scored = name in ("nll_second", "prompt_attention")
        remedy = "set score.second_model" if scored else f'decorate the strategy with reads=("{name}",)'
        raise CodeBlockError(f"pair {pair.id}: no column {name}; {remedy}")
    return values


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


def _gate(u: Floats, gate: Literal["hard", "product", "none"]) -> Floats:
    """How far structure counts for each item, float64[I]."""
    if gate == "product":
        return u
    if gate == "hard":
        return (u >= _median(u)).astype(np.float64)
    return np.ones_like(u)


def _median(values: Floats) -> float:
    # np.median takes ten times as long on the few items of a response.
    ordered = np.sort(values)
    return float(ordered[(values.size - 1) // 2] + ordered[values.size // 2]) / 2
