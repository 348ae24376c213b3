"""Loading models and tokenizers: the same code for the tiny model, a local directory and a hub name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from codeblock.errors import CodeBlockError
from codeblock.manifest import check_tree

logging.disable_progress_bar()  # one bar per actor for loading weights would bury the stage's own

DEFAULT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ message['content'] + '\n\n' }}"
    "{% elif message['role'] == 'user' %}{{ '### Instruction:\n' + message['content'] + '\n\n' }}"
    "{% elif message['role'] == 'assistant' %}{{ '### Response:\n' + message['content'] + eos_token + '\n\n' }}"
    "{% else %}{{ raise_exception('no heading for the role ' + message['role']) }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '### Response:\n' }}{% endif %}"
)
"""Used where a tokenizer has no chat template of its own: Alpaca's headings, ended by the tokenizer's end-of-text."""

BEGINNING = "{{ bos_token }}"
"""Stands before it where the tokenizer begins each text with its beginning-of-text token."""

ADAPTER_FILE = "adapter_config.json"
WEIGHTS = (".safetensors", ".bin")


def load_tokenizer(path: str, revision: str | None = None) -> Any:
    """A fast tokenizer with a chat template and a padding token.

    Raises CodeBlockError where there is none, where it is slow (no character offsets) or has no end-of-text token.
    """
    check_tree(Path(path), but=WEIGHTS)  # of a model that a step has written
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, revision=revision)
    except (OSError, ValueError) as error:
        raise _missing("tokenizer", path, error) from error
    if not tokenizer.is_fast:
        raise CodeBlockError(f"tokenizer of {path}: slow, without character offsets; save a tokenizer.json beside it")
    if tokenizer.eos_token is None:
        raise CodeBlockError(f"tokenizer of {path}: no eos_token, so no answer ends; set one in tokenizer_config.json")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token  # padding is always masked, so any token serves
    if tokenizer.chat_template is None:
        tokenizer.chat_template = (BEGINNING if _begins_with_bos(tokenizer) else "") + DEFAULT_TEMPLATE
    return tokenizer


def is_default_template(template: Any) -> bool:
    """Whether a chat template is the one of a tokenizer that brought none."""
    return template in (DEFAULT_TEMPLATE, BEGINNING + DEFAULT_TEMPLATE)


def _begins_with_bos(tokenizer: Any) -> bool:
    return tokenizer.bos_token_id is not None and tokenizer("x")["input_ids"][:1] == [tokenizer.bos_token_id]


def load_model(path: str, revision: str | None = None, dtype: str = "float32", attention: str | None = None) -> Any:
    """A causal language model in evaluation mode, on the CPU; LoRA adapters come with their base model.

    `attention` names an implementation of attention, where the model's own choice will not do.
    """
    check_tree(Path(path))
    kwargs: dict[str, Any] = {"dtype": getattr(torch, dtype)}
    if attention is not None:
        kwargs["attn_implementation"] = attention
    try:
        if (Path(path) / ADAPTER_FILE).exists():
            from peft import AutoPeftModelForCausalLM

            return AutoPeftModelForCausalLM.from_pretrained(path, **kwargs).eval()
        return AutoModelForCausalLM.from_pretrained(path, revision=revision, **kwargs).eval()
    except (OSError, ValueError) as error:
        raise _missing("model", path, error) from error


def context_length(path: str, revision: str | None = None) -> int:
    """Tokens that the model can attend to, from its config."""
    check_tree(Path(path), but=WEIGHTS)
    try:
        config = AutoConfig.from_pretrained(path, revision=revision)
    except (OSError, ValueError) as error:
        raise _missing("model", path, error) from error
    return int(getattr(config, "max_position_embeddings", None) or 2048)


def device() -> torch.device:
    """The accelerator that this process was given, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _missing(what: str, path: str, error: Exception) -> CodeBlockError:
    first_line = str(error).splitlines()[0][:200]
    where = "directory" if os.sep in path or Path(path).exists() else "directory or hub name"
    return CodeBlockError(f"{what} {path!r}: not loadable from this {where} ({first_line}); check model.path")
