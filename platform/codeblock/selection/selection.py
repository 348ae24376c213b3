"""One selection over a set of pairs: units by strategy, paid for by the budget, written out as weights per token."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from codeblock.core.config import Scope, SelectConfig
from codeblock.core.draws import lottery
from codeblock.core.schema import TokenClass
from codeblock.selection.budget import spend
from codeblock.selection.candidates import Candidates, Chosen, Load
from codeblock.selection.pair import NO_POOL, ScoredPair, Units
from codeblock.selection.pool import survey
from codeblock.selection.strategies import Strategy, get_strategy


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
    candidates = Candidates.of([units for units, _ in units_and_classes], tokens_P)
    asked = round(settings.shares.token_budget * (pool_tokens or int(tokens_P.sum()))) if rule.budgeted else None
    chosen = allocate([lambda: candidates], asked, settings, rule.scope or settings.scope)[0]
    bounds = candidates.bounds()
    weights = [
        weights_of(units.unit_of_token, classes, chosen[bounds[p] : bounds[p + 1]], settings)
        for p, (units, classes) in enumerate(units_and_classes)
    ]
    supervised = [int((weight == 1.0).sum()) for weight in weights]
    return Selection(weights, sum(supervised), asked, sum(count > 0 for count in supervised))


def settle(settings: SelectConfig, rule: Strategy) -> SelectConfig:
    """The settings with one meaning for the stop token: it comes with every pair, is ranked, or gets no loss."""
    ranked = settings.rank_stop and settings.supervise_eos and rule.budgeted
    return settings.model_copy(update={"rank_stop": ranked, "supervise_eos": settings.supervise_eos and not ranked})


def units_of(pair: ScoredPair, rule: Strategy, settings: SelectConfig, seed: int) -> Units:
    """What a strategy candidates of one pair."""
    return rule.units(pair, settings, _generator(seed, pair.id) if rule.seeded else _UNUSED)


def response_tokens(class_T: NDArray[np.uint8]) -> int:
    """Tokens of the response, stop token included."""
    return int((class_T != TokenClass.PROMPT).sum())


def allocate(loads: Sequence[Load], asked: int | None, settings: SelectConfig, scope: Scope) -> list[Chosen]:
    """What is taken of each candidates: everything where the strategy has no budget (`asked` is None)."""
    if asked is None:
        return [np.ones(load().pair.size, dtype=bool) for load in loads]
    return spend(loads, asked, settings.model_copy(update={"scope": scope}))


def weights_of(
    unit_of_token: NDArray[np.int32], class_T: NDArray[np.uint8], chosen_U: Chosen, settings: SelectConfig
) -> NDArray[np.float32]:
    """Weight of each token's nll, float32[T]: 1 where it was taken, the background weight elsewhere in such a response."""
    selected_T = np.zeros(class_T.size, dtype=bool)
    member = unit_of_token >= 0
    selected_T[member] = chosen_U[unit_of_token[member]]
    weight_T = np.zeros(class_T.size, dtype=np.float32)
    if not selected_T.any():
        return weight_T
    weight_T[class_T != TokenClass.PROMPT] = settings.background_weight
    weight_T[selected_T] = 1.0
    if settings.supervise_eos:
        weight_T[class_T == TokenClass.STOP] = 1.0
    return weight_T


_UNUSED = np.random.default_rng(0)


def _generator(seed: int, pair_id: str) -> np.random.Generator:
    """Random numbers of one pair: the same whatever the order or number of the other pairs."""
    return np.random.default_rng(int.from_bytes(lottery(seed, pair_id), "big"))
