"""The strategies: each a small function from a scored pair to units with priorities, in one registry.

To add one, write the function and decorate it; `uses` names the fields of the section `select` that decide what it picks, so
that a change of another field does not train its arm again.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codeblock.config import SelectConfig
from codeblock.errors import CodeBlockError
from codeblock.schema import TokenClass
from codeblock.select.pair import ScoredPair, Units
from codeblock.select.utility import generalized_cross_entropy, item_utility, rerank

UnitsOf = Callable[[ScoredPair, SelectConfig, np.random.Generator], Units]


@dataclass(frozen=True)
class Strategy:
    """A named rule. `budgeted` is False where the rule supervises all its units, whatever the budget."""

    name: str
    units: UnitsOf
    uses: frozenset[str]
    budgeted: bool
    seeded: bool


BUDGET_FIELDS = ("token_budget", "scope")
_REGISTRY: dict[str, Strategy] = {}


def strategy(
    name: str, uses: tuple[str, ...] = (), budgeted: bool = True, seeded: bool = False
) -> Callable[[UnitsOf], UnitsOf]:
    """Register a function as the strategy `name`."""

    def register(function: UnitsOf) -> UnitsOf:
        fields = frozenset(uses + (BUDGET_FIELDS if budgeted else ()))
        _REGISTRY[name] = Strategy(name, function, fields, budgeted, seeded)
        return function

    return register


def get_strategy(name: str) -> Strategy:
    """A strategy by name. Raises CodeBlockError with the nearest name."""
    if name not in _REGISTRY:
        near = difflib.get_close_matches(name, _REGISTRY, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(_REGISTRY))}"
        raise CodeBlockError(f"strategy {name!r}: not known; {hint}")
    return _REGISTRY[name]


@strategy("full", budgeted=False)
def full(pair: ScoredPair, settings: SelectConfig, rng: np.random.Generator) -> Units:
    """Every response token."""
    return _tokens(pair, np.zeros(pair.nll.size))


@strategy("random_tokens", seeded=True)
def random_tokens(pair: ScoredPair, settings: SelectConfig, rng: np.random.Generator) -> Units:
    """Response tokens drawn uniformly."""
    return _tokens(pair, rng.random(pair.nll.size))


@strategy(
    "codeblock",
    uses=("gce_q", "aggregate", "reach_weight", "bridge_weight", "gate", "normalise", "nl_share"),
)
def codeblock(pair: ScoredPair, settings: SelectConfig, rng: np.random.Generator) -> Units:
    """Whole coding items by utility and data-flow structure, and informative natural-language words by their GCE."""
    utility = item_utility(pair, settings.gce_q, settings.aggregate)
    structure = (pair.item_reach.astype(np.float64), pair.item_bridge.astype(np.float64))
    words, word_gce = _words(pair, settings.gce_q)
    items = utility.size
    return Units(
        unit_of_token=np.where(words >= 0, items + words, pair.token_item).astype(np.int32),
        priority=np.concatenate([rerank(utility, *structure, settings), word_gce]),
        tie=np.concatenate([utility, word_gce]),
        text=np.arange(items + word_gce.size) >= items,
    )


def _tokens(pair: ScoredPair, priority_T: NDArray[np.float64]) -> Units:
    """Every response token as a unit of its own, the stop token excepted."""
    eligible = pair.response & (pair.token_class != TokenClass.STOP)
    unit_T = np.where(eligible, np.cumsum(eligible) - 1, -1).astype(np.int32)
    priority = priority_T[eligible]
    return Units(unit_T, priority, np.zeros_like(priority), np.zeros(priority.size, dtype=bool))


def _words(pair: ScoredPair, q: float) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Words numbered from 0 per token (int32[T], -1 elsewhere), and the mean GCE of each."""
    member = (pair.token_word >= 0) & ~np.isnan(pair.nll)
    words_T = np.full(pair.nll.size, -1, dtype=np.int32)
    _, numbers = np.unique(pair.token_word[member], return_inverse=True)
    words_T[member] = numbers
    gce = generalized_cross_entropy(pair.nll[member], q)
    return words_T, np.bincount(numbers, weights=gce) / np.maximum(np.bincount(numbers), 1)
