"""Models on disk that are changed for a test, and how an error is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM

from codeblock.core.errors import CodeBlockError

LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 98765\n"
VISION = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28}
TEXT = {"vocab_size": 120, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}


def refused(work: Callable[[], Any]) -> str:
    with pytest.raises(CodeBlockError) as error:
        work()
    assert "\n" not in str(error.value)
    return str(error.value)


def change(file: Path, **more: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **more}))


def in_shards(directory: Path) -> list[Path]:
    loaded = AutoModelForCausalLM.from_pretrained(directory)
    (directory / "model.safetensors").unlink()
    loaded.save_pretrained(directory, max_shard_size="20KB")
    return sorted(directory.glob("model-*.safetensors"))
