"""One part of a selection: its candidates, written and read, and the weights of its pairs."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from codeblock.core.schema import SELECTED
from codeblock.core.storage.scores import with_scores
from codeblock.core.storage.tables import read_part, write_part
from codeblock.core.supervised import COLUMN
from codeblock.selection.audit import Findings
from codeblock.selection.candidates import Candidates
from codeblock.selection.pair import COLUMNS, Units, iter_pairs
from codeblock.selection.picked import Picked
from codeblock.selection.request import Order, SelectRequest
from codeblock.selection.selection import response_tokens, selected_of, units_of, weights_of
from codeblock.selection.split import DEV, ROLES, TRAIN


def write_candidates(order: Order, item: dict[str, Any]) -> dict[str, Any]:
    """Write the candidates of one part: its units, and the unit of each token."""
    path, request = Path(item["path"]), order.request
    roles = [ROLES[role] for role in item["roles"]]
    units: list[Units] = []
    plain: list[Units] = []
    kept: list[tuple[int, str, int]] = []
    items = structured = 0
    without = request.settings.model_copy(update={"reach_weight": 0.0, "bridge_weight": 0.0})
    for row, pair in enumerate(iter_pairs(columns_of(request, path), order.pool)):
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


def columns_of(request: SelectRequest, path: Path) -> pa.Table:
    """The columns that decide a selection, scores beside the others."""
    return with_scores(read_part(path, [*COLUMNS, *request.rule.columns(request.settings)]), request.scores)


def _read_candidates(order: Order, path: Path, role: str, columns: list[str]) -> pa.Table:
    table = read_part(order.candidates / path.name, [*columns, "role"])
    return table.filter(pa.compute.equal(table["role"], role)).combine_chunks()


def candidates_of(order: Order, path: Path, role: str, ranks: Literal["", "plain_"] = "") -> Candidates:
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
