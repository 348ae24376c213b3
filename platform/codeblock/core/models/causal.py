"""A causal language model as the stages see it: its decoder, the tokens that it knows, and its logits at chosen positions.

Between the decoder's hidden states and the logits, families scale the head's output (Granite, Cohere) or its input (MiniCPM),
cap it (Gemma 2), cut off padded vocabulary, or have one more layer. A list of config fields would never be complete. So the
model's own `forward` makes the logits here: its decoder stands aside and gives the chosen hidden states. [ours]

Imports torch alone. Shape legend: B rows, T inputs, D hidden size, N chosen positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from codeblock.core.errors import CodeBlockError

PROBE_WIDTH, PROBE_SHARED = 8, 3
"""Tokens of a row of the probe, and how many of them both its rows begin with."""
EXACT, ROUNDED = 1e-3, 2e-2
"""How far apart two computations of the same logits may be, as a share of the largest: in float32 and in 16 bits."""


class LogitHead:
    """Hidden states [N, D] after the decoder's final norm -> logits [N, V], scaled and capped as the model does it.

    Made by `logit_head`. Differentiable in the hidden states and in the head's weights; may be called under autocast.
    """

    def __init__(self, causal: Any, decoder: Any, output_type: type, vocabulary: int) -> None:
        self.causal, self.decoder, self.vocabulary = causal, decoder, vocabulary
        self._output_type = output_type
        self._outer = _ancestors(causal, decoder)

    def __call__(self, hidden_ND: Tensor) -> Tensor:
        given = self._output_type(last_hidden_state=hidden_ND[:, None])
        # A row a position: what some models make beside the logits (masks) then stays small.
        dummy_N1 = torch.zeros(len(hidden_ND), 1, dtype=torch.long, device=hidden_ND.device)
        with _standing_aside(self.decoder, given), _evaluating(self._outer):
            logits_ND: Tensor = self.causal(input_ids=dummy_N1, use_cache=False).logits[:, 0]
        return logits_ND


def logit_head(model: Any) -> LogitHead:
    """The head of a causal Hugging Face model, or of one with PEFT adapters; probed once a model against its full logits.

    Raises CodeBlockError for a model whose logits do not follow from its decoder's hidden states position by position (soft
    prompts, several heads), or whose positions see later ones (an encoder).
    """
    causal = _without_adapters(model)
    if model not in _PROBED:
        _PROBED[model] = _probe(model, causal)
    return LogitHead(causal, decoder_of(model), *_PROBED[model])


_PROBED: WeakKeyDictionary[nn.Module, tuple[type, int]] = WeakKeyDictionary()
"""Type of the decoder's output and V, by the models that were found right."""


def decoder_of(model: Any) -> Any:
    """The part of a causal model that turns token ids into hidden states.

    Raises CodeBlockError where there is none.
    """
    causal = _without_adapters(model)
    base = getattr(causal, "base_model", None)
    found = (get() for each in (causal, base) if (get := getattr(each, "get_decoder", None)) is not None)
    for decoder in (*found, base):
        # Some models give themselves, or a layer that is called `decoder` too.
        if decoder is not None and decoder is not causal and next(decoder.children(), None) is not None:
            return decoder
    raise CodeBlockError(f"{name_of(model)}: no decoder in it; name a causal language model")


def vocabulary_of(model: Any) -> int:
    """How many tokens a model has embeddings of."""
    return int(model.get_input_embeddings().weight.shape[0])


def check_ids(model: Any, input_ids: Sequence[NDArray[Any]] | Sequence[Sequence[int]]) -> None:
    """Raise CodeBlockError where a row holds a token that the model has no embedding of: its tokenizer is another one's."""
    largest = max((int(np.max(ids)) for ids in input_ids if len(ids)), default=0)
    if largest >= (known := vocabulary_of(model)):
        raise CodeBlockError(
            f"{name_of(model)}: has embeddings of {known:,} tokens, the text has token {largest}; take the tokenizer of this "
            "model, or resize its embeddings (resize_token_embeddings) and train them"
        )


def name_of(model: Any) -> str:
    """What a model is called in an error: where it was loaded from, and its class."""
    causal = _without_adapters(model)
    path = getattr(getattr(causal, "config", None), "_name_or_path", "")
    return f"model {path} ({type(causal).__name__})" if path else f"model {type(causal).__name__}"


def tolerance(values: Tensor) -> float:
    """By how much values of such a size may differ and still be the same computation."""
    share = EXACT if torch.finfo(values.dtype).eps < 1e-4 else ROUNDED
    return share * float(values.abs().max()) + 1e-12


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Without dropout, for the length of the block."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def probe_ids(model: Any, rows: int = 2) -> Tensor:
    """[rows, PROBE_WIDTH] ordinary tokens, the same in every call; rows differ after the first PROBE_SHARED."""
    special = {value for name, value in _settings(model).items() if "token" in name and isinstance(value, int)}
    ordinary = [token for token in range(vocabulary_of(model)) if token not in special] or [0]
    drawn = np.random.default_rng(0).choice(ordinary, size=(rows, PROBE_WIDTH))
    drawn[:, :PROBE_SHARED] = drawn[0, :PROBE_SHARED]
    return torch.from_numpy(drawn).to(next(model.parameters()).device)


@torch.no_grad()
def _probe(model: Any, causal: Any) -> tuple[type, int]:
    if causal.get_output_embeddings() is None:
        raise CodeBlockError(f"{name_of(model)}: no output head; name a causal language model")
    ids_BT = probe_ids(model)
    try:
        with evaluation_mode(model):
            full_BTV = model(input_ids=ids_BT, use_cache=False).logits
            output = decoder_of(model)(input_ids=ids_BT, use_cache=False)
            head = LogitHead(causal, decoder_of(model), type(output), full_BTV.shape[-1])
            # In another order: each position must give the same whatever stands beside it.
            order_N = torch.arange(ids_BT.numel(), device=ids_BT.device).flip(0)
            ours_NV = head(output.last_hidden_state.flatten(0, 1)[order_N])
    except (torch.OutOfMemoryError, CodeBlockError):
        raise
    except Exception as error:  # whatever a model's own code may raise
        said = " ".join(str(error).split())[:160] or type(error).__name__
        raise CodeBlockError(f"{name_of(model)}: cannot be scored from token ids alone ({said}); name another model") from error
    if full_BTV.shape[:2] != ids_BT.shape or not _same(ours_NV, full_BTV.flatten(0, 1)[order_N]):
        raise CodeBlockError(
            f"{name_of(model)}: its logits do not follow from its decoder's hidden states (soft prompts, several heads); merge "
            "an adapter into its base model, or name a plain causal language model"
        )
    if not _same(*full_BTV[:, :PROBE_SHARED]):
        raise CodeBlockError(
            f"{name_of(model)}: its positions see later tokens, so it predicts no next one; name a causal language model"
        )
    return type(output), full_BTV.shape[-1]


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool(((one - other).abs() <= tolerance(other)).all())


def _without_adapters(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _settings(model: Any) -> dict[str, Any]:
    config = _without_adapters(model).config
    return {**config.to_dict(), **config.get_text_config().to_dict()}


def _ancestors(causal: nn.Module, decoder: nn.Module) -> list[nn.Module]:
    """The modules around the decoder, outermost first."""
    path = next((name for name, module in causal.named_modules() if module is decoder), "")
    parts = path.split(".")[:-1] if path else []
    return [causal, *(causal.get_submodule(".".join(parts[: end + 1])) for end in range(len(parts)))]


@contextmanager
def _standing_aside(decoder: Any, output: Any) -> Iterator[None]:
    own = decoder.__dict__.get("forward")
    decoder.forward = lambda *_, **__: output
    try:
        yield
    finally:
        if own is None:
            del decoder.forward
        else:
            decoder.forward = own


@contextmanager
def _evaluating(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Of these modules alone: some that hold a vision model ask for more inputs while they are trained."""
    training = [module.training for module in modules]
    for module in modules:
        module.training = False
    try:
        yield
    finally:
        for module, was in zip(modules, training, strict=True):
            module.training = was
