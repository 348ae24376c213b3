"""The stage `pairs`: every row of the input becomes a pair or a counted rejection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from codeblock.core.config.pairs import PairsConfig
from codeblock.core.errors import CodeBlockError, RowError
from codeblock.core.records import PairsRecord
from codeblock.core.schema import PAIRS, REJECTED, Reason
from codeblock.core.storage.tables import part_name, write_part
from codeblock.data.read.arrow import BATCH_ROWS, table_values
from codeblock.data.read.files import DataSet, InputFile, load_hub_dataset, sources_of
from codeblock.data.read.read import Broken, SourceRow, read_rows
from codeblock.data.read.shapes import Pair, to_pair, wanted

PART_ROWS = 512
"""Rows of a part: small enough that actors share the work evenly, large enough to batch by length."""


def read_pairs(
    data: Sequence[DataSet] | Sequence[InputFile],
    config: PairsConfig,
    output: Path,
    advance: Callable[[int], None] = lambda _: None,
) -> PairsRecord:
    """Read every row into `output/part-*` or `output/rejected/part-*`; returns the counts, in all and by data set.

    data: the data sets of the config, or the files of its only one.
    `notes` of the result, where there are any: how many kept rows of a data set have a column that was left unread, by why.
    Rows stream through; only the ids stay in memory, to find exact duplicates. `advance` hears of each row. Raises
    CodeBlockError where a file cannot be read, and where the column that is named as the quality holds no number at all.
    """
    data = _data_sets(data, config)
    seen: set[str] = set()
    kept: list[dict[str, Any]] = []
    lost: list[dict[str, Any]] = []
    reasons: Counter[str] = Counter()
    notes: dict[str, Counter[str]] = {each.name: Counter() for each in data}
    counts = {each.name: {"read": 0, "kept": 0} for each in data}
    rated: Counter[str] = Counter()
    parts = size = 0
    for each, row in islice(_rows(data), config.limit):
        counts[each.name]["read"] += 1
        advance(1)
        outcome = _judge(row, each, config, seen)
        if isinstance(outcome, Pair):
            kept.append(_columns(outcome, row.source, each.name))
            size += len(outcome.response.encode())
            counts[each.name]["kept"] += 1
            notes[each.name].update(outcome.notes)
            rated[each.name] += outcome.quality is not None
        else:
            reasons[outcome["reason"]] += 1
            lost.append(outcome)
        if len(kept) == PART_ROWS or len(lost) == PART_ROWS:
            parts = _flush(output, parts, kept, lost)
    _flush(output, parts, kept, lost)
    for each in data:
        _check_quality(each, rated[each.name], notes[each.name])
    read, held = (sum(count[key] for count in counts.values()) for key in ("read", "kept"))
    record = PairsRecord(read=read, kept=held, response_bytes=size, datasets=counts, reasons=dict(reasons))
    if told := {name: dict(found) for name, found in notes.items() if found}:
        record["notes"] = told
    return record


def _data_sets(data: Sequence[DataSet] | Sequence[InputFile], config: PairsConfig) -> list[DataSet]:
    files = [each for each in data if isinstance(each, InputFile)]
    if files:
        [source] = sources_of(config)
        return [DataSet(source, files)]
    return [each for each in data if isinstance(each, DataSet)]


def _check_quality(data: DataSet, rated: int, notes: Counter[str]) -> None:
    """Refuse a column that was named as the quality and holds words alone."""
    column = (data.source.columns or {}).get("quality")
    if column and not rated and any(note.startswith(f"column {column} is not read") for note in notes):
        raise CodeBlockError(
            f"pairs.columns.quality={column}: no row of {data.name} has a number there; give numbers, or leave it out"
        )


def _rows(data: list[DataSet]) -> Iterator[tuple[DataSet, SourceRow | Broken]]:
    """All rows of all data sets; where there are several, their places begin with the name of theirs."""
    for each in data:
        for row in _rows_of(each):
            yield each, (replace(row, source=f"{each.name}/{row.source}") if len(data) > 1 else row)


def _rows_of(data: DataSet) -> Iterator[SourceRow | Broken]:
    source = data.source
    what = wanted(source.columns or {}, source.split)
    if data.files:
        return chain.from_iterable(read_rows(file, what) for file in data.files)
    rows = load_hub_dataset(source.path, source.split or "train", source.revision)
    tables = rows.with_format("arrow").iter(batch_size=BATCH_ROWS)
    values = table_values((batch for table in tables for batch in table.to_batches()), what.columns)
    return (SourceRow(f"{source.path}:{number}", value) for number, value in enumerate(values))


def _judge(row: SourceRow | Broken, data: DataSet, config: PairsConfig, seen: set[str]) -> Pair | dict[str, Any]:
    if isinstance(row, Broken):
        return _rejection(None, row.source, row.reason, row.detail)
    try:
        pair = to_pair(row.value, data.source.columns or {}, config.system)
    except RowError as error:
        return _rejection(None, row.source, error.reason, error.detail)
    size = len(pair.response.encode())
    if size > config.max_response_bytes:
        detail = f"{size} bytes, pairs.max_response_bytes is {config.max_response_bytes}"
        return _rejection(pair.id, row.source, Reason.RESPONSE_TOO_LARGE, detail)
    if pair.id in seen:
        return _rejection(pair.id, row.source, Reason.DUPLICATE, "an earlier row has the same messages and response")
    seen.add(pair.id)
    return pair


def _columns(pair: Pair, source: str, dataset: str) -> dict[str, Any]:
    return {
        "id": pair.id,
        "messages": pair.messages,
        "response": pair.response,
        "source": source,
        "quality": pair.quality,
        "dataset": dataset,
        "tools": pair.tools,
    }


def _rejection(id_: str | None, source: str, reason: Reason, detail: str) -> dict[str, Any]:
    return {"id": id_, "source": source, "stage": "pairs", "reason": reason.value, "detail": detail}


def _flush(output: Path, parts: int, kept: list[dict[str, Any]], lost: list[dict[str, Any]]) -> int:
    if kept:
        write_part(output / part_name(parts), pa.Table.from_pylist(kept, schema=PAIRS))
    if lost:
        write_part(output / "rejected" / part_name(parts), pa.Table.from_pylist(lost, schema=REJECTED))
    kept.clear()
    lost.clear()
    return parts + 1
