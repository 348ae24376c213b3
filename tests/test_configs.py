"""The shipped configs: each loads, and what their comments offer can be had."""

import re
from pathlib import Path

import pytest

from codeblock.core.config import LoraConfig
from codeblock.core.config.file import load_config
from codeblock.core.config.pairs import PairsSource
from codeblock.data.read.files import data_sets, sources_of
from codeblock.data.read.stage import read_pairs
from codeblock.evaluate.benchmarks import BENCHMARKS

CONFIGS = Path(__file__).parents[1] / "configs"
SMOLLM2 = CONFIGS / "smollm2.yaml"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_config_loads_and_names_benchmarks_that_there_are(path):
    config = load_config(path)
    assert config.name == path.stem
    assert set(config.evaluate.benchmarks) <= BENCHMARKS.keys()


def test_the_recipe_of_the_authors_is_a_set_of_overrides():
    offered = re.findall(r"(?:name|train\.[\w.]+)=\S+", SMOLLM2.read_text())
    config = load_config(SMOLLM2, offered)
    train = config.train
    assert config.name == "smollm2-authors"
    assert train.lora == LoraConfig(rank=64, alpha=16, dropout=0.1)
    assert (train.learning_rate, train.schedule, train.warmup_share) == (1e-4, "linear", 0.03)
    kept = {"lora", "learning_rate", "schedule", "warmup_share"}
    assert train.model_dump(exclude=kept) == load_config(SMOLLM2).train.model_dump(exclude=kept)


def test_the_columns_of_the_three_real_data_sets_are_right(real_data, tmp_path):
    files = {
        "codealpaca20k": "codealpaca20k/codealpaca20k.jsonl.gz",
        "gpteacher": "gpteacher/codegen-instruct.json",
        "leetcode": "leetcode/LeetCodeDataset-v0.2.0-train.jsonl.gz",
    }
    overrides = [f"pairs.path.{n}.path={real_data}/pairs/{path}" for n, path in enumerate(files.values())]
    names = [f"pairs.path.{n}.name={name}" for n, name in enumerate(files)]
    assert [source.name for source in sources_of(load_config(SMOLLM2).pairs)] == list(files)
    config = load_config(SMOLLM2, [*overrides, *names]).pairs
    assert all(isinstance(source, PairsSource) for source in config.path)
    facts = read_pairs(data_sets(config), config, tmp_path)
    assert {name: count["read"] for name, count in facts["datasets"].items()} == {
        "codealpaca20k": 20_022,
        "gpteacher": 4_535,
        "leetcode": 1_890,
    }
    assert facts["reasons"] == {"empty_response": 6}
