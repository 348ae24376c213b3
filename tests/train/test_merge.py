"""An adapter and its base become one plain model that says the same."""

import errno
import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from codeblock.core.config import LoraConfig
from codeblock.core.errors import CodeBlockError, system_cause
from codeblock.core.models.load import load_model, load_tokenizer
from codeblock.train.merge import merge
from codeblock.train.model import add_lora

IDS_BT = torch.arange(3, 40)[None]


@pytest.fixture
def adapter(tmp_path: Path, small_model: Path) -> Path:
    model: Any = add_lora(load_model(str(small_model)), LoraConfig(rank=4))
    torch.manual_seed(1)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05)
    model.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    load_tokenizer(str(small_model)).save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def test_the_merged_model_is_plain_and_has_the_adapter_s_logits(adapter, small_model, tmp_path):
    assert merge(adapter, tmp_path / "merged") == "float32"
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()
    assert type(plain).__name__ == "LlamaForCausalLM"
    assert not list((tmp_path / "merged").glob("adapter*"))
    with torch.no_grad():
        merged, adapted = plain(IDS_BT).logits, load_model(str(adapter))(IDS_BT).logits
        base = load_model(str(small_model))(IDS_BT).logits
    torch.testing.assert_close(merged, adapted, atol=1e-5, rtol=1e-5)
    assert (merged - base).abs().max() > 0.01
    own, theirs = (AutoTokenizer.from_pretrained(path) for path in (tmp_path / "merged", adapter))
    assert own.get_vocab() == theirs.get_vocab()
    assert own.chat_template == theirs.chat_template


def test_it_is_stored_as_asked(adapter, tmp_path):
    assert merge(adapter, tmp_path / "merged", "bfloat16") == "bfloat16"
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "merged").dtype is torch.bfloat16


def test_what_cannot_be_merged_is_refused(adapter, small_model, tmp_path):
    with pytest.raises(CodeBlockError, match=r"is no adapter, there is nothing to merge$"):
        merge(small_model, tmp_path / "merged")
    with pytest.raises(CodeBlockError, match=r"^--dtype int8: unknown; there are float32"):
        merge(adapter, tmp_path / "merged", "int8")
    with pytest.raises(CodeBlockError, match=r"^--out .*: exists; name another"):
        merge(adapter, adapter)
    assert not (tmp_path / "merged").exists()


def test_a_disk_that_is_full_is_told_as_such_and_keeps_nothing_half_written(adapter, tmp_path):
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, allowed[1]))
    try:
        with pytest.raises(Exception, match="File too large") as full:
            merge(adapter, tmp_path / "merged")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
    assert system_cause(full.value).errno == errno.EFBIG
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]
