"""What a pass of a model costs, in floating-point operations (FLOPs: a multiplication with its addition counts as 2).

Matrix products only, as is usual (Kaplan et al. 2020, arXiv 2001.08361, section 2.1; attention as in Chowdhery et al. 2022,
arXiv 2204.02311, appendix B): element-wise work, norms and the optimiser are left out. What is counted is what is computed:
padding where it goes through the model, and attention over all T x T, whether or not a kernel skips what is masked.

Per token and weight of a matrix: 2 forward, 2 backward to the inputs, 2 backward to the weights where these are trained. Frozen
weights (LoRA) have no gradient of their own: 4 in place of 6, and 6 for the small adapters. Attention: 2 products of T x T x
(heads x head size) forward, 4 backward.

Shape legend: B rows, T padded length, L layers, N positions with logits, S most of them in a row, V vocabulary, D hidden size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from codeblock.core.config import LoraConfig
from codeblock.core.models.config import load_config
from codeblock.core.models.padding import batches_by_length
from codeblock.evaluate.answers import SHRINK_EVERY
from codeblock.train.last_layer import sparse_last_layer
from codeblock.train.loss import CHUNK
from codeblock.train.model import SPARSE_SHARE

MATMUL = 2
"""FLOPs of a weight and a token in one product."""


@dataclass(frozen=True)
class ModelShape:
    """The sizes of a model that decide what a token costs; weights of matrices, without norms and biases."""

    layers: int
    layer: int
    """Weights of one layer."""
    keys_values: int
    """Of these, the projections to keys and values; 0 where the layer has one matrix for all."""
    queries: int
    """Of these, the projection to queries; 0 likewise."""
    attention: int
    """Heads x head size."""
    head: int
    """Weights of the output head, V x D: they cost where logits are made, and as an embedding nothing."""
    sparse: bool
    """Whether training computes the last layer at positions with a loss only."""
    linear: tuple[tuple[str, int, int], ...]
    """The matrices of one layer: name, inputs, outputs."""

    @property
    def body(self) -> int:
        """Weights of all layers."""
        return self.layers * self.layer

    def attend(self, queries: float, keys: float) -> float:
        """FLOPs of one layer's attention of one row, forward."""
        return 2 * MATMUL * self.attention * queries * keys


@dataclass(frozen=True)
class Adapters:
    """Low-rank adapters on the matrices of a layer."""

    rank: int
    names: frozenset[str]

    def weights(self, shape: ModelShape, among: Callable[[str], bool] = lambda _: True) -> int:
        """Their weights in one layer, on the matrices `among`."""
        return sum(self.rank * (i + o) for name, i, o in shape.linear if name in self.names and among(name))


def shape_of(path: str, revision: str | None = None) -> ModelShape:
    """The shape of a model, from its config alone: no weights are read. Raises CodeBlockError and ValueError."""
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(load_config(path, revision), trust_remote_code=False)
    return shape_of_model(model)


def shape_of_model(model: Any) -> ModelShape:
    """The shape of a model whose layers are alike, in `get_decoder().layers` (or `.h`)."""
    decoder, config = model.get_decoder(), model.config
    layers = getattr(decoder, "layers", None) or decoder.h
    matrices = [(name, module) for name, module in layers[0].named_modules() if getattr(module, "weight", None) is not None]
    linear = tuple((name.rpartition(".")[2], *_sizes(module)) for name, module in matrices if module.weight.ndim == 2)
    size = {name: inputs * outputs for name, inputs, outputs in linear}
    heads = config.num_attention_heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    return ModelShape(
        layers=len(layers),
        layer=sum(inputs * outputs for _, inputs, outputs in linear),
        keys_values=size.get("k_proj", 0) + size.get("v_proj", 0),
        queries=size.get("q_proj", 0),
        attention=heads * head_dim,
        head=model.get_output_embeddings().weight.numel(),
        sparse=sparse_last_layer(decoder) is not None,
        linear=linear,
    )


def adapters_of(shape: ModelShape, config: LoraConfig) -> Adapters:
    """The adapters that a config puts on a model."""
    targets = config.target_modules
    names = {name for name, _, _ in shape.linear}
    return Adapters(config.rank, frozenset(names if isinstance(targets, str) else names.intersection(targets)))


def forward_flops(
    shape: ModelShape, rows: int, width: int, logits: int, adapters: Adapters | None = None, layers: int | None = None
) -> float:
    """A forward pass over `rows` x `width` tokens, logits at `logits` positions. `layers`: only the first so many."""
    count = shape.layers if layers is None else layers
    weights = shape.layer + (adapters.weights(shape) if adapters else 0)
    dense = MATMUL * weights * rows * width + rows * shape.attend(width, width)
    return count * dense + MATMUL * shape.head * logits


def padded_forward_flops(
    shape: ModelShape, lengths: Sequence[int], logits: Sequence[int], batch_tokens: int, adapters: Adapters | None = None
) -> float:
    """Forward passes over pairs in `padding.batches_by_length`, each with its number of positions with logits."""
    return sum(
        forward_flops(shape, len(batch), lengths[batch[0]], sum(logits[pair] for pair in batch), adapters)
        for batch in batches_by_length(lengths, batch_tokens)
    )


def generation_flops(
    shape: ModelShape, batches: Iterable[tuple[int, Sequence[int]]], adapters: Adapters | None = None
) -> float:
    """Answers made with a key-value cache. A batch: tokens of its longest prompt, to which all are padded, and of each answer.

    An answer that has ended costs on until its row leaves (SHRINK_EVERY). One position of the prompt gets logits.
    """
    total = 0.0
    weights = shape.body + (shape.layers * adapters.weights(shape) if adapters else 0)
    for prompt, answers in batches:
        total += forward_flops(shape, len(answers), prompt, len(answers), adapters)
        for tokens in answers:
            made = min(max(answers), -(-tokens // SHRINK_EVERY) * SHRINK_EVERY)
            steps = max(0, made - 1)  # the prompt's pass gives the first token
            keys = steps * prompt + steps * (steps + 1) / 2
            total += steps * MATMUL * (weights + shape.head) + shape.layers * shape.attend(1, 1) * keys
    return total


@dataclass(frozen=True)
class Trained:
    """How a model is trained: what is frozen, and what is computed twice."""

    adapters: Adapters | None = None
    checkpointing: bool = False


def training_flops(shape: ModelShape, rows: int, width: int, supervised: int, most: int, how: Trained) -> float:
    """Forward and backward pass of one micro-batch, as `train.model.MaskedLM` computes it.

    supervised: N, the positions with a loss; most: S, the most of them in a row. The last layer is computed for these alone
    where they are few, but for its keys and values. More positions than `loss.CHUNK` have their logits computed twice.
    """
    sparse = shape.sparse and most <= SPARSE_SHARE * width
    tokens = rows * width
    dense = shape.layers - 1 if sparse else shape.layers
    attention = dense * rows * shape.attend(width, width)
    kinds: list[tuple[Callable[[str], bool], int, float]] = [(lambda _: True, shape.layer, dense * tokens)]
    if sparse:
        attention += rows * shape.attend(most, width)
        kinds += [
            (_is_key_or_value, shape.keys_values, tokens),
            (lambda name: not _is_key_or_value(name), shape.layer - shape.keys_values, supervised),
        ]
    adapters = how.adapters
    frozen = sum(weights * at for _, weights, at in kinds)
    small = sum(adapters.weights(shape, among) * at for among, _, at in kinds) if adapters else 0.0
    head = shape.head * supervised
    if adapters is None:
        total = 3 * MATMUL * (frozen + head)
    else:
        # Nothing below the first layer's queries, keys and values needs a gradient; PEFT asks for one with checkpointing.
        first = 0 if how.checkpointing else (shape.queries + shape.keys_values) * tokens
        total = MATMUL * (2 * frozen - first + 3 * small + 2 * head)
    total += 3 * attention + (MATMUL * head if supervised > CHUNK else 0)
    if how.checkpointing:
        again = shape.layers - 1 if shape.sparse else shape.layers
        total += forward_flops(shape, rows, width, 0, adapters, again) - again * MATMUL * tokens * _last(shape, adapters)
    return total


def _last(shape: ModelShape, adapters: Adapters | None) -> int:
    """Weights of a layer's last product: recomputing stops before it, for its result is not needed."""
    name, inputs, outputs = shape.linear[-1]
    return adapters.rank * outputs if adapters and name in adapters.names else inputs * outputs


def _is_key_or_value(name: str) -> bool:
    return name in ("k_proj", "v_proj")


def _sizes(module: Any) -> tuple[int, int]:
    """Inputs and outputs of a matrix; GPT-2's own kind keeps it transposed."""
    first, second = module.weight.shape
    return (first, second) if type(module).__name__ == "Conv1D" else (second, first)
