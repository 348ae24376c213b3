"""Which candidates the budget takes, over all parts: those that are trained on, and the held-out ones under the same rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from codeblock.core.errors import CodeBlockError
from codeblock.selection.budget import TOLERANCE
from codeblock.selection.candidates import Chosen
from codeblock.selection.mixture import spent_by_dataset
from codeblock.selection.part import candidates_of
from codeblock.selection.request import Order
from codeblock.selection.selection import allocate
from codeblock.selection.split import DEV, TRAIN, Split

ALL_TAKEN = (
    "every item was taken, so no ranking decided anything: the budget holds all the code of the kept pairs; "
    "lower select.inside_share to choose among it"
)


@dataclass(frozen=True)
class Allocation:
    """What the budget takes."""

    asked: int | None
    """Tokens that were asked for; None where the strategy has no budget."""
    train: list[Chosen]
    """Of the candidates of each part that are trained on, those that were taken."""
    dev: list[Chosen]
    """The same of the held-out ones."""
    left_out: int
    """Units of code that were not taken."""
    changed_by_rerank: int
    """Selected items that utility alone would not have selected (a ranked stop token counts as an item)."""
    warnings: list[str]


def allocate_parts(order: Order, split: Split, paths: Sequence[Path]) -> Allocation:
    """Spend the budget on the candidates that lie there, one part in memory at a time."""
    request, rule = order.request, order.request.rule
    asked = round(request.shares.token_budget * split.pool_tokens / request.share[1]) if rule.budgeted else None
    loads = [partial(candidates_of, order, path, TRAIN) for path in paths]
    train = allocate(loads, asked, request.settings, request.scope)
    left_out = _left_out(order, paths, train)
    warnings = _unspent(order, paths, train, asked)
    if left_out == 0 and asked is not None and rule.whole_items:
        warnings.append(ALL_TAKEN)
    dev = _allocate_dev(order, split, paths)
    return Allocation(asked, train, dev, left_out, _changed_by_rerank(order, paths, train, asked), warnings)


def _unspent(order: Order, paths: Sequence[Path], train: Sequence[Chosen], asked: int | None) -> list[str]:
    """A line for each data set whose share of the budget its kept pairs cannot take."""
    mixture, settings = order.request.shares.mixture, order.request.settings
    if asked is None or not mixture:
        return []
    loads = [partial(candidates_of, order, path, TRAIN) for path in paths]
    found = spent_by_dataset(loads, train, mixture, asked, settings.supervise_eos)
    return [
        f"select.mixture, {name or 'the other data sets'}: {spent:,} of {tokens:,} tokens spent; its kept pairs hold no "
        "more that fits, lower its share or select.inside_share"
        for name, (tokens, spent) in found.items()
        if spent < tokens * (1 - TOLERANCE)
    ]


def _left_out(order: Order, paths: Sequence[Path], train: Sequence[Chosen]) -> int:
    """Units of code that were not taken."""
    loads = zip((candidates_of(order, path, TRAIN) for path in paths), train, strict=True)
    return sum(int((~taken & ~candidates.text & (candidates.size > 0)).sum()) for candidates, taken in loads)


def _changed_by_rerank(order: Order, paths: Sequence[Path], train: Sequence[Chosen], asked: int | None) -> int:
    """Selected items that utility alone would not have selected (a ranked stop token counts as an item)."""
    request = order.request
    if not request.reranks:
        return 0
    loads = [partial(candidates_of, order, path, TRAIN, "plain_") for path in paths]
    plain = allocate(loads, asked, request.settings, request.scope)
    return sum(int((a & ~b & ~load().text).sum()) for load, a, b in zip(loads, train, plain, strict=True))


def _allocate_dev(order: Order, split: Split, paths: Sequence[Path]) -> list[Chosen]:
    """The held-out pairs under the same rule and scope, at the density that the kept pairs have.

    In one ranking of them where the scope cannot be kept to: a few short responses do not end a run whose kept pairs can.
    """
    request = order.request
    loads = [partial(candidates_of, order, path, DEV) for path in paths]
    density = min(1.0, request.shares.token_budget / request.share[1] * split.pool_tokens / max(1, split.kept_tokens))
    tokens = sum(int(load().tokens_P.sum()) for load in loads)
    asked = round(density * tokens) if request.rule.budgeted else None
    try:
        return allocate(loads, asked, request.settings, request.scope)
    except CodeBlockError:
        return allocate(loads, asked, request.settings, "dataset")
