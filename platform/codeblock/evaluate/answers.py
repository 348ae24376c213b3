"""What both engines share: the request for one answer, where an answer ends, and its text.

Knows neither Ray nor an engine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from codeblock.core.config import ClusterConfig, EvaluateConfig
from codeblock.core.models.ref import ModelRef
from codeblock.core.rendering.chat import chat_of

SHRINK_EVERY = 32
"""Tokens after which answers that have ended leave their batch: they cost until then, and to leave copies the cache."""
End = Literal["stop", "max_new_tokens", "context", "prompt_too_long"]


@dataclass(frozen=True)
class Request:
    """One answer to be generated."""

    task_id: str
    sample: int
    """Number of the answer within its task, from 0."""
    ids: list[int]
    """Tokens of the prompt."""
    begun: str = ""
    """Beginning of the answer that the prompt ends with."""
    base: bool = False
    """The prompt is the benchmark's text, not a chat."""
    stops: tuple[str, ...] = ()
    """Text at which the answer ends; it is cut off."""
    seed: int = 0
    """Where answers are sampled: this alone decides the random numbers of this answer."""

    def room(self, max_new_tokens: int, context: int) -> int:
        """Tokens that may be generated: at most `max_new_tokens`, and all stays within the model's context. 0 or less: none."""
        return min(max_new_tokens, context - len(self.ids))


@dataclass(frozen=True)
class Answer:
    """What the model said to one request."""

    task_id: str
    sample: int
    base: bool
    """The model went on from the benchmark's text, not from a chat."""
    text: str
    """The whole answer, with the beginning that the prompt gave it."""
    tokens: int
    """Generated tokens, the stop token included."""
    end: End
    """Why it ends: a stop token or text; `max_new_tokens`; the model's context is full; or the prompt alone does not fit."""


@dataclass(frozen=True)
class Decoding:
    """How answers are drawn from a model."""

    max_new_tokens: int
    batch_size: int
    temperature: float = 0.0
    """0: greedy."""
    top_p: float = 1.0
    stride: int | None = None
    """After so many tokens all that go on are batched anew. Worth it on a GPU, where large batches hold few long answers and
    prompts are read fast. Empty: a batch goes on to its last answer's end."""


@dataclass(frozen=True)
class Job:
    """What an engine is to do: which model, how, and on what."""

    what: str
    """Names the work in messages."""
    model: ModelRef
    max_new_tokens: int
    config: EvaluateConfig
    cluster: ClusterConfig


def sample_seed(seed: int, task_id: str, sample: int) -> int:
    """The seed of one answer, 63 bits: it depends on nothing else that is generated."""
    digest = hashlib.sha256(f"{seed}\n{task_id}\n{sample}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def without_room(request: Request) -> Answer:
    """The answer to a prompt that fills the model's context."""
    return Answer(request.task_id, request.sample, request.base, request.begun, 0, "prompt_too_long")


def finish(tokenizer: Any, request: Request, new: Sequence[int], stop_ids: Sequence[int], full: End) -> Answer:
    """The answer that the generated tokens `new` make: cut before the first stop token and before the first stop text.

    `full` is the reason of its end where no stop ends it.
    """
    end: End = full
    length = next((position for position, token in enumerate(new) if token in stop_ids), None)
    tokens = len(new)
    if length is not None:
        end, tokens = "stop", length + 1
    text = request.begun + _decode(tokenizer, request.ids, list(new[:length]))
    cut = first_stop(text, request.stops, len(request.begun))
    if cut is not None:
        end, text = "stop", text[:cut]
    return Answer(request.task_id, request.sample, request.base, text, tokens, end)


def first_stop(text: str, stops: Iterable[str], start: int = 0) -> int | None:
    """Where the first of `stops` begins in `text`, looking from `start` on."""
    found = [place for stop in stops if (place := text.find(stop, start)) >= 0]
    return min(found, default=None)


def stop_token_ids(tokenizer: Any, configured: int | list[int] | None) -> list[int]:
    """Tokens that end an answer: the tokenizer's end of text, the model's (`configured`), the template's end of turn."""
    stops = {tokenizer.eos_token_id, chat_of(tokenizer).stop}
    stops.update(configured if isinstance(configured, list) else [configured])
    return sorted(stops - {None})


def _decode(tokenizer: Any, ids: list[int], new: list[int]) -> str:
    """The text that `new` adds to a prompt. Alone it could lose a leading space: SentencePiece decoders strip the first one."""
    options = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
    before: str = tokenizer.decode(ids, **options)
    whole: str = tokenizer.decode(ids + new, **options)
    return whole[len(before) :] if whole.startswith(before) else str(tokenizer.decode(new, **options))
