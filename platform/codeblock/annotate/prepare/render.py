"""A pair becomes tokens through the model's own chat template (`core.rendering.chat`), with the characters of its response."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codeblock.annotate.prepare.conversation import ConversationReader
from codeblock.core.errors import RowError
from codeblock.core.rendering.chat import Chat, Rendering, TemplateMessage
from codeblock.core.rendering.turns import lead_of, places


@dataclass(frozen=True)
class RenderedPair:
    """One pair as tokens.

    `input_ids` int32[T]. `starts`, `ends` int32[T]: characters of the response that a token stands for, negative in the
    prompt and none where the template wrote it. `response_start`: index of the first token behind the generation prompt, the
    first that the model has to write. The last token is the stop token.
    """

    input_ids: NDArray[np.int32]
    starts: NDArray[np.int32]
    ends: NDArray[np.int32]
    response_start: int


class Renderer:
    """Renders pairs with one tokenizer (a fast one, with a chat template)."""

    def __init__(self, tokenizer: Any) -> None:
        self.chat = Chat(tokenizer)
        self.read = ConversationReader(tokenizer)

    def __call__(
        self, messages: Sequence[Sequence[TemplateMessage]], responses: Sequence[str], tools: Sequence[Any] | None = None
    ) -> list[RenderedPair | RowError]:
        """Render a batch of pairs; a pair that cannot be rendered is a RowError in its place.

        Messages go to the template whole, with what else they have; `tools` are the functions of each conversation, or None.
        """
        made = self.chat.render(messages, responses, tools)
        return [
            _rendered(each, response) if isinstance(each, Rendering) else each
            for each, response in zip(made, responses, strict=True)
        ]


def _rendered(made: Rendering, response: str) -> RenderedPair:
    prompt, rest = made.prompt_ids, made.rest
    ids = np.concatenate([prompt, rest.ids, np.array([made.stop], dtype=np.int32)])
    starts, ends = np.full((2, ids.size), -1, dtype=np.int32)
    body = slice(prompt.size, -1)
    starts[body], ends[body] = _of_response(made, response)
    starts[-1] = ends[-1] = len(response)
    return RenderedPair(ids, starts, ends, prompt.size)


def _of_response(made: Rendering, response: str) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The characters of the response that the tokens behind the prompt stand for, none where they come before the answer."""
    at = made.answer_start
    lead = lead_of(made.answer, response)
    if lead is not None:
        return np.maximum(made.rest.starts - at, 0) + np.int32(lead), np.maximum(made.rest.ends - at, 0) + np.int32(lead)
    place = places(made.answer, response)
    place = np.concatenate([np.full(at, place[0]), place])
    return place[np.minimum(made.rest.starts, place.size - 1)], place[np.minimum(made.rest.ends, place.size - 1)]
