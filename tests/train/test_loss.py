"""The sparse loss equals the naive one: all logits, then a mask."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from codeblock.train.loss import sparse_cross_entropy, token_nll

N, D, V = 37, 16, 53


def naive(hidden_ND: torch.Tensor, head: nn.Linear, targets_N: torch.Tensor, weights_N: torch.Tensor) -> torch.Tensor:
    log_p_NV = torch.log_softmax(head(hidden_ND), dim=-1)
    return -(weights_N * log_p_NV[torch.arange(len(targets_N)), targets_N]).sum()


def example(dtype: torch.dtype, bias: bool = False) -> tuple[torch.Tensor, nn.Linear, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    hidden_ND = torch.randn(N, D, dtype=dtype, generator=generator, requires_grad=True)
    head = nn.Linear(D, V, bias=bias, dtype=dtype)
    weights_N = torch.rand(N, dtype=dtype, generator=generator, requires_grad=True)
    return hidden_ND, head, torch.randint(0, V, (N,), generator=generator), weights_N


@pytest.mark.parametrize("chunk", [1, 10, 36, 37, 1000])
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
def test_value_and_all_gradients_equal_the_naive_loss_whatever_the_chunk(chunk: int, dtype: torch.dtype, rtol: float) -> None:
    hidden_ND, head, targets_N, weights_N = example(dtype)
    wanted = [hidden_ND, head.weight, weights_N]
    expected = naive(hidden_ND, head, targets_N, weights_N)
    expected_gradients = torch.autograd.grad(expected, wanted)

    loss = sparse_cross_entropy(hidden_ND, head.weight, targets_N, weights_N, chunk=chunk)

    torch.testing.assert_close(loss, expected, rtol=rtol, atol=0)
    for gradient, expected_gradient in zip(torch.autograd.grad(loss, wanted), expected_gradients, strict=True):
        torch.testing.assert_close(gradient, expected_gradient, rtol=rtol, atol=rtol * float(gradient.abs().max()))


def test_the_gradient_of_a_weight_is_the_nll_of_its_token() -> None:
    hidden_ND, head, targets_N, weights_N = example(torch.float64)
    loss = sparse_cross_entropy(hidden_ND, head, targets_N, weights_N, chunk=8)
    (gradient_N,) = torch.autograd.grad(loss, [weights_N])
    torch.testing.assert_close(gradient_N, token_nll(hidden_ND, head, targets_N, chunk=5), rtol=1e-12, atol=0)


def test_a_head_with_a_bias_is_taken_as_a_module() -> None:
    hidden_ND, head, targets_N, weights_N = example(torch.float64, bias=True)
    loss = sparse_cross_entropy(hidden_ND, head, targets_N, weights_N, chunk=8)
    torch.testing.assert_close(loss, naive(hidden_ND, head, targets_N, weights_N), rtol=1e-9, atol=0)


def test_under_autocast_the_softmax_is_float32() -> None:
    hidden_ND, head, targets_N, _ = example(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits_NV = head(hidden_ND)
        nll_N = token_nll(hidden_ND, head, targets_N)
    assert logits_NV.dtype == torch.bfloat16
    expected_N = nn.functional.cross_entropy(logits_NV.float(), targets_N, reduction="none")
    assert nll_N.dtype == torch.float32
    torch.testing.assert_close(nll_N, expected_N, rtol=1e-6, atol=1e-6)


def test_never_more_logits_than_a_chunk_are_held_for_the_backward_pass() -> None:
    hidden_ND, head, targets_N, weights_N = example(torch.float32)
    rows = []

    def head_that_counts(hidden_nD: torch.Tensor) -> torch.Tensor:
        rows.append(len(hidden_nD))
        return nn.functional.linear(hidden_nD, head.weight)

    saved = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        saved.append(tensor.shape)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = sparse_cross_entropy(hidden_ND, head_that_counts, targets_N, weights_N, chunk=10)
    assert max(rows) == 10
    assert not [shape for shape in saved if shape[-1:] == (V,)]
    torch.autograd.grad(loss, [hidden_ND])
    assert sorted(rows) == sorted([10, 10, 10, 7] * 2)


def test_the_module_imports_neither_ray_nor_mlflow_nor_transformers() -> None:
    code = (
        "import sys, codeblock.train.loss; print([name for name in ('ray', 'mlflow', 'transformers') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
