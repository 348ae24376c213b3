"""Attention on GPUs that is as fast for a new shape as for one that was seen before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def attention_of_any_shape() -> Iterator[None]:
    """No attention by cuDNN, which PyTorch takes first on newer GPUs where it can.

    It builds a plan for each shape that it has not seen: tens of milliseconds and more, for every token of an answer and for
    every batch of another length. The kernels that come next need none. Also a decorator.
    """
    cuda: Any = torch.backends.cuda
    before = cuda.cudnn_sdp_enabled()
    cuda.enable_cudnn_sdp(False)
    try:
        yield
    finally:
        cuda.enable_cudnn_sdp(before)
