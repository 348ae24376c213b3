"""Loading models and tokenizers: the same code for the tiny model, a local directory and a hub name."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoModelForCausalLM, AutoModelForImageTextToText, AutoTokenizer
from transformers.utils import logging

from codeblock.core.collecting import collect_again
from codeblock.core.errors import CodeBlockError
from codeblock.core.models.config import ADAPTER_FILE as ADAPTER_FILE
from codeblock.core.models.config import SANE, WEIGHTS, base_of, context_of, load_config, quiet
from codeblock.core.models.errors import unloadable
from codeblock.core.models.files import check_architecture, check_files
from codeblock.core.storage.manifest import check_tree

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

NO_LIMIT = sys.maxsize
"""Stands for the context of a model that knows none."""

SAMPLE = 'def mean(values):\n    """Größe: 12,345.67"""\n\treturn sum(values) / len(values)  # 平均\n'
"""Text in which tokenizers of different families differ."""

NEW_ROWS = ("embed", "lm_head", "wte", "output")
"""What names the weights of embeddings and heads, which an adapter may bring whole."""


def load_tokenizer(path: str, revision: str | None = None) -> Any:
    """A fast tokenizer with a chat template and a padding token; an adapter without one takes its base model's.

    Raises CodeBlockError where there is none, where it is slow (no character offsets) or has no end-of-text token.
    """
    check_tree(Path(path), but=WEIGHTS)  # of a model that a step has written
    tokenizer = _tokenizer(path, revision)
    if not tokenizer.is_fast:
        raise CodeBlockError(f"tokenizer of {path}: slow, without character offsets; save a tokenizer.json beside it")
    if not set(tokenizer("x = 1", add_special_tokens=False)["input_ids"]) - {tokenizer.unk_token_id}:
        # transformers makes one without any token where the files are missing.
        raise CodeBlockError(f"tokenizer of {path}: knows no text, its files are missing; put its tokenizer.json there")
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
    """A causal language model in evaluation mode, on the CPU; adapters come with their base model.

    `attention` names an implementation of attention, where the model's own choice will not do. Raises CodeBlockError for a
    model that cannot be loaded, and for one whose weights are not all in its files: transformers would draw those at random.
    """
    check_tree(Path(path))
    check_files(path, revision)
    base, base_revision = base_of(path, revision)
    check_tree(Path(base))
    kwargs: dict[str, Any] = {"dtype": getattr(torch, dtype)}
    if attention is not None:
        kwargs["attn_implementation"] = attention
    model = _whole_model(base, base_revision, kwargs)
    whole = (model if base == path else _with_adapter(model, path)).eval()
    collect_again()  # from now on garbage may be tensors
    return whole


def context_length(path: str, revision: str | None = None) -> int | None:
    """Tokens that the model can attend to; None where neither its config nor its tokenizer says."""
    config = load_config(path, revision)
    try:
        return _context(config, _tokenizer(path, revision))
    except CodeBlockError:  # told where the tokenizer is needed
        return context_of(config)


def context_room(model: Any, tokenizer: Any) -> int:
    """Tokens that a loaded model can attend to; NO_LIMIT where neither its config nor its tokenizer says."""
    return _context(model.config, tokenizer) or NO_LIMIT


def check_vocabulary(path: str, revision: str | None, tokenizer: Any) -> None:
    """Raise CodeBlockError where the tokenizer makes tokens of a rendered pair that the model has no embedding of.

    Tokens that stand in no rendered pair may lie beyond (Gemma 3's 1B has one for images): text that holds one is told then.
    """
    known = getattr(load_config(path, revision).get_text_config(decoder=True), "vocab_size", None)
    if known is None or base_of(path)[0] != path:  # an adapter may bring embeddings of its own
        return
    used = {*_rendered(tokenizer), tokenizer.eos_token_id}
    if beyond := sorted(token for token in used if token >= known):
        token = tokenizer.convert_ids_to_tokens(beyond[0])
        raise CodeBlockError(
            f"model {path}: has embeddings of {known:,} tokens, {token!r} of the tokenizer is number {beyond[0]:,}; resize "
            "them (resize_token_embeddings) and train them, or take the tokenizer that came with the weights"
        )


def check_same_tokens(tokenizer: Any, reference: str) -> None:
    """Raise CodeBlockError where a reference model's tokenizer makes other tokens: it would score what it never saw.

    A reference that comes without a tokenizer is taken at its word.
    """
    try:
        theirs = load_tokenizer(reference)
    except CodeBlockError:
        return
    one, other = (each(SAMPLE, add_special_tokens=False)["input_ids"] for each in (tokenizer, theirs))
    if one != other:
        raise CodeBlockError(
            f"model {reference}: its tokenizer makes other tokens of a text than that of model.path, whose tokens it would "
            "score; name a reference of the same family"
        )


def device() -> torch.device:
    """The accelerator that this process was given, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _context(config: Any, tokenizer: Any) -> int | None:
    said = getattr(tokenizer, "model_max_length", None)
    return context_of(config) or (int(said) if said is not None and said < SANE else None)


def _tokenizer(path: str, revision: str | None) -> Any:
    base, base_revision = base_of(path, revision)
    if base != path and any((Path(path) / name).exists() for name in ("tokenizer.json", "tokenizer_config.json")):
        base, base_revision = path, revision
    try:
        with quiet():
            return AutoTokenizer.from_pretrained(base, revision=base_revision, trust_remote_code=False)
    except Exception as error:  # files of others: anything may be in them
        raise unloadable("tokenizer of", base, error) from error


def _rendered(tokenizer: Any) -> list[int]:
    """The tokens of a short conversation."""
    turns = [{"role": "user", "content": "1"}, {"role": "assistant", "content": "2"}]
    try:
        text = tokenizer.apply_chat_template(turns, tokenize=False)
    except Exception:  # a template's own complaints are told where pairs are rendered
        text = "12"
    ids: list[int] = tokenizer(text)["input_ids"]
    return ids


def _whole_model(path: str, revision: str | None, kwargs: dict[str, Any]) -> Any:
    config = load_config(path, revision)
    check_architecture(path, config)
    kind = AutoModelForCausalLM if type(config) in MODEL_FOR_CAUSAL_LM_MAPPING else AutoModelForImageTextToText
    try:
        with quiet():
            model, info = kind.from_pretrained(
                path,
                revision=revision,
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # told below, in one line
                **kwargs,
            )
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # files of others: anything may be in them
        raise unloadable("model", path, error) from error
    if info["mismatched_keys"]:
        name, found, asked = sorted(info["mismatched_keys"])[0]
        raise CodeBlockError(
            f"model {path}: {name} is {list(found)} in the weights and {list(asked)} by config.json; take the config.json that "
            "came with the weights"
        )
    weights = {name for name, _ in model.named_parameters()}
    if missing := sorted(weights.intersection(info["missing_keys"])):
        raise CodeBlockError(
            f"model {path}: {len(missing)} of its {len(weights)} weights are not in its files ({missing[0]}); they are of "
            "another architecture, or not all there: download it whole, or name another model"
        )
    return model


def _with_adapter(model: Any, path: str) -> Any:
    from peft import PeftModel

    try:
        rows = _embeddings_in(path)
        if rows is not None and rows != model.get_input_embeddings().weight.shape[0]:
            model.resize_token_embeddings(rows, mean_resizing=False)
        with warnings.catch_warnings(record=True) as caught, quiet():
            warnings.simplefilter("always")
            adapted = PeftModel.from_pretrained(model, path)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # files of others: anything may be in them
        raise unloadable("adapter", path, error) from error
    if any("missing adapter keys" in str(each.message) for each in caught):
        raise CodeBlockError(f"adapter {path}: does not fit its base model; set base_model_name_or_path in adapter_config.json")
    return adapted


def _embeddings_in(path: str) -> int | None:
    """Rows of the embeddings that an adapter brings whole; None where it brings none."""
    file = Path(path) / "adapter_model.safetensors"
    if not file.exists():
        return None
    with safe_open(file, framework="pt") as weights:
        for name in weights.keys():  # noqa: SIM118 - it is no dictionary
            if name.endswith("weight") and ".lora_" not in name and any(word in name for word in NEW_ROWS):
                return int(weights.get_slice(name).get_shape()[0])
    return None
