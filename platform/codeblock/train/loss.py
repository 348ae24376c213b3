"""Cross-entropy at the supervised positions only, for any trainer. Imports torch and nothing else.

Shape legend: N supervised positions, D hidden size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

CHUNK = 1024
"""Positions whose logits exist at the same time; 1024 x 150k float32 logits take 0.6 GB."""

Head = Tensor | Callable[[Tensor], Tensor]
"""The output head: its weight [V, D], or the module itself (with a bias, quantised, or with adapters)."""


def sparse_cross_entropy(hidden_ND: Tensor, lm_head: Head, targets_N: Tensor, weights_N: Tensor, chunk: int = CHUNK) -> Tensor:
    """The summed loss `sum(w_t * nll_t)` (natural log), with logits at no other position than the N given ones.

    hidden_ND: hidden states *after* the final norm, gathered at the positions that predict a supervised token: the
        token at position t is predicted by the hidden state at t-1.
    lm_head: weight [V, D] of the output head, or the head as a module or function [n, D] -> [n, V].
    targets_N: int64 ids of the supervised tokens.
    weights_N: float weights of their losses; divide the result by the sum of the weights of the *global* batch.
    chunk: positions whose logits are held at once. With N > chunk the backward pass computes the logits again, so
        no more than chunk x V of them ever exist.

    Returns a scalar: float32 also under autocast and for half-precision inputs, float64 for float64 inputs.
    """
    spans = zip(*(torch.split(of_N, chunk) for of_N in (hidden_ND, targets_N, weights_N)), strict=True)
    if len(hidden_ND) <= chunk or not torch.is_grad_enabled():
        losses = [_weighted_nll(lm_head, *span) for span in spans]
    else:
        losses = [checkpoint(_weighted_nll, lm_head, *span, use_reentrant=False) for span in spans]
    return torch.stack(losses).sum()


def token_nll(hidden_ND: Tensor, lm_head: Head, targets_N: Tensor, chunk: int = CHUNK) -> Tensor:
    """The nll [N] of each target (natural log, float32 or float64), without gradients; arguments as above."""
    with torch.no_grad():
        spans = zip(torch.split(hidden_ND, chunk), torch.split(targets_N, chunk), strict=True)
        return torch.cat([_nll(lm_head, hidden_nD, targets_n) for hidden_nD, targets_n in spans])


def _weighted_nll(lm_head: Head, hidden_nD: Tensor, targets_n: Tensor, weights_n: Tensor) -> Tensor:
    return (weights_n * _nll(lm_head, hidden_nD, targets_n)).sum()


def _nll(lm_head: Head, hidden_nD: Tensor, targets_n: Tensor) -> Tensor:
    logits_nV = nn.functional.linear(hidden_nD, lm_head) if isinstance(lm_head, Tensor) else lm_head(hidden_nD)
    # A 16-bit log-softmax over a large vocabulary loses the small probabilities; float64 stays what it is.
    logits_nV = logits_nV.to(torch.promote_types(logits_nV.dtype, torch.float32))
    return nn.functional.cross_entropy(logits_nV, targets_n, reduction="none")
