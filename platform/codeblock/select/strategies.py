"""The strategies: each a small function from a scored pair to units with priorities, in one registry.

To add one, write the function and decorate it; `uses` names the fields of the section `select` that decide what it picks, so
that a change of another field does not train its arm again. A config may also name a function of the user's own as
`package.module:function`. Sources of the baselines: METHOD's table.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codeblock.config import Scope, SelectConfig
from codeblock.errors import CodeBlockError
from codeblock.schema import TokenClass
from codeblock.select.pair import ScoredPair, Units
from codeblock.select.utility import generalized_cross_entropy, item_utility, normalise, rerank
from codeblock.shares import Shares

UnitsOf = Callable[[ScoredPair, SelectConfig, np.random.Generator], Units]


@dataclass(frozen=True)
class Strategy:
    """A named rule. `budgeted` is False where the rule supervises all its units, whatever the budget."""

    name: str
    units: UnitsOf
    uses: frozenset[str]
    budgeted: bool
    needs: frozenset[str]
    """Columns beside the reference's nll: `nll_second` (a second model's), `prompt_attention`."""
    scope: Scope | None
    """The scope that belongs to the rule, whatever the config says."""
    whole_items: bool = False
    """Whether an item is supervised whole or not at all; the audit of masks holds the rule to it."""
    seeded: bool = False
    """Whether the rule draws random numbers; others get a generator that they must not use, for making one takes time."""
    whole_pairs: bool = False
    """Whether the budget is spent on whole responses: the best pairs that hold so many tokens."""
    rounds: int = 1
    """Rounds of selecting and training, each on its share of the pairs with the model of the round before."""


BUDGET_FIELDS = ("scope",)
_REGISTRY: dict[str, Strategy] = {}


def strategy(
    name: str,
    uses: tuple[str, ...] = (),
    budgeted: bool = True,
    needs: tuple[str, ...] = (),
    scope: Scope | None = None,
    whole_items: bool = False,
    seeded: bool = False,
    whole_pairs: bool = False,
    rounds: int = 1,
) -> Callable[[UnitsOf], UnitsOf]:
    """Register a function as the strategy `name`."""

    def register(function: UnitsOf) -> UnitsOf:
        fields = frozenset(uses + (BUDGET_FIELDS if budgeted else ()))
        _REGISTRY[name] = Strategy(
            name, function, fields, budgeted, frozenset(needs), scope, whole_items, seeded, whole_pairs, rounds
        )
        return function

    return register


def shares_of(rule: Strategy, settings: SelectConfig) -> Shares:
    """What an arm asks for; a rule of whole pairs spends the same budget on fewer of them."""
    return settings.shares.whole() if rule.whole_pairs else settings.shares


def strategy_names() -> list[str]:
    """The registered names."""
    return sorted(_REGISTRY)


def get_strategy(name: str) -> Strategy:
    """A strategy by name or import path. Raises CodeBlockError with the nearest name, or with what is wrong with the path."""
    if ":" in name:
        return _imported(name)
    if name not in _REGISTRY:
        near = difflib.get_close_matches(name, _REGISTRY, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(_REGISTRY))}"
        raise CodeBlockError(f"strategy {name!r}: not known; {hint}")
    return _REGISTRY[name]


def _imported(path: str) -> Strategy:
    """The function of an import path; it may be decorated with `strategy`, else it has a budget and uses every field."""
    module, _, attribute = path.partition(":")
    try:
        function = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise CodeBlockError(f"strategy {path!r}: {error}; name a function as package.module:function") from error
    if not callable(function):
        raise CodeBlockError(f"strategy {path!r}: a {type(function).__name__}, not a function")
    found = [rule for rule in _REGISTRY.values() if rule.units is function]
    return (
        found[0]
        if found
        else Strategy(path, function, frozenset(SelectConfig.model_fields), True, frozenset(), None, seeded=True)
    )


@strategy("full", budgeted=False)
def full(pair: ScoredPair, settings: SelectConfig, rng: np.random.Generator) -> Units:
    """Every response token."""
    return _tokens(pair, np.zeros(pair.nll.size))


@strategy("ds2", budgeted=False)
def ds2(pair: ScoredPair, settings: SelectConfig, rng: np.random.Generator) -> Units:
    """Every response token of the pairs that the quality filter kept: the filter without the blocks."""
    return full(pair, settings, rng)


@strategy("whole_pairs", budgeted=False, whole_pairs=True)
def whole_pairs(pair: ScoredPair, settings: SelectConfig, rng: np.random.Generator) -> Units:
    """Every response token of fewer pairs: the best that hold as many tokens as the budget. Pair selection alone."""
    return full(pair, settings, rng)


@strategy("full_code", budgeted=False)
def full_code(pair: ScoredPair, settings: SelectConfig, rng: np.random.Generator) -> Units:
    """Every code token."""
    return _tokens(pair, np.zeros(pair.nll.size), pair.token_item >= 0)


@strategy("random_items", whole_items=True, seeded=True)
def random_items(pair: ScoredPair, settings: SelectConfig, rng: np.random.Generator) -> Units:
    """Whole coding items drawn uniformly."""
    return _items(pair, rng.random(pair.item_reach.size))


@strategy("top_loss_tokens")
def top_loss_tokens(pair: ScoredPair, settings: SelectConfig, rng: np.random.Generator) -> Units:
    """Response tokens of the highest nll (GCE gives the same order)."""
    return _tokens(pair, pair.nll.astype(np.float64))


@strategy("rho1", needs=("nll_second",), scope="response")
def rho1(pair: ScoredPair, settings: SelectConfig, rng: np.random.Generator) -> Units:
    """Tokens of the highest excess loss, nll of the base less nll of the trained reference, ranked inside each response."""
    return _tokens(pair, _excess(pair))


@strategy("token_cleaning", needs=("nll_second",), scope="dataset")
def token_cleaning(pair: ScoredPair, settings: SelectConfig, rng: np.random.Generator) -> Units:
    """The same excess loss, ranked over the data set (the fixed-model mode)."""
    return _tokens(pair, _excess(pair))


@strategy("self_evolving", needs=("nll_second",), scope="dataset", rounds=5)
def self_evolving(pair: ScoredPair, settings: SelectConfig, rng: np.random.Generator) -> Units:
    """The same in rounds: the reference of each is the model that the round before has trained."""
    return _tokens(pair, _excess(pair))


@strategy("sstoken", uses=("attention_share",), needs=("nll_second", "prompt_attention"), scope="response")
def sstoken(pair: ScoredPair, settings: SelectConfig, rng: np.random.Generator) -> Units:
    """Retrospective excess loss, min-max in the response, mixed with the attention that a token pays to the prompt."""
    excess = _excess(pair)
    known = ~np.isnan(excess)
    gain = np.zeros_like(excess)
    gain[known] = normalise(excess[known], "minmax") if known.any() else 0.0
    attention = np.nan_to_num(require_column(pair, "prompt_attention").astype(np.float64))
    return _tokens(pair, (1 - settings.attention_share) * gain + settings.attention_share * attention)


@strategy("random_tokens", seeded=True)
def random_tokens(pair: ScoredPair, settings: SelectConfig, rng: np.random.Generator) -> Units:
    """Response tokens drawn uniformly."""
    return _tokens(pair, rng.random(pair.nll.size))


@strategy(
    "codeblock",
    uses=("gce_q", "aggregate", "reach_weight", "bridge_weight", "gate", "normalise", "nl_share"),
    whole_items=True,
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


def _excess(pair: ScoredPair) -> NDArray[np.float64]:
    return pair.nll.astype(np.float64) - require_column(pair, "nll_second")


def require_column(pair: ScoredPair, name: str) -> NDArray[np.float32]:
    """A column that not every run has. Raises CodeBlockError where it is missing."""
    values: NDArray[np.float32] | None = getattr(pair, name)
    if values is None:
        raise CodeBlockError(f"pair {pair.id}: no column {name}; set score.second_model")
    return values


def _items(pair: ScoredPair, priority_I: NDArray[np.float64]) -> Units:
    """Every coding item as a unit."""
    return Units(pair.token_item, priority_I, np.zeros_like(priority_I), np.zeros(priority_I.size, dtype=bool))


def _tokens(pair: ScoredPair, priority_T: NDArray[np.float64], among_T: NDArray[np.bool_] | None = None) -> Units:
    """Every response token (`among_T`: of these) as a unit of its own, the stop token excepted."""
    eligible = pair.response & (pair.token_class != TokenClass.STOP)
    if among_T is not None:
        eligible &= among_T
    unit_T = np.where(eligible, np.cumsum(eligible) - 1, -1).astype(np.int32)
    priority = priority_T[eligible]
    return Units(unit_T, priority, np.zeros_like(priority), np.zeros(priority.size, dtype=bool))


def _words(pair: ScoredPair, q: float) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Words numbered from 0 per token (int32[T], -1 elsewhere), and the mean GCE of each."""
    member = (pair.token_word >= 0) & ~np.isnan(pair.nll)
    words_T = np.full(pair.nll.size, -1, dtype=np.int32)
    if not member.any():
        return words_T, np.empty(0)
    _, numbers = np.unique(pair.token_word[member], return_inverse=True)
    words_T[member] = numbers
    gce = generalized_cross_entropy(pair.nll[member], q)
    return words_T, np.bincount(numbers, weights=gce) / np.maximum(np.bincount(numbers), 1)
