"""An answer's text is what the tokens add to the prompt, cut exactly before the first stop."""

from __future__ import annotations

from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from codeblock.evaluate.answers import Answer, Request, finish, first_stop, sample_seed, stop_token_ids


@pytest.fixture(scope="module")
def byte_level(loaded: tuple[Any, Any]) -> Any:
    return loaded[1]


def finished(tokenizer: Any, text: str, request: Request, stop_ids: tuple[int, ...] = ()) -> Answer:
    """The answer that the tokens of `text` make."""
    return finish(tokenizer, request, tokenizer(text, add_special_tokens=False)["input_ids"], stop_ids, "max_new_tokens")


def test_the_text_is_cut_before_the_first_of_the_stops(byte_level: Any) -> None:
    request = Request("t", 0, [1], stops=("\nclass", "\ndef"))
    assert finished(byte_level, "return x\ndef g\nclass A", request).text == "return x"
    assert finished(byte_level, "return x\n#\nclass A", request).text == "return x\n#"


def test_an_answer_without_a_stop_ends_for_the_reason_that_the_engine_gives(byte_level: Any) -> None:
    answer = finished(byte_level, "abc", Request("t", 1, [1], base=True, stops=("\ndef",)))
    assert (answer.task_id, answer.sample, answer.base, answer.text, answer.end) == ("t", 1, True, "abc", "max_new_tokens")


def test_a_stop_token_ends_the_answer_is_counted_and_not_shown(byte_level: Any) -> None:
    stop = byte_level.convert_tokens_to_ids("<|end|>")
    assert finished(byte_level, "ab<|end|>cd", Request("t", 0, [1]), (stop,)) == Answer("t", 0, False, "ab", 3, "stop")


def test_what_the_prompt_began_belongs_to_the_answer_and_holds_no_stop(byte_level: Any) -> None:
    """The fence that begins the answer is not the one that ends it."""
    request = Request("t", 0, [1], begun="Here:\n```python\n", stops=("\n```",))
    assert finished(byte_level, "x = 1\n```\nDone", request).text == "Here:\n```python\nx = 1"


def test_a_first_stop_is_the_one_that_begins_first_whatever_their_order() -> None:
    assert first_stop("a def class", ["class", "def"]) == 2
    assert first_stop("a def class", ["class", "def"], start=3) == 6
    assert first_stop("a", ["b"]) is None
    assert first_stop("a", []) is None


def test_a_sentencepiece_decoder_does_not_eat_the_indentation_that_follows_the_prompt() -> None:
    """Decoders of the Llama 2 family strip the first space of what they decode; CodeLlama would lose its indentation."""
    vocabulary = {"<unk>": 0, "</s>": 1, "▁def": 2, "▁f:": 3, "\n": 4, "▁▁▁▁": 5, "return": 6}
    plain = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.Split(" ", "removed")
    plain.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, eos_token="</s>")
    assert tokenizer.decode([5, 6]) == "   return"
    assert finish(tokenizer, Request("t", 0, [2, 3, 4]), [5, 6, 1], [1], "context").text == "    return"


def test_stop_tokens_are_the_tokenizer_s_the_model_s_and_the_template_s(byte_level: Any) -> None:
    def names(configured: int | list[int] | None) -> list[str]:
        tokens: list[str] = byte_level.convert_ids_to_tokens(stop_token_ids(byte_level, configured))
        return tokens

    user = byte_level.convert_tokens_to_ids("<|user|>")
    assert names(None) == names(byte_level.eos_token_id) == ["<|eos|>", "<|end|>"]
    assert names(user) == names([user, byte_level.eos_token_id]) == ["<|eos|>", "<|user|>", "<|end|>"]


def test_each_answer_has_a_seed_of_its_own() -> None:
    seeds = {sample_seed(seed, task, sample) for seed in (0, 1) for task in ("t/1", "t/11") for sample in (0, 1, 2)}
    assert len(seeds) == 12
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert sample_seed(0, "t/1", 0) == 4122565202924487998, "seeds are part of what a cached evaluation is named by"
