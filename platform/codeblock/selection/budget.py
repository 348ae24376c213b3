"""The budget: which units of which pairs are paid for. METHOD: stage 4; scopes and tolerance are ours.

Whole units only, best first; a unit that does not fit is skipped. A pair's stop token costs one token with the first unit of
the pair. Units of text are bought in pairs that have a unit of code already, for at most `nl_share` of the budget; what they
leave goes back to code. Shapes: U units of a shelf, P pairs of a shelf.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from codeblock.core.config import SelectConfig
from codeblock.core.errors import CodeBlockError
from codeblock.selection.ranking import take_best
from codeblock.selection.shelf import Chosen, Load, Shelf, cost, take

TOLERANCE = 0.02
"""Relative distance between asked and spent budget that is called exact."""


def spend(shelves: Sequence[Load], budget: int, settings: SelectConfig) -> list[Chosen]:
    """Which units are supervised, bool[U] for each shelf, for `budget` tokens in all. One shelf is in memory at a time.

    Raises CodeBlockError where scope `response` cannot give every pair one unit for that budget.
    """
    if settings.scope == "dataset":
        return _one_ranking(shelves, budget, settings)
    if settings.scope == "response_carry":
        return _carry(shelves, budget, settings)
    return _same_share(shelves, budget, settings)


def _one_ranking(shelves: Sequence[Load], budget: int, settings: SelectConfig) -> list[Chosen]:
    chosen: list[Chosen] = []
    has_text = False
    for load in shelves:
        shelf = load()
        chosen.append(np.zeros(shelf.pair.size, dtype=bool))
        has_text = has_text or bool(shelf.text.any())
    text_budget = int(settings.nl_share * budget) if has_text else 0
    left = take_best(shelves, chosen, False, budget - text_budget, settings.supervise_eos)
    if text_budget:
        left += take_best(shelves, chosen, True, text_budget, settings.supervise_eos)
        take_best(shelves, chosen, False, left, settings.supervise_eos)
    return chosen


def _buy(shelf: Shelf, budget: int, settings: SelectConfig, at_least_one: bool = False) -> Chosen:
    """The same inside one response."""
    chosen = np.zeros(shelf.pair.size, dtype=bool)
    order = shelf.best_first()
    order = order[shelf.size[order] > 0]
    code, text = order[~shelf.text[order]], order[shelf.text[order]]
    text_budget = int(settings.nl_share * budget) if text.size else 0
    eos = settings.supervise_eos
    if at_least_one and code.size:
        chosen[code[0]] = True

    def buy(among: np.ndarray, limit: int) -> None:
        take(shelf, among, limit - cost(shelf, chosen, eos), chosen, shelf.opened(chosen), eos)

    buy(code, budget - text_budget)
    if text_budget and chosen.any():
        buy(text, min(budget, cost(shelf, chosen, eos) + text_budget))
        buy(code, budget)
    return chosen


def _each_pair(shelf: Shelf, choose: Callable[[Shelf, int], Chosen]) -> Chosen:
    bounds = shelf.bounds().tolist()
    pieces = [choose(shelf.piece(slice(*ends), pair), pair) for pair, ends in enumerate(pairwise(bounds))]
    return np.concatenate([np.empty(0, dtype=bool), *pieces])


def _carry(shelves: Sequence[Load], budget: int, settings: SelectConfig) -> list[Chosen]:
    """The same share inside each response; what one leaves moves on to the next."""
    share = budget / max(1, sum(int(load().tokens_P.sum()) for load in shelves))
    spent = seen = 0

    def choose(piece: Shelf, _: int) -> Chosen:
        nonlocal spent, seen
        seen += int(piece.tokens_P[0])
        bought = _buy(piece, int(seen * share) - spent, settings)
        spent += cost(piece, bought, settings.supervise_eos)
        return bought

    return [_each_pair(load(), choose) for load in shelves]


def _same_share(shelves: Sequence[Load], budget: int, settings: SelectConfig) -> list[Chosen]:
    """The same share inside each response, at least one unit; the share is found by bisection so that the sum is right."""

    def choose(share: float) -> tuple[list[Chosen], int]:
        chosen, spent = [], 0
        for load in shelves:
            shelf = load()
            due_P = np.floor(shelf.tokens_P * share).astype(np.int64).tolist()
            chosen.append(_each_pair(shelf, lambda piece, pair, due_P=due_P: _buy(piece, due_P[pair], settings, True)))  # type: ignore[misc]
            spent += cost(shelf, chosen[-1], settings.supervise_eos)
        return chosen, spent

    chosen, least = choose(0.0)
    if least > budget * (1 + TOLERANCE):
        raise CodeBlockError(
            f"select.token_budget: one unit in each response already takes {least} tokens, the budget has {budget}; lower "
            "select.subset_ratio, raise the budget or use select.scope=dataset"
        )
    low, high = 0.0, 1.0
    for _ in range(20):
        share = (low + high) / 2
        attempt, spent = choose(share)
        if abs(spent - budget) <= TOLERANCE / 4 * budget:
            return attempt
        if spent <= budget:
            low, chosen = share, attempt
        else:
            high = share
    return _between(shelves, chosen, choose(high)[0], budget, settings)


def _between(
    shelves: Sequence[Load], less: list[Chosen], more: list[Chosen], budget: int, settings: SelectConfig
) -> list[Chosen]:
    """The larger choice in the first pairs, the smaller one in the others: pairs of one length all gain a unit at one share."""
    spent = sum(cost(load(), chosen, settings.supervise_eos) for load, chosen in zip(shelves, less, strict=True))
    result = []
    for load, low, high in zip(shelves, less, more, strict=True):
        shelf = load()
        gain_P = _cost_of_pairs(shelf, high, settings) - _cost_of_pairs(shelf, low, settings)
        upgraded = np.zeros(gain_P.size, dtype=bool)
        for pair, gain in enumerate(gain_P.tolist()):  # one after the other: the same wherever one shelf ends
            if spent + gain <= budget:
                upgraded[pair] = True
                spent += gain
        result.append(np.where(upgraded[shelf.pair], high, low))
    return result


def _cost_of_pairs(shelf: Shelf, chosen: Chosen, settings: SelectConfig) -> NDArray[np.int64]:
    size_P = np.bincount(shelf.pair[chosen], weights=shelf.size[chosen], minlength=shelf.tokens_P.size).astype(np.int64)
    return size_P + (shelf.opened(chosen) if settings.supervise_eos else 0)
