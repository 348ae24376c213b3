"""The best look at the held-out pairs so far: when to end a fit that no longer gets better, and which weights it ends with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


class Best:
    """Follows the nll of the held-out supervised tokens. `keep`: hold a copy of the best weights on the CPU."""

    def __init__(self, keep: bool = False) -> None:
        self.step: int | None = None
        """Step of the best look; None before the first one with a held-out supervised token."""
        self.looks_since = 0
        self._keep = keep
        self._nll = float("inf")
        self._weights: dict[str, Tensor] = {}

    def see(self, step: int, rows: Sequence[Mapping[str, Any]], weights: Mapping[str, Tensor]) -> None:
        """A look after `step` (rows as of `dev_nll`), and the trained weights as they are. A tie counts as no better."""
        supervised = [row for row in rows if row["supervised"]]
        tokens = sum(row["tokens"] for row in supervised)
        if not tokens:
            return
        nll = sum(row["nll"] * row["tokens"] for row in supervised) / tokens
        self.looks_since += 1
        if nll < self._nll:
            self.step, self._nll, self.looks_since = step, nll, 0
            if self._keep:
                self._weights = {name: weight.detach().to("cpu", copy=True) for name, weight in weights.items()}

    @torch.no_grad()
    def put_back(self, weights: Mapping[str, Tensor]) -> None:
        """Copy the best weights into the model's; nothing where none were kept."""
        for name, weight in self._weights.items():
            weights[name].copy_(weight)

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"step": self.step, "looks_since": self.looks_since, "nll": self._nll, "weights": self._weights}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.step, self.looks_since, self._nll = state["step"], state["looks_since"], state["nll"]
        self._weights = dict(state["weights"])
