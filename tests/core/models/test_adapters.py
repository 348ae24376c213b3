"""Adapters load with their base wherever that lies, or are refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
from tests.core.models.spoilt import change, refused
from transformers import AutoModelForCausalLM

from codeblock.core.models.files import check_files
from codeblock.core.models.load import context_length, load_model, load_tokenizer
from codeblock.core.models.nll import response_nll
from codeblock.experiment.fingerprint import model_fingerprint


def make_adapter(base: Path, directory: Path, **more: Any) -> None:
    settings = peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False, **more)
    torch.manual_seed(1)
    peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), settings).save_pretrained(directory)


@pytest.mark.parametrize("task", [None, "CAUSAL_LM"])
def test_an_adapter_is_taken_wherever_its_base_is(model: Path, tmp_path: Path, task: str | None) -> None:
    adapter = tmp_path / "adapter"
    make_adapter(model, adapter, task_type=task)
    check_files(str(adapter))
    assert context_length(str(adapter)) == 256
    assert load_tokenizer(str(adapter)).get_vocab() == load_tokenizer(str(model)).get_vocab()
    ids = [np.arange(5, 20, dtype=np.int32)]
    adapted, base = (response_nll(load_model(str(path)), ids, [3], 64)[0] for path in (adapter, model))
    assert np.abs(adapted - base)[3:].max() > 1e-4


def test_the_fingerprint_of_an_adapter_holds_its_base(model: Path, tmp_path: Path) -> None:
    adapter, cache = tmp_path / "adapter", tmp_path / "cache"
    make_adapter(model, adapter)
    before = model_fingerprint(str(adapter), None, cache)
    assert model_fingerprint(str(adapter), None, cache) == before
    change(model / "config.json", rms_norm_eps=1e-5)
    assert model_fingerprint(str(adapter), None, cache) != before


def test_a_base_beside_its_adapter_is_found(model: Path, tmp_path: Path) -> None:
    make_adapter(model, tmp_path / "adapter")
    change(tmp_path / "adapter" / "adapter_config.json", base_model_name_or_path="../model")
    assert context_length(str(tmp_path / "adapter")) == 256
    assert load_model(str(tmp_path / "adapter")).get_base_model().config.hidden_size == 32


def test_embeddings_that_an_adapter_brings_are_taken_with_their_size(model: Path, tmp_path: Path) -> None:
    base = AutoModelForCausalLM.from_pretrained(model)
    rows = base.config.vocab_size + 3
    base.resize_token_embeddings(rows)
    settings = peft.LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["embed_tokens", "lm_head"])
    adapted = peft.get_peft_model(base, settings)
    adapted.save_pretrained(tmp_path / "adapter")
    loaded = load_model(str(tmp_path / "adapter"))
    ids_BT = torch.tensor([[5, rows - 1, 7]])
    with torch.no_grad():
        assert torch.equal(loaded(input_ids=ids_BT).logits, adapted.eval()(input_ids=ids_BT).logits)


def cut_adapter(adapter: Path) -> None:
    file = adapter / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-10])


def no_base(adapter: Path) -> None:
    change(adapter / "adapter_config.json", base_model_name_or_path=None)


def base_is_gone(adapter: Path) -> None:
    change(adapter / "adapter_config.json", base_model_name_or_path="/no/such/model")


def other_base(adapter: Path) -> None:
    file = adapter / "adapter_model.safetensors"
    from safetensors.torch import load_file, save_file

    save_file({name.replace("layers.1", "layers.7"): weight for name, weight in load_file(file).items()}, file)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (cut_adapter, "adapter_model.safetensors is cut or damaged"),
        (no_base, "adapter_config.json names no base model; set base_model_name_or_path in it"),
        (base_is_gone, "its base model /no/such/model is not there; set base_model_name_or_path"),
        (other_base, "does not fit its base model"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)  # fmt: skip
def test_adapters_that_cannot_be_used_are_told(model: Path, tmp_path: Path, spoil: Callable[[Path], None], said: str) -> None:
    make_adapter(model, tmp_path / "adapter")
    spoil(tmp_path / "adapter")
    assert said in refused(lambda: load_model(str(tmp_path / "adapter")))
