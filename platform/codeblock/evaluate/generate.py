"""Generation with a Hugging Face model: batched, left-padded, sorted by length, greedy or sampled, with a key-value cache.

Knows nothing of Ray. An answer does not depend on the batch it is generated in, but for the rounding of the arithmetic: greedy
takes the likeliest token, and a sample has random numbers of its own (`Request.seed`).
Letters: B requests of a batch, P tokens of the longest prompt, N new tokens, V tokens of the vocabulary.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import (
    DynamicCache,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)

from codeblock.core.models.attention import attention_of_any_shape
from codeblock.core.models.causal import check_ids, vocabulary_of
from codeblock.core.models.load import context_room
from codeblock.evaluate.answers import (
    SHRINK_EVERY,
    Answer,
    Decoding,
    End,
    Request,
    finish,
    first_stop,
    stop_token_ids,
    without_room,
)
from codeblock.evaluate.cache import growing_cache


@dataclass(eq=False)
class _Row:
    """An answer in the making."""

    place: int
    """In the requests."""
    request: Request
    room: int
    """Tokens that may be generated, from the prompt's end on."""
    new: list[int] = field(default_factory=list)
    """Tokens that were generated."""

    @property
    def left(self) -> int:
        return self.room - len(self.new)

    @property
    def ids(self) -> list[int]:
        return self.request.ids + self.new


def generate_answers(
    model: Any,
    tokenizer: Any,
    requests: Sequence[Request],
    decoding: Decoding,
) -> list[Answer]:
    """The answer to each request, in their order. The model is on its device already.

    Answers that have ended leave their batch, and the others go on with what the cache holds of them.

    A prompt that leaves less room than is asked for gets what fits the model's context; one that leaves none gets an empty
    answer that says so. Raises CodeBlockError where a prompt holds a token that the model does not know.
    """
    check_ids(model, [request.ids for request in requests])
    context = context_room(model, tokenizer)
    decoder = _Decoder(model, tokenizer, decoding.temperature, decoding.top_p)
    answers: dict[int, Answer] = {}
    waiting: list[_Row] = []
    for place, request in enumerate(requests):
        room = request.room(decoding.max_new_tokens, context)
        if room < 1:
            answers[place] = without_room(request)
        else:
            waiting.append(_Row(place, request, room))
    while waiting:
        unfinished: list[_Row] = []
        for batch in _batches(waiting, decoding.batch_size):
            going_on = decoder.advance(batch, min(batch[0].left, decoding.stride or batch[0].left))
            unfinished += going_on
            for row in set(batch).difference(going_on):
                full: End = "max_new_tokens" if row.room == decoding.max_new_tokens else "context"
                answers[row.place] = finish(tokenizer, row.request, row.new, decoder.stop_ids, full)
        waiting = unfinished
    return [answers[place] for place in range(len(requests))]


def _batches(rows: list[_Row], batch_size: int) -> Iterator[list[_Row]]:
    """Batches of similar length, longest first (memory runs out at once or never), each of rows with as much left."""
    batch: list[_Row] = []
    for row in sorted(rows, key=lambda row: (row.left, -len(row.ids))):
        if batch and (len(batch) == batch_size or batch[0].left != row.left):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


class _Decoder:
    """Adds tokens to the rows of a batch."""

    def __init__(self, model: Any, tokenizer: Any, temperature: float = 0.0, top_p: float = 1.0) -> None:
        self._model, self._tokenizer, self._device = model, tokenizer, next(model.parameters()).device
        self._temperature, self._top_p = temperature, top_p
        self.stop_ids = stop_token_ids(tokenizer, model.generation_config.eos_token_id)
        # Some tokenizers have a padding token that the model has no embedding of; it is masked, so any other will do.
        self._padding = tokenizer.pad_token_id if tokenizer.pad_token_id < vocabulary_of(model) else 0

    def advance(self, rows: list[_Row], count: int) -> list[_Row]:
        """Add up to `count` tokens to each row, for which all have room; the rows that have not ended, in their order.

        A row ends with a stop token, with the token that completes a stop text, or where its room does.
        """
        cache = growing_cache(self._model)
        width = max(len(row.ids) for row in rows)
        end = width + count
        while rows and width < end:
            step = end - width if cache is None else min(SHRINK_EVERY, end - width)
            ended = self._generate(rows, width, step, cache)
            width += step
            staying = [number for number, row in enumerate(rows) if row.left and number not in ended]
            if cache is not None and 0 < len(staying) < len(rows):
                cache.batch_select_indices(torch.tensor(staying, device=self._device))
            rows = [rows[number] for number in staying]
        return rows

    def _generate(self, rows: list[_Row], width: int, count: int, cache: DynamicCache | None) -> set[int]:
        """Add up to `count` new tokens to each row, padded on the left to `width`; the numbers of rows that a stop has ended.

        `cache` holds all tokens of the rows but the last, or none.
        """
        input_BP = torch.full((len(rows), width), self._padding)
        mask_BP = torch.zeros_like(input_BP)
        for number, row in enumerate(rows):
            input_BP[number, width - len(row.ids) :] = torch.tensor(row.ids)
            mask_BP[number, width - len(row.ids) :] = 1
        drawn = [len(row.new) for row in rows]
        stops = StopTexts(self._tokenizer, [row.request.stops for row in rows], width, drawn)
        with torch.inference_mode(), attention_of_any_shape():
            output_BN = self._model.generate(
                input_ids=input_BP.to(self._device),
                attention_mask=mask_BP.to(self._device),
                generation_config=self._config(count),
                logits_processor=sampler([row.request.seed for row in rows], self._temperature, self._top_p, drawn),
                stopping_criteria=StoppingCriteriaList([stops]),
                **({} if cache is None else {"past_key_values": cache}),
            )[:, width:]
        ended = set(stops.ended)
        for number, (row, new) in enumerate(zip(rows, output_BN.tolist(), strict=True)):
            row.new += new[: stops.ended.get(number, len(new))]
            if not set(self.stop_ids).isdisjoint(new):
                ended.add(number)
        return ended

    def _config(self, count: int) -> GenerationConfig:
        return GenerationConfig(
            do_sample=False,  # where answers are sampled, `sampler` leaves one token
            num_beams=1,
            # Some models ship other values, which would be taken where these are absent: greedy means greedy.
            repetition_penalty=1.0,
            no_repeat_ngram_size=0,
            max_new_tokens=count,
            eos_token_id=self.stop_ids,
            pad_token_id=self._padding,
            use_cache=True,
        )


def sampler(seeds: Sequence[int], temperature: float, top_p: float, drawn: Sequence[int] = ()) -> LogitsProcessorList:
    """Leaves one token of each row, which it draws; empty, and so greedy, at a temperature of 0.

    `seeds` are the rows'; `drawn`: how many tokens of each row were drawn before, none where it is empty.
    """
    sampling = LogitsProcessorList()
    if temperature > 0:
        sampling.append(TemperatureLogitsWarper(temperature))
        if top_p < 1:
            sampling.append(TopP(top_p))
        sampling.append(_Draw(seeds, drawn))
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

    def __init__(self, seeds: Sequence[int], drawn: Sequence[int] = ()) -> None:
        self._random = [random.Random(seed) for seed in seeds]
        for each, count in zip(self._random, drawn, strict=False):
            for _ in range(count):
                each.random()

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        cumulative_BV = scores.double().softmax(-1).cumsum(-1)
        number_B1 = torch.tensor([[each.random()] for each in self._random], dtype=torch.float64, device=scores.device)
        token_B1 = torch.searchsorted(cumulative_BV, number_B1 * cumulative_BV[:, -1:], right=True)
        return torch.full_like(scores, -torch.inf).scatter(1, token_B1, 0.0)


class StopTexts(StoppingCriteria):  # type: ignore[misc]
    """Ends a row with the token that completes one of its stop texts, wherever in the token that is.

    transformers' own StopStringCriteria takes the prompt's end for a stop's beginning, and makes a table of the vocabulary.
    """

    def __init__(self, tokenizer: Any, stops: Sequence[tuple[str, ...]], start: int, before: Sequence[int] = ()) -> None:
        """`start`: where new tokens begin; `before`: how many tokens before that are of each answer, none where it is empty."""
        self._tokenizer, self._stops, self._start = tokenizer, stops, start
        self._before = list(before) or [0] * len(stops)
        # A token has at least one byte, but for special ones, which the text leaves out: a few may stand between.
        self._tail = max((len(stop.encode()) for each in stops for stop in each), default=0) + 8
        self.ended: dict[int, int] = {}
        """New tokens of each row that a stop text has ended."""

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:  # noqa: ARG002
        length = input_ids.shape[1] - self._start
        watched = [row for row, stops in enumerate(self._stops) if stops and row not in self.ended]
        if watched:
            tails = self._decode(input_ids[:, -(length + max(self._before)) :][:, -self._tail :].tolist(), length, watched)
            hits = [row for row, tail in tails.items() if first_stop(tail, self._stops[row]) is not None]
            self.ended.update(dict.fromkeys(hits, length))
        return torch.tensor([row in self.ended for row in range(len(input_ids))], device=input_ids.device)

    def _decode(self, tails: list[list[int]], length: int, rows: list[int]) -> dict[int, str]:
        chosen = [tails[row][-(length + self._before[row]) :] for row in rows]
        options = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
        return dict(zip(rows, self._tokenizer.batch_decode(chosen, **options), strict=True))
