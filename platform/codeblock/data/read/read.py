"""Rows out of files. A row that cannot be read is a `Broken` with its place and reason; the file goes on."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import pyarrow as pa

from codeblock.core.errors import CodeBlockError
from codeblock.core.json_values import are_turns, parse, parse_documents, rows_of
from codeblock.core.lfs import check_content
from codeblock.core.schema import Reason
from codeblock.data.read.arrow import arrow_batches, parquet_batches, table_values
from codeblock.data.read.files import InputFile

COMPRESSIONS = {".gz": b"\x1f\x8b", ".bz2": b"BZh", ".xz": b"\xfd7zXZ\x00", ".zst": b"\x28\xb5\x2f\xfd"}
"""Endings of compressed files, and what their content begins with."""
PROBED_BYTES = 64 * 2**20
"""So much of a file of JSON lines is looked at where its first line is no JSON: is it one object over many lines?"""


@dataclass(frozen=True)
class SourceRow:
    """One row as the data has it, and its place."""

    source: str
    value: dict[str, Any]


@dataclass(frozen=True)
class Broken:
    """A row that could not be read or used."""

    source: str
    reason: Reason
    detail: str


@dataclass(frozen=True)
class Wanted:
    """What of a file is read."""

    columns: frozenset[str] | None = None
    """Lower-case names of columns whose values are looked at; others of a table are not read. None: all."""
    core: frozenset[str] = frozenset()
    """Lower-case names of columns that tell a single row from an object around rows."""
    split: str = "train"
    """Which of several lists of rows in one file is meant."""


def read_rows(file: InputFile, wanted: Wanted | None = None) -> Iterator[SourceRow | Broken]:
    """Rows of one file of JSON (lines, an array, an object around rows; compressed or not), Parquet or Arrow.

    Raises CodeBlockError where the file as a whole cannot be read: damaged, cut, or no JSON at all.
    """
    name, wanted = file.path.rsplit("/", 1)[-1], wanted or Wanted()
    try:
        with file.filesystem.open(file.path, "rb") as raw, io.BufferedReader(raw) as stream:
            head = check_content(stream, f"{file.path}:")
            if name.lower().endswith((".parquet", ".arrow")):
                yield from _table(stream, name, wanted)
            else:
                content = io.BufferedReader(_unpacked(stream, _compression(head, name)))
                yield from _Json(content, name, wanted).rows()
    except (OSError, EOFError, zlib.error, lzma.LZMAError, UnicodeError, pa.ArrowException) as error:
        told = (str(error).splitlines() or [type(error).__name__])[0]
        raise CodeBlockError(f"{file.path}: cannot be read ({told}); mend or remove it") from error


def _table(stream: io.BufferedReader[Any], name: str, wanted: Wanted) -> Iterator[SourceRow]:
    is_parquet = name.lower().endswith(".parquet")
    batches = parquet_batches(stream, wanted.columns) if is_parquet else arrow_batches(stream)
    values = table_values(batches, wanted.columns)
    for number, value in enumerate(values, start=1):
        yield SourceRow(f"{name}:{number}", value)


def _compression(head: bytes, name: str) -> str:
    """How a file is compressed, by what it begins with, else by its name; empty where it is not."""
    by_content = (ending for ending, magic in COMPRESSIONS.items() if head.startswith(magic))
    by_name = (ending for ending in COMPRESSIONS if name.lower().endswith(ending) and head)
    return next(chain(by_content, by_name), "")


def _unpacked(stream: io.BufferedReader[Any], ending: str) -> Any:
    if ending == ".gz":
        return gzip.GzipFile(fileobj=stream)
    if ending == ".bz2":
        return bz2.BZ2File(stream)
    if ending == ".xz":
        return lzma.LZMAFile(stream)
    if ending == ".zst":
        return pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), "zstd")
    return stream


class _Json:
    """The rows of one file of JSON, whatever its layout: found by what the file holds, not by its name."""

    def __init__(self, stream: io.BufferedReader[Any], name: str, wanted: Wanted) -> None:
        self._lines, self._name, self._wanted = _lines(stream), name, wanted
        self._named_lines = any(ending in name.lower() for ending in (".jsonl", ".ndjson"))

    def rows(self) -> Iterator[SourceRow | Broken]:
        first = next(self._lines, None)
        if first is None:
            return
        value = _parsed(first[1])
        if value is None:
            yield from self._over_lines(first)
            return
        second = next(self._lines, None)
        if second is None:
            yield from self._document(value[0])
        else:
            yield from self._by_line(chain([first, second], self._lines))

    def _by_line(self, lines: Iterator[tuple[int, bytes]]) -> Iterator[SourceRow | Broken]:
        for number, text in lines:
            source = f"{self._name}:{number}"
            try:
                value = parse(text)
            except (ValueError, RecursionError) as error:
                yield Broken(source, Reason.INVALID_JSON, f"{error}"[:200])
                continue
            if isinstance(value, list) and value and all(isinstance(each, dict) for each in value) and not are_turns(value):
                for index, each in enumerate(value):
                    yield _row(each, f"{source}[{index}]")
            else:
                yield _row(value, source)

    def _document(self, value: Any) -> Iterator[SourceRow | Broken]:
        rows = [value] if are_turns(value) else self._rows_of(value)
        for number, row in enumerate(rows, start=1):
            yield _row(row, f"{self._name}:{number}")

    def _rows_of(self, value: Any) -> list[Any]:
        try:
            return rows_of(value, self._wanted.core, self._wanted.split)
        except CodeBlockError as error:
            raise CodeBlockError(f"{self._name}: {error}") from error

    def _over_lines(self, first: tuple[int, bytes]) -> Iterator[SourceRow | Broken]:
        """The first line is no JSON: values over several lines, or lines of which the first is broken."""
        held, size = [first], len(first[1])
        for line in self._lines:
            held.append(line)
            size += len(line[1])
            if size > PROBED_BYTES and self._named_lines:
                yield from self._by_line(chain(held, self._lines))
                return
        try:
            values = parse_documents(b"\n".join(text for _, text in held))
        except (ValueError, RecursionError) as error:
            if not self._named_lines and not _are_lines(held):
                told = f"not valid JSON ({error}); mend it, or give JSON lines, one row a line"
                raise CodeBlockError(f"{self._name}: {told}") from error
            yield from self._by_line(iter(held))
            return
        yield from self._document(values[0] if len(values) == 1 else list(chain.from_iterable(map(self._rows_of, values))))


def _lines(stream: io.BufferedReader[Any]) -> Iterator[tuple[int, bytes]]:
    """Numbered lines that hold something, as UTF-8 without byte-order marks, whatever encoding of Unicode the file has."""
    encoding = json.detect_encoding(stream.peek(4)[:4])
    lines: Iterator[bytes] = iter(stream)
    if not encoding.startswith("utf-8"):
        lines = (text.encode("utf-8", "surrogatepass") for text in io.TextIOWrapper(stream, encoding, newline="\n"))
    for number, line in enumerate(lines, start=1):
        text = line.strip(b"\x1e \t\r\n").removeprefix(b"\xef\xbb\xbf").strip()
        if text:
            yield number, text


def _parsed(text: bytes) -> tuple[Any] | None:
    """The value of a line in a tuple of one; None where it is no JSON by itself."""
    try:
        return (parse(text),)
    except (ValueError, RecursionError):
        return None


def _are_lines(lines: list[tuple[int, bytes]]) -> bool:
    """Whether lines whose first is no JSON are JSON lines nevertheless: another one holds a row."""
    if lines[0][1].startswith(b"["):
        return False
    return any((value := _parsed(text)) is not None and isinstance(value[0], dict) for _, text in lines[1:])


def _row(value: Any, source: str) -> SourceRow | Broken:
    if are_turns(value):
        value = {"messages": value}
    if not isinstance(value, dict):
        return Broken(source, Reason.NOT_AN_OBJECT, f"a row is an object, this is {type(value).__name__}")
    if isinstance(value.get("row"), dict) and value.keys() <= {"row", "row_idx", "truncated_cells"}:
        if cut := value.get("truncated_cells"):
            return Broken(source, Reason.INVALID_JSON, f"the hub's viewer has cut its cells {', '.join(map(str, cut))}")
        value = value["row"]
    return SourceRow(source, value)
