"""Maps `tokenize_batch` and `segment_batch` over parts by pipelines of Ray Data; parts that are there are left.

While a part is segmented, it has a mark in `attempts/` below the stage's directory, a byte for each worker that began it: one
that finds a mark knows that the part has cost other workers their lives, which Ray tells nobody.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc

from codeblock.annotate.prepare.crash_guard import apart, watched
from codeblock.annotate.prepare.render import Renderer
from codeblock.annotate.prepare.stage import segment_batch, tokenize_batch
from codeblock.core.cluster import peak_of, pending
from codeblock.core.config import PrepareConfig
from codeblock.core.errors import CodeBlockError
from codeblock.core.memory import process_peak_mb
from codeblock.core.models.load import load_tokenizer
from codeblock.core.models.ref import ModelRef
from codeblock.core.ray_data import Facts, Transform, Write, filled, read_parts, run_parts
from codeblock.core.records import SegmentedRecord, TokenizedRecord
from codeblock.core.schema import REJECTED, SEGMENTED, TOKENIZED
from codeblock.core.storage import store
from codeblock.core.storage.tables import part_rows, parts, read_part, write_part, write_text

_LOG = logging.getLogger(__name__)
ATTEMPTS = "attempts"
MAX_DEATHS = 5
"""Workers that a part may cost before the run ends."""


def tokenize(pairs: Path, output: Path, model: ModelRef, max_length: int) -> TokenizedRecord:
    """Tokenize every part of `pairs` into a part of `output` of the same name, rejections beside; returns the counts."""
    work = partial(_tokenize_part, model=model, max_length=max_length)
    return cast(TokenizedRecord, _run("tokenize", pairs, output, work, partial(_write, output=output, schema=TOKENIZED)))


def segment(tokenized: Path, output: Path, config: PrepareConfig) -> SegmentedRecord:
    """Segment every part of `tokenized` into a part of `output` of the same name, rejections beside; returns the counts."""
    store.remove_tree(output / ATTEMPTS)  # where a run was interrupted, no worker has ended for that
    work = partial(_segment_part, output=output, config=config)
    totals = _run("segment", tokenized, output, work, partial(_write, output=output, schema=SEGMENTED))
    store.remove_tree(output / ATTEMPTS)
    return cast(SegmentedRecord, totals)


SUMS = ("read", "kept", "tokens", "response_tokens", "response_bytes")
VALUES = {"datasets": "dataset", "languages": "language", "language_from": "language_from"}
"""What is counted by value, and its column."""
SCHEMAS = {"tokenize": TOKENIZED, "segment": SEGMENTED}
PartOutcome = tuple[pa.Table, dict[str, float]]


def _run(what: str, source: Path, output: Path, work: Transform, write: Write) -> dict[str, Any]:
    """Map the parts that `output` lacks; the counts of all parts, those of an interrupted call too."""
    there = parts(output)
    todo = filled(pending(parts(source), output), output, SCHEMAS[what].empty_table())
    results = run_parts(what, read_parts(todo), work, write)
    known = [_counts(part_rows(source / path.name), read_part(path), _rejected(output, path.name)) for path in there]
    counted = [*known, *results]
    totals: dict[str, Any] = {key: sum(part[key] for part in counted) for key in SUMS}
    names = ("reasons", *VALUES) if what == "segment" else ("reasons",)
    return {**totals, **{name: _added(part[name] for part in counted) for name in names}, "worker_peak_mb": peak_of(results)}


Tally = list[dict[str, Any]]
"""How often each `value` is found: a row of Arrow has no mapping with keys of its own."""


def _tally(column: pa.ChunkedArray) -> Tally:
    return [{"value": value, "count": count} for value, count in Counter(column.to_pylist()).items()]


def _added(tallies: Iterable[Tally]) -> dict[str, int]:
    """Tallies of all parts together, the most frequent first."""
    total: Counter[str] = Counter()
    for entry in chain.from_iterable(tallies):
        total[entry["value"]] += entry["count"]
    return dict(total.most_common())


def _tokenize_part(pairs: pa.Table, part: str, model: ModelRef, max_length: int) -> PartOutcome:  # noqa: ARG001
    return _joined(*tokenize_batch(pairs, _renderer(model), max_length))


def _segment_part(tokenized: pa.Table, part: str, output: Path, config: PrepareConfig) -> PartOutcome:
    segment_all = partial(apart if _deaths(output / ATTEMPTS / part) else watched, seconds=config.max_row_seconds)
    return _joined(*segment_batch(tokenized, config, segment_all))


def _joined(kept: pa.Table, rejected: pa.Table) -> PartOutcome:
    """One table of both, for a block has one schema: the rows without a reason come first, and are kept."""
    return pa.concat_tables([kept, rejected], promote_options="default"), {"peak_mb": process_peak_mb()}


def _write(rows: pa.Table, part: str, facts: Facts, output: Path, schema: pa.Schema) -> Facts:  # noqa: ARG001
    """Write the rows that are kept and, before them, those that are not; the counts of the part."""
    count = rows["reason"].null_count
    kept, rejected = rows.slice(0, count).select(schema.names), rows.slice(count).select(REJECTED.names)
    if rejected.num_rows:
        write_part(output / "rejected" / part, rejected)
    write_part(output / part, kept)
    store.remove(output / ATTEMPTS / part)
    return _counts(rows.num_rows, kept, rejected)


def _rejected(output: Path, name: str) -> pa.Table:
    path = output / "rejected" / name
    return read_part(path) if store.exists(path) else REJECTED.empty_table()


def _counts(read: int, kept: pa.Table, rejected: pa.Table) -> Facts:
    tokens = pc.sum(pc.list_value_length(kept["input_ids"])).as_py() or 0
    by_value = {name: column for name, column in VALUES.items() if "language" in kept.column_names}
    return {
        "read": read,
        "kept": kept.num_rows,
        "tokens": tokens,
        "response_tokens": tokens - (pc.sum(kept["response_start"]).as_py() or 0),
        "response_bytes": pc.sum(pc.binary_length(kept["response"])).as_py() or 0,
        "reasons": _tally(rejected["reason"]),
        **{name: _tally(kept[column]) for name, column in by_value.items()},
    }


def _deaths(mark: Path) -> int:
    """How many workers have ended with this part; notes that another one has it now."""
    deaths = len(store.read_text(mark)) if store.exists(mark) else 0
    if deaths >= MAX_DEATHS:  # Ray itself would go on for ever
        raise CodeBlockError(
            f"{mark.name}: {deaths} workers ended while they had this part, and no grammar is at fault; "
            "see what ended them in Ray's logs (too little memory?), and run again"
        )
    if deaths:
        _LOG.warning("%s: a worker ended while it had this part; its rows are now segmented in a child process", mark.name)
    write_text(mark, "." * (deaths + 1))
    return deaths


@cache
def _renderer(model: ModelRef) -> Renderer:
    return Renderer(load_tokenizer(model.path, model.revision))
