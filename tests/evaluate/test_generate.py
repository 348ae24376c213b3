"""Batched greedy generation is what one would get one by one, and the context's end is no crash."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from codeblock.evaluate.generate import Answer, generate_answers, stop_token_ids

CPU = torch.device("cpu")
torch.set_num_threads(1)  # more threads than free cores make small models many times slower
Loaded = tuple[Any, Any]


def chat(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


PROMPTS = [chat(text) for text in ["a", "Write f", "def f(x): return x", "b" * 30, "Sum of a list?", "zz", "What is 1 + 1"]]


def answers(loaded: Loaded, prompts: list[list[dict[str, str]]], batch_size: int, max_new_tokens: int = 24) -> list[Answer]:
    model, tokenizer = loaded
    return generate_answers(model, tokenizer, prompts, max_new_tokens=max_new_tokens, batch_size=batch_size, device=CPU)


def naive(loaded: Loaded, messages: list[dict[str, str]], max_new_tokens: int) -> str:
    """Greedy decoding by its definition: no cache, no padding, no batch."""
    model, tokenizer = loaded
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]
    start, stops = len(ids), stop_token_ids(model, tokenizer)
    with torch.inference_mode():
        while len(ids) - start < max_new_tokens:
            token = int(model(torch.tensor([ids])).logits[0, -1].argmax())
            if token in stops:
                break
            ids = [*ids, token]
    text: str = tokenizer.decode(ids[start:], skip_special_tokens=True)
    return text


@pytest.fixture(scope="module")
def expected(loaded: Loaded) -> list[str]:
    return [naive(loaded, prompt, 24) for prompt in PROMPTS]


@pytest.mark.parametrize("batch_size", [1, 3, 7])
def test_answers_equal_naive_greedy_decoding_in_the_order_of_the_prompts(
    loaded: Loaded, batch_size: int, expected: list[str]
) -> None:
    assert [answer.text for answer in answers(loaded, PROMPTS, batch_size)] == expected


def test_the_prompts_have_different_lengths_and_answers(loaded: Loaded) -> None:
    """Else the test above would show little."""
    assert len({answer.text for answer in answers(loaded, PROMPTS, 7)}) == len(PROMPTS)


def test_stops_at_the_end_of_text_and_at_the_template_s_end_of_turn(loaded: Loaded) -> None:
    model, tokenizer = loaded
    assert tokenizer.convert_ids_to_tokens(stop_token_ids(model, tokenizer)) == ["<|eos|>", "<|end|>"]


@pytest.mark.parametrize("stop", ["<|eos|>", "<|end|>"])
def test_an_answer_ends_at_a_stop_token_which_is_counted_and_not_shown(
    loaded: Loaded, stop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = loaded
    ids = tokenizer.apply_chat_template(PROMPTS[0], add_generation_prompt=True, return_dict=True)["input_ids"]
    with torch.inference_mode():
        first = int(model(torch.tensor([ids])).logits[0, -1].argmax())
    swapped = model.lm_head.weight.detach().clone()
    token = tokenizer.convert_tokens_to_ids(stop)
    swapped[[first, token]] = swapped[[token, first]]
    monkeypatch.setattr(model.lm_head.weight, "data", swapped)
    assert answers(loaded, PROMPTS[:1], 1) == [Answer("", 1, "stop")]


def test_an_answer_that_does_not_stop_is_cut_and_says_so(loaded: Loaded) -> None:
    cut = [answer for answer in answers(loaded, PROMPTS, 7, max_new_tokens=2) if answer.end != "stop"]
    assert cut
    assert {(answer.end, answer.tokens) for answer in cut} == {("max_new_tokens", 2)}


def test_the_context_limits_each_prompt_by_itself(loaded: Loaded) -> None:
    """96 tokens: the second prompt leaves 10, the third none, the fourth exactly none; the first is not touched by them."""
    model, tokenizer = loaded
    empty = len(tokenizer.apply_chat_template(chat(""), add_generation_prompt=True, return_dict=True)["input_ids"])
    context = model.config.max_position_embeddings
    prompts = [chat("a"), chat("b" * (context - empty - 10)), chat("c" * 500), chat("d" * (context - empty))]
    got = answers(loaded, prompts, 4, max_new_tokens=24)
    assert got[0] == answers(loaded, prompts[:1], 1, max_new_tokens=24)[0]
    assert got[1].end == "stop" or (got[1].end, got[1].tokens) == ("context", 10)
    assert got[1].text == naive(loaded, prompts[1], 10)
    assert got[2] == got[3] == Answer("", 0, "prompt_too_long")


def test_no_prompts_no_answers(loaded: Loaded) -> None:
    assert answers(loaded, [], 4) == []


def test_a_sampling_default_of_the_model_does_not_matter(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    """Qwen2.5-Coder ships do_sample, temperature and a repetition penalty in its generation config."""
    expected = answers(loaded, PROMPTS, 3)
    for name, value in {"do_sample": True, "temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.8}.items():
        monkeypatch.setattr(loaded[0].generation_config, name, value)
    assert answers(loaded, PROMPTS, 3) == expected
