"""Batched generation is what one would get one by one, greedy or sampled, and the context's end is no crash."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import TopPLogitsWarper

from codeblock.evaluate.answers import Answer, Decoding, Request, sample_seed, stop_token_ids
from codeblock.evaluate.generate import StopTexts, TopP, generate_answers, sampler

CPU = torch.device("cpu")
torch.set_num_threads(1)  # more threads than free cores make small models many times slower
Loaded = tuple[Any, Any]
PROMPTS = ["a", "Write f", "def f(x): return x", "b" * 30, "Sum of a list?", "zz", "What is 1 + 1"]


def chat_ids(tokenizer: Any, text: str) -> list[int]:
    chat = [{"role": "user", "content": text}]
    return list(tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True)["input_ids"])


def requests_of(loaded: Loaded, prompts: list[str] = PROMPTS, stops: tuple[str, ...] = ()) -> list[Request]:
    return [Request(text, 0, chat_ids(loaded[1], text), stops=stops, seed=sample_seed(0, text, 0)) for text in prompts]


def answers(loaded: Loaded, requests: list[Request], batch_size: int, max_new_tokens: int = 24, **how: Any) -> list[Answer]:
    model, tokenizer = loaded
    return generate_answers(model, tokenizer, requests, Decoding(max_new_tokens, batch_size, **how))


def naive(loaded: Loaded, request: Request, max_new_tokens: int) -> tuple[str, int]:
    """Greedy decoding by its definition, no cache, padding or batch: (text, generated tokens)."""
    model, tokenizer = loaded
    ids, start = list(request.ids), len(request.ids)
    stop_ids = stop_token_ids(tokenizer, model.generation_config.eos_token_id)
    text = ""
    with torch.inference_mode():
        while len(ids) - start < max_new_tokens:
            token = int(model(torch.tensor([ids])).logits[0, -1].argmax())
            ids = [*ids, token]
            if token in stop_ids:
                break
            text = tokenizer.decode(ids[start:], skip_special_tokens=True)
            if any(stop in text for stop in request.stops):
                text = min((text.partition(stop)[0] for stop in request.stops), key=len)
                break
    return text, len(ids) - start


@pytest.mark.parametrize("batch_size", [1, 3, 7])
def test_answers_equal_naive_greedy_decoding_in_the_order_of_the_requests(loaded: Loaded, batch_size: int) -> None:
    requests = requests_of(loaded)
    got = answers(loaded, requests, batch_size)
    assert [(answer.text, answer.tokens) for answer in got] == [naive(loaded, request, 24) for request in requests]
    assert len({answer.text for answer in got}) == len(PROMPTS), "else this would show little"


@pytest.mark.parametrize("batch_size", [1, 3, 7])
def test_stop_texts_end_each_row_by_itself_with_the_token_that_completes_them(loaded: Loaded, batch_size: int) -> None:
    """The stops are taken from the answers themselves: they begin in one token and end in another."""
    requests = requests_of(loaded)
    free = answers(loaded, requests, 7)
    stops = tuple(answer.text[place : place + 3] for answer, place in zip(free, (2, 5, 9, 4, 11, 7, 3), strict=True))
    stopping = [replace(request, stops=stops) for request in requests]
    got = answers(loaded, stopping, batch_size)
    assert [(answer.text, answer.tokens) for answer in got] == [naive(loaded, request, 24) for request in stopping]
    ended = [answer for answer in got if answer.end == "stop"]
    assert len(ended) == len(PROMPTS)
    assert len({answer.tokens for answer in ended}) > 2, "rows end at different steps"
    assert not any(stop in answer.text for stop in stops for answer in got)


def test_generation_goes_on_only_until_the_last_row_has_stopped(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []
    forward = loaded[0].forward
    monkeypatch.setattr(loaded[0], "forward", lambda *args, **kwargs: steps.append(1) or forward(*args, **kwargs))
    free = answers(loaded, requests_of(loaded), 7)
    steps.clear()
    stops = tuple(answer.text[:2] for answer in free)
    got = answers(loaded, requests_of(loaded, stops=stops), 7)
    assert len(steps) == max(answer.tokens for answer in got) < 24


def test_a_stop_that_the_prompt_ends_with_ends_nothing(loaded: Loaded) -> None:
    """Only new text is looked at: here the prompt holds the stop, and its end is the stop's beginning."""
    _, tokenizer = loaded
    ids = tokenizer("x\ndef f\n", add_special_tokens=False)["input_ids"]
    [free] = answers(loaded, [Request("t", 0, ids)], 1, max_new_tokens=6)
    [same] = answers(loaded, [Request("t", 0, ids, stops=("\ndef", "\n" + free.text[0]))], 1, max_new_tokens=6)
    assert same == free


def test_stops_of_one_request_do_not_touch_another(loaded: Loaded) -> None:
    requests = requests_of(loaded)
    free = answers(loaded, requests, 7)
    stops = tuple({answer.text[1:3] for answer in free})
    mixed = [replace(request, stops=stops if place % 2 else ()) for place, request in enumerate(requests)]
    got = answers(loaded, mixed, 7)
    assert got[::2] == free[::2]
    assert all(len(answer.text) <= 1 for answer in got[1::2])


@pytest.mark.parametrize("stop", ["<|eos|>", "<|end|>"])
def test_an_answer_ends_at_a_stop_token_which_is_counted_and_not_shown(
    loaded: Loaded, stop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = loaded
    [request] = requests_of(loaded, PROMPTS[:1])
    with torch.inference_mode():
        first = int(model(torch.tensor([request.ids])).logits[0, -1].argmax())
    swapped = model.lm_head.weight.detach().clone()
    token = tokenizer.convert_tokens_to_ids(stop)
    swapped[[first, token]] = swapped[[token, first]]
    monkeypatch.setattr(model.lm_head.weight, "data", swapped)
    assert answers(loaded, [request], 1) == [Answer("a", 0, False, "", 1, "stop")]


def test_an_answer_that_does_not_stop_is_cut_and_says_so(loaded: Loaded) -> None:
    cut = [answer for answer in answers(loaded, requests_of(loaded), 7, max_new_tokens=2) if answer.end != "stop"]
    assert cut
    assert {(answer.end, answer.tokens) for answer in cut} == {("max_new_tokens", 2)}


def test_the_context_limits_each_prompt_by_itself(loaded: Loaded) -> None:
    """96 tokens: the second prompt leaves 10, the third none, the fourth exactly none; the first is not touched by them."""
    empty, context = len(chat_ids(loaded[1], "")), loaded[0].config.max_position_embeddings
    requests = requests_of(loaded, ["a", "b" * (context - empty - 10), "c" * 500, "d" * (context - empty)])
    got = answers(loaded, requests, 4, max_new_tokens=24)
    assert got[0] == answers(loaded, requests[:1], 1, max_new_tokens=24)[0]
    assert got[1].end == "stop" or (got[1].end, got[1].tokens) == ("context", 10)
    assert got[1].text == naive(loaded, requests[1], 10)[0]
    assert [(answer.text, answer.tokens, answer.end) for answer in got[2:]] == [("", 0, "prompt_too_long")] * 2


def test_no_requests_no_answers(loaded: Loaded) -> None:
    assert answers(loaded, [], 4) == []


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_sampling_default_of_the_model_does_not_matter(
    loaded: Loaded, temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Qwen2.5-Coder ships do_sample, temperature and a repetition penalty in its generation config."""
    expected = answers(loaded, requests_of(loaded), 3, temperature=temperature)
    for name, value in {"do_sample": True, "temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.8}.items():
        monkeypatch.setattr(loaded[0].generation_config, name, value)
    assert answers(loaded, requests_of(loaded), 3, temperature=temperature) == expected


@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_a_sample_is_the_same_in_every_batch_and_order(loaded: Loaded, top_p: float) -> None:
    """So a run that goes on where it was cut off, or on more actors, gets the samples that it would have got."""
    requests = [
        replace(request, sample=sample, seed=sample_seed(3, request.task_id, sample), stops=("q",))
        for request in requests_of(loaded)
        for sample in range(3)
    ]
    alone = answers(loaded, requests, 1, temperature=0.8, top_p=top_p)
    assert answers(loaded, requests, 21, temperature=0.8, top_p=top_p) == alone
    assert answers(loaded, requests[::-1], 5, temperature=0.8, top_p=top_p) == alone[::-1]
    for text in PROMPTS:
        assert len({answer.text for answer in alone if answer.task_id == text}) > 1, "samples differ"


def drawn(logits: torch.Tensor, draws: int, temperature: float, top_p: float) -> Counter[int]:
    """Tokens drawn by as many rows, each with a seed of its own."""
    sampling = sampler([sample_seed(1, "t", row) for row in range(draws)], temperature, top_p)
    return Counter(sampling(None, logits.expand(draws, -1)).argmax(-1).tolist())


@pytest.mark.parametrize("temperature", [0.7, 2.0])
def test_tokens_are_drawn_with_the_model_s_probabilities(temperature: float) -> None:
    """10,000 draws against the softmax: each share within 4 standard errors."""
    logits = torch.randn(300, generator=torch.Generator().manual_seed(0)) * 3
    counts = drawn(logits, 10_000, temperature, 1.0)
    for token, share in enumerate((logits.double() / temperature).softmax(-1).tolist()):
        error = (share * (1 - share) / 10_000) ** 0.5
        assert abs(counts[token] / 10_000 - share) < 4 * error + 1e-4


def test_top_p_leaves_the_likeliest_tokens_that_hold_the_share() -> None:
    logits = torch.tensor([0.02, 0.3, 0.08, 0.4, 0.2]).log()
    assert set(drawn(logits, 2000, 1.0, 0.65)) == {1, 3}
    assert set(drawn(logits, 2000, 1.0, 0.75)) == {1, 3, 4}
    assert set(drawn(logits, 2000, 1.0, 0.1)) == {3}


def test_a_row_draws_another_number_for_each_token() -> None:
    sampling = sampler([7], 1.0, 1.0)
    even = torch.zeros(1, 1000)
    assert len({int(sampling(None, even).argmax()) for _ in range(20)}) > 15


TEXTS = st.text(alphabet="defr tun:\n()x+`é", min_size=1, max_size=30)


@given(texts=st.lists(TEXTS, min_size=1, max_size=3), stops=st.lists(TEXTS.map(lambda text: text[:4]), min_size=1, max_size=3))
def test_a_stop_text_is_seen_with_the_token_that_completes_it(tokenizer: Any, texts: list[str], stops: list[str]) -> None:
    """Token by token against the definition, with tokens of several letters: stops begin and end in the middle of tokens."""
    rows = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    seen = StopTexts(tokenizer, [tuple(stops)] * len(rows), 2)
    ids = torch.zeros(len(rows), 2, dtype=torch.long)
    for step in range(max(len(row) for row in rows)):
        new = [row[step] if step < len(row) else tokenizer.eos_token_id for row in rows]
        ids = torch.cat([ids, torch.tensor(new)[:, None]], dim=1)
        done = seen(ids, None).tolist()
        for row, tokens in enumerate(rows):
            text = tokenizer.decode(tokens[: step + 1])
            assert done[row] == any(stop in text for stop in stops)


def test_adapters_are_used_without_being_merged(loaded: Loaded, model_directory: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, PeftModel, get_peft_model

    from codeblock.core.models.load import load_model

    torch.manual_seed(0)
    lora = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    get_peft_model(load_model(str(model_directory)), lora).save_pretrained(tmp_path)
    adapted = load_model(str(tmp_path))
    tokenizer, requests = loaded[1], requests_of(loaded)
    got = answers((adapted, tokenizer), requests, 3)
    assert isinstance(adapted, PeftModel)
    layers = [module for module in adapted.modules() if hasattr(module, "merged")]
    assert layers
    assert not any(layer.merged for layer in layers)
    assert got == answers((adapted.merge_and_unload(), tokenizer), requests, 3)
    assert got != answers(loaded, requests, 3)


def test_generation_in_bfloat16(loaded: Loaded, model_directory: Path) -> None:
    """Half precision rounds otherwise in other batches, so only the shape of the answers is held here."""
    from codeblock.core.models.load import load_model

    model = load_model(str(model_directory), dtype="bfloat16")
    got = answers((model, loaded[1]), requests_of(loaded), 3, temperature=0.8, top_p=0.95)
    assert [answer.task_id for answer in got] == PROMPTS
    assert all(1 <= answer.tokens <= 24 for answer in got)


@pytest.mark.parametrize("top_p", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("temperature", [0.1, 1.0, 30.0])
def test_top_p_leaves_what_sorting_the_whole_vocabulary_leaves(top_p: float, temperature: float) -> None:
    """At 30 the likeliest 256 tokens of 2,000 do not hold the larger shares, and the vocabulary is sorted."""
    logits = torch.randn(16, 2000, generator=torch.Generator().manual_seed(0)) / temperature * 3
    expected = TopPLogitsWarper(top_p)(None, logits)
    assert torch.equal(TopP(top_p)(torch.empty(0), logits), expected)
    assert torch.equal(TopP(top_p)(torch.empty(0), logits[:, :200]), TopPLogitsWarper(top_p)(None, logits[:, :200]))


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("stride", [1, 5, 24])
def test_answers_batched_anew_after_a_stride_are_the_same(loaded: Loaded, stride: int, temperature: float) -> None:
    """With stops that are taken from the answers: they begin in one stride and end in another."""
    how = {"temperature": temperature, "top_p": 0.9}
    requests = requests_of(loaded)
    free = answers(loaded, requests, 3, **how)
    assert answers(loaded, requests, 3, stride=stride, **how) == free
    stops = tuple(answer.text[place : place + 3] for answer, place in zip(free, (2, 5, 9, 4, 11, 7, 3), strict=True))
    stopping = [replace(request, stops=stops) for request in requests]
    assert answers(loaded, stopping, 3, stride=stride, **how) == answers(loaded, stopping, 3, **how)


def test_answers_that_have_ended_leave_their_batch_after_a_stride(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    free = answers(loaded, requests_of(loaded), 7)
    stops = [(free[0].text[:2],), *[()] * 6]
    requests = [replace(request, stops=stop) for request, stop in zip(requests_of(loaded), stops, strict=True)]
    rows: list[int] = []
    forward = loaded[0].forward
    monkeypatch.setattr(
        loaded[0], "forward", lambda *args, **kwargs: rows.append(len(kwargs["input_ids"])) or forward(*args, **kwargs)
    )
    answers(loaded, requests, 7, stride=8)
    assert rows[:8] == [7] * 8
    assert max(rows[8:]) < 7
