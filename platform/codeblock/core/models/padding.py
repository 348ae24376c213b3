"""Padded batches of pairs for a forward pass; whoever runs a frozen model over pairs makes them here.

Shapes: B pairs of a batch, T tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


def batches_by_length(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Indices of pairs, longest first, so that each batch holds at most `batch_tokens` padded tokens (or one pair)."""
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    start = 0
    while start < len(order):
        size = max(1, batch_tokens // max(1, lengths[order[start]]))
        yield order[start : start + size]
        start += size


def pad(rows: Sequence[NDArray[Any]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and attention mask int64[B, T] of some pairs, padded on the right with zeros."""
    width = max(row.size for row in rows)
    ids = np.zeros((len(rows), width), dtype=np.int64)
    mask = np.zeros((len(rows), width), dtype=np.int64)
    for index, row in enumerate(rows):
        ids[index, : row.size] = row
        mask[index, : row.size] = 1
    return torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)
