"""What would stop a run because of its models is told before its first stage; scaled logits go through all of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
import transformers
from tests.conftest import make_model, make_tokenizer

from codeblock.cli.commands import main
from codeblock.core.config.file import load_config
from codeblock.core.errors import CodeBlockError
from codeblock.core.models.load import load_model
from codeblock.core.own_process import as_worker
from codeblock.core.storage.scores import with_scores
from codeblock.core.storage.tables import read_table
from codeblock.experiment.cache import check_storage
from codeblock.experiment.check_models import check_models
from codeblock.experiment.plan import Plan, make_plan
from codeblock.pipeline import run

SIZES = {"vocab_size": 400, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}


@pytest.fixture
def home(tmp_path: Path, small_model: Path) -> Path:
    """A config with pairs, and a copy of the small model that may be spoilt."""
    shutil.copytree(small_model, tmp_path / "model")
    rows = [
        {"instruction": f"Add {n} to x.", "output": f"```python\ndef add_{n}(x):\n    y = x + {n}\n    return y\n```"}
        for n in range(12)
    ]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "config.yaml").write_text(
        f"""
storage: {tmp_path}/runs
pairs: {{path: {tmp_path}/pairs.jsonl}}
filter: {{near_duplicates: null, decontaminate: false}}
model: {{path: {tmp_path}/model}}
select: {{token_budget: 0.3, subset_ratio: 1.0}}
arms: {{base: {{}}, codeblock: {{strategy: codeblock}}}}
train: {{steps: 1, batch_pairs: 4, dev_pairs: 2, gradient_checkpointing: true}}
"""
    )
    return tmp_path


def plan_of(home: Path, *overrides: str) -> Plan:
    config = load_config(home / "config.yaml", list(overrides))
    return make_plan(config, check_storage(config.storage))


def refused(work: Any) -> str:
    with pytest.raises(CodeBlockError) as error:
        work()
    assert "\n" not in str(error.value)
    return str(error.value)


def cut(directory: Path) -> None:
    file = directory / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-9])


def test_models_that_are_right_pass(home: Path) -> None:
    check_models(plan_of(home), "evaluate")


@pytest.mark.parametrize("until", ["score", "select", "train", "evaluate"])
def test_damaged_weights_are_told_before_anything_runs(home: Path, until: Any) -> None:
    cut(home / "model")
    assert "is cut or damaged" in refused(lambda: run(load_config(home / "config.yaml", []), until))
    assert not list((home / "runs").glob("cache/pairs-*"))


def test_preparing_needs_no_weights(home: Path) -> None:
    cut(home / "model")
    check_models(plan_of(home), "prepare")


def test_a_reference_is_looked_at_too(home: Path, small_model: Path) -> None:
    shutil.copytree(small_model, home / "reference")
    reference = f"score.model={home}/reference"
    check_models(plan_of(home, reference), "score")
    cut(home / "model")
    check_models(plan_of(home, reference), "score")  # only what is trained is broken
    assert str(home / "model") in refused(lambda: check_models(plan_of(home, reference), "train"))
    shutil.rmtree(home / "reference")
    make_model(home / "reference", len(make_tokenizer(home / "reference", vocabulary=280)))
    assert "name a reference of the same family" in refused(lambda: check_models(plan_of(home, reference), "score"))


def test_tokens_without_an_embedding_are_told(home: Path) -> None:
    make_model(home / "model", 120)  # the tokens were added, the embeddings not resized
    assert "has embeddings of 120 tokens, " in refused(lambda: check_models(plan_of(home), "score"))


def test_training_an_adapter_is_refused_and_scoring_by_one_is_not(home: Path) -> None:
    settings = peft.LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    peft.get_peft_model(load_model(str(home / "model")), settings).save_pretrained(home / "adapter")
    check_models(plan_of(home, f"score.model={home}/adapter"), "evaluate")
    line = refused(lambda: check_models(plan_of(home, f"model.path={home}/adapter"), "train"))
    assert "is an adapter; merge it into its base model first" in line


def test_a_plan_ends_with_what_would_stop_it(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cut(home / "model")
    with pytest.raises(SystemExit) as stop:
        main(["run", str(home / "config.yaml"), "--plan"])
    printed = capsys.readouterr()
    assert stop.value.code == 1
    assert "would run" in printed.out
    assert "model.safetensors is cut or damaged" in printed.err


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_a_model_that_is_no_next_token_predictor_is_found_before_the_pairs_are_read(home: Path) -> None:
    config = transformers.BertConfig(**SIZES)
    (home / "model" / "model.safetensors").unlink()
    transformers.BertLMHeadModel(config).save_pretrained(home / "model")
    for override in ([], [f"score.model={home}/model"]):
        line = refused(lambda override=override: run(load_config(home / "config.yaml", override), "score"))
        assert "its positions see later tokens" in line
    assert not list((home / "runs").glob("cache/pairs-*"))


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_scaled_logits_are_scored_and_trained_on(home: Path) -> None:
    config = transformers.GraniteConfig(**SIZES, num_key_value_heads=2, logits_scaling=0.05, max_position_embeddings=256)
    torch.manual_seed(0)
    transformers.GraniteForCausalLM(config).save_pretrained(home / "model")
    with as_worker():  # as in a trial of a sweep
        plan = run(load_config(home / "config.yaml", []), "train").plan
    model = load_model(str(home / "model"))
    for row in with_scores(read_table(plan.kept.directory), {"nll": plan.scored.directory}).to_pylist():
        ids_T, start = torch.tensor(row["input_ids"]), row["response_start"]
        with torch.no_grad():
            logits_TV = model(input_ids=ids_T[None]).logits[0]
        expected = torch.nn.functional.cross_entropy(logits_TV[start - 1 : -1], ids_T[start:], reduction="none")
        np.testing.assert_allclose(row["nll"][start:], expected.numpy(), rtol=1e-4, atol=1e-4)
    assert next(arm for arm in plan.arms if arm.rounds).trained.facts["steps"] == 1  # type: ignore[union-attr, index]
    assert not list((home / "runs").glob("cache/tiny-*"))  # the embedded benchmark is for evaluation alone
