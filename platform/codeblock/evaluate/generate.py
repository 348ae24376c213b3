"""Generation with a Hugging Face model: batched, left-padded, sorted by length, greedy, with a key-value cache.

Knows nothing of Ray. Letters: B prompts of a batch, P tokens of the longest prompt, N new tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from transformers import GenerationConfig

from codeblock.evaluate.benchmarks.base import Message

End = Literal["stop", "max_new_tokens", "context", "prompt_too_long"]


@dataclass(frozen=True)
class Answer:
    """What the model said to one prompt."""

    text: str
    tokens: int
    """Generated tokens, the stop token included."""
    end: End
    """Why it ends: a stop token; `max_new_tokens`; the model's context is full; or the prompt alone does not fit (no text)."""


@dataclass(frozen=True)
class _Prompt:
    index: int
    ids: list[int]
    room: int
    """Tokens that may be generated: at most `max_new_tokens`, and the prompt stays within the context."""


def generate_answers(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[Message]],
    *,
    max_new_tokens: int,
    batch_size: int,
    device: torch.device,
) -> list[Answer]:
    """The greedy answer to each chat, in the order of `prompts`. The model is on `device` already.

    A prompt that leaves less room than `max_new_tokens` gets what fits the model's context; one that leaves none gets an
    empty answer that says so.
    """
    context = int(getattr(model.config, "max_position_embeddings", None) or 2048)
    stops = stop_token_ids(model, tokenizer)
    answers: dict[int, Answer] = {}
    ready: list[_Prompt] = []
    for index, messages in enumerate(prompts):
        ids = list(tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, return_dict=True)["input_ids"])
        room = min(max_new_tokens, context - len(ids))
        if room < 1:
            answers[index] = Answer("", 0, "prompt_too_long")
        else:
            ready.append(_Prompt(index, ids, room))
    for batch in _batches(ready, batch_size):
        for prompt, new in zip(batch, _generate(model, tokenizer, batch, stops, device), strict=True):
            answers[prompt.index] = _answer(
                tokenizer, new, stops, "max_new_tokens" if prompt.room == max_new_tokens else "context"
            )
    return [answers[index] for index in range(len(prompts))]


def stop_token_ids(model: Any, tokenizer: Any) -> list[int]:
    """Tokens that end an answer: the tokenizer's and the model's end of text, and what the chat template puts after a turn."""
    stops = {tokenizer.eos_token_id}
    configured = model.generation_config.eos_token_id
    stops.update(configured if isinstance(configured, list) else [configured])
    marker = "\u2063answer\u2063"
    turn = [{"role": "user", "content": "question"}, {"role": "assistant", "content": marker}]
    _, _, after = tokenizer.apply_chat_template(turn, tokenize=False).rpartition(marker)
    following = tokenizer(after, add_special_tokens=False)["input_ids"]
    if following and following[0] in tokenizer.all_special_ids + list(tokenizer.added_tokens_decoder):
        stops.add(following[0])
    return sorted(stops - {None})


def _batches(prompts: list[_Prompt], batch_size: int) -> Iterator[list[_Prompt]]:
    """Batches of similar length, longest first (memory runs out at once or never), each of one `room`."""
    batch: list[_Prompt] = []
    for prompt in sorted(prompts, key=lambda prompt: (prompt.room, -len(prompt.ids))):
        if batch and (len(batch) == batch_size or batch[0].room != prompt.room):
            yield batch
            batch = []
        batch.append(prompt)
    if batch:
        yield batch


def _generate(model: Any, tokenizer: Any, batch: list[_Prompt], stops: list[int], device: torch.device) -> list[list[int]]:
    """New token ids of each prompt, padded after its stop token: [B][N]."""
    longest = max(len(prompt.ids) for prompt in batch)
    input_BP = torch.full((len(batch), longest), tokenizer.pad_token_id)
    mask_BP = torch.zeros_like(input_BP)
    for row, prompt in enumerate(batch):
        input_BP[row, longest - len(prompt.ids) :] = torch.tensor(prompt.ids)
        mask_BP[row, longest - len(prompt.ids) :] = 1
    greedy = GenerationConfig(
        do_sample=False,
        num_beams=1,
        # Some models ship other values, which would be taken where these are absent: greedy means greedy.
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        max_new_tokens=batch[0].room,
        eos_token_id=stops,
        pad_token_id=tokenizer.pad_token_id,
        use_cache=True,
    )
    with torch.inference_mode():
        output_BN = model.generate(input_ids=input_BP.to(device), attention_mask=mask_BP.to(device), generation_config=greedy)[
            :, longest:
        ]
    new: list[list[int]] = output_BN.tolist()
    return new


def _answer(tokenizer: Any, new: list[int], stops: list[int], full: End) -> Answer:
    end = next((position for position, token in enumerate(new) if token in stops), None)
    if end is None:
        return Answer(tokenizer.decode(new, skip_special_tokens=True), len(new), full)
    return Answer(tokenizer.decode(new[:end], skip_special_tokens=True), end + 1, "stop")
