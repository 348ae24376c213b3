"""Generation with a Hugging Face model: batched, left-padded, sorted by length, greedy or sampled, with a key-value cache.

Knows nothing of Ray. An answer does not depend on the batch it is generated in, but for the rounding of the arithmetic: greedy
takes the likeliest token, and a sample has random numbers of its own (`Request.seed`).
Letters: B requests of a batch, P tokens of the longest prompt, N new tokens, V tokens of the vocabulary.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)

from codeblock.evaluate.answers import Answer, End, Request, finish, first_stop, stop_token_ids, without_room

_Ready = tuple[int, Request, int]
"""Place in the requests, the request, tokens that may be generated."""


def generate_answers(
    model: Any,
    tokenizer: Any,
    requests: Sequence[Request],
    *,
    max_new_tokens: int,
    batch_size: int,
    device: torch.device,
    temperature: float = 0.0,
    top_p: float = 1.0,
) -> list[Answer]:
    """The answer to each request, in their order. The model is on `device` already. A temperature of 0 is greedy.

    A prompt that leaves less room than `max_new_tokens` gets what fits the model's context; one that leaves none gets an
    empty answer that says so.
    """
    context = int(getattr(model.config, "max_position_embeddings", None) or 2048)
    stop_ids = stop_token_ids(tokenizer, model.generation_config.eos_token_id)
    answers: dict[int, Answer] = {}
    ready: list[_Ready] = []
    for place, request in enumerate(requests):
        room = request.room(max_new_tokens, context)
        if room < 1:
            answers[place] = without_room(request)
        else:
            ready.append((place, request, room))
    for batch, room in _batches(ready, batch_size):
        rows = [request for _, request, _ in batch]
        sampling = sampler([request.seed for request in rows], temperature, top_p)
        for (place, request, _), new in zip(
            batch, _generate(model, tokenizer, rows, room, stop_ids, sampling, device), strict=True
        ):
            full: End = "max_new_tokens" if room == max_new_tokens else "context"
            answers[place] = finish(tokenizer, request, new, stop_ids, full)
    return [answers[place] for place in range(len(requests))]


def _batches(ready: list[_Ready], batch_size: int) -> Iterator[tuple[list[_Ready], int]]:
    """Batches of similar length, longest first (memory runs out at once or never), each of one room."""
    batch: list[_Ready] = []
    for each in sorted(ready, key=lambda each: (each[2], -len(each[1].ids))):
        if batch and (len(batch) == batch_size or batch[0][2] != each[2]):
            yield batch, batch[0][2]
            batch = []
        batch.append(each)
    if batch:
        yield batch, batch[0][2]


def _generate(
    model: Any,
    tokenizer: Any,
    batch: list[Request],
    room: int,
    stop_ids: list[int],
    sampling: LogitsProcessorList,
    device: torch.device,
) -> list[list[int]]:
    """New token ids of each request: up to the token that completes a stop text, or padded after a stop token."""
    longest = max(len(request.ids) for request in batch)
    input_BP = torch.full((len(batch), longest), tokenizer.pad_token_id)
    mask_BP = torch.zeros_like(input_BP)
    for row, request in enumerate(batch):
        input_BP[row, longest - len(request.ids) :] = torch.tensor(request.ids)
        mask_BP[row, longest - len(request.ids) :] = 1
    config = GenerationConfig(
        do_sample=False,  # where answers are sampled, `sampling` leaves one token
        num_beams=1,
        # Some models ship other values, which would be taken where these are absent: greedy means greedy.
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        max_new_tokens=room,
        eos_token_id=stop_ids,
        pad_token_id=tokenizer.pad_token_id,
        use_cache=True,
    )
    stops = StopTexts(tokenizer, [request.stops for request in batch], longest)
    with torch.inference_mode():
        output_BN = model.generate(
            input_ids=input_BP.to(device),
            attention_mask=mask_BP.to(device),
            generation_config=config,
            logits_processor=sampling,
            stopping_criteria=StoppingCriteriaList([stops]),
        )[:, longest:]
    return [new[: stops.ended.get(row, len(new))] for row, new in enumerate(output_BN.tolist())]


def sampler(seeds: Sequence[int], temperature: float, top_p: float) -> LogitsProcessorList:
    """Leaves one token of each row, which it draws; `seeds` are the rows'. Empty, and so greedy, at a temperature of 0."""
    sampling = LogitsProcessorList()
    if temperature > 0:
        sampling.append(TemperatureLogitsWarper(temperature))
        if top_p < 1:
            sampling.append(TopP(top_p))
        sampling.append(_Draw(seeds))
    return sampling


class TopP(LogitsProcessor):  # type: ignore[misc]
    """Leaves the likeliest tokens that hold a share of the probability: what transformers' TopPLogitsWarper leaves.

    That one sorts the vocabulary, which takes a fifth of a small model's time. Here only the `LIKELY` likeliest tokens are
    sorted, and the vocabulary where those of some row hold less than the share.
    """

    LIKELY = 256

    def __init__(self, top_p: float) -> None:
        self._top_p, self._whole = top_p, TopPLogitsWarper(top_p)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        top_BK, token_BK = scores.topk(min(self.LIKELY, scores.shape[-1]))
        share_BK = (top_BK - scores.logsumexp(-1, keepdim=True)).exp()
        sum_BK = share_BK.cumsum(-1)
        if scores.shape[-1] > self.LIKELY and bool((sum_BK[:, -1] < self._top_p).any()):
            whole: torch.Tensor = self._whole(input_ids, scores)
            return whole
        likelier_BK = sum_BK - share_BK
        likelier_BK[:, 0] = 0.0  # the likeliest token always stays
        return torch.full_like(scores, -torch.inf).scatter(
            1, token_BK, top_BK.masked_fill(likelier_BK >= self._top_p, -torch.inf)
        )


class _Draw(LogitsProcessor):  # type: ignore[misc]
    """Draws the next token of each row with random numbers of that row's own, and leaves no other token.

    One number a token, held against the probabilities summed in the order of the vocabulary: rounding in the logits moves the
    borders between tokens by as little, where a sorted order could swap two tokens.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self._random = [random.Random(seed) for seed in seeds]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        cumulative_BV = scores.double().softmax(-1).cumsum(-1)
        number_B1 = torch.tensor([[each.random()] for each in self._random], dtype=torch.float64, device=scores.device)
        token_B1 = torch.searchsorted(cumulative_BV, number_B1 * cumulative_BV[:, -1:], right=True)
        return torch.full_like(scores, -torch.inf).scatter(1, token_B1, 0.0)


class StopTexts(StoppingCriteria):  # type: ignore[misc]
    """Ends a row with the token that completes one of its stop texts, wherever in the token that is.

    transformers' own StopStringCriteria takes the prompt's end for a stop's beginning, and makes a table of the vocabulary.
    """

    def __init__(self, tokenizer: Any, stops: Sequence[tuple[str, ...]], start: int) -> None:
        self._tokenizer, self._stops, self._start = tokenizer, stops, start
        # A token has at least one byte, but for special ones, which the text leaves out: a few may stand between.
        self._tail = max((len(stop.encode()) for each in stops for stop in each), default=0) + 8
        self.ended: dict[int, int] = {}
        """New tokens of each row that a stop text has ended."""

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:  # noqa: ARG002
        length = input_ids.shape[1] - self._start
        watched = [row for row, stops in enumerate(self._stops) if stops and row not in self.ended]
        if watched:
            tails = self._decode(input_ids[:, max(self._start, input_ids.shape[1] - self._tail) :].tolist(), watched)
            hits = [row for row, tail in tails.items() if first_stop(tail, self._stops[row]) is not None]
            self.ended.update(dict.fromkeys(hits, length))
        return torch.tensor([row in self.ended for row in range(len(input_ids))], device=input_ids.device)

    def _decode(self, tails: list[list[int]], rows: list[int]) -> dict[int, str]:
        chosen = [tails[row] for row in rows]
        options = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
        return dict(zip(rows, self._tokenizer.batch_decode(chosen, **options), strict=True))
