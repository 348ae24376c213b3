"""Benchmarks and a random model small enough for every test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from codeblock.evaluate.benchmarks import Benchmark, load

TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL = ["<|eos|>", "<|pad|>", "<|user|>", "<|assistant|>", "<|end|>"]
CONTEXT = 96


@pytest.fixture(scope="session")
def model_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A local Hugging Face directory: byte-level BPE, chat template, random Llama with a context of 96 tokens."""
    directory = tmp_path_factory.mktemp("random-model")
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(["def f(x): return x"], trainers.BpeTrainer(initial_alphabet=alphabet, special_tokens=SPECIAL))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token="<|eos|>", pad_token="<|pad|>", additional_special_tokens=SPECIAL[2:]
    )
    tokenizer.chat_template = TEMPLATE
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=CONTEXT,
        initializer_range=0.4,  # far from uniform, so that answers differ and stop tokens occur
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    LlamaForCausalLM(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


@pytest.fixture(scope="session")
def tiny_rows() -> list[dict[str, str]]:
    """Tasks that ask for `plus_N`, which adds N to its argument."""
    return [
        {
            "task_id": f"t/{n}",
            "instruction": f"Write plus_{n}, which adds {n} to its argument" + " and returns the sum" * (n % 3),
            "entry_point": f"plus_{n}",
            "test": f"assert plus_{n}(1) == {n + 1}",
            "reference": f"def plus_{n}(x):\n    return x + {n}\n",
        }
        for n in range(7)
    ]


@pytest.fixture(scope="session")
def tiny(tiny_rows: list[dict[str, str]], tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    path = tmp_path_factory.mktemp("tiny") / "tasks.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in tiny_rows))
    return load("tiny", str(path))


@pytest.fixture(scope="session")
def humaneval(real_data: Path) -> Benchmark:
    """All 164 tasks."""
    return load("humaneval", str(real_data / "benchmarks" / "humaneval" / "HumanEval.jsonl.gz"))


@pytest.fixture(scope="session")
def loaded(model_directory: Path) -> tuple[Any, Any]:
    """(model, tokenizer)"""
    from codeblock.core.models import load as loading

    return loading.load_model(str(model_directory)), loading.load_tokenizer(str(model_directory))
