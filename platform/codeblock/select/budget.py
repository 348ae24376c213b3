"""The budget: which units of which pairs are paid for. METHOD: stage 4, scopes and tolerance are ours.

Shapes: U units of all pairs together, P pairs. Whole units only, best first; a unit that does not fit is skipped. A
pair's stop token costs one token with the first unit of the pair. Units of text are bought in pairs that have a unit of
code already, for at most `nl_share` of the budget; what they leave goes back to code.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from codeblock.config import SelectConfig
from codeblock.errors import CodeBlockError

TOLERANCE = 0.02
"""Relative distance between asked and spent budget that is called exact."""


@dataclass(frozen=True)
class Shelf:
    """The units of many pairs, side by side."""

    pair: NDArray[np.int64]  # [U] sorted
    size: NDArray[np.int64]  # [U] tokens
    priority: NDArray[np.float64]  # [U]
    tie: NDArray[np.float64]  # [U]
    text: NDArray[np.bool_]  # [U]

    def best_first(self) -> NDArray[np.int64]:
        """Order of the units by priority, then tie, then place."""
        return np.lexsort((np.arange(self.pair.size), -self.tie, -self.priority))

    def part(self, units: slice) -> Shelf:
        """Some of the units."""
        return Shelf(self.pair[units], self.size[units], self.priority[units], self.tie[units], self.text[units])


def spend(shelf: Shelf, tokens_P: NDArray[np.int64], budget: int, settings: SelectConfig) -> NDArray[np.bool_]:
    """Which units are supervised, bool[U], for `budget` tokens over pairs with `tokens_P` response tokens.

    Raises CodeBlockError where scope `response` cannot give every pair one unit for that budget.
    """
    if settings.scope == "dataset":
        return _buy(shelf, budget, settings)
    bounds = np.searchsorted(shelf.pair, np.arange(tokens_P.size + 1))
    pieces = [slice(start, end) for start, end in pairwise(bounds.tolist())]
    if settings.scope == "response_carry":
        return _carry(shelf, pieces, tokens_P, budget, settings)
    return _same_share(shelf, pieces, tokens_P, budget, settings)


def cost(shelf: Shelf, chosen: NDArray[np.bool_], supervise_eos: bool) -> int:
    """Tokens that a choice supervises, stop tokens included."""
    return int(shelf.size[chosen].sum()) + (np.unique(shelf.pair[chosen]).size if supervise_eos else 0)


def _buy(shelf: Shelf, budget: int, settings: SelectConfig, at_least_one: bool = False) -> NDArray[np.bool_]:
    chosen = np.zeros(shelf.pair.size, dtype=bool)
    order = shelf.best_first()
    # A unit without a token (an item that no token falls on) buys nothing, but would open its pair.
    order = order[shelf.size[order] > 0]
    code, text = order[~shelf.text[order]], order[shelf.text[order]]
    text_budget = int(settings.nl_share * budget) if text.size else 0
    if at_least_one and code.size:
        chosen[code[0]] = True
    _take(shelf, code, budget - text_budget, chosen, settings.supervise_eos)
    if text_budget:
        opened = np.isin(shelf.pair[text], shelf.pair[chosen])
        text_before = cost(shelf, chosen, settings.supervise_eos)
        _take(shelf, text[opened], min(budget, text_before + text_budget), chosen, settings.supervise_eos)
        _take(shelf, code, budget, chosen, settings.supervise_eos)
    return chosen


def _take(shelf: Shelf, order: NDArray[np.int64], limit: int, chosen: NDArray[np.bool_], supervise_eos: bool) -> None:
    """Mark units of `order` in `chosen` while the whole choice costs at most `limit` tokens.

    Until the first unit that does not fit, the cost is a running sum; from there on units are tried one by one.
    """
    left = limit - cost(shelf, chosen, supervise_eos)
    order = order[~chosen[order]]
    opened = set(shelf.pair[chosen].tolist())
    pairs = shelf.pair[order]
    price = shelf.size[order].copy()
    if supervise_eos:
        _, first = np.unique(pairs, return_index=True)
        price[first[~np.isin(pairs[first], list(opened))]] += 1
    fits = int(np.searchsorted(np.cumsum(price), left, side="right"))
    chosen[order[:fits]] = True
    left -= int(price[:fits].sum())
    opened.update(pairs[:fits].tolist())
    for unit, pair, size in zip(order[fits:].tolist(), pairs[fits:].tolist(), shelf.size[order[fits:]].tolist(), strict=True):
        if left <= 0:
            return
        asked = size + (supervise_eos and pair not in opened)
        if asked <= left:
            chosen[unit] = True
            opened.add(pair)
            left -= asked


def _carry(
    shelf: Shelf, pieces: list[slice], tokens_P: NDArray[np.int64], budget: int, settings: SelectConfig
) -> NDArray[np.bool_]:
    """The same share inside each response; what one leaves moves on to the next."""
    chosen = np.zeros(shelf.pair.size, dtype=bool)
    due_P = np.floor(np.cumsum(tokens_P) * (budget / tokens_P.sum())).astype(np.int64)
    spent = 0
    for piece, due in zip(pieces, due_P.tolist(), strict=True):
        part = shelf.part(piece)
        chosen[piece] = _buy(part, due - spent, settings)
        spent += cost(part, chosen[piece], settings.supervise_eos)
    return chosen


def _same_share(
    shelf: Shelf, pieces: list[slice], tokens_P: NDArray[np.int64], budget: int, settings: SelectConfig
) -> NDArray[np.bool_]:
    """The same share inside each response, at least one unit; the share is found by bisection so that the sum is right."""
    parts = [shelf.part(piece) for piece in pieces]

    def choose(share: float) -> NDArray[np.bool_]:
        budgets = np.floor(tokens_P * share).astype(np.int64).tolist()
        bought = [_buy(part, due, settings, at_least_one=True) for part, due in zip(parts, budgets, strict=True)]
        return np.concatenate([np.empty(0, dtype=bool), *bought])

    chosen = choose(0.0)
    least = cost(shelf, chosen, settings.supervise_eos)
    if least > budget * (1 + TOLERANCE):
        raise CodeBlockError(
            f"select.token_budget: one unit in each of {len(parts)} responses already takes {least} tokens, the budget "
            f"has {budget}; lower select.subset_ratio, raise the budget or use select.scope=dataset"
        )
    low, high = 0.0, 1.0
    for _ in range(20):
        share = (low + high) / 2
        attempt = choose(share)
        spent = cost(shelf, attempt, settings.supervise_eos)
        if spent <= budget:
            low, chosen = share, attempt
        else:
            high = share
        if abs(spent - budget) <= TOLERANCE / 4 * budget:
            return attempt
    return chosen
