"""Models as people have them on disk: each loads right, or is refused in one line with the thing, the place and the remedy."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
import transformers
from tests.conftest import make_model, make_tokenizer
from tests.core.models.families import tiny_model
from transformers import AutoModelForCausalLM, LlamaConfig

from codeblock.core.errors import CodeBlockError
from codeblock.core.models import load as models
from codeblock.core.models.config import context_of
from codeblock.core.models.files import check_files
from codeblock.core.models.load import check_same_tokens, check_vocabulary, context_length, load_model, load_tokenizer
from codeblock.core.models.nll import response_nll
from codeblock.evaluate.answers import Request
from codeblock.evaluate.generate import generate_answers
from codeblock.experiment.fingerprint import model_fingerprint

LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 98765\n"
VISION = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28}
TEXT = {"vocab_size": 120, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}


@pytest.fixture
def model(small_model: Path, tmp_path: Path) -> Path:
    """A copy to be spoilt."""
    return Path(shutil.copytree(small_model, tmp_path / "model"))


def refused(work: Callable[[], Any]) -> str:
    with pytest.raises(CodeBlockError) as error:
        work()
    assert "\n" not in str(error.value)
    return str(error.value)


def change(file: Path, **more: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **more}))


def in_shards(directory: Path) -> list[Path]:
    loaded = AutoModelForCausalLM.from_pretrained(directory)
    (directory / "model.safetensors").unlink()
    loaded.save_pretrained(directory, max_shard_size="20KB")
    return sorted(directory.glob("model-*.safetensors"))


# --- files


def lfs(directory: Path) -> None:
    (directory / "model.safetensors").write_text(LFS)


def lfs_shard(directory: Path) -> None:
    in_shards(directory)[1].write_text(LFS)


def cut(directory: Path) -> None:
    file = directory / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-50])


def cut_in_the_head(directory: Path) -> None:
    file = directory / "model.safetensors"
    file.write_bytes(file.read_bytes()[:40])


def cut_bin(directory: Path) -> None:
    loaded = AutoModelForCausalLM.from_pretrained(directory)
    (directory / "model.safetensors").unlink()
    torch.save(loaded.state_dict(), directory / "pytorch_model.bin")
    (directory / "pytorch_model.bin").write_bytes((directory / "pytorch_model.bin").read_bytes()[:-100])


def missing_shard(directory: Path) -> None:
    in_shards(directory)[-1].unlink()


def empty(directory: Path) -> None:
    (directory / "model.safetensors").write_bytes(b"")


def no_weights(directory: Path) -> None:
    (directory / "model.safetensors").unlink()


def no_config(directory: Path) -> None:
    (directory / "config.json").unlink()


def checkpoints(directory: Path) -> None:
    shutil.copytree(directory, directory / "checkpoint-20")
    for file in directory.iterdir():
        if file.is_file():
            file.unlink()


def broken_config(directory: Path) -> None:
    (directory / "config.json").write_text('{"model_type": "llama",')


def config_is_lfs(directory: Path) -> None:
    (directory / "config.json").write_text(LFS)


def quantised(method: str, **more: Any) -> Callable[[Path], None]:
    return lambda directory: change(directory / "config.json", quantization_config={"quant_method": method, **more})


def unknown_architecture(directory: Path) -> None:
    change(directory / "config.json", model_type="llamazoid")


def own_code(directory: Path) -> None:
    auto = {"AutoConfig": "configuration_mine.Mine", "AutoModelForCausalLM": "modeling_mine.Mine"}
    change(directory / "config.json", model_type="mine", auto_map=auto)
    for name in ("configuration_mine", "modeling_mine"):
        (directory / f"{name}.py").write_text("raise SystemExit('code of a model was run')\n")


def as_encoder(directory: Path) -> None:
    config = transformers.RobertaConfig(**TEXT)
    transformers.RobertaForMaskedLM(config).save_pretrained(directory)


def as_classifier(directory: Path) -> None:
    change(directory / "config.json", architectures=["LlamaForSequenceClassification"])


def as_encoder_decoder(directory: Path) -> None:
    transformers.T5Config().save_pretrained(directory)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lfs, "model.safetensors is a Git LFS pointer, no weights; run `git lfs pull`"),
        (lfs_shard, r"model-0000.-of-.*safetensors is a Git LFS pointer"),
        (cut, r"model.safetensors is cut or damaged \([\d,]+ bytes; .*\); download it again"),
        (cut_in_the_head, "model.safetensors is cut or damaged"),
        (cut_bin, r"pytorch_model.bin is cut \([\d,]+ bytes\); download it again"),
        (missing_shard, r"model-.*safetensors is missing, which model.safetensors.index.json names; download it"),
        (empty, "model.safetensors is empty; download it again"),
        (no_weights, r"no weights there \(model.safetensors\); download the whole model"),
        (no_config, "no config.json there; give a Hugging Face model directory"),
        (checkpoints, "no config.json there; name .*checkpoint-20"),
        (broken_config, r"config.json: a file is damaged \(.*\); download it again"),
        (config_is_lfs, "config.json is a Git LFS pointer"),
        (quantised("gptq", bits=4, group_size=128), "GPTQ.* requires .*; install that package wherever the run works"),
        (quantised("awq", bits=4, group_size=128), "AWQ.* requires .*; install that package"),
        (quantised("bitsandbytes", load_in_4bit=True), "bitsandbytes.*; install that package"),
        (quantised("compressed-tensors", format="pack-quantized"), "compressed.*; install that package"),
        (quantised("sorcery"), "sorcery"),
        (unknown_architecture, "an architecture that transformers .* does not know .*; check `model_type`"),
        (own_code, "needs Python code that comes with it, which is never run here"),
        (as_encoder, "RobertaForMaskedLM predicts no next token; name a causal language model"),
        (as_classifier, "LlamaForSequenceClassification predicts no next token"),
        (as_encoder_decoder, r"an encoder with a decoder \(t5\); name a model that is a decoder alone"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)  # fmt: skip
def test_files_that_cannot_be_a_model_are_told_before_they_are_loaded(
    model: Path, spoil: Callable[[Path], None], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked a question"))
    spoil(model)
    for work in (lambda: check_files(str(model)), lambda: load_model(str(model))):
        line = refused(work)
        assert str(model) in line
        assert re.search(said, line), line


def test_a_missing_directory_and_a_file_are_told(model: Path) -> None:
    assert "there is no such directory; check the path" in refused(lambda: load_model(str(model / "nothing")))
    assert "is a file; name the directory" in refused(lambda: load_model(str(model / "config.json")))


def test_a_hub_name_without_a_network_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, **__: Any) -> Any:
        raise OSError("We couldn't connect to 'https://huggingface.co' to load the files.\nCheck your internet connection")

    monkeypatch.setattr("transformers.AutoConfig.from_pretrained", unreachable)
    line = refused(lambda: load_model("someone/coder-1b"))
    assert line.startswith("model someone/coder-1b: the hub cannot be reached")
    assert "hf download someone/coder-1b --local-dir DIR" in line


def test_a_gated_repository_is_told_with_where_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    def gated(*_: Any, **__: Any) -> Any:
        raise OSError("You are trying to access a gated repo.\nMake sure to have access to it at https://...")

    monkeypatch.setattr("transformers.AutoConfig.from_pretrained", gated)
    assert "accept its terms at https://huggingface.co/meta/x" in refused(lambda: context_length("meta/x"))


def test_a_file_that_may_not_be_read_is_told(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Path.open

    def guarded(self: Path, *args: Any, **kwargs: Any) -> Any:
        if self.name == "model.safetensors":
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", guarded)
    assert "is not readable by this user; change its permissions" in refused(lambda: load_model(str(model)))


# --- weights that are not all there


def test_weights_of_another_size_than_the_config_says(model: Path) -> None:
    change(model / "config.json", vocab_size=30)
    assert "in the weights and [30, 32] by config.json; take the config.json" in refused(lambda: load_model(str(model)))


def test_weights_that_would_be_drawn_at_random_are_refused(model: Path) -> None:
    body = AutoModelForCausalLM.from_pretrained(model).model
    body.save_pretrained(model)
    change(model / "config.json", architectures=None)
    line = refused(lambda: load_model(str(model)))
    assert "1 of its 21 weights are not in its files (lm_head.weight)" in line


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
    settings: dict[str, Any] = {"max_new_tokens": 2, "batch_size": 2, "device": torch.device("cpu")}
    line = refused(lambda: generate_answers(model, tokenizer, [Request("t", 0, [5, 99_999])], **settings))
    assert "the text has token 99999" in line


def test_a_padding_token_without_an_embedding_is_replaced(small_model: Path) -> None:
    model, tokenizer = load_model(str(small_model)), load_tokenizer(str(small_model))
    settings: dict[str, Any] = {"max_new_tokens": 4, "batch_size": 2, "device": torch.device("cpu")}
    requests = [Request("one", 0, [5, 6, 7, 8]), Request("two", 0, [9])]
    expected = [answer.text for answer in generate_answers(model, tokenizer, requests, **settings)]
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    assert tokenizer.pad_token_id >= model.config.vocab_size
    assert [answer.text for answer in generate_answers(model, tokenizer, requests, **settings)] == expected


def test_a_reference_with_other_tokens_is_told(small_model: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(str(small_model))
    check_same_tokens(tokenizer, str(small_model))
    check_same_tokens(tokenizer, str(tmp_path))  # no tokenizer there
    make_tokenizer(tmp_path, vocabulary=270)
    assert "name a reference of the same family" in refused(lambda: check_same_tokens(tokenizer, str(tmp_path)))


# --- adapters


def make_adapter(base: Path, directory: Path, **more: Any) -> None:
    settings = peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False, **more)
    torch.manual_seed(1)
    peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), settings).save_pretrained(directory)


@pytest.mark.parametrize("task", [None, "CAUSAL_LM"])
def test_an_adapter_is_taken_wherever_its_base_is(model: Path, tmp_path: Path, task: str | None) -> None:
    adapter = tmp_path / "adapter"
    make_adapter(model, adapter, task_type=task)
    check_files(str(adapter))
    assert context_length(str(adapter)) == 256
    assert load_tokenizer(str(adapter)).get_vocab() == load_tokenizer(str(model)).get_vocab()
    ids = [np.arange(5, 20, dtype=np.int32)]
    adapted, base = (response_nll(load_model(str(path)), ids, [3], 64)[0] for path in (adapter, model))
    assert np.abs(adapted - base)[3:].max() > 1e-4


def test_the_fingerprint_of_an_adapter_holds_its_base(model: Path, tmp_path: Path) -> None:
    adapter, cache = tmp_path / "adapter", tmp_path / "cache"
    make_adapter(model, adapter)
    before = model_fingerprint(str(adapter), None, cache)
    assert model_fingerprint(str(adapter), None, cache) == before
    change(model / "config.json", rms_norm_eps=1e-5)
    assert model_fingerprint(str(adapter), None, cache) != before


def test_a_base_beside_its_adapter_is_found(model: Path, tmp_path: Path) -> None:
    make_adapter(model, tmp_path / "adapter")
    change(tmp_path / "adapter" / "adapter_config.json", base_model_name_or_path="../model")
    assert context_length(str(tmp_path / "adapter")) == 256
    assert load_model(str(tmp_path / "adapter")).get_base_model().config.hidden_size == 32


def test_embeddings_that_an_adapter_brings_are_taken_with_their_size(model: Path, tmp_path: Path) -> None:
    base = AutoModelForCausalLM.from_pretrained(model)
    rows = base.config.vocab_size + 3
    base.resize_token_embeddings(rows)
    settings = peft.LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["embed_tokens", "lm_head"])
    adapted = peft.get_peft_model(base, settings)
    adapted.save_pretrained(tmp_path / "adapter")
    loaded = load_model(str(tmp_path / "adapter"))
    ids_BT = torch.tensor([[5, rows - 1, 7]])
    with torch.no_grad():
        assert torch.equal(loaded(input_ids=ids_BT).logits, adapted.eval()(input_ids=ids_BT).logits)


def cut_adapter(adapter: Path) -> None:
    file = adapter / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-10])


def no_base(adapter: Path) -> None:
    change(adapter / "adapter_config.json", base_model_name_or_path=None)


def base_is_gone(adapter: Path) -> None:
    change(adapter / "adapter_config.json", base_model_name_or_path="/no/such/model")


def other_base(adapter: Path) -> None:
    file = adapter / "adapter_model.safetensors"
    from safetensors.torch import load_file, save_file

    save_file({name.replace("layers.1", "layers.7"): weight for name, weight in load_file(file).items()}, file)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (cut_adapter, "adapter_model.safetensors is cut or damaged"),
        (no_base, "adapter_config.json names no base model; set base_model_name_or_path in it"),
        (base_is_gone, "its base model /no/such/model is not there; set base_model_name_or_path"),
        (other_base, "does not fit its base model"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)  # fmt: skip
def test_adapters_that_cannot_be_used_are_told(model: Path, tmp_path: Path, spoil: Callable[[Path], None], said: str) -> None:
    make_adapter(model, tmp_path / "adapter")
    spoil(tmp_path / "adapter")
    assert said in refused(lambda: load_model(str(tmp_path / "adapter")))


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


@pytest.mark.parametrize(("said", "expected"), [(3000, 3000), (int(1e30), None)])
def test_where_the_config_says_no_context_the_tokenizer_may(tmp_path: Path, said: int, expected: int | None) -> None:
    make_tokenizer(tmp_path).save_pretrained(tmp_path)
    change(tmp_path / "tokenizer_config.json", model_max_length=said)
    transformers.MambaConfig(**TEXT).save_pretrained(tmp_path)
    assert context_length(str(tmp_path)) == expected


def test_a_model_without_a_context_generates_what_is_asked_for(tokenizer: Any) -> None:
    model = tiny_model("mamba")
    assert models.context_room(model, tokenizer) == models.NO_LIMIT
    settings: dict[str, Any] = {"max_new_tokens": 3, "batch_size": 1, "device": torch.device("cpu")}
    (answer,) = generate_answers(model, tokenizer, [Request("t", 0, list(range(5, 25)))], **settings)
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

    masked = load_for_training(str(tmp_path), None, TrainConfig())
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
