"""The stage `selected`: keep the best pairs, hold some out, and write the weights of one arm.

Three passes over the parts: `write_candidates` writes the units of each part, `spend` finds those that the budget allows (one
part in memory at a time), `write_weights` writes the weights. The first and the last are plain functions of one part that a
driver may run in parallel.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from codeblock.core.config import SelectConfig
from codeblock.core.errors import CodeBlockError
from codeblock.core.records import SelectedRecord
from codeblock.core.schema import SELECTED
from codeblock.core.shares import Shares
from codeblock.core.storage import store
from codeblock.core.storage.scores import with_scores
from codeblock.core.storage.tables import part_rows, parts, read_part, write_part
from codeblock.core.supervised import COLUMN, supervised
from codeblock.selection.audit import Findings, judge, undecodable
from codeblock.selection.budget import TOLERANCE
from codeblock.selection.candidates import Candidates, Chosen
from codeblock.selection.mixture import spent_by_dataset
from codeblock.selection.pair import COLUMNS, NO_POOL, PoolStatistics, ScoredPair, Units, iter_pairs
from codeblock.selection.picked import Picked, poor_below
from codeblock.selection.pool import survey
from codeblock.selection.selection import allocate, response_tokens, selected_of, settle, units_of, weights_of
from codeblock.selection.split import DEV, ROLES, TRAIN, Ranked, Split, split_pairs
from codeblock.selection.strategies import Strategy, get_strategy, shares_of

Mapper = Callable[[Callable[[dict[str, Any]], dict[str, Any]], Sequence[dict[str, Any]]], Iterable[dict[str, Any]]]
"""Applies a function to items, results in order: `map` here, Ray Data in the driver."""

AUDITED_PARTS, AUDITED_PAIRS = 8, 32
"""How much of a selection is held against its text."""
ALL_BOUGHT = (
    "every item was taken, so no ranking decided anything: the budget holds all the code of the kept pairs; "
    "lower select.inside_share to choose among it"
)


@dataclass(frozen=True)
class SelectRequest:
    """What one selection asks for."""

    kept: Path
    """Segmented pairs, best first; those beyond what is asked for need not be there."""
    ranked: Path
    """The ranking of the whole pool (schema RANKED)."""
    strategy: str
    settings: SelectConfig
    held_out: Shares
    """The held-out pairs are drawn among the pairs that these shares keep."""
    scores: Mapping[str, Path] = field(default_factory=dict)
    """Directories of scores by column: the `nll` of the reference, and what a strategy needs of other models."""
    seed: int = 0
    """Of the strategy's random numbers."""
    split_seed: int = 0
    """Of the draw of the held-out pairs."""
    dev_pairs: int = 64
    share: tuple[int, int] = (0, 1)
    """The pairs and the budget of a round: its number, of how many."""

    @property
    def rule(self) -> Strategy:
        return get_strategy(self.strategy)

    @property
    def shares(self) -> Shares:
        """What is asked, as the strategy takes it."""
        return shares_of(self.rule, self.settings)

    def split(self) -> Split:
        """Which pairs the selection is made of."""
        ranked = Ranked.read(self.ranked, datasets=bool(self.shares.mixture or self.held_out.mixture))
        return split_pairs(ranked, self.shares, self.held_out, self.dev_pairs, self.split_seed, self.share)

    @property
    def reranks(self) -> bool:
        """Whether what the rerank changes is found out."""
        return self.rule.budgeted and self.rule.reranks(self.settings)


@dataclass(frozen=True)
class Order:
    """A request, where its result goes, and what is known of all kept pairs."""

    request: SelectRequest
    output: Path
    pool: PoolStatistics = NO_POOL
    poor_below: float | None = None
    """The quality below which a pair counts as poor; None where no pair has one."""

    @property
    def candidates(self) -> Path:
        """Where the candidates lie until the weights are written."""
        return self.output / "candidates"


def select_parts(request: SelectRequest, output: Path, tokenizer: Any = None, mapper: Mapper = map) -> SelectedRecord:
    """Select over all parts of the kept pairs, write `output` with the same part names (schema SELECTED); returns the facts.

    `tokenizer`: with it, the audit also holds the masks of some pairs against the text of their items. Raises CodeBlockError
    where no token was selected, and where the audit of masks fails.
    """
    rule, shares = request.rule, request.shares
    settings = settle(request.settings, rule)
    request = replace(request, settings=settings)
    split = request.split()
    paths = _parts_within(request.kept, split.reach)
    roles = _roles(split, paths)
    pool = survey(lambda: _kept(request, paths, roles), rule, settings)
    order = Order(request, output, pool, poor_below(_best_quality(paths)))
    counted = list(
        mapper(
            partial(write_candidates, order), [{"path": str(path), "roles": roles[i].tobytes()} for i, path in enumerate(paths)]
        )
    )
    asked = round(shares.token_budget * split.pool_tokens / request.share[1]) if rule.budgeted else None
    train = allocate(
        [partial(_candidates_of, order, path, TRAIN) for path in paths], asked, settings, rule.scope or settings.scope
    )
    unspent = _unspent(order, paths, train, asked)
    changed = _changed_by_rerank(order, paths, train, asked)
    left_out = _left_out(order, paths, train)
    dev = _allocate_dev(order, split, paths)
    taken = [
        {"path": str(path), TRAIN: of_train.tobytes(), DEV: of_dev.tobytes()}
        for path, of_train, of_dev in zip(paths, train, dev, strict=True)
    ]
    written = list(mapper(partial(write_weights, order), taken))
    store.remove_tree(order.candidates)
    tokens = sum(each["tokens"] for each in written)
    findings, picked = Findings(), Picked()
    for each in written:
        findings.merge(Findings(**json.loads(each["findings"])))
        picked.merge(Picked(**json.loads(each["picked"])))
    if tokens == 0:
        raise CodeBlockError(
            f"strategy {request.strategy}: no supervised token among {split.count(TRAIN)} pairs "
            f"({asked} tokens asked); raise select.token_budget or select.subset_ratio"
        )
    faulty = list(_undecodable(order, tokenizer)) if tokenizer is not None else []
    verdict = judge(findings, faulty, asked, tokens, rule.whole_items, settings)
    if verdict.failures:
        raise CodeBlockError(f"mask audit, strategy {request.strategy}: {'; '.join(verdict.failures)}; nothing was trained")
    pairs = len(findings.supervised)
    return {
        "pool_pairs": split.pool_pairs,
        "pool_tokens": split.pool_tokens,
        "kept_pairs": split.count(TRAIN),
        "below_subset_ratio": split.pool_pairs - split.count(TRAIN),
        "dev_pairs": split.count(DEV),
        "supervised_pairs": pairs,
        "unsupervised_pairs": split.count(TRAIN) - pairs,
        "supervised_tokens": tokens,
        "asked_tokens": asked,
        "supervised_share": tokens / split.pool_tokens,
        "asked_share": shares.token_budget / request.share[1] if asked is not None else None,
        "inside_share": tokens / split.kept_tokens,
        "asked_inside_share": shares.inside_share if asked is not None else None,
        "subset_ratio": split.count(TRAIN) / split.pool_pairs,
        "subset_tokens_share": split.kept_tokens / split.pool_tokens,
        "asked_subset_ratio": shares.subset_ratio / request.share[1],
        "subset_ratio_of": "pairs" if shares.of_pairs else "tokens",
        "kept_tokens": split.kept_tokens,
        "warnings": [
            *verdict.warnings,
            *unspent,
            *([ALL_BOUGHT] if left_out == 0 and asked is not None and rule.whole_items else []),
        ],
        "supervised_tokens_per_pair": verdict.distribution,
        "items": sum(each["items"] for each in counted),
        "items_with_structure": sum(each["items_with_structure"] for each in counted),
        "items_left_out": left_out,
        "rerank_changed_items": changed,
        "noise_nll": pool.noise_nll,
        "picked": picked.facts(rated=order.poor_below is not None),
    }


def _undecodable(order: Order, tokenizer: Any) -> Iterator[str]:
    """The audit's look at the text of the first pairs of each part."""
    for path in parts(order.output)[:: max(1, len(parts(order.output)) // AUDITED_PARTS)]:
        chosen = read_part(path, ["id", COLUMN]).slice(0, AUDITED_PAIRS)
        masks = dict(zip(chosen["id"].to_pylist(), supervised(chosen), strict=True))
        yield from undecodable(read_part(order.request.kept / path.name), masks, tokenizer)


def write_candidates(order: Order, item: dict[str, Any]) -> dict[str, Any]:
    """Write the candidates of one part: its units, and the unit of each token."""
    path, request = Path(item["path"]), order.request
    roles = [ROLES[role] for role in item["roles"]]
    units: list[Units] = []
    plain: list[Units] = []
    kept: list[tuple[int, str, int]] = []
    items = structured = 0
    without = request.settings.model_copy(update={"reach_weight": 0.0, "bridge_weight": 0.0})
    for row, pair in enumerate(iter_pairs(_columns(request, path), order.pool)):
        if not roles[row]:
            continue
        units.append(units_of(pair, request.rule, request.settings, request.seed))
        kept.append((row, roles[row], response_tokens(pair.token_class)))
        with_structure = int(((pair.item_reach > 0) | (pair.item_bridge > 0)).sum())
        if request.reranks:
            plain.append(units_of(pair, request.rule, without, request.seed) if with_structure else units[-1])
        if roles[row] == TRAIN:
            items += pair.item_reach.size
            structured += with_structure
    table = {
        "row": [row for row, _, _ in kept],
        "role": [role for _, role, _ in kept],
        "tokens": [tokens for _, _, tokens in kept],
        "unit_of_token": [each.unit_of_token for each in units],
        "size": [each.size for each in units],
        "priority": [each.priority for each in units],
        "tie": [each.tie for each in units],
        "text": [each.text for each in units],
    }
    if request.shares.mixture:
        names = read_part(path, ["dataset"])["dataset"].to_pylist()
        table["dataset"] = [names[row] for row, _, _ in kept]
    if request.reranks:
        table |= {"plain_priority": [each.priority for each in plain], "plain_tie": [each.tie for each in plain]}
    columns = {name: pa.array(values, _CANDIDATE_COLUMNS[name.removeprefix("plain_")]) for name, values in table.items()}
    write_part(order.candidates / path.name, pa.table(columns))
    return {"pairs": len(kept), "items": items, "items_with_structure": structured}


_CANDIDATE_COLUMNS: dict[str, pa.DataType] = {
    "row": pa.int32(),
    "role": pa.string(),
    "dataset": pa.string(),
    "tokens": pa.int32(),
    "unit_of_token": pa.list_(pa.int32()),
    "size": pa.list_(pa.int32()),
    "priority": pa.list_(pa.float64()),
    "tie": pa.list_(pa.float64()),
    "text": pa.list_(pa.bool_()),
}


def write_weights(order: Order, item: dict[str, Any]) -> dict[str, Any]:
    """Write the weights of one part: training pairs with a supervised token, and all held-out ones."""
    path = Path(item["path"])
    table = read_part(order.request.kept / path.name, ["id", "input_ids", "quality", *_LOOKED_AT])
    ids, qualities = table["id"].to_pylist(), table["quality"].to_pylist()
    looked_at = {name: table[name].to_numpy(zero_copy_only=False) for name in _LOOKED_AT}
    classes, items = looked_at["token_class"], looked_at["token_item"]
    masks: dict[int, tuple[str, NDArray[np.bool_]]] = {}
    findings, picked, tokens = Findings(), Picked(), 0
    for role in (TRAIN, DEV):
        found = _read_candidates(order, path, role, ["row", "unit_of_token", "size"])
        taken = np.frombuffer(item[role], dtype=bool)
        ends = np.cumsum([len(size) for size in found["size"].to_pylist()], dtype=np.int64)
        rows, owners = found["row"].to_pylist(), found["unit_of_token"].to_numpy(zero_copy_only=False)
        for row, owner, chosen in zip(rows, owners, np.split(taken, ends[:-1]), strict=True) if rows else ():
            selected_T = selected_of(owner, classes[row], chosen, order.request.settings)
            count = int(selected_T.sum())
            if role == TRAIN:
                tokens += count
                findings.look(ids[row], selected_T, classes[row], items[row])
                known = order.poor_below is not None and qualities[row] is not None
                poor = known and qualities[row] < order.poor_below
                picked.look({name: values[row] for name, values in looked_at.items()}, selected_T, poor)
            if role == DEV or count:
                masks[row] = (role, selected_T)
    rows = sorted(masks)
    weights = [weights_of(masks[row][1], classes[row], order.request.settings) for row in rows]
    kept = table.take(pa.array(rows, pa.int64()))
    kept = kept.append_column("split", pa.array([masks[row][0] for row in rows], pa.string()))
    kept = kept.append_column("weight", pa.array(weights, SELECTED.field("weight").type))
    kept = kept.append_column(COLUMN, pa.array([masks[row][1] for row in rows], SELECTED.field(COLUMN).type))
    write_part(order.output / path.name, kept.select(SELECTED.names).cast(SELECTED))
    return {"tokens": tokens, "findings": json.dumps(asdict(findings)), "picked": json.dumps(asdict(picked))}


_LOOKED_AT = ["token_class", "token_item", "token_word", "item_kind", "item_spans", "response"]


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
        pairs = iter_pairs(_columns(request, path))
        yield from (pair for pair, role in zip(pairs, of_part.tolist(), strict=True) if ROLES[role] == TRAIN)


def _best_quality(paths: Sequence[Path]) -> float | None:
    """The highest quality of the data; None where no pair has one."""
    best = (pa.compute.max(read_part(path, ["quality"])["quality"]).as_py() for path in paths)
    return max((quality for quality in best if quality is not None), default=None)


def _unspent(order: Order, paths: Sequence[Path], train: Sequence[Chosen], asked: int | None) -> list[str]:
    """A line for each data set whose share of the budget its kept pairs cannot take."""
    mixture, settings = order.request.shares.mixture, order.request.settings
    if asked is None or not mixture:
        return []
    loads = [partial(_candidates_of, order, path, TRAIN) for path in paths]
    found = spent_by_dataset(loads, train, mixture, asked, settings.supervise_eos)
    return [
        f"select.mixture, {name or 'the other data sets'}: {spent:,} of {tokens:,} tokens spent; its kept pairs hold no "
        "more that fits, lower its share or select.inside_share"
        for name, (tokens, spent) in found.items()
        if spent < tokens * (1 - TOLERANCE)
    ]


def _left_out(order: Order, paths: Sequence[Path], train: Sequence[Chosen]) -> int:
    """Units of code that were not taken."""
    loads = zip((_candidates_of(order, path, TRAIN) for path in paths), train, strict=True)
    return sum(int((~taken & ~candidates.text & (candidates.size > 0)).sum()) for candidates, taken in loads)


def _changed_by_rerank(order: Order, paths: Sequence[Path], train: Sequence[Chosen], asked: int | None) -> int:
    """Selected items that utility alone would not have selected (a ranked stop token counts as an item)."""
    request = order.request
    if not request.reranks:
        return 0
    loads = [partial(_candidates_of, order, path, TRAIN, "plain_") for path in paths]
    plain = allocate(loads, asked, request.settings, request.rule.scope or request.settings.scope)
    return sum(int((a & ~b & ~load().text).sum()) for load, a, b in zip(loads, train, plain, strict=True))


def _columns(request: SelectRequest, path: Path) -> pa.Table:
    """The columns that decide a selection, scores beside the others."""
    return with_scores(read_part(path, [*COLUMNS, *request.rule.columns(request.settings)]), request.scores)


def _read_candidates(order: Order, path: Path, role: str, columns: list[str]) -> pa.Table:
    table = read_part(order.candidates / path.name, [*columns, "role"])
    return table.filter(pa.compute.equal(table["role"], role)).combine_chunks()


def _candidates_of(order: Order, path: Path, role: str, ranks: Literal["", "plain_"] = "") -> Candidates:
    """The candidates of one part, of the training or the held-out pairs; with `plain_` ranked by utility alone."""
    priority, tie = f"{ranks}priority", f"{ranks}tie"
    by_dataset = bool(order.request.shares.mixture)
    columns = ["tokens", "size", "text", priority, tie, *(["dataset"] if by_dataset else [])]
    table = _read_candidates(order, path, role, columns)

    def flat(name: str, dtype: Any) -> NDArray[Any]:
        values: NDArray[Any] = pa.compute.list_flatten(table[name]).to_numpy(zero_copy_only=False)
        return values.astype(dtype)

    counts = pa.compute.list_value_length(table["size"]).to_numpy(zero_copy_only=False)
    return Candidates(
        pair=np.repeat(np.arange(table.num_rows), counts),
        size=flat("size", np.int64),
        priority=flat(priority, np.float64),
        tie=flat(tie, np.float64),
        text=flat("text", bool),
        tokens_P=table["tokens"].to_numpy().astype(np.int64),
        dataset_P=table["dataset"].to_numpy() if by_dataset else None,
    )


def _allocate_dev(order: Order, split: Split, paths: Sequence[Path]) -> list[Chosen]:
    """The held-out pairs under the same rule and scope, at the density that the kept pairs have.

    In one ranking of them where the scope cannot be kept to: a few short responses do not end a run whose kept pairs can.
    """
    request = order.request
    loads = [partial(_candidates_of, order, path, DEV) for path in paths]
    density = min(1.0, request.shares.token_budget / request.share[1] * split.pool_tokens / max(1, split.kept_tokens))
    tokens = sum(int(load().tokens_P.sum()) for load in loads)
    asked = round(density * tokens) if request.rule.budgeted else None
    try:
        return allocate(loads, asked, request.settings, request.rule.scope or request.settings.scope)
    except CodeBlockError:
        return allocate(loads, asked, request.settings, "dataset")


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
