"""One selection over a set of pairs: units by strategy, taken within the budget, written out as weights per token."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from codeblock.core.config import BudgetScope, SelectConfig
from codeblock.core.draws import lottery
from codeblock.core.schema import TokenClass
from codeblock.selection.budget import spend
from codeblock.selection.candidates import Candidates, Chosen, Load
from codeblock.selection.mixture import allocate_each
from codeblock.selection.pair import NO_POOL, ScoredPair, Units
from codeblock.selection.pool import survey
from codeblock.selection.strategies import Strategy, get_strategy


@dataclass(frozen=True)
class Selection:
    """Weights per pair, in the order given, and what they cost."""

    weights: list[NDArray[np.float32]]  # P x [T]
    selected: list[NDArray[np.bool_]]  # P x [T]
    """Which tokens were chosen, whatever the others weigh."""
    supervised_tokens: int
    """Tokens that were chosen, stop tokens included."""
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
    """Which tokens of these pairs get a loss. For pairs that fit in memory; `stage.select_parts` is for those that do not.

    `pool_tokens`: response tokens of the pool that `token_budget` is a share of; left out, the pairs are the pool. Raises
    CodeBlockError for an unknown strategy, and where scope `response` cannot give every pair one unit.
    """
    rule = get_strategy(strategy)
    settings = settle(settings or SelectConfig(), rule)
    pairs = list(pairs)
    pool = survey(lambda: pairs, rule, settings)
    if pool is not NO_POOL:
        pairs = [replace(pair, pool=pool) for pair in pairs]
    units_and_classes = [(units_of(pair, rule, settings, seed), pair.token_class) for pair in pairs]
    tokens_P = np.array([response_tokens(classes) for _, classes in units_and_classes], dtype=np.int64)
    mixture = settings.shares.mixture
    dataset_P = np.array([pair.dataset for pair in pairs], dtype=object) if mixture else None
    candidates = Candidates.of([units for units, _ in units_and_classes], tokens_P, dataset_P)
    asked = round(settings.shares.token_budget * (pool_tokens or int(tokens_P.sum()))) if rule.budgeted else None
    chosen = allocate([lambda: candidates], asked, settings, rule.scope or settings.scope)[0]
    bounds = candidates.bounds()
    selected = [
        selected_of(units.unit_of_token, classes, chosen[bounds[p] : bounds[p + 1]], settings)
        for p, (units, classes) in enumerate(units_and_classes)
    ]
    weights = [
        weights_of(chosen_T, classes, settings) for chosen_T, (_, classes) in zip(selected, units_and_classes, strict=True)
    ]
    supervised = [int(chosen_T.sum()) for chosen_T in selected]
    return Selection(weights, selected, sum(supervised), asked, sum(count > 0 for count in supervised))


def settle(settings: SelectConfig, rule: Strategy) -> SelectConfig:
    """The settings with one meaning for the stop token: it comes with every pair, is ranked, or gets no loss."""
    ranked = settings.rank_stop and settings.supervise_eos and rule.budgeted
    return settings.model_copy(update={"rank_stop": ranked, "supervise_eos": settings.supervise_eos and not ranked})


def units_of(pair: ScoredPair, rule: Strategy, settings: SelectConfig, seed: int) -> Units:
    """The units that a strategy makes of one pair."""
    return rule.units(pair, settings, generator_of(pair.id, seed if rule.seeded else 0))


def response_tokens(class_T: NDArray[np.uint8]) -> int:
    """Tokens of the response, stop token included."""
    return int((class_T != TokenClass.PROMPT).sum())


def allocate(loads: Sequence[Load], asked: int | None, settings: SelectConfig, scope: BudgetScope) -> list[Chosen]:
    """What is taken of each part: everything where the strategy has no budget (`asked` is None); by data set with a mixture."""
    if asked is None:
        return [np.ones(load().pair.size, dtype=bool) for load in loads]
    spending = partial(spend, settings=settings.model_copy(update={"scope": scope}))
    mixture = settings.shares.mixture
    return allocate_each(loads, asked, mixture, spending) if mixture else spending(loads, asked)


def selected_of(
    unit_of_token: NDArray[np.int32], class_T: NDArray[np.uint8], chosen_U: Chosen, settings: SelectConfig
) -> NDArray[np.bool_]:
    """Which tokens were taken, bool[T]; the stop token comes with the first of them."""
    selected_T = np.zeros(class_T.size, dtype=bool)
    member = unit_of_token >= 0
    selected_T[member] = chosen_U[unit_of_token[member]]
    if settings.supervise_eos and selected_T.any():
        selected_T[class_T == TokenClass.STOP] = True
    return selected_T


def weights_of(selected_T: NDArray[np.bool_], class_T: NDArray[np.uint8], settings: SelectConfig) -> NDArray[np.float32]:
    """Weight of each token's nll, float32[T]: 1 where it was taken, the background weight elsewhere in such a response."""
    weight_T = np.zeros(class_T.size, dtype=np.float32)
    if selected_T.any():
        weight_T[class_T != TokenClass.PROMPT] = settings.background_weight
        weight_T[selected_T] = 1.0
    return weight_T


class _Lazy:
    """A NumPy generator that is made when it is first asked for a number, for most rules never ask."""

    def __init__(self, seed: int, pair_id: str) -> None:
        self._seed, self._id = seed, pair_id

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = np.random.default_rng(int.from_bytes(lottery(self._seed, self._id), "big"))
        self.__dict__.update({each: getattr(made, each) for each in dir(made) if not each.startswith("_")})
        return getattr(made, name)


def generator_of(pair_id: str, seed: int) -> np.random.Generator:
    """Random numbers of one pair, by (seed, id): the same whatever the order, the parts or the number of the other pairs."""
    return cast(np.random.Generator, _Lazy(seed, pair_id))
