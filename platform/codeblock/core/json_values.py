"""JSON as tools write it: NaN, lone surrogates, documents after each other; and the rows inside a document."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from codeblock.core.errors import CodeBlockError

SPACE = " \t\r\n\x1e\ufeff"
"""What may stand between two documents: JSON's blanks, the separator of JSON text sequences, a byte-order mark."""
ROW_KEYS = ("data", "rows", "examples", "items", "instances", "records", "samples", "entries")
"""Names under which tools put the list of rows."""
TURN_KEYS = frozenset({"role", "from", "content", "value"})
_NOT_SPACE = re.compile(f"[^{SPACE}]")
_MAX_DEPTH = 3


def parse(text: bytes) -> Any:
    """One JSON value. Raises ValueError or RecursionError.

    More lenient than the standard where nothing is guessed: NaN and Infinity, raw control characters in strings, and bytes that
    are no UTF-8, which come out as lone surrogates, so that they count where the text is used and nowhere else.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text.decode("utf-8", "surrogateescape"), strict=False)


def parse_documents(content: bytes, *, exact: bool = False) -> list[Any]:
    """All JSON values of a text, one after the other, over as many lines as they take. Raises ValueError or RecursionError.

    `exact`: integers of more than 64 bits stay integers, which takes longer.
    """
    try:
        return [(json if exact else orjson).loads(content)]
    except ValueError:
        text, decoder = content.decode("utf-8", "surrogateescape"), json.JSONDecoder()
    found: list[Any] = []
    place = _NOT_SPACE.search(text)
    while place is not None:
        value, end = decoder.raw_decode(text, place.start())
        found.append(value)
        place = _NOT_SPACE.search(text, end)
    return found


def rows_of(value: Any, core: frozenset[str], split: str) -> list[Any]:
    """The rows that a whole JSON document holds.

    A list of rows; a single row; a table by columns (pandas' and Arrow's way); rows by their names; or a list of rows under
    one key of an object, as the hub's viewer gives it. `core`: lower-case names of columns that make an object a row. `split`:
    which of several lists is meant. Raises CodeBlockError where that is not clear.
    """
    return _rows_of(value, core, split, 0)


def _rows_of(value: Any, core: frozenset[str], split: str, depth: int) -> list[Any]:
    if isinstance(value, list):
        return value
    if not isinstance(value, dict) or not value:
        return [value]
    by_columns = _by_columns(value, core)
    if by_columns is not None:
        return by_columns
    if any(name.strip().lower() in core for name in value):
        return [value]
    if isinstance(names := value.get("columns"), list) and _all(value.get("data"), list):
        return [dict(zip(names, cells, strict=False)) for cells in value["data"]]
    lists = {
        key: each
        for key, each in value.items()
        if isinstance(each, list) and (_holds_rows(each) or (key in ROW_KEYS and not each))
    }
    if lists:
        return list(lists[_one_of(lists, split)])
    return _inside(value, core, split, depth)


def _inside(value: dict[str, Any], core: frozenset[str], split: str, depth: int) -> list[Any]:
    """Rows of an object that holds objects alone: one of them is the table, or each is a row by its name."""
    tables = {key: each for key, each in value.items() if isinstance(each, dict)}
    if depth < _MAX_DEPTH and (len(tables) == 1 or split in tables):
        return _rows_of(tables[split] if split in tables else next(iter(tables.values())), core, split, depth + 1)
    return list(value.values()) if len(tables) == len(value) else [value]


def _one_of(lists: dict[str, list[Any]], split: str) -> str:
    if len(lists) == 1:
        return next(iter(lists))
    named = next((key for key in (*ROW_KEYS, split) if key in lists), None)
    if named is None:
        raise CodeBlockError(f"several lists of rows ({', '.join(lists)}); name one as pairs.split, or give each a file")
    return named


def _by_columns(value: dict[str, Any], core: frozenset[str]) -> list[dict[str, Any]] | None:
    """Rows of a table by columns, `{"a": [1, 2]}` or `{"a": {"0": 1, "1": 2}}`; None where the object is none."""
    known = [each for name, each in value.items() if name.strip().lower() in core]
    if not known:
        return None
    first = next(iter(value.values()))
    if _all(list(value.values()), dict):
        keys = first.keys()
        if not keys or keys & TURN_KEYS or any(each.keys() != keys for each in value.values()):
            return None
        return [{name: each[key] for name, each in value.items()} for key in keys]
    if not _all(list(value.values()), list) or len({len(each) for each in value.values()}) > 1:
        return None
    if not all(_holds_cells(each) for each in known):
        return None
    return [dict(zip(value, cells, strict=True)) for cells in zip(*value.values(), strict=True)]


def _holds_cells(column: list[Any]) -> bool:
    """Whether a list is a column of cells, and not the turns of one conversation."""
    cells = [each for each in column if each is not None]
    return all(isinstance(each, str) for each in cells) or all(
        isinstance(each, list) and bool(each) and not isinstance(each[0], str) for each in cells
    )


def _holds_rows(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(each, dict | list) for each in value) and not are_turns(value)


def are_turns(value: Any) -> bool:
    """Whether a list is one conversation that has no row around it."""
    return _all(value, dict) and all("role" in turn or "from" in turn for turn in value)


def _all(value: Any, kind: type) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, kind) for each in value)
