"""Maps `tokenize_batch` and `segment_batch` over parts with Ray Data.

While a part is segmented, it has a mark in `attempts/` below the stage's directory, a byte for each worker that began it: one
that finds a mark knows that the part has cost other workers their lives, which Ray tells nobody.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc

from codeblock.annotate.prepare.crash_guard import apart, watched
from codeblock.annotate.prepare.render import Renderer
from codeblock.annotate.prepare.stage import segment_batch, tokenize_batch
from codeblock.core.cluster import map_parts, peak_of
from codeblock.core.config import PrepareConfig
from codeblock.core.errors import CodeBlockError
from codeblock.core.memory import process_peak_mb
from codeblock.core.models.load import load_tokenizer
from codeblock.core.records import SegmentedRecord, TokenizedRecord
from codeblock.core.storage import store
from codeblock.core.storage.tables import parts, read_part, write_part, write_text

_LOG = logging.getLogger(__name__)
ATTEMPTS = "attempts"
MAX_DEATHS = 5
"""Workers that a part may cost before the run ends."""


def tokenize(pairs: Path, output: Path, tokenizer: str, revision: str | None, max_length: int) -> TokenizedRecord:
    """Tokenize every part of `pairs` into a part of `output` of the same name, rejections beside; returns the counts."""
    work = partial(_tokenize_part, output=output, tokenizer=tokenizer, revision=revision, max_length=max_length)
    results = map_parts(work, [{"path": str(path)} for path in parts(pairs)], what="tokenize")
    return cast(TokenizedRecord, _totals(results, ("reasons",)))


def segment(tokenized: Path, output: Path, config: PrepareConfig) -> SegmentedRecord:
    """Segment every part of `tokenized` into a part of `output` of the same name, rejections beside; returns the counts."""
    work = partial(_segment_part, output=output, config=config)
    results = map_parts(work, [{"path": str(path)} for path in parts(tokenized)], what="segment")
    store.remove_tree(output / ATTEMPTS)
    return cast(SegmentedRecord, _totals(results, ("reasons", "datasets", "languages", "language_from")))


SUMS = ("read", "kept", "tokens", "response_tokens", "response_bytes")


def _totals(results: Sequence[dict[str, Any]], counts: Sequence[str]) -> dict[str, Any]:
    totals = {key: sum(result[key] for result in results) for key in SUMS}
    return {**totals, **{key: _added(result[key] for result in results) for key in counts}, "worker_peak_mb": peak_of(results)}


def _added(counts: Iterable[dict[str, int | None]]) -> dict[str, int]:
    """Counts of all parts together, the most frequent first (Arrow fills what a part lacks with nulls)."""
    total: Counter[str] = Counter()
    for each in counts:
        total.update({key: count for key, count in each.items() if count})
    return dict(total.most_common())


def _tokenize_part(row: dict[str, Any], output: Path, tokenizer: str, revision: str | None, max_length: int) -> dict[str, Any]:
    path = Path(row["path"])
    pairs = read_part(path)
    tokenized, rejected = tokenize_batch(pairs, _renderer(tokenizer, revision), max_length)
    return _written(output, path.name, pairs.num_rows, tokenized, rejected)


def _segment_part(row: dict[str, Any], output: Path, config: PrepareConfig) -> dict[str, Any]:
    path = Path(row["path"])
    mark = output / ATTEMPTS / path.name
    segment_all = partial(apart if _deaths(mark) else watched, seconds=config.max_row_seconds)
    tokenized = read_part(path)
    segmented, rejected = segment_batch(tokenized, config, segment_all)
    counts = _written(output, path.name, tokenized.num_rows, segmented, rejected)
    store.remove(mark)
    told = {"datasets": "dataset", "languages": "language", "language_from": "language_from"}
    return {**counts, **{key: dict(Counter(segmented[column].to_pylist())) for key, column in told.items()}}


def _written(output: Path, name: str, read: int, kept: pa.Table, rejected: pa.Table) -> dict[str, Any]:
    """Write a part; its counts."""
    if rejected.num_rows:
        write_part(output / "rejected" / name, rejected)
    write_part(output / name, kept)
    tokens = pc.sum(pc.list_value_length(kept["input_ids"])).as_py() or 0
    return {
        "read": read,
        "kept": kept.num_rows,
        "tokens": tokens,
        "response_tokens": tokens - sum(kept["response_start"].to_pylist()),
        "response_bytes": pc.sum(pc.binary_length(kept["response"])).as_py() or 0,
        "reasons": dict(Counter(rejected["reason"].to_pylist())),
        "peak_mb": process_peak_mb(),
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
def _renderer(tokenizer: str, revision: str | None) -> Renderer:
    return Renderer(load_tokenizer(tokenizer, revision))
