"""Models as people have them on disk: each loads right, or is refused in one line with the thing, the place and the remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tests.conftest import make_model, make_tokenizer
from tests.core.models.families import tiny_model
from tests.core.models.spoilt import LFS, TEXT, VISION, change, refused
from transformers import AutoModelForCausalLM, LlamaConfig

from codeblock.core.models import load as models
from codeblock.core.models.config import context_of, tells_context
from codeblock.core.models.load import check_same_tokens, check_vocabulary, context_length, load_model, load_tokenizer
from codeblock.core.models.nll import response_nll
from codeblock.core.models.ref import ModelRef
from codeblock.evaluate.answers import Decoding, Request
from codeblock.evaluate.generate import generate_answers

# --- tokenizers


@pytest.mark.parametrize("config", [transformers.Qwen2Config(**TEXT), LlamaConfig(**TEXT)], ids=["qwen2", "llama"])
def test_a_tokenizer_whose_files_are_missing_is_told(tmp_path: Path, config: Any) -> None:
    config.save_pretrained(tmp_path)
    line = refused(lambda: load_tokenizer(str(tmp_path)))
    assert line.startswith(f"tokenizer of {tmp_path}: ")
    assert "tokenizer.json" in line


@pytest.mark.parametrize("content", [LFS, "{"], ids=["lfs", "cut"])
def test_a_damaged_tokenizer_is_told(model: Path, content: str) -> None:
    (model / "tokenizer.json").write_text(content)
    assert refused(lambda: load_tokenizer(str(model))).startswith(f"tokenizer of {model}: ")


def test_a_tokenizer_that_needs_a_package_says_which(model: Path) -> None:
    (model / "tokenizer.json").unlink()
    (model / "tokenizer.model").write_bytes(b"\n\x0eno such vocabulary")
    change(model / "tokenizer_config.json", tokenizer_class="LlamaTokenizer")
    assert "tokenizer.json" in refused(lambda: load_tokenizer(str(model)))


def test_a_tokenizer_with_code_of_its_own_asks_no_question(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked a question"))
    (model / "tokenizer.json").unlink()
    change(model / "config.json", model_type="mine", auto_map={"AutoConfig": "c.C"})
    change(model / "tokenizer_config.json", tokenizer_class="Mine", auto_map={"AutoTokenizer": ["t.T", None]})
    assert "needs Python code that comes with it" in refused(lambda: load_tokenizer(str(model)))


def test_tokens_of_the_template_without_an_embedding_are_told_from_the_files(tmp_path: Path) -> None:
    tokenizer = make_tokenizer(tmp_path)
    make_model(tmp_path, len(tokenizer))
    check_vocabulary(str(tmp_path), None, load_tokenizer(str(tmp_path)))
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|turn|>"]})
    tokenizer.save_pretrained(tmp_path)
    check_vocabulary(str(tmp_path), None, load_tokenizer(str(tmp_path)))  # no rendered pair has it
    tokenizer.chat_template = "{% for m in messages %}<|turn|>{{ m['content'] }}{% endfor %}"
    tokenizer.save_pretrained(tmp_path)
    line = refused(lambda: check_vocabulary(str(tmp_path), None, load_tokenizer(str(tmp_path))))
    assert f"has embeddings of {len(tokenizer) - 1:,} tokens, '<|turn|>' of the tokenizer is number" in line


def test_a_prompt_with_a_token_without_an_embedding_is_not_generated_from(small_model: Path) -> None:
    model, tokenizer = load_model(str(small_model)), load_tokenizer(str(small_model))
    decoding = Decoding(max_new_tokens=2, batch_size=2)
    line = refused(lambda: generate_answers(model, tokenizer, [Request("t", 0, [5, 99_999])], decoding))
    assert "the text has token 99999" in line


def test_a_padding_token_without_an_embedding_is_replaced(small_model: Path) -> None:
    model, tokenizer = load_model(str(small_model)), load_tokenizer(str(small_model))
    decoding = Decoding(max_new_tokens=4, batch_size=2)
    requests = [Request("one", 0, [5, 6, 7, 8]), Request("two", 0, [9])]
    expected = [answer.text for answer in generate_answers(model, tokenizer, requests, decoding)]
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    assert tokenizer.pad_token_id >= model.config.vocab_size
    assert [answer.text for answer in generate_answers(model, tokenizer, requests, decoding)] == expected


def test_a_reference_with_other_tokens_is_told(small_model: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(str(small_model))
    check_same_tokens(tokenizer, str(small_model))
    check_same_tokens(tokenizer, str(tmp_path))  # no tokenizer there
    make_tokenizer(tmp_path, vocabulary=270)
    assert "name a reference of the same family" in refused(lambda: check_same_tokens(tokenizer, str(tmp_path)))


# --- context


def yarn(factor: float, **more: Any) -> dict[str, Any]:
    return {"rope_scaling": {"rope_type": "yarn", "factor": factor, **more}}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (LlamaConfig(max_position_embeddings=777), 777),
        (transformers.GPT2Config(n_positions=640), 640),
        (transformers.MptConfig(max_seq_len=4096), 4096),
        (transformers.BloomConfig(seq_length=1536), 1536),
        (transformers.RwkvConfig(context_length=512), 512),
        (transformers.MistralConfig(max_position_embeddings=32768, sliding_window=4096), 32768),
        (transformers.Gemma3Config(text_config={"max_position_embeddings": 9000}), 9000),
        (transformers.LlavaConfig(text_config={"model_type": "llama", "max_position_embeddings": 5000}), 5000),
        (transformers.Qwen2Config(max_position_embeddings=1000, **yarn(4.0, original_max_position_embeddings=1000)), 4000),
        (transformers.Qwen2Config(max_position_embeddings=4000, **yarn(4.0, original_max_position_embeddings=1000)), 4000),
        (LlamaConfig(max_position_embeddings=8000, rope_scaling={
            "rope_type": "llama3", "factor": 32.0, "original_max_position_embeddings": 1000,
            "low_freq_factor": 1.0, "high_freq_factor": 4.0}), 8000),
        (LlamaConfig(max_position_embeddings=4096, max_sequence_length=16384, rope_scaling={
            "rope_type": "linear", "factor": 4.0}), 16384),
        (LlamaConfig(max_position_embeddings=4096, max_sequence_length=2048), 4096),
        (LlamaConfig(max_position_embeddings=16384, rope_scaling={"rope_type": "linear", "factor": 4.0}), 16384),
        (transformers.FalconConfig(seq_length=5000), 5000),
        (transformers.MambaConfig(), None),
    ],
    ids=[
        *("llama", "gpt2", "mpt", "bloom", "rwkv", "sliding_window", "gemma3", "llava", "yarn", "yarn_told", "llama3"),
        *("stretched", "no_scaling", "scaled_already", "other_name", "mamba"),
    ],
)  # fmt: skip
def test_the_context_is_what_the_config_says(config: Any, expected: int | None, tmp_path: Path) -> None:
    assert context_of(config) == expected
    config.save_pretrained(tmp_path)
    assert context_length(str(tmp_path)) == expected
    assert expected is not None or not tells_context(str(tmp_path))


@pytest.mark.parametrize(
    ("config", "tells"),
    [
        ('{"max_position_embeddings": 777}', True),
        ('{"text_config": {"n_ctx": 640}}', True),
        ('{"max_position_embeddings": 1e30, "text_config": 3}', False),
        ('["n_ctx"]', False),
        ("{", False),
        (None, False),
    ],
)
def test_a_file_tells_a_context_where_it_names_one(config: str | None, tells: bool, tmp_path: Path) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    assert tells_context(str(tmp_path)) is tells


@pytest.mark.parametrize(("said", "expected"), [(3000, 3000), (int(1e30), None)])
def test_where_the_config_says_no_context_the_tokenizer_may(tmp_path: Path, said: int, expected: int | None) -> None:
    make_tokenizer(tmp_path).save_pretrained(tmp_path)
    change(tmp_path / "tokenizer_config.json", model_max_length=said)
    transformers.MambaConfig(**TEXT).save_pretrained(tmp_path)
    assert context_length(str(tmp_path)) == expected


def test_a_model_without_a_context_generates_what_is_asked_for(tokenizer: Any) -> None:
    model = tiny_model("mamba")
    assert models.context_room(model, tokenizer) == models.NO_LIMIT
    decoding = Decoding(max_new_tokens=3, batch_size=1)
    (answer,) = generate_answers(model, tokenizer, [Request("t", 0, list(range(5, 25)))], decoding)
    assert answer.end in ("max_new_tokens", "stop")


# --- text models inside others


def gemma3() -> Any:
    return transformers.Gemma3Config(text_config={**TEXT, "head_dim": 8}, vision_config={**VISION, "patch_size": 14})


def llava() -> Any:
    vision = {"model_type": "clip_vision_model", "projection_dim": 8, "patch_size": 14, **VISION}
    return transformers.LlavaConfig(text_config={"model_type": "llama", **TEXT}, vision_config=vision, image_token_index=100)


def qwen2_vl() -> Any:
    scaling = {"rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2]}, "num_key_value_heads": 2}
    vision = {"depth": 1, "embed_dim": 16, "hidden_size": 32, "num_heads": 2, "patch_size": 14}
    return transformers.Qwen2VLConfig(text_config={**TEXT, **scaling}, vision_config=vision, image_token_id=100)


@pytest.mark.parametrize("make", [gemma3, llava, qwen2_vl])
def test_a_vision_language_model_scores_text_and_trains_its_text_part(make: Callable[[], Any], tmp_path: Path) -> None:
    from codeblock.core.config import TrainConfig
    from codeblock.train.driver import load_for_training

    config = make()
    causal = type(config) in transformers.MODEL_FOR_CAUSAL_LM_MAPPING
    kind = AutoModelForCausalLM if causal else transformers.AutoModelForImageTextToText
    kind.from_config(config).save_pretrained(tmp_path)
    loaded, ids = load_model(str(tmp_path)), np.arange(5, 30, dtype=np.int32)
    with torch.no_grad():
        logits_TV = loaded(input_ids=torch.from_numpy(ids.astype(np.int64))[None]).logits[0, 3:-1]
    expected = torch.nn.functional.cross_entropy(logits_TV, torch.from_numpy(ids[4:].astype(np.int64)), reduction="none")
    np.testing.assert_allclose(response_nll(loaded, [ids], [4], 64)[0][4:], expected.numpy(), atol=1e-5)

    masked = load_for_training(ModelRef(str(tmp_path)), TrainConfig())
    masked.train()
    ids_BT = torch.from_numpy(ids.astype(np.int64))[None]
    masked.head(masked.decoder(input_ids=ids_BT, use_cache=False).last_hidden_state[0]).sum().backward()
    for name, weight in masked.named_parameters():
        assert (weight.grad is not None) == weight.requires_grad == ("vision" not in name and "visual" not in name
                                                                     and "projector" not in name), name  # fmt: skip


def test_a_model_whose_images_see_each_other_is_refused(tmp_path: Path) -> None:
    vision = {"model_type": "siglip_vision_model", "projection_dim": 32, "patch_size": 14, **VISION}
    text = {"model_type": "gemma", "head_dim": 8, "num_key_value_heads": 4, **TEXT}
    config = transformers.PaliGemmaConfig(text_config=text, vision_config=vision, image_token_index=100)
    transformers.AutoModelForImageTextToText.from_config(config).save_pretrained(tmp_path)
    ids = [np.arange(5, 30, dtype=np.int32)]
    assert "its positions see later tokens" in refused(lambda: response_nll(load_model(str(tmp_path)), ids, [4], 64))
