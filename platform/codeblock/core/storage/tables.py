"""Stage directories on disk: Parquet parts, and a completion marker that is written last (manifest.py).

A directory without its marker is unfinished work: never read as a result, but its parts are whole (each is
written beside its place and renamed), so a run that was cut off goes on with the parts that are missing.
"""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from codeblock.core.errors import CodeBlockError, naming
from codeblock.core.storage import store
from codeblock.core.storage.manifest import (
    MARKER,
    SHARE,
    check,
    check_file,
    completed,
    describe,
    files_of,
    footer_rows,
    home_of,
    marker_text,
    unreadable,
)

__all__ = [
    "MARKER",
    "completed",
    "count_rows",
    "iter_rows",
    "mark_complete",
    "part_name",
    "part_rows",
    "parts",
    "parts_like",
    "read_json",
    "read_part",
    "read_table",
    "write_part",
    "write_text",
]


def temporary_beside(path: Path) -> Path:
    """A hidden name beside `path`, for what is renamed to it when it is whole; other processes have other ones."""
    return path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    write_here(path, text)
    store.put(path)


def write_here(path: Path, text: str) -> None:
    """`write_text` for what is of this machine alone, and is not put into an object store."""
    store.make_parent(path)
    temporary = temporary_beside(path)
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_part(path: Path, rows: pa.Table) -> None:
    """Write one Parquet part whole or not at all; a retried task replaces its own earlier part."""
    store.make_parent(path)
    temporary = temporary_beside(path)
    try:
        pq.write_table(rows, temporary, compression="zstd")
        temporary.replace(path)
        store.put(path)
    except OSError as error:
        raise naming(error, path) from error  # pyarrow does not say where the disk is full
    finally:
        temporary.unlink(missing_ok=True)


def parts(directory: Path) -> list[Path]:
    """The Parquet parts of a stage directory, in row order.

    Raises CodeBlockError where a finished directory is not whole, or a step's directory is not finished.
    """
    return parts_like(directory, ".parquet")


def parts_like(directory: Path, suffix: str) -> list[Path]:
    """`parts` of another kind of file."""
    home = home_of(directory)
    if home is None:
        return [path for path in store.children(directory) if path.match(f"part-*{suffix}")]
    below = directory.relative_to(home)
    listed = (Path(name) for name in check(home))
    return sorted(home / name for name in listed if name.parent == below and name.match(f"part-*{suffix}"))


def part_name(index: int) -> str:
    """Name of part number `index`; names sort in row order."""
    return f"part-{index:06d}.parquet"


def read_part(path: Path, columns: list[str] | None = None) -> pa.Table:
    """One part as a table. Raises CodeBlockError where the file is not whole, or not what its step wrote."""
    check_file(path)
    try:
        return pq.read_table(path, columns=columns, partitioning=None)
    except FileNotFoundError:
        raise CodeBlockError(
            f"{path}: no such file on {socket.gethostname()}; run the command that writes it again, or, {SHARE}"
        ) from None
    except (OSError, pa.ArrowException) as error:
        raise unreadable(path, error) from error


def read_json(path: Path) -> Any:
    """A JSON part. Raises CodeBlockError where the file is not whole, or not what its step wrote."""
    check_file(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise unreadable(path, error) from error


def read_table(directory: Path, columns: list[str] | None = None) -> pa.Table:
    """All parts of a directory, in row order. For tables that fit in memory."""
    return pa.concat_tables([read_part(path, columns) for path in parts(directory)])


def iter_rows(directory: Path, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """Rows of a directory as dictionaries, one part in memory at a time."""
    for path in parts(directory):
        yield from read_part(path, columns).to_pylist()


def lost(what: str, output: Path) -> CodeBlockError:
    """For what workers have written and this process does not find."""
    return CodeBlockError(f"{what}: what was written on other nodes is not in {output}; {SHARE}")


def part_rows(path: Path) -> int:
    """Number of rows of a part, from the marker or the Parquet footer alone."""
    home = home_of(path.parent)
    entry = None if home is None else (files_of(home) or {}).get(path.relative_to(home).as_posix())
    return footer_rows(store.fetch(path)) if entry is None or entry.rows is None else entry.rows


def count_rows(directory: Path) -> int:
    """Number of rows, from the marker or the Parquet footers alone."""
    return sum(part_rows(path) for path in parts(directory))


def mark_complete(directory: Path, facts: dict[str, Any]) -> None:
    """Declare a stage directory valid with the files that it has. `facts` are what later readers want to know of it."""
    write_text(directory / MARKER, marker_text(facts, describe(directory)))
