"""Files that are no model, or not all of one, are told in one line before they are loaded."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tests.core.models.spoilt import LFS, TEXT, change, in_shards, refused
from transformers import AutoModelForCausalLM

from codeblock.core.models.files import check_files
from codeblock.core.models.load import context_length, load_model


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
        (lfs, "model.safetensors is a Git LFS pointer and holds no data; run `git lfs pull`"),
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
    assert "there is no such directory on " in refused(lambda: load_model(str(model / "nothing")))
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


def test_weights_of_another_size_than_the_config_says(model: Path) -> None:
    change(model / "config.json", vocab_size=30)
    assert "in the weights and [30, 32] by config.json; take the config.json" in refused(lambda: load_model(str(model)))


def test_weights_that_would_be_drawn_at_random_are_refused(model: Path) -> None:
    body = AutoModelForCausalLM.from_pretrained(model).model
    body.save_pretrained(model)
    change(model / "config.json", architectures=None)
    line = refused(lambda: load_model(str(model)))
    assert "1 of its 21 weights are not in its files (lm_head.weight)" in line
