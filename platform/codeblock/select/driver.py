"""Runs the stage `selected` over a cluster where there are parts enough to be worth it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from codeblock.cluster import map_parts
from codeblock.config import SelectConfig
from codeblock.models import load_tokenizer
from codeblock.select.stage import select_parts

LOCAL_PARTS = 64
"""With fewer parts (some 30,000 pairs) the driver's process is done before Ray Data has started its tasks."""

Item = dict[str, Any]


def select_arm(
    scored: Path,
    output: Path,
    strategy: str,
    settings: SelectConfig,
    dev_pairs: int,
    seed: int,
    extra: Mapping[str, Path],
    long_tail: Path | None,
    tokenizer: str,
    revision: str | None,
) -> dict[str, Any]:
    """`stage.select_parts` with an audit of the masks' text; the parts in tasks where there are many."""
    return select_parts(
        scored, output, strategy, settings, dev_pairs, seed, extra, long_tail, load_tokenizer(tokenizer, revision), _mapper
    )


def _mapper(work: Callable[[Item], Item], items: Sequence[Item]) -> Iterable[Item]:
    return map_parts(work, items, what="select") if len(items) > LOCAL_PARTS else map(work, items)
