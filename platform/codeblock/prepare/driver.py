"""Maps `prepare_batch` over the parts of the pairs with Ray Data."""

from __future__ import annotations

from collections import Counter
from functools import cache, partial
from pathlib import Path
from typing import Any

from codeblock.cluster import map_parts, peak_of
from codeblock.config import PrepareConfig
from codeblock.memory import process_peak_mb
from codeblock.models import load_tokenizer
from codeblock.prepare.render import Renderer
from codeblock.prepare.stage import prepare_batch
from codeblock.tables import parts, read_part, write_part


def prepare(
    pairs: Path, output: Path, config: PrepareConfig, tokenizer: str, revision: str | None, max_length: int
) -> dict[str, Any]:
    """Prepare every part of `pairs` into a part of `output` of the same name, rejections beside; returns the counts."""
    work = partial(_prepare_part, output=output, config=config, tokenizer=tokenizer, revision=revision, max_length=max_length)
    results = map_parts(work, [{"path": str(path)} for path in parts(pairs)], what="prepare")
    reasons: Counter[str] = Counter()
    for result in results:
        reasons.update({reason: count for reason, count in result["reasons"].items() if count})
    totals = {key: sum(result[key] for result in results) for key in ("kept", "tokens", "response_tokens")}
    return {
        "read": sum(result["read"] for result in results),
        **totals,
        "reasons": dict(reasons),
        "worker_peak_mb": peak_of(results),
    }


def _prepare_part(
    row: dict[str, Any], output: Path, config: PrepareConfig, tokenizer: str, revision: str | None, max_length: int
) -> dict[str, Any]:
    path = Path(row["path"])
    pairs = read_part(path)
    prepared, rejected = prepare_batch(pairs, _renderer(tokenizer, revision), config, max_length)
    if rejected.num_rows:
        write_part(output / "rejected" / path.name, rejected)
    write_part(output / path.name, prepared)
    tokens = sum(len(ids) for ids in prepared["input_ids"])
    return {
        "read": pairs.num_rows,
        "kept": prepared.num_rows,
        "tokens": tokens,
        "response_tokens": tokens - sum(prepared["response_start"].to_pylist()),
        "reasons": dict(Counter(rejected["reason"].to_pylist())),
        "peak_mb": process_peak_mb(),
    }


@cache
def _renderer(tokenizer: str, revision: str | None) -> Renderer:
    return Renderer(load_tokenizer(tokenizer, revision))
