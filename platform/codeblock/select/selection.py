"""One selection over a set of pairs: units by strategy, paid for by the budget, written out as weights per token."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codeblock.config import SelectConfig
from codeblock.schema import TokenClass
from codeblock.select.budget import Shelf, spend
from codeblock.select.pair import ScoredPair, Units
from codeblock.select.strategies import get_strategy


@dataclass(frozen=True)
class Selection:
    """Weights per pair, in the order given, and what they cost."""

    weights: list[NDArray[np.float32]]  # P x [T]
    supervised_tokens: int
    """Tokens that were selected (weight 1), stop tokens included."""
    asked_tokens: int | None
    """The budget; None for a strategy without one."""
    supervised_pairs: int


def select(
    pairs: Iterable[ScoredPair],
    strategy: str,
    settings: SelectConfig | None = None,
    *,
    seed: int = 0,
    pool_tokens: int | None = None,
) -> Selection:
    """Which tokens of these pairs get a loss.

    `pool_tokens`: response tokens of the pool that `token_budget` is a share of; left out, the pairs are the pool. Raises
    CodeBlockError for an unknown strategy, and where scope `response` cannot give every pair one unit.
    """
    settings = settings or SelectConfig()
    rule = get_strategy(strategy)
    units: list[Units] = []
    stops: list[NDArray[np.uint8]] = []
    for pair in pairs:
        units.append(rule.units(pair, settings, _generator(seed, pair.id)))
        stops.append(pair.token_class)
    tokens_P = np.array([int((classes != TokenClass.PROMPT).sum()) for classes in stops], dtype=np.int64)
    shelf = _shelf(units)
    asked = round(settings.token_budget * (pool_tokens or int(tokens_P.sum()))) if rule.budgeted else None
    everything = np.ones(shelf.pair.size, dtype=bool)
    chosen = everything if asked is None else spend(shelf, tokens_P, asked, settings)
    bounds = np.searchsorted(shelf.pair, np.arange(len(units) + 1))
    weights = [_weights(units[p], classes, chosen[bounds[p] : bounds[p + 1]], settings) for p, classes in enumerate(stops)]
    supervised = [int((weight == 1.0).sum()) for weight in weights]
    return Selection(weights, sum(supervised), asked, sum(count > 0 for count in supervised))


def _shelf(units: list[Units]) -> Shelf:
    """The units of all pairs side by side."""

    def join(arrays: list[NDArray[np.float64]]) -> NDArray[np.float64]:
        return np.concatenate([np.empty(0), *arrays])

    counts = [unit.priority.size for unit in units]
    return Shelf(
        pair=np.repeat(np.arange(len(units)), counts),
        size=np.concatenate([np.empty(0, dtype=np.int64), *[unit.size for unit in units]]),
        priority=join([unit.priority for unit in units]),
        tie=join([unit.tie for unit in units]),
        text=np.concatenate([np.empty(0, dtype=bool), *[unit.text for unit in units]]),
    )


def _weights(
    units: Units, class_T: NDArray[np.uint8], chosen_U: NDArray[np.bool_], settings: SelectConfig
) -> NDArray[np.float32]:
    selected_T = np.zeros(class_T.size, dtype=bool)
    member = units.unit_of_token >= 0
    selected_T[member] = chosen_U[units.unit_of_token[member]]
    weight_T = np.zeros(class_T.size, dtype=np.float32)
    if not selected_T.any():
        return weight_T
    weight_T[class_T != TokenClass.PROMPT] = settings.background_weight
    weight_T[selected_T] = 1.0
    if settings.supervise_eos:
        weight_T[class_T == TokenClass.STOP] = 1.0
    return weight_T


def _generator(seed: int, pair_id: str) -> np.random.Generator:
    """Random numbers of one pair: the same whatever the order or number of the other pairs."""
    digest = hashlib.blake2b(f"{seed}:{pair_id}".encode(), digest_size=8).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))
