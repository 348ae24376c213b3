"""Maps `prepare_batch` over the parts of the pairs with Ray Data.

While a part is worked on, it has a mark in `attempts/` below the stage's directory, a byte for each worker that began it: one
that finds a mark knows that the part has cost other workers their lives, which Ray tells nobody.
"""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Iterable
from functools import cache, partial
from pathlib import Path
from typing import Any

from codeblock.annotate.prepare.crash_guard import apart, watched
from codeblock.annotate.prepare.render import Renderer
from codeblock.annotate.prepare.stage import prepare_batch
from codeblock.core.cluster import map_parts, peak_of
from codeblock.core.config import PrepareConfig
from codeblock.core.errors import CodeBlockError
from codeblock.core.memory import process_peak_mb
from codeblock.core.models.load import load_tokenizer
from codeblock.core.storage.tables import parts, read_part, write_part

_LOG = logging.getLogger(__name__)
ATTEMPTS = "attempts"
MAX_DEATHS = 5
"""Workers that a part may cost before the run ends."""


def prepare(
    pairs: Path, output: Path, config: PrepareConfig, tokenizer: str, revision: str | None, max_length: int
) -> dict[str, Any]:
    """Prepare every part of `pairs` into a part of `output` of the same name, rejections beside; returns the counts."""
    work = partial(_prepare_part, output=output, config=config, tokenizer=tokenizer, revision=revision, max_length=max_length)
    results = map_parts(work, [{"path": str(path)} for path in parts(pairs)], what="prepare")
    shutil.rmtree(output / ATTEMPTS, ignore_errors=True)
    totals = {key: sum(result[key] for result in results) for key in ("read", "kept", "tokens", "response_tokens")}
    counts = {key: _added(result[key] for result in results) for key in ("reasons", "datasets", "languages", "language_from")}
    return {**totals, **counts, "worker_peak_mb": peak_of(results)}


def _added(counts: Iterable[dict[str, int | None]]) -> dict[str, int]:
    """Counts of all parts together, the most frequent first (Arrow fills what a part lacks with nulls)."""
    total: Counter[str] = Counter()
    for each in counts:
        total.update({key: count for key, count in each.items() if count})
    return dict(total.most_common())


def _prepare_part(
    row: dict[str, Any], output: Path, config: PrepareConfig, tokenizer: str, revision: str | None, max_length: int
) -> dict[str, Any]:
    path = Path(row["path"])
    mark = output / ATTEMPTS / path.name
    deaths = _deaths(mark)
    segment_all = partial(apart if deaths else watched, seconds=config.max_row_seconds)
    pairs = read_part(path)
    prepared, rejected = prepare_batch(pairs, _renderer(tokenizer, revision), config, max_length, segment_all)
    if rejected.num_rows:
        write_part(output / "rejected" / path.name, rejected)
    write_part(output / path.name, prepared)
    mark.unlink(missing_ok=True)
    tokens = sum(len(ids) for ids in prepared["input_ids"])
    return {
        "read": pairs.num_rows,
        "kept": prepared.num_rows,
        "tokens": tokens,
        "response_tokens": tokens - sum(prepared["response_start"].to_pylist()),
        "reasons": dict(Counter(rejected["reason"].to_pylist())),
        "datasets": dict(Counter(prepared["dataset"].to_pylist())),
        "languages": dict(Counter(prepared["language"].to_pylist())),
        "language_from": dict(Counter(prepared["language_from"].to_pylist())),
        "peak_mb": process_peak_mb(),
    }


def _deaths(mark: Path) -> int:
    """How many workers have ended with this part; notes that another one has it now."""
    deaths = len(mark.read_bytes()) if mark.exists() else 0
    if deaths >= MAX_DEATHS:  # Ray itself would go on for ever
        raise CodeBlockError(
            f"{mark.name}: {deaths} workers ended while they had this part, and no grammar is at fault; "
            "see what ended them in Ray's logs (too little memory?), and run again"
        )
    if deaths:
        _LOG.warning("%s: a worker ended while it had this part; its rows are now segmented in a child process", mark.name)
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.write_bytes(b"." * (deaths + 1))
    return deaths


@cache
def _renderer(tokenizer: str, revision: str | None) -> Renderer:
    return Renderer(load_tokenizer(tokenizer, revision))
