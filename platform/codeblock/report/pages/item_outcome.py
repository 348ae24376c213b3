"""Why an item was kept or dropped, in one line of plain words.

The rule of the budget (METHOD: stage 4) is whole items, best first; one that does not fit is skipped. So an item that was
dropped though it ranks above the last one taken did not fit, and one that ranks below it came when the budget was spent.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from codeblock.report.pages.sample import ItemOutcome, ItemView


class PairStatus(StrEnum):
    """What an arm does with a whole pair."""

    TRAIN = "trained on"
    DEV = "held out for dev"
    EMPTY = "in the subset, nothing taken"
    OUTSIDE = "not in the subset"


@dataclass(frozen=True)
class Cut:
    """Where the budget ended."""

    priority: float | None  # of the last item that was taken; None where there is none
    left: int | None  # tokens that were left over; None where that was not recorded
    where: str  # what was ranked together: "over all pairs" or "in this response"


@dataclass(frozen=True)
class Bid:
    """What an item asked of the budget."""

    utility: float
    priority: float
    stop_cost: int  # 1 where the item would have brought the pair's stop token along
    min_core: int  # core logic tokens below which the utility is 0


def ranked_outcome(item: ItemView, supervised: int, bid: Bid, status: PairStatus, cut: Cut) -> ItemOutcome:
    """The outcome of an item under a strategy that ranks items; `supervised`: its tokens with a loss."""
    reason = _without_choice(item, status) or _ranked_reason(item, supervised, bid, cut)
    return ItemOutcome(supervised, reason, bid.utility, bid.priority)


def unranked_outcome(item: ItemView, supervised: int, strategy: str, status: PairStatus, budgeted: bool) -> ItemOutcome:
    """The outcome of an item under a strategy that picks tokens, or takes everything."""
    reason = _without_choice(item, status) or _unranked_reason(item, supervised, strategy, budgeted)
    return ItemOutcome(supervised, reason)


def _ranked_reason(item: ItemView, supervised: int, bid: Bid, cut: Cut) -> str:
    reached = f"priority {_figure(cut.priority)} {cut.where}"
    if supervised:
        return f"Kept: the budget reached down to {reached}."
    cost = item.tokens + bid.stop_cost
    needs = f"it needs {cost} tokens" + (", the stop token included" if bid.stop_cost else "")
    if cut.priority is None or bid.priority > cut.priority:
        return f"Does not fit: {needs}, more than was left of the budget at its turn."
    cause = ""
    if item.core < bid.min_core:
        cause = f"Fewer than {bid.min_core} core tokens ({item.core}), so its utility is 0. "
    if cut.left is None:
        return f"{cause}Below the cut: {reached}."
    if cut.left == 0:
        return f"{cause}Below the cut: the budget was spent at {reached}."
    return f"{cause}Below the cut: {reached}; {needs}, the budget had {cut.left} left."


def _unranked_reason(item: ItemView, supervised: int, strategy: str, budgeted: bool) -> str:
    if not budgeted:
        return f"Kept: {strategy} takes every token it may." if supervised else f"Dropped: {strategy} takes none of it."
    if supervised == 0:
        return f"Budget spent: {strategy} picked none of its {item.tokens} tokens."
    if supervised == item.tokens:
        return f"Kept: {strategy} picked every token of it."
    return f"In part: {strategy} picked {supervised} of its {item.tokens} tokens."


def _without_choice(item: ItemView, status: PairStatus) -> str:
    """Reasons that come before any ranking; empty where none applies."""
    if status is PairStatus.OUTSIDE:
        return "Not in the subset: the pair ranks below select.subset_ratio by quality."
    return "" if item.tokens else "Dropped: no token falls on it."


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
