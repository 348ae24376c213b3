"""The stage `selected`: keep the best pairs, hold some out, and write the weights of one arm.

Three passes over the parts: `part.write_candidates` writes the units of each part, `allocation` finds those that the budget
allows (one part in memory at a time), `part.write_weights` writes the weights. The first and the last are plain functions of
one part that a driver may run in parallel.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from codeblock.core.errors import CodeBlockError
from codeblock.core.records import SelectedRecord
from codeblock.core.storage import store
from codeblock.core.storage.tables import part_rows, parts, read_part
from codeblock.core.supervised import COLUMN, supervised
from codeblock.selection.allocation import Allocation, allocate_parts
from codeblock.selection.audit import AuditResult, Findings, judge, undecodable
from codeblock.selection.pair import ScoredPair, iter_pairs
from codeblock.selection.part import columns_of, write_candidates, write_weights
from codeblock.selection.picked import Picked, poor_below
from codeblock.selection.pool import survey
from codeblock.selection.request import Order, SelectRequest
from codeblock.selection.selection import settle
from codeblock.selection.split import DEV, ROLES, TRAIN, Split

Mapper = Callable[[Callable[[dict[str, Any]], dict[str, Any]], Sequence[dict[str, Any]]], Iterable[dict[str, Any]]]
"""Applies a function to items, results in order: `map` here, Ray Data in the driver."""

AUDITED_PARTS, AUDITED_PAIRS = 8, 32
"""How much of a selection is held against its text."""


def select_parts(request: SelectRequest, output: Path, tokenizer: Any = None, mapper: Mapper = map) -> SelectedRecord:
    """Select over all parts of the kept pairs, write `output` with the same part names (schema SELECTED); returns the facts.

    `tokenizer`: with it, the audit also holds the masks of some pairs against the text of their items. Raises CodeBlockError
    where no token was selected, and where the audit of masks fails.
    """
    request = replace(request, settings=settle(request.settings, request.rule))
    split = request.split()
    paths = _parts_within(request.kept, split.reach)
    roles = _roles(split, paths)
    pool = survey(lambda: _kept(request, paths, roles), request.rule, request.settings)
    order = Order(request, output, pool, poor_below(_best_quality(paths)))
    with_roles = [{"path": str(path), "roles": of_part.tobytes()} for path, of_part in zip(paths, roles, strict=True)]
    counted = list(mapper(partial(write_candidates, order), with_roles))
    allocation = allocate_parts(order, split, paths)
    masks = _write_masks(order, paths, allocation, mapper)
    audit = _audit(order, split, allocation, masks, tokenizer)
    return _record(order, split, counted, allocation, masks, audit)


@dataclass(frozen=True)
class Masks:
    """What was written: supervised tokens, and what the audit and the report look at."""

    tokens: int
    findings: Findings
    picked: Picked


def _write_masks(order: Order, paths: Sequence[Path], allocation: Allocation, mapper: Mapper) -> Masks:
    """Write the weights of all parts, and remove the candidates."""
    taken = [
        {"path": str(path), TRAIN: of_train.tobytes(), DEV: of_dev.tobytes()}
        for path, of_train, of_dev in zip(paths, allocation.train, allocation.dev, strict=True)
    ]
    written = list(mapper(partial(write_weights, order), taken))
    store.remove_tree(order.candidates)
    findings, picked = Findings(), Picked()
    for each in written:
        findings.merge(Findings(**json.loads(each["findings"])))
        picked.merge(Picked(**json.loads(each["picked"])))
    return Masks(sum(each["tokens"] for each in written), findings, picked)


def _audit(order: Order, split: Split, allocation: Allocation, masks: Masks, tokenizer: Any) -> AuditResult:
    """What the audit of the masks warns of. Raises CodeBlockError where it fails, and where no token is supervised."""
    request = order.request
    if masks.tokens == 0:
        raise CodeBlockError(
            f"strategy {request.strategy}: no supervised token among {split.count(TRAIN)} pairs "
            f"({allocation.asked} tokens asked); raise select.token_budget or select.subset_ratio"
        )
    faulty = list(_undecodable(order, tokenizer)) if tokenizer is not None else []
    audit = judge(masks.findings, faulty, allocation.asked, masks.tokens, request.rule.whole_items, request.settings)
    if audit.failures:
        raise CodeBlockError(f"mask audit, strategy {request.strategy}: {'; '.join(audit.failures)}; nothing was trained")
    return audit


def _record(
    order: Order,
    split: Split,
    counted: Sequence[Mapping[str, int]],
    allocation: Allocation,
    masks: Masks,
    audit: AuditResult,
) -> SelectedRecord:
    """The facts of a selection; `counted`: what `write_candidates` told of each part."""
    shares, rounds, asked = order.request.shares, order.request.share[1], allocation.asked
    kept, pairs = split.count(TRAIN), len(masks.findings.supervised)
    return {
        "pool_pairs": split.pool_pairs,
        "pool_tokens": split.pool_tokens,
        "kept_pairs": kept,
        "below_subset_ratio": split.pool_pairs - kept,
        "dev_pairs": split.count(DEV),
        "supervised_pairs": pairs,
        "unsupervised_pairs": kept - pairs,
        "supervised_tokens": masks.tokens,
        "asked_tokens": asked,
        "supervised_share": masks.tokens / split.pool_tokens,
        "asked_share": shares.token_budget / rounds if asked is not None else None,
        "inside_share": masks.tokens / split.kept_tokens,
        "asked_inside_share": shares.inside_share if asked is not None else None,
        "subset_ratio": kept / split.pool_pairs,
        "subset_tokens_share": split.kept_tokens / split.pool_tokens,
        "asked_subset_ratio": shares.subset_ratio / rounds,
        "subset_ratio_of": "pairs" if shares.of_pairs else "tokens",
        "kept_tokens": split.kept_tokens,
        "warnings": [*audit.warnings, *allocation.warnings],
        "supervised_tokens_per_pair": audit.distribution,
        "items": sum(each["items"] for each in counted),
        "items_with_structure": sum(each["items_with_structure"] for each in counted),
        "items_left_out": allocation.left_out,
        "rerank_changed_items": allocation.changed_by_rerank,
        "noise_nll": order.pool.noise_nll,
        "picked": masks.picked.facts(rated=order.poor_below is not None),
    }


def _undecodable(order: Order, tokenizer: Any) -> Iterator[str]:
    """The audit's look at the text of the first pairs of each part."""
    for path in parts(order.output)[:: max(1, len(parts(order.output)) // AUDITED_PARTS)]:
        chosen = read_part(path, ["id", COLUMN]).slice(0, AUDITED_PAIRS)
        masks = dict(zip(chosen["id"].to_pylist(), supervised(chosen), strict=True))
        yield from undecodable(read_part(order.request.kept / path.name), masks, tokenizer)


def _roles(split: Split, paths: Sequence[Path]) -> list[NDArray[np.uint8]]:
    """Place in ROLES of each row of each part."""
    roles: list[NDArray[np.uint8]] = []
    start = 0
    for path in paths:
        roles.append(split.roles(start, read_part(path, ["id"])["id"]))
        start += roles[-1].size
    return roles


def _kept(request: SelectRequest, paths: Sequence[Path], roles: Sequence[NDArray[np.uint8]]) -> Iterator[ScoredPair]:
    """The pairs that are trained on, one part in memory at a time."""
    for path, of_part in zip(paths, roles, strict=True):
        pairs = iter_pairs(columns_of(request, path))
        yield from (pair for pair, role in zip(pairs, of_part.tolist(), strict=True) if ROLES[role] == TRAIN)


def _best_quality(paths: Sequence[Path]) -> float | None:
    """The highest quality of the data; None where no pair has one."""
    best = (pa.compute.max(read_part(path, ["quality"])["quality"]).as_py() for path in paths)
    return max((quality for quality in best if quality is not None), default=None)


def _parts_within(directory: Path, rows: int) -> list[Path]:
    """The parts that hold the first `rows` rows. Raises CodeBlockError where there are not so many."""
    found, held = [], 0
    for path in parts(directory):
        if held >= rows:
            break
        found.append(path)
        held += part_rows(path)
    if held < rows:
        raise CodeBlockError(f"{directory}: {held} kept pairs, {rows} needed; delete the directory and run again")
    return found
