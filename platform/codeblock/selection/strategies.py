"""The strategies: each a small function from a scored pair to units with priorities, in one registry.

To add one, write the function and decorate it; `uses` names the fields of the section `select` that decide what it picks, so
that a change of another field does not train its arm again. A config may also name a function of the user's own as
`package.module:function`. Sources of the baselines: METHOD's table.
"""

from __future__ import annotations

import difflib
import importlib
import socket
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codeblock.core.config import BudgetScope, SelectConfig
from codeblock.core.errors import CodeBlockError
from codeblock.core.schema import TokenClass
from codeblock.core.shares import Shares
from codeblock.selection.chains import bring_definers
from codeblock.selection.pair import ScoredPair, Units
from codeblock.selection.utility import (
    Floats,
    aggregate,
    item_utility,
    normalise,
    require_column,
    rerank,
    token_value,
)
from codeblock.selection.words import words_of

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
    scope: BudgetScope | None
    """The scope that belongs to the rule, whatever the config says."""
    whole_items: bool = False
    """Whether an item is supervised whole or not at all; the audit of masks holds the rule to it."""
    seeded: bool = False
    """Whether the seed of an arm decides its random numbers. Each pair has its own, with this or without: those of its id."""
    whole_pairs: bool = False
    """Whether the budget is spent on whole responses: the best pairs that hold so many tokens."""
    reads: tuple[str, ...] = ()
    """Further columns of a pair: `item_kind`, `item_spans`, `dataset`, `edges`, `input_ids`."""
    rounds: int = 1
    """Rounds of selecting and training, each on its share of the pairs with the model of the round before."""

    def columns(self, settings: SelectConfig) -> list[str]:
        """Columns of the scored table that the rule reads besides `pair.COLUMNS` with these settings."""
        asked = {"edges": settings.def_use_chains, "input_ids": settings.word_rank == "specific"}
        fields = {"edges": "def_use_chains", "input_ids": "word_rank"}
        return list({*self.reads, *(column for column, wanted in asked.items() if wanted and fields[column] in self.uses)})

    def reranks(self, settings: SelectConfig) -> bool:
        """Whether structure decides on whole items beside their utility."""
        return self.whole_items and "reach_weight" in self.uses and settings.reach_weight + settings.bridge_weight > 0


BUDGET_FIELDS = ("scope", "rank_stop")
UTILITY_FIELDS = ("gce_q", "aggregate", "shrink_tokens", "noise_quantile")
STRUCTURE_FIELDS = ("reach_weight", "bridge_weight", "gate", "shrink_items", "def_use_chains", "normalise")
WORD_FIELDS = ("nl_share", "word_rank")
_REGISTRY: dict[str, Strategy] = {}


def strategy(
    name: str,
    uses: tuple[str, ...] = (),
    budgeted: bool = True,
    needs: tuple[str, ...] = (),
    scope: BudgetScope | None = None,
    whole_items: bool = False,
    seeded: bool = False,
    whole_pairs: bool = False,
    reads: tuple[str, ...] = (),
    rounds: int = 1,
) -> Callable[[UnitsOf], UnitsOf]:
    """Register a function as the strategy `name`."""

    def register(function: UnitsOf) -> UnitsOf:
        fields = frozenset(uses + (BUDGET_FIELDS if budgeted else ()))
        _REGISTRY[name] = Strategy(
            name, function, fields, budgeted, frozenset(needs), scope, whole_items, seeded, whole_pairs, reads, rounds
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
        raise CodeBlockError(
            f"strategy {path!r}: {error} on {socket.gethostname()}; name a function as package.module:function, in a module "
            "that every node can import (`codeblock submit --include` sends it along)"
        ) from error
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


@strategy("core_code", budgeted=False, whole_items=True)
def core_code(pair: ScoredPair, settings: SelectConfig, rng: np.random.Generator) -> Units:
    """Every item with core logic: the code without its comments, docstrings and imports."""
    core = (pair.token_class == TokenClass.CORE) & (pair.token_item >= 0)
    has_core_I = np.bincount(pair.token_item[core], minlength=pair.item_reach.size) > 0
    number_I = np.where(has_core_I, np.cumsum(has_core_I) - 1, -1)
    unit_T = np.where(pair.token_item >= 0, number_I[pair.token_item], -1) if has_core_I.size else pair.token_item
    flat = np.zeros(int(has_core_I.sum()))
    return Units(unit_T.astype(np.int32), flat, flat, flat.astype(bool))


@strategy("random_items", whole_items=True, seeded=True)
def random_items(pair: ScoredPair, settings: SelectConfig, rng: np.random.Generator) -> Units:
    """Whole coding items drawn uniformly."""
    return _with_stop(_items(pair, rng.random(pair.item_reach.size)), pair, float(rng.random()), settings)


@strategy("top_loss_tokens")
def top_loss_tokens(pair: ScoredPair, settings: SelectConfig, rng: np.random.Generator) -> Units:
    """Response tokens of the highest nll (GCE gives the same order)."""
    return _tokens(pair, pair.nll.astype(np.float64), stop=settings.rank_stop)


@strategy("rho1", needs=("nll_second",), scope="response")
def rho1(pair: ScoredPair, settings: SelectConfig, rng: np.random.Generator) -> Units:
    """Tokens of the highest excess loss, nll of the base less nll of the trained reference, ranked inside each response."""
    return _tokens(pair, _excess(pair), stop=settings.rank_stop)


@strategy("token_cleaning", needs=("nll_second",), scope="dataset")
def token_cleaning(pair: ScoredPair, settings: SelectConfig, rng: np.random.Generator) -> Units:
    """The same excess loss, ranked over the data set (the fixed-model mode)."""
    return _tokens(pair, _excess(pair), stop=settings.rank_stop)


@strategy("self_evolving", needs=("nll_second",), scope="dataset", rounds=5)
def self_evolving(pair: ScoredPair, settings: SelectConfig, rng: np.random.Generator) -> Units:
    """The same in rounds: the reference of each is the model that the round before has trained."""
    return _tokens(pair, _excess(pair), stop=settings.rank_stop)


@strategy("sstoken", uses=("attention_share",), needs=("nll_second", "prompt_attention"), scope="response")
def sstoken(pair: ScoredPair, settings: SelectConfig, rng: np.random.Generator) -> Units:
    """Retrospective excess loss, min-max in the response, mixed with the attention that a token pays to the prompt."""
    excess = _excess(pair)
    known = ~np.isnan(excess)
    gain = np.zeros_like(excess)
    gain[known] = normalise(excess[known], "minmax") if known.any() else 0.0
    attention = np.nan_to_num(require_column(pair, "prompt_attention").astype(np.float64))
    return _tokens(pair, (1 - settings.attention_share) * gain + settings.attention_share * attention, stop=settings.rank_stop)


@strategy("random_tokens", seeded=True)
def random_tokens(pair: ScoredPair, settings: SelectConfig, rng: np.random.Generator) -> Units:
    """Response tokens drawn uniformly."""
    return _tokens(pair, rng.random(pair.nll.size), stop=settings.rank_stop)


@strategy("codeblock", uses=(*UTILITY_FIELDS, *STRUCTURE_FIELDS, *WORD_FIELDS), whole_items=True)
def codeblock(pair: ScoredPair, settings: SelectConfig, rng: np.random.Generator) -> Units:
    """Whole coding items by utility and data-flow structure, and informative natural-language words by their GCE."""
    return _blocks(pair, settings, excess=False)


@strategy(
    "codeblock_excess",
    uses=(*UTILITY_FIELDS, *STRUCTURE_FIELDS, *WORD_FIELDS),
    needs=("nll_second",),
    whole_items=True,
)
def codeblock_excess(pair: ScoredPair, settings: SelectConfig, rng: np.random.Generator) -> Units:
    """The same by excess loss: GCE less that of a second, trained model, which is what training can still remove."""
    return _blocks(pair, settings, excess=True)


def _blocks(pair: ScoredPair, settings: SelectConfig, excess: bool) -> Units:
    """Items and words; and the stop token, where it is ranked, as one core logic token."""
    value_T = token_value(pair, settings.gce_q, excess)
    utility = item_utility(pair, settings, excess)
    priority, tie = rerank(utility, pair, settings), utility
    if settings.def_use_chains:
        if pair.edges is None:
            raise CodeBlockError(f"pair {pair.id}: no column edges; select.def_use_chains needs it")
        priority, tie = bring_definers(priority, tie, pair.edges)
    words, rank = words_of(pair, value_T, settings)
    items = utility.size
    units = Units(
        unit_of_token=np.where(words >= 0, items + words, pair.token_item).astype(np.int32),
        priority=np.concatenate([priority, rank]),
        tie=np.concatenate([tie, rank]),
        text=np.arange(items + rank.size) >= items,
    )
    if not settings.rank_stop:
        return units
    stop = np.nan_to_num(value_T[pair.token_class == TokenClass.STOP][:1])
    return _with_stop(units, pair, float(aggregate(stop, np.ones(1, dtype=np.int64), settings).sum()), settings)


def _excess(pair: ScoredPair) -> NDArray[np.float64]:
    return pair.nll.astype(np.float64) - require_column(pair, "nll_second")


def _items(pair: ScoredPair, priority_I: NDArray[np.float64]) -> Units:
    """Every coding item as a unit."""
    return Units(pair.token_item, priority_I, np.zeros_like(priority_I), np.zeros(priority_I.size, dtype=bool))


def _tokens(pair: ScoredPair, priority_T: Floats, among_T: NDArray[np.bool_] | None = None, stop: bool = False) -> Units:
    """Every response token (`among_T`: of these) as a unit of its own; the stop token only where asked."""
    eligible = pair.response & (stop | (pair.token_class != TokenClass.STOP))
    if among_T is not None:
        eligible &= among_T
    unit_T = np.where(eligible, np.cumsum(eligible) - 1, -1).astype(np.int32)
    priority = priority_T[eligible]
    return Units(unit_T, priority, np.zeros_like(priority), np.zeros(priority.size, dtype=bool))


def _with_stop(units: Units, pair: ScoredPair, priority: float, settings: SelectConfig) -> Units:
    """The units and, where it is ranked, the stop token as one more."""
    if not settings.rank_stop:
        return units
    return Units(
        unit_of_token=np.where(pair.token_class == TokenClass.STOP, units.priority.size, units.unit_of_token).astype(np.int32),
        priority=np.append(units.priority, priority),
        tie=np.append(units.tie, priority),
        text=np.append(units.text, False),
    )
