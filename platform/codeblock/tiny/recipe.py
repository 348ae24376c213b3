"""How large the embedded default is, and how long its base model is trained."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """Sizes of one build."""

    pairs: int = 2000
    """Instruction-response pairs, poor ones included."""
    tasks: int = 600
    """Held-out tasks of the benchmark."""
    vocabulary: int = 1024
    """Tokens of the tokenizer."""
    hidden: int = 128
    """Width of the model."""
    layers: int = 3
    """Layers of the model."""
    heads: int = 4
    """Attention heads of a layer."""
    base_steps: int = 450
    """Optimiser steps of the base model."""
    base_batch_tokens: int = 2000
    """Tokens of one such step."""
    base_learning_rate: float = 0.01
    """Peak learning rate of the base model's matrices (Muon)."""


SMALL = Recipe(pairs=200, tasks=24, vocabulary=512, hidden=64, layers=2, base_steps=30, base_batch_tokens=2000)
"""A build of a few seconds for tests; its model has learned next to nothing."""
