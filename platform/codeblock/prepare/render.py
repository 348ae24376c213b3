"""Rendering: a pair becomes tokens through the model's own chat template, in one function.

The whole conversation is rendered and tokenised once; the response is found in the rendered text by the template's own
generation prompt, never by tokenising a prefix again, so that no token boundary differs from what is trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codeblock.errors import RowError
from codeblock.prepare.conversation import Reader
from codeblock.schema import Reason

Message = dict[str, Any]


@dataclass(frozen=True)
class Rendered:
    """One pair as tokens.

    `input_ids` int32[T]. `starts`, `ends` int32[T]: characters of the response that a token stands for; negative in the prompt
    and beyond the response's length behind it. `response_start`: index of the first response token. The last token is the
    stop token.
    """

    input_ids: NDArray[np.int32]
    starts: NDArray[np.int32]
    ends: NDArray[np.int32]
    response_start: int


class Renderer:
    """Renders pairs with one tokenizer (a fast one, with a chat template)."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.read = Reader(tokenizer)
        self._backend = tokenizer.backend_tokenizer
        self._backend.no_padding()
        self._backend.no_truncation()
        self._eos = int(tokenizer.eos_token_id)
        special = sorted({*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder})
        self._is_special = np.zeros(max(*special, len(tokenizer)) + 1, dtype=bool)
        self._is_special[special] = True

    def __call__(
        self, messages: Sequence[Sequence[Message]], responses: Sequence[str], tools: Sequence[Any] | None = None
    ) -> list[Rendered | RowError]:
        """Render a batch of pairs; a pair that cannot be rendered is a RowError in its place."""
        placed = self._place_all(messages, responses, tools if tools is not None else [None] * len(messages))
        texts = [text.full for text in placed if isinstance(text, _Text)]
        encodings = iter(self._backend.encode_batch(texts, add_special_tokens=False))
        return [self._tokens(text, next(encodings)) if isinstance(text, _Text) else text for text in placed]

    def _place_all(
        self, messages: Sequence[Sequence[Message]], responses: Sequence[str], tools: Sequence[Any]
    ) -> list[_Text | RowError]:
        """Render a batch in two calls of the template; where that fails, pair by pair to find the one that does."""
        chats = [[*turns, {"role": "assistant", "content": text}] for turns, text in zip(messages, responses, strict=True)]
        try:
            prompts, fulls = self._texts([chat[:-1] for chat in chats], tools, True), self._texts(chats, tools, False)
        except Exception as error:  # templates raise whatever their author wrote
            if len(chats) == 1:
                return [RowError(Reason.TEMPLATE_ERROR, f"chat template: {str(error).splitlines()[0][:200]}")]
            pairs = zip(messages, responses, tools, strict=True)
            return [self._place_all([turns], [response], [known])[0] for turns, response, known in pairs]
        return [_place(*texts) for texts in zip(prompts, fulls, responses, strict=True)]

    def _texts(self, chats: list[list[Message]], tools: Sequence[Any], generation: bool) -> list[str]:
        if any(tools):
            apply = partial(self._tokenizer.apply_chat_template, tokenize=False, add_generation_prompt=generation)
            return [str(apply(chat, tools=known)) for chat, known in zip(chats, tools, strict=True)]
        texts = self._tokenizer.apply_chat_template(chats, tokenize=False, add_generation_prompt=generation)
        return list(texts)

    def _tokens(self, text: _Text, encoding: Any) -> Rendered:
        ids = np.array(encoding.ids, dtype=np.int32)
        offsets = np.fromiter(chain.from_iterable(encoding.offsets), np.int32, 2 * ids.size).reshape(-1, 2)
        first = int(np.searchsorted(offsets[:, 0], max(text.start, 0)))
        behind = int(np.searchsorted(offsets[:, 0], text.stripped_end))
        stops = np.flatnonzero(self._is_special[ids[behind:]])
        if stops.size:
            end = behind + int(stops[0]) + 1
            ids, offsets = ids[:end], offsets[:end]
        else:
            # A template without a stop token would train a model that never ends its answer.
            ids = np.append(ids[:behind], np.int32(self._eos))
            offsets = np.concatenate([offsets[:behind], [[text.stripped_end, text.stripped_end]]]).astype(np.int32)
        local = offsets.T - text.start
        local[:, -1] = text.length
        return Rendered(ids, local[0], local[1], first)


@dataclass(frozen=True)
class _Text:
    """A rendered conversation: where the response starts in it, where its text ends without trailing blanks, its length."""

    full: str
    start: int
    stripped_end: int
    length: int


def _place(prompt: str, full: str, response: str) -> _Text | RowError:
    stripped = response.strip()
    start = full.find(stripped, _common_prefix(prompt, full))
    if start < 0:
        return RowError(Reason.TEMPLATE_ERROR, "chat template: the response does not occur in the rendered text")
    return _Text(full, start - response.index(stripped), start + len(stripped), len(response))


def _common_prefix(prompt: str, full: str) -> int:
    """Characters that the prompt and the conversation share: all of the prompt where the template is well behaved."""
    if full.startswith(prompt):
        return len(prompt)
    return next((i for i, (a, b) in enumerate(zip(prompt, full, strict=False)) if a != b), min(len(prompt), len(full)))
