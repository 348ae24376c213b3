"""Rows of the files that a grader is given: tasks and samples, in JSON of any layout, or Parquet."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import IO, Any

from pyarrow import ArrowException, parquet

from codeblock.core.errors import CodeBlockError
from codeblock.core.json_values import parse_documents
from codeblock.core.lfs import check_content

Placed = tuple[str, dict[str, Any]]
"""A row, with its place for error messages before it."""


def rows(path: Path, what: str) -> Iterator[Placed]:
    """Rows of Parquet, of JSON lines, of a JSON array or of objects over several lines (.gz too), whatever the JSON's name.

    Raises CodeBlockError where the file cannot be read or a row is not an object.
    """
    try:
        with path.open("rb") as file:
            check_content(file, f"{what}: {path}")
            if path.suffix == ".parquet":
                yield from _numbered(_parquet_rows(file, path, what), path, what)
                return
            content = gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else file
            yield from _json_rows(((number, line) for number, line in enumerate(content, 1) if line.strip()), path, what)
    except FileNotFoundError:
        raise CodeBlockError(f"{what}: no file {path}; give the path of its JSONL file") from None
    except (OSError, EOFError) as error:
        raise CodeBlockError(f"{what}: {path} is not readable ({error}); give the path of its JSONL file") from error


def _parquet_rows(file: IO[bytes], path: Path, what: str) -> list[Any]:
    try:
        return list(parquet.read_table(file).to_pylist())
    except (OSError, ValueError, OverflowError, ArrowException) as error:
        raise CodeBlockError(f"{what}: {path} is not readable as Parquet ({_told(error)}); fetch it again") from error


def _json_rows(lines: Iterator[tuple[int, bytes]], path: Path, what: str) -> Iterator[Placed]:
    first = next(lines, None)
    if first is None:
        return
    rest = lines
    if not _is_object(first[1]):
        held = list(lines)
        found = _documents(b"".join(line for _, line in (first, *held)))
        if found is not None:
            yield from _numbered(found, path, what)
            return
        rest = iter(held)
    for number, line in chain([first], rest):
        place = f"{what}, {path} line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise CodeBlockError(f"{place}: not JSON ({error}); mend or remove the line") from error
        yield place, _mapping(row, place)


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _documents(content: bytes) -> list[Any] | None:
    """The rows of JSON that is no JSON lines: those of an array, or objects one after the other; None where it is no JSON."""
    try:
        text = content.decode(json.detect_encoding(content))
        found = parse_documents(text.encode(), exact=True)
    except (ValueError, RecursionError):
        return None
    return found[0] if len(found) == 1 and isinstance(found[0], list) else found


def _numbered(found: list[Any], path: Path, what: str) -> Iterator[Placed]:
    for number, row in enumerate(found, 1):
        yield (place := f"{what}, {path} row {number}"), _mapping(row, place)


def _mapping(row: Any, place: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise CodeBlockError(f"{place}: a JSON object is needed, not {type(row).__name__}; mend or remove the line")
    return row


def _told(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
