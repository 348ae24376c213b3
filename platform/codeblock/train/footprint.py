"""How much memory a fit takes, before it is started: weights, gradients and optimiser by mode, activations by length.

The bytes a parameter and a token were counted on SmolLM2-135M (docs/memory.md); tests hold them against a real step.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from codeblock.train.loss import CHUNK

if TYPE_CHECKING:
    from codeblock.core.config import TrainConfig

TRAINED = 16
"""Bytes of a trained parameter: weight, gradient and AdamW's two moments in float32."""
FLOAT32, BFLOAT16 = 4, 2
CAST = 2
"""Bytes of a trained parameter under bfloat16 autocast, which keeps a copy of each matrix from forward to backward pass."""
HIDDEN_BYTES = {"float32": 34.0, "bfloat16": 30.0}
INNER_BYTES = {"float32": 16.0, "bfloat16": 8.0}
"""Bytes that one layer saves of a token for its backward pass: so many times the hidden and the inner size."""
LOGIT_COPIES = 3
"""Float32 copies of a chunk's logits that exist at once: the logits, their softmax, the gradient."""
OVERHEAD = 1.1
"""What an allocator loses, and what a GPU's context takes: measured runs stay below."""


@dataclass(frozen=True)
class ModelSizes:
    """A model's sizes."""

    parameters: int
    adapter_parameters: int
    """Of adapters as `train.lora` asks for them."""
    layers: int
    hidden: int
    inner: int
    vocabulary: int


@dataclass(frozen=True)
class Footprint:
    """Bytes of one worker."""

    weights: float
    trained: float
    """Gradients, moments and casts of what is trained."""
    activations: float
    logits: float

    @property
    def total(self) -> float:
        """With the overhead."""
        return OVERHEAD * (self.weights + self.trained + self.activations + self.logits)

    @property
    def gib(self) -> float:
        return self.total / 2**30


def footprint(shape: ModelSizes, train: TrainConfig, tokens: int, workers: int = 1) -> Footprint:
    """The memory of a worker whose micro-batches have at most `tokens` tokens, padding included.

    With `train.shard` each of the `workers` holds its part of weights, gradients and moments; the casts of the layers that are
    gathered are counted whole, which is more than it takes.
    """
    trained = shape.adapter_parameters if train.mode == "lora" else shape.parameters
    frozen_bytes = BFLOAT16 if train.dtype == "bfloat16" else FLOAT32
    frozen = shape.parameters * frozen_bytes if train.mode == "lora" else 0
    of_token = HIDDEN_BYTES[train.dtype] * shape.hidden + INNER_BYTES[train.dtype] * shape.inner
    layers = shape.layers * of_token
    if train.gradient_checkpointing:  # each layer's input is kept, and one layer is whole at a time
        layers = shape.layers * FLOAT32 * shape.hidden + of_token
    cast = CAST if train.dtype == "bfloat16" else 0
    parts = workers if train.shard else 1
    return Footprint(
        weights=frozen + FLOAT32 * trained / parts,
        trained=trained * ((TRAINED - FLOAT32) / parts + cast),
        activations=tokens * layers,
        logits=min(CHUNK, tokens) * shape.vocabulary * FLOAT32 * LOGIT_COPIES,
    )


def shape_of(path: str, revision: str | None, train: TrainConfig) -> ModelSizes:
    """The sizes of a model from its config alone: it is built without memory. Raises CodeBlockError as `load_config`."""
    import torch
    from transformers import AutoModelForCausalLM

    from codeblock.core.models.config import load_config, quiet
    from codeblock.train.model import add_lora

    config = load_config(path, revision)
    text = config.get_text_config(decoder=True)
    with torch.device("meta"), quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        model: Any = AutoModelForCausalLM.from_config(text)
        parameters = sum(weight.numel() for weight in model.parameters())
        adapted = add_lora(model, train.lora)
    return ModelSizes(
        parameters=parameters,
        adapter_parameters=sum(weight.numel() for weight in adapted.parameters() if weight.requires_grad),
        layers=int(text.num_hidden_layers),
        hidden=int(text.hidden_size),
        inner=int(getattr(text, "intermediate_size", None) or 4 * text.hidden_size),
        vocabulary=int(text.vocab_size),
    )
