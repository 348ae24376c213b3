"""Where a model lies: what a stage is given of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelRef:
    """A model to be loaded, with its tokenizer."""

    path: str
    """Directory, or name on the hub."""
    revision: str | None = None
    """Of a model on the hub; empty: its newest."""
