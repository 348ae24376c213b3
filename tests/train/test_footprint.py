"""What a fit will take is told beforehand: bytes a parameter exactly, activations within a quarter of a real step's."""

from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from codeblock.core.config import LoraConfig, TrainConfig
from codeblock.core.models.ref import ModelRef
from codeblock.train import driver
from codeblock.train.batches import MicroBatch
from codeblock.train.footprint import CAST, FLOAT32, Footprint, footprint, shape_of
from codeblock.train.step import make_optimizer

TOKENS = 256
SUPERVISED = 16


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    sizes = {"hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 6, "num_attention_heads": 3}
    config = LlamaConfig(**sizes, num_key_value_heads=1, vocab_size=512, tie_word_embeddings=True)
    LlamaForCausalLM(config).save_pretrained(path)
    return str(path)


def measured(directory: str, config: TrainConfig) -> tuple[int, int, int]:
    """Bytes of weights, of gradients and moments, and of what a forward pass saves for its backward pass, but weights and casts
    of them."""
    masked = driver.load_for_training(ModelRef(directory), config)
    masked.train()
    optimizer = make_optimizer(masked, 1e-4, 0.0)
    weights = list(masked.parameters())
    shapes = {tuple(weight.shape) for weight in weights} | {tuple(weight.shape[::-1]) for weight in weights if weight.ndim == 2}
    saved: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tuple(tensor.shape) not in shapes:
            saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    ids_BT = torch.randint(0, 512, (1, TOKENS))
    index_N = torch.arange(TOKENS - SUPERVISED, TOKENS)
    batch = MicroBatch(ids_BT, None, index_N, ids_BT[0, :SUPERVISED], torch.ones(SUPERVISED), TOKENS, SUPERVISED)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss: Any = masked(batch)
    loss.backward()
    optimizer.step()
    of_gradients = sum(_bytes(weight.grad) for weight in weights if weight.grad is not None)
    of_moments = sum(_bytes(each) for state in optimizer.state.values() for each in state.values() if each.ndim)
    return sum(map(_bytes, weights)), of_gradients + of_moments, sum(saved.values())


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def estimated(directory: str, config: TrainConfig) -> tuple[Footprint, int]:
    """The estimate, and how many parameters are trained."""
    shape = shape_of(directory, None, config)
    return footprint(shape, config, TOKENS), shape.adapter_parameters if config.mode == "lora" else shape.parameters


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("mode", ["full", "lora"])
def test_the_estimate_is_that_of_a_real_step(directory: str, mode: Any, dtype: Any, checkpointing: bool) -> None:
    config = TrainConfig(mode=mode, dtype=dtype, gradient_checkpointing=checkpointing, lora=LoraConfig(rank=4))
    of_weights, of_training, of_activations = measured(directory, config)
    found, trained = estimated(directory, config)
    cast = CAST * trained if dtype == "bfloat16" else 0
    assert found.weights == of_weights
    assert found.trained == of_training + cast
    if checkpointing:  # the layer that is computed again is not among what the forward pass has saved
        assert of_activations < found.activations < 3 * of_activations
    else:
        assert 0.8 < found.activations / of_activations < 1.25


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_frozen_weights_are_in_the_dtype_of_the_arithmetic_and_adapters_in_float32(directory: str, dtype: Any) -> None:
    masked = driver.load_for_training(ModelRef(directory), TrainConfig(mode="lora", dtype=dtype))
    kinds = {(weight.requires_grad, weight.dtype) for weight in masked.parameters()}
    assert kinds == {(True, torch.float32), (False, getattr(torch, dtype))}


def test_an_8b_model_fits_a_card_of_80_gib_by_lora_and_not_by_full_weights() -> None:
    from codeblock.train.footprint import ModelSizes

    llama8b = ModelSizes(8_030_261_248, 41_943_040, 32, 4096, 14336, 128256)
    lora = TrainConfig(mode="lora", dtype="bfloat16", gradient_checkpointing=True)
    full = lora.model_copy(update={"mode": "full"})
    assert footprint(llama8b, lora, 8192).gib < 80 < footprint(llama8b, full, 8192).gib
    assert footprint(llama8b, lora, 8192).weights == 2 * llama8b.parameters + FLOAT32 * llama8b.adapter_parameters
