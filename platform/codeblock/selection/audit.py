"""The audit of masks, before any training: what a selection must never be, and what its user should know.

Failures stop the run: an item that is supervised in part where the strategy takes whole items, and a mask that does not decode
to its items. Warnings name pairs without a supervised token, an unsupervised stop token, and a budget that was not spent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from codeblock.core.config import SelectConfig
from codeblock.core.schema import TokenClass
from codeblock.selection.budget import TOLERANCE

QUANTILES = (0, 10, 25, 50, 75, 90, 100)
NAMED = 5
"""Pairs that a message names."""


@dataclass
class Findings:
    """What was seen in the masks of one part, or of all; ids of training pairs."""

    without_token: list[str] = field(default_factory=list)
    without_stop: list[str] = field(default_factory=list)
    cut_items: list[str] = field(default_factory=list)
    supervised: list[int] = field(default_factory=list)
    """Supervised tokens of each pair that has some."""

    def look(self, id_: str, selected_T: NDArray[np.bool_], class_T: NDArray[np.uint8], item_T: NDArray[np.int32]) -> None:
        """Note one pair."""
        count = int(selected_T.sum())
        if count == 0:
            self.without_token.append(id_)
            return
        self.supervised.append(count)
        if not selected_T[class_T == TokenClass.STOP].all():
            self.without_stop.append(id_)
        inside = item_T >= 0
        sizes = np.bincount(item_T[inside], minlength=1)
        taken = np.bincount(item_T[inside], weights=selected_T[inside], minlength=1)
        if ((taken > 0) & (taken < sizes)).any():
            self.cut_items.append(id_)

    def merge(self, other: Findings) -> None:
        """Add what was seen in another part."""
        self.without_token += other.without_token
        self.without_stop += other.without_stop
        self.cut_items += other.cut_items
        self.supervised += other.supervised


@dataclass(frozen=True)
class AuditResult:
    """What the audit says: each a line for the user."""

    failures: list[str]
    warnings: list[str]
    distribution: dict[str, int]
    """Supervised tokens per supervised pair, by percentile."""


def judge(
    findings: Findings, undecodable: Sequence[str], asked: int | None, spent: int, whole_items: bool, settings: SelectConfig
) -> AuditResult:
    """The findings of all parts as failures and warnings with the ids of some pairs; `settings` are settled (`settle`)."""
    failures, warnings = [], []
    if whole_items and findings.cut_items:
        failures.append(f"{len(findings.cut_items)} pairs with an item supervised in part ({_some(findings.cut_items)})")
    if undecodable:
        failures.append(f"{len(undecodable)} pairs whose mask does not decode to its items ({_some(undecodable)})")
    if findings.without_token:
        count = len(findings.without_token)
        warnings.append(f"{count} kept pairs without a supervised token, not trained on ({_some(findings.without_token)})")
    if findings.without_stop and settings.supervise_eos:
        failures.append(f"{len(findings.without_stop)} pairs with an unsupervised stop token ({_some(findings.without_stop)})")
    elif findings.without_stop:
        why = "rank_stop=true: it was not worth its token" if settings.rank_stop else "supervise_eos=false"
        warnings.append(f"{len(findings.without_stop)} pairs do not learn to stop (select.{why})")
    if asked is not None and abs(spent - asked) > TOLERANCE * asked:
        warnings.append(
            f"{spent:,} tokens spent of {asked:,} asked ({spent / asked:.1%}): the strategy offers no more, or few pairs"
        )
    values = np.percentile(findings.supervised, QUANTILES).round().astype(int).tolist() if findings.supervised else []
    return AuditResult(failures, warnings, {f"p{q}": value for q, value in zip(QUANTILES, values, strict=False)})


def undecodable(prepared: pa.Table, masks: dict[str, NDArray[np.bool_]], tokenizer: Any) -> Iterator[str]:
    """Ids of pairs in which the tokens of a supervised item do not decode to the item's text.

    The first and last token of each run may reach over the item's edge (they went to the larger overlap) and are left out, as
    are white space and the fences that go with an item.
    """
    columns = ("id", "response", "input_ids", "token_item", "token_class", "item_spans")
    for row in prepared.select(columns).to_pylist():
        if row["id"] in masks and not _decodes(row, masks[row["id"]], tokenizer):
            yield row["id"]


def _decodes(row: dict[str, Any], selected_T: NDArray[np.bool_], tokenizer: Any) -> bool:
    item_T, class_T = np.array(row["token_item"]), np.array(row["token_class"])
    own = selected_T & np.isin(class_T, (TokenClass.CODE, TokenClass.CORE)) & (item_T >= 0)
    ids = np.array(row["input_ids"])
    for item in np.unique(item_T[own]).tolist():
        spans = row["item_spans"][item]
        text = "".join("".join(row["response"][a:b].split()) for a, b in zip(spans[::2], spans[1::2], strict=True))
        at = np.flatnonzero(own & (item_T == item))
        for run in np.split(at, np.flatnonzero(np.diff(at) > 1) + 1):
            said = "".join(tokenizer.decode(ids[run[1:-1]].tolist()).split()).strip("\ufffd")
            if said not in text:
                return False
    return True


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:NAMED]) + (", ..." if len(ids) > NAMED else "")
