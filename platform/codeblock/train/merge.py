"""Adapters and their base model as one plain model, for whatever loads no adapters."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from codeblock.core.errors import CodeBlockError
from codeblock.core.models import load as models
from codeblock.core.models.config import load_config

DTYPES = ("float32", "bfloat16", "float16")


def check_options(output: Path, dtype: str | None) -> None:
    """Raise CodeBlockError where `merge` would refuse what was asked of it, whatever the model."""
    if dtype is not None and dtype not in DTYPES:
        raise CodeBlockError(f"--dtype {dtype}: unknown; there are {', '.join(DTYPES)}")
    if output.exists():
        raise CodeBlockError(f"--out {output}: exists; name another or remove it")


def merge(adapter: Path, output: Path, dtype: str | None = None) -> str:
    """Write the model under `adapter` with its adapters added to its weights, and its tokenizer, as a Hugging Face directory.

    The sum is made in float32 and stored as `dtype`; empty: as the base model is stored. Returns that dtype. `output` appears
    whole or not at all. Raises CodeBlockError where there is no adapter, the weights are quantised, the dtype is unknown or
    `output` exists.
    """
    check_options(output, dtype)
    model = models.load_model(str(adapter))
    if not hasattr(model, "merge_and_unload"):
        raise CodeBlockError(f"model {adapter}: is no adapter, there is nothing to merge")
    if getattr(model.get_base_model(), "is_quantized", False):
        raise CodeBlockError(
            f"model {adapter}: the weights of its base are quantised; name an unquantised base in adapter_config.json"
        )
    stored = dtype or _stored_as(str(adapter))
    merged = model.merge_and_unload(safe_merge=True).to(getattr(torch, stored))
    scratch = output.with_name(f".{output.name}.part")
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        merged.save_pretrained(scratch)
        models.load_tokenizer(str(adapter)).save_pretrained(scratch)
        scratch.rename(output)
    except BaseException:  # a full disk, or Ctrl-C
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    return stored


def _stored_as(path: str) -> str:
    """The dtype that the base model's config names; float32 where it names none that is a plain one."""
    named = str(getattr(load_config(path), "dtype", None)).removeprefix("torch.")
    return named if named in DTYPES else "float32"
