"""What the files of a model say before any weight is read: its config, the model under an adapter, its context.

Imports transformers where a config is read: a plan whose steps are all done needs none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from codeblock.core.errors import CodeBlockError
from codeblock.core.models.errors import unloadable
from codeblock.core.storage.manifest import check_tree
from codeblock.core.storage.places import here, is_remote

ADAPTER_FILE = "adapter_config.json"
WEIGHTS = (".safetensors", ".bin")

CONTEXT_FIELDS = (
    *("max_position_embeddings", "n_positions", "max_seq_len", "n_ctx", "max_sequence_length", "max_seq_length"),
    *("seq_length", "seq_len", "context_length", "max_target_positions", "model_max_length"),
)
"""Names of the context's length in configs, the most common first. A sliding window is no limit, as layers pass on."""
STRETCHED = ("linear", "dynamic", "yarn", "ntk")
"""Kinds of position scaling whose factor `max_position_embeddings` may leave out."""
SANE = 2**31
"""Tokenizers that know no length say 10^30."""


def base_of(path: str, revision: str | None = None) -> tuple[str, str | None]:
    """Path and revision of a model itself, or of the one under a directory of PEFT adapters.

    An adapter's base that is no path from here is looked for beside the adapter. Raises CodeBlockError where it names none.
    """
    _fetch_all_but_weights(path)
    file = Path(path) / ADAPTER_FILE
    if not file.is_file():
        return path, revision
    try:
        settings = dict(json.loads(file.read_text(encoding="utf-8")))
    except ValueError as error:
        raise unloadable("adapter", path, error) from error
    base = settings.get("base_model_name_or_path")
    if not base:
        raise CodeBlockError(f"adapter {path}: {ADAPTER_FILE} names no base model; set base_model_name_or_path in it")
    beside = Path(path) / base
    base = here(base)  # another machine may have trained the adapter
    found = str(beside) if not Path(base).exists() and beside.exists() else str(base)
    return found, settings.get("revision")


@lru_cache(maxsize=256)
def _fetch_all_but_weights(path: str) -> None:
    """Fetch what a model in an object store says of itself, once in a process; weights are fetched where they are loaded."""
    if is_remote(Path(path)):
        check_tree(Path(path), but=WEIGHTS)


def load_config(path: str, revision: str | None = None) -> Any:
    """The config of a model, or of the one under an adapter. Raises CodeBlockError where there is none that can be read."""
    from transformers import AutoConfig

    base, revision = base_of(path, revision)
    try:
        with quiet():
            return AutoConfig.from_pretrained(base, revision=revision, trust_remote_code=False)
    except Exception as error:  # files of others: anything may be in them
        raise unloadable("model", base, error) from error


def tells_context(path: str, revision: str | None = None) -> bool:
    """Whether the config of a model here names its context. False is no answer: a config that is loaded has defaults, and a
    tokenizer may know a length."""
    try:
        config = json.loads((Path(base_of(path, revision)[0]) / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    settings = [config, config.get("text_config")] if isinstance(config, dict) else []
    named = (each.get(name) for each in settings if isinstance(each, dict) for name in CONTEXT_FIELDS)
    return any(isinstance(length, int | float) and 0 < length < SANE for length in named)


def context_of(config: Any) -> int | None:
    """Tokens that a model can attend to, from its config; None where that says nothing."""
    text = config.get_text_config(decoder=True)
    for settings in (text, config):
        named = {name: getattr(settings, name, None) for name in CONTEXT_FIELDS}
        lengths = {name: int(each) for name, each in named.items() if isinstance(each, int | float) and 0 < each < SANE}
        # What the file says comes before the default of a field that it may not name.
        said = {name: each for name, each in lengths.items() if each != getattr(type(settings), name, None)}
        if lengths:
            return _stretched(list((said or lengths).values()), settings)
    return None


def _stretched(lengths: list[int], settings: Any) -> int:
    """The length with the scaling of positions, where the config's first number leaves that out."""
    scaling = getattr(settings, "rope_parameters", None) or getattr(settings, "rope_scaling", None) or {}
    kind = scaling.get("rope_type") or scaling.get("type")
    factor = scaling.get("factor") or 1.0
    if kind not in STRETCHED or factor <= 1:
        return lengths[0]
    if kind == "yarn" and (original := scaling.get("original_max_position_embeddings")):
        return max(lengths[0], int(original * factor))
    # Whether the first number is the scaled one is not written anywhere, unless a second number says so.
    return max(length for length in lengths if length <= lengths[0] * factor)


@contextmanager
def quiet() -> Iterator[None]:
    """Errors alone from transformers and the hub's client: what they say at length is told in one line here."""
    import logging as python_logging

    from transformers.utils import logging

    hub = python_logging.getLogger("huggingface_hub")
    before, hub_before = logging.get_verbosity(), hub.level
    logging.set_verbosity_error()
    hub.setLevel(python_logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(before)
        hub.setLevel(hub_before)
