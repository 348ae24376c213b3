"""The engine `vllm` as far as it goes without a GPU: its checks, the processor it builds, and its rows through Ray Data.

vLLM itself does not run here. The rows go through the real processor of `ray.data.llm`, whose engine stage is replaced by one
that reads the same sampling parameters and asks the engine `hf`, so that all but vLLM's own arithmetic is held against `hf`.
"""

from __future__ import annotations

import importlib.util
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from codeblock.core.config import ClusterConfig, EvaluateConfig
from codeblock.core.errors import CodeBlockError
from codeblock.core.models.ref import ModelRef
from codeblock.evaluate import driver, vllm_engine
from codeblock.evaluate.answers import Decoding, Job, Request, sample_seed, stop_token_ids
from codeblock.evaluate.benchmarks import Benchmark
from codeblock.evaluate.generate import generate_answers

GPU = ClusterConfig(gpus_per_worker=1)
without_vllm = pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed")


def job(model: Path, cluster: ClusterConfig = GPU, revision: str | None = None, **fields: Any) -> Job:
    config = EvaluateConfig(engine="vllm", batch_size=3, **fields)
    return Job("generate", ModelRef(str(model), revision), 24, config, cluster)


@without_vllm
def test_a_missing_vllm_is_named_with_the_command_that_installs_it(
    model_directory: Path, tiny: Benchmark, tmp_path: Path
) -> None:
    expected = r'^evaluate.engine=vllm: vLLM is not installed; run `pip install "codeblock\[vllm\]"`$'
    with pytest.raises(CodeBlockError, match=expected):
        driver.generate(ModelRef(str(model_directory)), tiny, tmp_path, EvaluateConfig(engine="vllm"), GPU)


def test_the_extra_of_the_hint_exists() -> None:
    import tomllib

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    ray = next(each for each in project["dependencies"] if each.startswith("ray["))
    assert project["optional-dependencies"]["vllm"] == [f"ray[llm]{ray.partition(']')[2]}"]


@pytest.mark.parametrize("gpus", [0.0, 0.5, 1.5])
def test_whole_gpus_have_to_be_asked_for(gpus: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
    with pytest.raises(CodeBlockError, match=rf"cluster.gpus_per_worker is {gpus:g}; set it to 1"):
        vllm_engine.check_vllm(ClusterConfig(gpus_per_worker=gpus))
    vllm_engine.check_vllm(GPU)


def test_gpus_that_the_cluster_lacks_are_refused(
    ray_cluster: None, loaded: tuple[Any, Any], model_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
    with pytest.raises(CodeBlockError, match=r"generate: 2 x 1 GPU asked, the cluster has 0 GPU"):
        list(vllm_engine.generate_with_vllm(job(model_directory, ClusterConfig(actors=2, gpus_per_worker=1)), loaded[1], []))


def test_a_request_becomes_tokens_and_sampling_parameters() -> None:
    config = EvaluateConfig(samples=2, temperature=0.8, top_p=0.9)
    request = Request("t", 1, [4, 5], stops=("\nclass",), seed=2**62)
    assert vllm_engine.engine_row(3, request, 17, [0, 2], config) == {
        "place": 3,
        "tokenized_prompt": [4, 5],
        "sampling_params": {
            "max_tokens": 17,
            "temperature": 0.8,
            "top_p": 0.9,
            "seed": 2**62,
            "stop_token_ids": [0, 2],
            "detokenize": True,
            "stop": ["\nclass"],
        },
    }


def engine_stage(processor: Any) -> Any:
    assert processor.list_stage_names() == ["vLLMEngineStage"], "prompts are tokens already, and so are answers"
    return processor.get_stage_by_name("vLLMEngineStage")


def test_the_processor_is_ray_s_with_one_engine_for_each_actor(ray_cluster: None, model_directory: Path) -> None:
    asked = job(model_directory, ClusterConfig(actors=3, gpus_per_worker=1), revision="main", dtype="bfloat16")
    level = logging.getLogger("ray").level
    processor = vllm_engine.build(asked)
    assert logging.getLogger("ray").level == level, "Ray stays as quiet as it was"
    stage = engine_stage(processor)
    assert processor.config.concurrency == (3, 3)
    assert stage.map_batches_kwargs["num_gpus"] == 1
    engine = stage.fn_constructor_kwargs["engine_kwargs"]
    assert (stage.fn_constructor_kwargs["model"], engine["dtype"]) == (str(model_directory), "bfloat16")
    assert (engine["max_model_len"], engine["tensor_parallel_size"]) == (96, 1)
    assert engine["revision"] == engine["tokenizer_revision"] == "main"


def test_several_gpus_of_an_actor_share_one_model(ray_cluster: None, model_directory: Path) -> None:
    stage = engine_stage(vllm_engine.build(job(model_directory, ClusterConfig(gpus_per_worker=2))))
    assert stage.fn_constructor_kwargs["engine_kwargs"]["tensor_parallel_size"] == 2


def test_an_adapter_stays_one(ray_cluster: None, model_directory: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    from codeblock.core.models.load import load_model

    get_peft_model(load_model(str(model_directory)), LoraConfig(r=4, target_modules="all-linear")).save_pretrained(tmp_path)
    processor = vllm_engine.build(job(tmp_path))
    stage = engine_stage(processor)
    engine = stage.fn_constructor_kwargs["engine_kwargs"]
    assert stage.fn_constructor_kwargs["model"] == str(model_directory)
    assert (engine["enable_lora"], engine["max_lora_rank"], engine["max_model_len"]) == (True, 4, 96)
    row = processor.preprocess({"place": 0, "tokenized_prompt": [1]})
    assert row["__data"] == {"place": 0, "tokenized_prompt": [1], "model": str(tmp_path)}


def replaced_by_hf(processor: Any, model: Path) -> Any:
    """The processor with its engine stage's work done by the engine `hf`."""
    from ray.llm._internal.batch.stages.base import StatefulStageUDF

    class HfStage(StatefulStageUDF):  # type: ignore[misc]
        def __init__(self, data_column: str, expected_input_keys: list[str], model: str) -> None:
            from codeblock.core.models import load as models

            super().__init__(data_column, expected_input_keys)
            self.model, self.tokenizer = models.load_model(model), models.load_tokenizer(model)

        async def udf(self, batch: list[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
            for row in batch:
                wanted = row["sampling_params"]
                [answer] = generate_answers(
                    self.model,
                    self.tokenizer,
                    [Request("", 0, [int(token) for token in row["tokenized_prompt"]], seed=wanted["seed"])],
                    Decoding(wanted["max_tokens"], 1, wanted["temperature"], wanted["top_p"]),
                )
                tokens = self.tokenizer(answer.text, add_special_tokens=False)["input_ids"]
                if answer.end == "stop":
                    tokens = [*tokens, int(wanted["stop_token_ids"][0])]
                yield {self.IDX_IN_BATCH_COLUMN: row[self.IDX_IN_BATCH_COLUMN], "generated_tokens": tokens}

    stage = engine_stage(processor)
    stage.fn = HfStage
    stage.fn_constructor_kwargs = {"model": str(model)}
    stage.map_batches_kwargs.update(num_gpus=0, num_cpus=0.5)  # last and in place: an assignment asks for a GPU again
    return processor


@pytest.mark.slow
def test_rows_go_through_ray_and_come_back_as_the_answers_of_hf(
    ray_cluster: None, loaded: tuple[Any, Any], model_directory: Path
) -> None:
    model, tokenizer = loaded
    texts = ["a", "Write f", "def f(x): return x", "z" * 120, "Sum of a list?", "zz", "What is 1 + 1"]
    requests = [
        Request(text, 0, tokenizer(text)["input_ids"], stops=("\n", "e"), seed=sample_seed(0, text, 0)) for text in texts
    ]
    asked = job(model_directory, temperature=0.8, top_p=0.9)
    processor = replaced_by_hf(vllm_engine.build(asked), model_directory)
    got = {answer.task_id: answer for answer in vllm_engine.answers_of(processor, asked, tokenizer, requests)}
    for expected in generate_answers(model, tokenizer, requests, Decoding(24, batch_size=7, temperature=0.8, top_p=0.9)):
        answer = got.pop(expected.task_id)
        assert (answer.text, answer.end) == (expected.text, expected.end)
    assert not got


def test_answers_are_written_as_they_come(tmp_path: Path, loaded: tuple[Any, Any]) -> None:
    """A killed run loses less than one part; here the engine fails after 5 of its answers."""

    def failing() -> Any:
        answers = generate_answers(
            *loaded, [Request("t", sample, [5, 6]) for sample in range(5)], Decoding(max_new_tokens=4, batch_size=5)
        )
        yield from answers
        raise RuntimeError("the engine died")

    with pytest.raises(RuntimeError, match="the engine died"):
        driver.write_as_they_come(tmp_path, failing(), 2)
    assert sorted(driver.read_answers(tmp_path)) == [("t", sample) for sample in range(4)]
    assert len(list(tmp_path.glob("part-*.json"))) == 2


def test_the_model_s_own_end_of_text_is_known_without_loading_it(
    model_directory: Path, loaded: tuple[Any, Any], tmp_path: Path
) -> None:
    model, tokenizer = loaded
    found = vllm_engine.configured_eos(job(model_directory))
    assert stop_token_ids(tokenizer, found) == stop_token_ids(tokenizer, model.generation_config.eos_token_id)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    assert vllm_engine.configured_eos(job(tmp_path)) is None
