"""The budget: which units of which pairs are paid for. METHOD: stage 4; scopes and tolerance are ours.

Whole units only, best first; a unit that does not fit is skipped. A pair's stop token costs one token with the first unit of
the pair. Units of text are taken in pairs that have a unit of code already, for at most `nl_share` of the budget; what they
leave goes back to code. Shapes: U units of a candidates, P pairs of a candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from codeblock.core.config import SelectConfig
from codeblock.core.errors import CodeBlockError
from codeblock.selection.candidates import Candidates, Chosen, Load, supervised_tokens, take
from codeblock.selection.ranking import take_best

TOLERANCE = 0.02
"""Relative distance between asked and spent budget that is called exact."""


def spend(loads: Sequence[Load], budget: int, settings: SelectConfig) -> list[Chosen]:
    """Which units are supervised, bool[U] for each candidates, for `budget` tokens in all. One candidates is in memory at a time.

    Raises CodeBlockError where scope `response` cannot give every pair one unit for that budget.
    """
    if settings.scope == "dataset":
        return _one_ranking(loads, budget, settings)
    if settings.scope == "response_carry":
        return _carry(loads, budget, settings)
    return _same_share(loads, budget, settings)


def _one_ranking(loads: Sequence[Load], budget: int, settings: SelectConfig) -> list[Chosen]:
    chosen: list[Chosen] = []
    has_text = False
    for load in loads:
        candidates = load()
        chosen.append(np.zeros(candidates.pair.size, dtype=bool))
        has_text = has_text or bool(candidates.text.any())
    text_budget = int(settings.nl_share * budget) if has_text else 0
    left = take_best(loads, chosen, False, budget - text_budget, settings.supervise_eos)
    if text_budget:
        left += take_best(loads, chosen, True, text_budget, settings.supervise_eos)
        take_best(loads, chosen, False, left, settings.supervise_eos)
    return chosen


def _allocate_within(candidates: Candidates, budget: int, settings: SelectConfig, at_least_one: bool = False) -> Chosen:
    """The same inside one response."""
    chosen = np.zeros(candidates.pair.size, dtype=bool)
    order = candidates.best_first()
    order = order[candidates.size[order] > 0]
    code, text = order[~candidates.text[order]], order[candidates.text[order]]
    text_budget = int(settings.nl_share * budget) if text.size else 0
    eos = settings.supervise_eos
    if at_least_one and code.size:
        chosen[code[0]] = True

    def buy(among: np.ndarray, limit: int) -> None:
        take(candidates, among, limit - supervised_tokens(candidates, chosen, eos), chosen, candidates.opened(chosen), eos)

    buy(code, budget - text_budget)
    if text_budget and chosen.any():
        buy(text, min(budget, supervised_tokens(candidates, chosen, eos) + text_budget))
        buy(code, budget)
    return chosen


def _each_pair(candidates: Candidates, choose: Callable[[Candidates, int], Chosen]) -> Chosen:
    bounds = candidates.bounds().tolist()
    pieces = [choose(candidates.piece(slice(*ends), pair), pair) for pair, ends in enumerate(pairwise(bounds))]
    return np.concatenate([np.empty(0, dtype=bool), *pieces])


def _carry(loads: Sequence[Load], budget: int, settings: SelectConfig) -> list[Chosen]:
    """The same share inside each response; what one leaves moves on to the next."""
    share = budget / max(1, sum(int(load().tokens_P.sum()) for load in loads))
    spent = seen = 0

    def choose(piece: Candidates, _: int) -> Chosen:
        nonlocal spent, seen
        seen += int(piece.tokens_P[0])
        taken = _allocate_within(piece, int(seen * share) - spent, settings)
        spent += supervised_tokens(piece, taken, settings.supervise_eos)
        return taken

    return [_each_pair(load(), choose) for load in loads]


def _same_share(loads: Sequence[Load], budget: int, settings: SelectConfig) -> list[Chosen]:
    """The same share inside each response, at least one unit; the share is found by bisection so that the sum is right."""

    def choose(share: float) -> tuple[list[Chosen], int]:
        chosen, spent = [], 0
        for load in loads:
            candidates = load()
            due_P = np.floor(candidates.tokens_P * share).astype(np.int64).tolist()
            chosen.append(
                _each_pair(candidates, lambda piece, pair, due_P=due_P: _allocate_within(piece, due_P[pair], settings, True))
            )  # type: ignore[misc]
            spent += supervised_tokens(candidates, chosen[-1], settings.supervise_eos)
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
    return _between(loads, chosen, choose(high)[0], budget, settings)


def _between(
    loads: Sequence[Load], less: list[Chosen], more: list[Chosen], budget: int, settings: SelectConfig
) -> list[Chosen]:
    """The larger choice in the first pairs, the smaller one in the others: pairs of one length all gain a unit at one share."""
    spent = sum(supervised_tokens(load(), chosen, settings.supervise_eos) for load, chosen in zip(loads, less, strict=True))
    result = []
    for load, low, high in zip(loads, less, more, strict=True):
        candidates = load()
        gain_P = _cost_of_pairs(candidates, high, settings) - _cost_of_pairs(candidates, low, settings)
        upgraded = np.zeros(gain_P.size, dtype=bool)
        for pair, gain in enumerate(gain_P.tolist()):  # one after the other: the same wherever one candidates ends
            if spent + gain <= budget:
                upgraded[pair] = True
                spent += gain
        result.append(np.where(upgraded[candidates.pair], high, low))
    return result


def _cost_of_pairs(candidates: Candidates, chosen: Chosen, settings: SelectConfig) -> NDArray[np.int64]:
    size_P = np.bincount(candidates.pair[chosen], weights=candidates.size[chosen], minlength=candidates.tokens_P.size).astype(
        np.int64
    )
    return size_P + (candidates.opened(chosen) if settings.supervise_eos else 0)
