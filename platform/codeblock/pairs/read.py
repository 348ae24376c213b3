"""Rows out of files. A row that cannot be read is a `Broken` with its place and reason; the file goes on."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from codeblock.errors import CodeBlockError
from codeblock.pairs.files import InputFile
from codeblock.schema import Reason


@dataclass(frozen=True)
class Row:
    """One row as the data has it, and its place."""

    source: str
    value: dict[str, Any]


@dataclass(frozen=True)
class Broken:
    """A row that could not be read or used."""

    source: str
    reason: Reason
    detail: str


def read_rows(file: InputFile) -> Iterator[Row | Broken]:
    """Rows of one JSON, JSONL (also .gz) or Parquet file.

    Raises CodeBlockError where the file as a whole cannot be read: a damaged Parquet or gzip file, a broken JSON array.
    """
    name = file.path.rsplit("/", 1)[-1]
    try:
        if name.endswith(".parquet"):
            yield from _parquet(file, name)
        else:
            yield from _json(file, name)
    except (OSError, EOFError, zlib.error, pa.ArrowInvalid) as error:
        raise CodeBlockError(f"{file.path}: cannot be read ({str(error).splitlines()[0]}); mend or remove it") from error


def _parquet(file: InputFile, name: str) -> Iterator[Row | Broken]:
    with file.filesystem.open(file.path, "rb") as stream:
        number = 0
        for batch in pq.ParquetFile(stream).iter_batches(batch_size=1000):
            for value in batch.to_pylist():
                number += 1
                yield Row(f"{name}:{number}", value)


def _json(file: InputFile, name: str) -> Iterator[Row | Broken]:
    with file.filesystem.open(file.path, "rb") as raw:
        stream = gzip.GzipFile(fileobj=raw) if name.endswith(".gz") else raw
        with io.BufferedReader(stream) as lines:
            if name.removesuffix(".gz").endswith(".json") and _is_array(lines):
                yield from _json_array(lines.read(), name)
                return
            for number, line in enumerate(lines, start=1):
                text = line.removeprefix(b"\xef\xbb\xbf").strip()
                if text:
                    yield _parse_line(text, f"{name}:{number}")


def _is_array(lines: io.BufferedReader[Any]) -> bool:
    start = lines.peek(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
    return start.startswith(b"[") or (start.startswith(b"{") and not _first_line_is_object(start))


def _first_line_is_object(start: bytes) -> bool:
    """Whether a `.json` file holds one object a line (JSON lines under another name)."""
    first = start.split(b"\n", 1)[0]
    try:
        orjson.loads(first)
    except orjson.JSONDecodeError:
        return False
    return True


def _json_array(content: bytes, name: str) -> Iterator[Row | Broken]:
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise CodeBlockError(f"{name}: not valid JSON ({error}); mend it, or give JSON lines, one row a line") from error
    if isinstance(value, dict):
        lists = [rows for rows in value.values() if isinstance(rows, list)]
        value = lists[0] if len(lists) == 1 else [value]
    for number, row in enumerate(value, start=1):
        yield _row(row, f"{name}:{number}")


def _parse_line(text: bytes, source: str) -> Row | Broken:
    try:
        return _row(orjson.loads(text), source)
    except orjson.JSONDecodeError as error:
        try:
            text.decode("utf-8")
        except UnicodeDecodeError as bad:
            return Broken(source, Reason.NOT_UTF8, f"byte {bad.start} of the line")
        return Broken(source, Reason.INVALID_JSON, str(error))


def _row(value: Any, source: str) -> Row | Broken:
    if not isinstance(value, dict):
        return Broken(source, Reason.NOT_AN_OBJECT, f"a row is an object, this is {type(value).__name__}")
    return Row(source, value)
