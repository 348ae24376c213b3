"""Runs the stage `selected` over a cluster where there are parts enough to be worth it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from codeblock.core.cluster import map_parts
from codeblock.core.models.load import load_tokenizer
from codeblock.core.models.ref import ModelRef
from codeblock.core.records import SelectedRecord
from codeblock.selection.request import SelectRequest
from codeblock.selection.stage import select_parts

LOCAL_PARTS = 64
"""With fewer parts (some 16,000 pairs) the driver's process is done before Ray Data has started its tasks."""

PartWork = dict[str, Any]


def select_arm(request: SelectRequest, model: ModelRef, output: Path) -> SelectedRecord:
    """`stage.select_parts` with an audit of the masks' text; the parts in tasks where there are many."""
    return select_parts(request, output, load_tokenizer(model.path, model.revision), _mapper)


def _mapper(work: Callable[[PartWork], PartWork], items: Sequence[PartWork]) -> Iterable[PartWork]:
    return map_parts(work, items, what="select") if len(items) > LOCAL_PARTS else map(work, items)
