"""The driver generates over Ray, writes files that others read, and goes on where it was cut off."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from codeblock.config import ClusterConfig, EvaluateConfig
from codeblock.errors import CodeBlockError
from codeblock.evaluate import driver, grade_samples_file
from codeblock.evaluate.benchmarks import Benchmark
from codeblock.evaluate.generate import generate_answers

pytestmark = pytest.mark.usefixtures("ray_cluster")

CONFIG = EvaluateConfig(max_new_tokens=16, batch_size=2)
CLUSTER = ClusterConfig(actors=2, cpus_per_worker=0.5)


@pytest.fixture(scope="module")
def evaluated(
    ray_cluster: None,
    model_directory: Path,
    tiny: Benchmark,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, dict[str, Any]]:
    """(output, facts) of one run."""
    output = tmp_path_factory.mktemp("evaluated")
    return output, driver.evaluate(str(model_directory), None, tiny, output, CONFIG, CLUSTER)


def test_facts_count_every_task(evaluated: tuple[Path, dict[str, Any]]) -> None:
    _, facts = evaluated
    assert (facts["benchmark"], facts["tasks"], facts["passed"], facts["pass_at_1"]) == ("tiny", 7, 0, 0)
    assert facts["low"] == 0 < facts["high"] < 1
    assert sum(facts["verdicts"].values()) == sum(facts["answer_ends"].values()) == 7
    assert facts["missing_tasks"] == facts["unknown_tasks"] == []
    assert 7 <= facts["tokens_generated"] <= 7 * 16
    assert facts["truncated"] == facts["answer_ends"].get("max_new_tokens", 0) + facts["answer_ends"].get("context", 0)
    assert facts["generate_seconds"] > 0
    assert facts["grade_seconds"] > 0
    json.dumps(facts)


def test_answers_are_those_of_the_engine(
    evaluated: tuple[Path, dict[str, Any]], loaded: tuple[Any, Any], tiny: Benchmark
) -> None:
    output, _ = evaluated
    samples = [json.loads(line) for line in (output / "samples.jsonl").read_text().splitlines()]
    prompts = [tiny.messages(task) for task in tiny.tasks]
    direct = generate_answers(*loaded, prompts, max_new_tokens=16, batch_size=1, device=torch.device("cpu"))
    assert [sample["task_id"] for sample in samples] == [task.task_id for task in tiny.tasks]
    assert [sample["answer"] for sample in samples] == [answer.text for answer in direct]


def test_verdicts_are_on_disk_and_the_samples_file_gives_them_again(
    evaluated: tuple[Path, dict[str, Any]], tiny: Benchmark
) -> None:
    output, _ = evaluated
    verdicts = pq.read_table(output / "verdicts.parquet")
    assert verdicts.column_names == ["task_id", "sample", "verdict", "seconds", "error"]
    again = grade_samples_file(output / "samples.jsonl", tiny).table()
    for column in ("task_id", "verdict", "error"):
        assert verdicts.column(column).to_pylist() == again.column(column).to_pylist()


def test_a_run_that_was_cut_off_generates_only_what_is_missing(
    evaluated: tuple[Path, dict[str, Any]], model_directory: Path, tiny: Benchmark, tmp_path: Path
) -> None:
    output, facts = evaluated
    parts = sorted((output / "answers").glob("part-*.json"))
    assert len(parts) == 4
    (tmp_path / "answers").mkdir()
    for part in parts[1:]:
        (tmp_path / "answers" / part.name).write_bytes(part.read_bytes())
    (tmp_path / "answers" / f".{parts[0].name}.1.tmp").write_text("[{")  # what a killed write leaves
    again = driver.evaluate(
        str(model_directory), None, tiny, tmp_path, EvaluateConfig(max_new_tokens=16, batch_size=5), CLUSTER
    )
    new = {part.name for part in (tmp_path / "answers").glob("part-*.json")} - {part.name for part in parts[1:]}
    assert len(new) == 1
    assert [row["task_id"] for row in json.loads((tmp_path / "answers" / new.pop()).read_text())] == [
        row["task_id"] for row in json.loads(parts[0].read_text())
    ]
    assert again["tokens_generated"] == facts["tokens_generated"]
    assert (tmp_path / "samples.jsonl").read_text() == (output / "samples.jsonl").read_text()


def test_a_finished_run_does_not_load_the_model_again(
    evaluated: tuple[Path, dict[str, Any]], tiny: Benchmark, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, facts = evaluated
    monkeypatch.setattr(driver, "Generator", None)
    again = driver.evaluate("no such model", None, tiny, output, CONFIG, CLUSTER)
    assert again["verdicts"] == facts["verdicts"]


def test_actors_that_do_not_fit_the_cluster_are_refused(model_directory: Path, tiny: Benchmark, tmp_path: Path) -> None:
    with pytest.raises(CodeBlockError, match=r"generate answers to tiny: .* CPU asked"):
        driver.evaluate(str(model_directory), None, tiny, tmp_path, CONFIG, ClusterConfig(actors=3, cpus_per_worker=64))
