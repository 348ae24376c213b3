"""Shared fixtures: one Ray cluster for the session, a small real tokenizer and model, the real data where it is there."""

from __future__ import annotations

import itertools
import logging
import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from tests.clusters import WORKERS
from tests.scheduling import rank, scheduler
from tests.tracked import local_tracker as local_tracker
from tests.tracked import server as server
from tests.tracked import storage as storage

from codeblock.core.collecting import collect_later
from codeblock.core.quiet import QUIET

collect_later()  # while all tests are imported

# A busy machine is no failure, and two runs of the same code try the same examples; others: `--hypothesis-profile=explore`.
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", settings.get_profile("explore"), derandomize=True)
settings.load_profile("same")

for _key, _value in QUIET.items():
    os.environ.setdefault(_key, _value)
os.environ.pop("COLUMNS", None)  # a process of pytest-xdist has one; lines are as wide as where there is no terminal
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # begun in the background of a shell, as all children would be
    signal.signal(signal.SIGINT, signal.default_int_handler)
# One token for all clusters of the session: a process reads it once, whichever cluster it asks.
os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32), **WORKERS)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In one of several processes the longest first."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: rank(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Who runs what where several processes run the tests."""
    return scheduler(config, log)


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A local cluster of 2 CPUs, started once."""
    import ray

    from codeblock.core.cluster import quiet_data, runtime_env

    ray.init(num_cpus=2, include_dashboard=False, logging_level="error", runtime_env=runtime_env())
    quiet_data()
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real pairs and benchmarks; tests that need it are skipped where it is absent."""
    root = Path(os.environ.get("CODEBLOCK_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not root.is_dir():
        pytest.skip(f"no real data at {root}; set CODEBLOCK_TEST_DATA")
    return root


CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

CORPUS = [
    "def add(a, b):\n    return a + b\n",
    "Here is a function that adds two numbers and returns the sum.",
    "for item in items:\n    if item > 3:\n        total += item\n",
    "```python\nprint(total)\n```",
]


def make_tokenizer(directory: Path, template: str | None = CHATML, vocabulary: int = 400) -> Any:
    """A byte-level BPE tokenizer trained on a few lines, saved as a Hugging Face directory."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=special, initial_alphabet=alphabet)
    bpe.train_from_iterator(CORPUS, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token="<|im_end|>" if template else "<|endoftext|>", chat_template=template
    )
    tokenizer.save_pretrained(directory)
    return tokenizer


def make_model(directory: Path, vocabulary: int, **overrides: Any) -> Any:
    """A random Llama of a few thousand weights, saved as a Hugging Face directory."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    settings = {
        "vocab_size": vocabulary,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
    }
    model = LlamaForCausalLM(LlamaConfig(**{**settings, **overrides}))
    model.save_pretrained(directory)
    return model


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face directory with a small random Llama and its tokenizer with a chat template."""
    directory = tmp_path_factory.mktemp("small_model")
    make_model(directory, len(make_tokenizer(directory)))
    return directory


@pytest.fixture(scope="session")
def tokenizer(small_model: Path) -> Any:
    """The tokenizer of `small_model`, loaded as the platform loads it."""
    from codeblock.core.models.load import load_tokenizer

    return load_tokenizer(str(small_model))


@pytest.fixture(scope="session")
def make_tokenizer_dir() -> Any:
    """Makes a tokenizer directory with a given chat template; returns its path."""

    def make(directory: Path, template: str | None = CHATML) -> str:
        make_tokenizer(directory, template)
        return str(directory)

    return make


@pytest.fixture(scope="session")
def s3_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of an S3 server on this machine; environment variables name it to every client in this and later processes."""
    server = pytest.importorskip("moto.server").ThreadedMotoServer(port=0, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(key, "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("CODEBLOCK_SCRATCH", str(tmp_path_factory.mktemp("scratch")))
        yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_address: str) -> str:
    """URL of an empty bucket."""
    import boto3

    client, name = boto3.client("s3"), f"bucket-{next(_NUMBERS)}"
    client.create_bucket(Bucket=name)
    return f"s3://{name}"


_NUMBERS = itertools.count()
