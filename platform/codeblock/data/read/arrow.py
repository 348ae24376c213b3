"""Values out of Arrow and Parquet tables: of the columns that are used alone, one cell at a time where a column resists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from codeblock.core.errors import CodeBlockError

BATCH_ROWS = 1000


@dataclass(frozen=True)
class Unreadable:
    """Stands in place of a cell that Python cannot hold: text that is not UTF-8, a time beyond the year 9999."""

    why: str


def parquet_batches(stream: Any, columns: frozenset[str] | None) -> Iterator[pa.RecordBatch]:
    """Batches of a Parquet file with the columns that are wanted; the others become columns of nulls, unread."""
    file = pq.ParquetFile(stream)
    names: list[str] = file.schema_arrow.names
    twice = [name for name, times in Counter(names).items() if times > 1 and _is_wanted(name, columns)]
    if twice:
        raise CodeBlockError(f"{_path(stream)}: two columns are called {twice[0]}; rename or remove one")
    used = [name for name in names if _is_wanted(name, columns)]
    try:
        for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=used):
            yield _with_names(batch, names)
    except (OSError, pa.ArrowException) as error:
        damaged = [name for name in used if not _is_readable(file, name)]
        if not damaged:
            raise
        told = str(error).splitlines()[0]
        raise CodeBlockError(f"{_path(stream)}: column {damaged[0]} cannot be read ({told}); mend or remove it") from error


def arrow_batches(stream: Any) -> Iterator[pa.RecordBatch]:
    """Batches of an Arrow file, in either format: the stream that `datasets` writes, or the file with a footer."""
    magic = stream.read(6)
    stream.seek(0)
    if magic == b"ARROW1":
        reader = pa.ipc.open_file(stream)
        yield from (reader.get_batch(number) for number in range(reader.num_record_batches))
    else:
        yield from pa.ipc.open_stream(stream)


def table_values(batches: Iterable[pa.RecordBatch], columns: frozenset[str] | None) -> Iterator[dict[str, Any]]:
    """Rows as dictionaries of all columns; those that are not wanted are None, whatever they hold."""
    for batch in batches:
        names = batch.schema.names
        used = {name: index for index, name in enumerate(names) if _is_wanted(name, columns)}
        cells = [_values(batch.column(index)) for index in used.values()]
        unread = dict.fromkeys(names)
        if not cells:
            yield from (dict(unread) for _ in range(batch.num_rows))
        for row in zip(*cells, strict=True):
            yield {**unread, **dict(zip(used, row, strict=True))}


def _is_wanted(name: str, columns: frozenset[str] | None) -> bool:
    return columns is None or name.strip().lower() in columns


def _with_names(batch: pa.RecordBatch, names: list[str]) -> pa.RecordBatch:
    unread = pa.nulls(batch.num_rows)
    there = set(batch.schema.names)
    return pa.RecordBatch.from_arrays([batch.column(name) if name in there else unread for name in names], names)


def _is_readable(file: pq.ParquetFile, name: str) -> bool:
    try:
        file.read(columns=[name])
    except (OSError, pa.ArrowException):
        return False
    return True


def _values(column: pa.Array) -> list[Any]:
    try:
        values = column.to_pylist(maps_as_pydicts="lossy")
    except (ValueError, OverflowError, pa.ArrowException):  # UnicodeDecodeError is a ValueError
        values = [_value(cell) for cell in column]
    return [_without_nulls(value) for value in values] if pa.types.is_nested(column.type) else values


def _value(cell: pa.Scalar) -> Any:
    try:
        return cell.as_py(maps_as_pydicts="lossy")
    except (ValueError, OverflowError, pa.ArrowException) as error:
        return Unreadable((str(error).splitlines() or [type(error).__name__])[0][:160])


def _without_nulls(value: Any) -> Any:
    """Without the keys that a table gives every struct because another row's has them."""
    if isinstance(value, dict):
        return {key: _without_nulls(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_without_nulls(each) for each in value]
    return value


def _path(stream: Any) -> str:
    raw = getattr(stream, "raw", stream)
    return str(getattr(raw, "path", None) or getattr(raw, "name", None) or "Parquet file")
