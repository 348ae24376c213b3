"""Stage directories on disk: Parquet parts, and a completion marker that is written last.

A directory without its marker is unfinished work: never read as a result, but its parts are whole (each is
written beside its place and renamed), so a run that was cut off goes on with the parts that are missing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

MARKER = "_complete.json"


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def write_part(path: Path, rows: pa.Table) -> None:
    """Write one Parquet part whole or not at all; a retried task replaces its own earlier part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        pq.write_table(rows, temporary, compression="zstd")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def parts(directory: Path) -> list[Path]:
    """The Parquet parts of a stage directory, in row order."""
    return sorted(directory.glob("part-*.parquet"))


def part_name(index: int) -> str:
    """Name of part number `index`; names sort in row order."""
    return f"part-{index:06d}.parquet"


def read_part(path: Path, columns: list[str] | None = None) -> pa.Table:
    """One part as a table."""
    return pq.read_table(path, columns=columns, partitioning=None)


def read_table(directory: Path, columns: list[str] | None = None) -> pa.Table:
    """All parts of a directory, in row order. For tables that fit in memory."""
    return pa.concat_tables([read_part(path, columns) for path in parts(directory)])


def iter_rows(directory: Path, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """Rows of a directory as dictionaries, one part in memory at a time."""
    for path in parts(directory):
        yield from read_part(path, columns).to_pylist()


def count_rows(directory: Path) -> int:
    """Number of rows, from the Parquet footers alone."""
    return sum(pq.read_metadata(path).num_rows for path in parts(directory))


def mark_complete(directory: Path, facts: dict[str, Any]) -> None:
    """Declare a stage directory valid. `facts` are what later readers want to know without reading the rows."""
    write_text(directory / MARKER, json.dumps(facts, indent=2))


def completed(directory: Path) -> dict[str, Any] | None:
    """The facts of a finished stage directory, or None where it is not finished."""
    try:
        facts: dict[str, Any] = json.loads((directory / MARKER).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return facts
