"""Whether the files of a model's directory can be what they should be, told from their heads: no weight is read.

A hub name passes: its files come when it is loaded.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

from codeblock.core.errors import CodeBlockError
from codeblock.core.lfs import check_content
from codeblock.core.models.config import ADAPTER_FILE, base_of, load_config, quiet
from codeblock.core.models.errors import unloadable

WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
"""In the order in which transformers looks for them."""
ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
NO_NEXT_TOKEN = ("ForMaskedLM", "Classification", "ForQuestionAnswering", "ForMultipleChoice", "RewardModel")
"""Ends of the names of architectures whose weights were trained for something else."""


def check_files(path: str, revision: str | None = None) -> None:
    """Raise CodeBlockError for a model that cannot be loaded, as far as its files and the packages here can tell.

    A missing directory or config, a Git LFS pointer, cut or missing weights, code of its own, an architecture that predicts
    no next token, weights whose quantisation needs a package that is not installed; for an adapter, its base too.
    """
    base, base_revision = base_of(path, revision)
    if base != path:
        _check_weights(Path(path), ADAPTER_WEIGHTS, "adapter")
        if not Path(base).exists() and Path(base).is_absolute():
            raise CodeBlockError(
                f"adapter {path}: its base model {base} is not there; set base_model_name_or_path in {ADAPTER_FILE}"
            )
        check_files(base, base_revision)
        return
    directory = Path(path)
    if directory.is_file():
        raise CodeBlockError(f"model {path}: is a file; name the directory that holds it with its config.json")
    if directory.is_dir():
        _check_config(directory)
    config = load_config(path, revision)
    check_architecture(path, config)
    _check_quantisation(path, config)
    if directory.is_dir():
        _check_weights(directory, WEIGHTS, "model")


def check_architecture(path: str, config: Any) -> None:
    """Raise CodeBlockError for what its config calls no causal language model."""
    kind = config.model_type
    named = [name for name in getattr(config, "architectures", None) or [] if isinstance(name, str)]
    if getattr(config, "is_encoder_decoder", False):
        raise CodeBlockError(f"model {path}: an encoder with a decoder ({kind}); name a model that is a decoder alone")
    if known := [name for name in named if name.endswith(NO_NEXT_TOKEN)]:
        raise CodeBlockError(f"model {path}: {known[0]} predicts no next token; name a causal language model")
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and kind not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        raise CodeBlockError(f"model {path}: {kind} is no causal language model in transformers; name one that is")


def _check_config(directory: Path) -> None:
    file = directory / "config.json"
    if not file.is_file():
        below = next((each.parent for each in sorted(directory.glob("*/config.json"))), None)
        hint = f"name {below}" if below else "give a Hugging Face model directory"
        if any(directory.glob("*.gguf")):
            hint = "GGUF files are not read; take the model in transformers' own format"
        raise CodeBlockError(f"model {directory}: no config.json there; {hint}")
    _check_readable(file, "model")
    try:
        json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise unloadable("model", str(file), error) from error


def _check_quantisation(path: str, config: Any) -> None:
    """Only packages: whether there is a GPU is known where the model is loaded."""
    settings = getattr(config, "quantization_config", None)
    if settings is None:
        return
    from transformers.quantizers import AutoHfQuantizer

    try:
        quantizer = AutoHfQuantizer.from_config(settings, pre_quantized=True)
    except Exception as error:
        raise unloadable("model", path, error) from error
    try:
        with quiet():
            quantizer.validate_environment(device_map=None, dtype=torch.float32)
    except ImportError as error:
        raise unloadable("model", path, error) from error
    except Exception:  # what this machine lacks (a GPU) the workers' may have
        return


def _check_weights(directory: Path, names: tuple[str, ...], what: str) -> None:
    first = next((directory / name for name in names if (directory / name).exists()), None)
    if first is None:
        raise CodeBlockError(f"{what} {directory}: no weights there ({names[0]}); download the whole model")
    _check_readable(first, what)
    for file in _shards(first, what):
        if not file.exists():
            raise CodeBlockError(f"{what} {directory}: {file.name} is missing, which {first.name} names; download it")
        _check_readable(file, what)
        if file.suffix == ".safetensors":
            _check_safetensors(file, what)
        elif file.suffix == ".bin" and _begins(file, b"PK") and not zipfile.is_zipfile(file):
            raise CodeBlockError(f"{what} {directory}: {file.name} is cut ({file.stat().st_size:,} bytes); download it again")


def _shards(file: Path, what: str) -> Iterator[Path]:
    if file.suffix != ".json":
        yield file
        return
    try:
        names = sorted(set(json.loads(file.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, AttributeError) as error:
        raise unloadable(what, str(file), error) from error
    yield from (file.parent / name for name in names)


def _begins(file: Path, head: bytes) -> bool:
    with file.open("rb") as stream:
        return stream.read(len(head)) == head


def _check_readable(file: Path, what: str) -> None:
    try:
        with file.open("rb") as stream:
            head = check_content(stream, f"{what} {file.parent}: {file.name}")
    except OSError as error:
        raise unloadable(what, str(file), error) from error
    if not head:
        raise CodeBlockError(f"{what} {file.parent}: {file.name} is empty; download it again")


def _check_safetensors(file: Path, what: str) -> None:
    """The reader holds the head against the size of the file."""
    try:
        with safe_open(file, framework="pt"):
            pass
    except Exception as error:
        size = f"{file.stat().st_size:,} bytes"
        raise CodeBlockError(
            f"{what} {file.parent}: {file.name} is cut or damaged ({size}; {error}); download it again"
        ) from error
