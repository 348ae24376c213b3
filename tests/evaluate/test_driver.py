"""The driver generates over Ray, writes files that others read, and goes on where it was cut off."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from codeblock.core.config import ClusterConfig, EvaluateConfig
from codeblock.core.errors import CodeBlockError
from codeblock.core.models import load as models
from codeblock.core.models.ref import ModelRef
from codeblock.core.storage import tables
from codeblock.evaluate import driver, grade_samples_file
from codeblock.evaluate.answers import Answer, Decoding, Request
from codeblock.evaluate.benchmarks import Benchmark, Task
from codeblock.evaluate.benchmarks.tiny import Tiny
from codeblock.evaluate.generate import generate_answers
from codeblock.evaluate.prompts import make_requests

pytestmark = pytest.mark.usefixtures("ray_cluster")

CONFIG = EvaluateConfig(max_new_tokens=16, batch_size=2)
CLUSTER = ClusterConfig(actors=2, cpus_per_worker=0.5)


RUN = """
import sys, ray
from pathlib import Path
from codeblock.core.cluster import quiet_data
from codeblock.core.quiet import QUIET
from codeblock.core.config import ClusterConfig, EvaluateConfig
from codeblock.core.models.ref import ModelRef
from codeblock.evaluate import load
from codeblock.evaluate.driver import generate
model, tasks, output, config, address = sys.argv[1:]
ray.init(address=address, logging_level="error", runtime_env={"env_vars": dict(QUIET)})
quiet_data()
cluster = ClusterConfig(actors=2, cpus_per_worker=0.5)
generate(ModelRef(model), load("tiny", tasks), Path(output), EvaluateConfig.model_validate_json(config), cluster)
"""
"""A run of its own, to be killed."""


def gcs_address() -> str:
    import ray

    return str(ray.get_runtime_context().gcs_address)


def write_tasks(benchmark: Benchmark, path: Path) -> None:
    """The file that `benchmark` was read from."""
    rows = [
        {
            "task_id": task.task_id,
            "instruction": task.prompt,
            "entry_point": task.entry_point,
            "test": task.oracle.test,
            "reference": task.reference,
        }
        for task in benchmark.tasks
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def wait_for(condition: Callable[[], bool], seconds: float = 300.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def engine_answers(loaded: tuple[Any, Any], benchmark: Benchmark, config: EvaluateConfig) -> list[Answer]:
    """The engine's answers in this process."""
    model, tokenizer = loaded
    wanted = [(task, sample) for task in benchmark.tasks for sample in range(config.samples)]
    requests = make_requests(tokenizer, benchmark, wanted, config.prompt, 0)
    how = {"max_new_tokens": config.max_new_tokens, "temperature": config.temperature, "top_p": config.top_p}
    return generate_answers(model, tokenizer, requests, Decoding(batch_size=32, **how))


@pytest.fixture(scope="module")
def evaluated(
    ray_cluster: None,
    model_directory: Path,
    tiny: Benchmark,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, dict[str, Any]]:
    """(output, facts) of one run."""
    output = tmp_path_factory.mktemp("evaluated")
    facts = driver.generate(ModelRef(str(model_directory)), tiny, output / "answers", CONFIG, CLUSTER)
    return output, {**facts, **driver.grade_answers(output / "answers", tiny, output, CONFIG, CLUSTER)}


def test_facts_count_every_task(evaluated: tuple[Path, dict[str, Any]]) -> None:
    _, facts = evaluated
    assert facts["prompt"] == "chat"
    assert (facts["benchmark"], facts["tasks"], facts["passed"], facts["pass_at_1"]) == ("tiny", 7, 0, 0)
    assert facts["low"] == 0 < facts["high"] < 1
    assert sum(facts["verdicts"].values()) == sum(facts["answer_ends"].values()) == 7
    assert facts["missing_tasks"] == facts["unknown_tasks"] == []
    assert 7 <= facts["tokens_generated"] <= 7 * 16
    assert facts["truncated"] == facts["answer_ends"].get("max_new_tokens", 0) + facts["answer_ends"].get("context", 0)
    assert facts["generate_seconds"] > 0
    assert facts["grade_seconds"] > 0
    json.dumps(facts)


def test_answers_that_another_number_of_tasks_or_samples_has_are_taken(
    model_directory: Path, tiny: Benchmark, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def made(name: str, **changes: Any) -> dict[str, Any]:
        asked, config = replace(tiny, tasks=tiny.tasks[: changes.pop("limit", None)]), CONFIG.model_copy(update=changes)
        others = [path for path in tmp_path.iterdir() if path.name != name]
        seconds = driver.take_answers(asked, tmp_path / name, config, others)
        facts = driver.generate(ModelRef(str(model_directory)), asked, tmp_path / name, config, CLUSTER)
        tables.mark_complete(tmp_path / name, {"identity": {}, "facts": facts})
        return {**facts, "taken": seconds}

    four = made("four", limit=4)
    assert four["taken"] == 0
    small = made("small", limit=2)
    assert small["worker_peak_mb"] == 0, "nothing was generated"
    assert 0 < small["taken"] < four["generate_seconds"]
    assert capsys.readouterr().out == "2 of 2 answers to tiny are those of four\n"
    large = made("large", samples=2)
    assert large["worker_peak_mb"] > 0
    assert sum(large["answer_ends"].values()) == 14
    four_answers, all_answers = (driver.read_answers(tmp_path / name) for name in ("four", "large"))
    assert four_answers.items() <= all_answers.items()


def test_answers_are_those_of_the_engine(
    evaluated: tuple[Path, dict[str, Any]], loaded: tuple[Any, Any], tiny: Benchmark
) -> None:
    output, _ = evaluated
    direct = engine_answers(loaded, tiny, CONFIG)
    assert driver.read_answers(output / "answers") == {(answer.task_id, answer.sample): answer for answer in direct}


def test_samples_are_in_order_and_hold_what_graders_read(
    evaluated: tuple[Path, dict[str, Any]], tiny: Benchmark, loaded: tuple[Any, Any]
) -> None:
    output, _ = evaluated
    samples = [json.loads(line) for line in (output / "samples.jsonl").read_text().splitlines()]
    assert [(sample["task_id"], sample["sample"]) for sample in samples] == [(task.task_id, 0) for task in tiny.tasks]
    for task, sample, answer in zip(tiny.tasks, samples, engine_answers(loaded, tiny, CONFIG), strict=True):
        assert sample["answer"] == answer.text
        assert sample["completion"] == tiny.completion(task, answer.text)


def test_verdicts_are_on_disk_and_the_samples_file_gives_them_again(
    evaluated: tuple[Path, dict[str, Any]], tiny: Benchmark
) -> None:
    output, _ = evaluated
    verdicts = pq.read_table(output / "verdicts.parquet")
    assert verdicts.column_names == ["task_id", "sample", "verdict", "base_verdict", "seconds", "error"]
    again = grade_samples_file(output / "samples.jsonl", tiny).table()
    for column in ("task_id", "verdict", "error"):
        assert verdicts.column(column).to_pylist() == again.column(column).to_pylist()


class Telling(Tiny):
    """What is stored says how it was made."""

    sample_field = "solution"

    def completion(self, task: Task, answer: str, *, base: bool = False) -> str:
        return f"{task.task_id} {answer} {base}"


def test_an_answer_is_read_as_what_it_was_asked_for_and_stored_where_graders_look(tiny: Benchmark) -> None:
    answers = [Answer("t/1", sample, sample == 1, "text", 9, "stop") for sample in range(2)]
    chat, base = driver.samples_of(Telling(tiny.tasks), answers)
    assert chat == {"task_id": "t/1", "sample": 0, "solution": "t/1 text False", "answer": "text"}
    assert base == {"task_id": "t/1", "sample": 1, "solution": "t/1 text True", "answer": "text"}


SAMPLED = EvaluateConfig(prompt="base", max_new_tokens=24, batch_size=2, samples=10, temperature=0.8, top_p=0.95)


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_with_the_samples_that_are_missing(
    ray_cluster: None, model_directory: Path, tiny: Benchmark, loaded: tuple[Any, Any], tmp_path: Path
) -> None:
    """SIGKILL to a real run in the middle of its generation; then other actors and batches end with the same samples."""
    tasks, answers = tmp_path / "tasks.jsonl", tmp_path / "answers"
    write_tasks(tiny, tasks)
    arguments = [str(model_directory), str(tasks), str(answers), SAMPLED.model_dump_json(), gcs_address()]
    run = subprocess.Popen([sys.executable, "-c", RUN, *arguments], start_new_session=True)
    try:
        wait_for(lambda: len(list(answers.glob("part-*.json"))) >= 2 or run.poll() is not None)
    finally:
        run.kill()
        assert run.wait() == -signal.SIGKILL
    answers = answers.rename(tmp_path / "kept")  # the dead run's actors live a moment longer, and write where it was
    parts = {path: path.stat().st_mtime_ns for path in answers.glob("part-*.json")}
    before = driver.read_answers(answers)
    assert 4 <= len(before) < 70, "killed in the middle"

    again = SAMPLED.model_copy(update={"batch_size": 16})
    one = ClusterConfig(cpus_per_worker=0.5)
    facts = driver.generate(ModelRef(str(model_directory)), tiny, answers, again, one)
    found = driver.read_answers(answers)
    assert found == {(answer.task_id, answer.sample): answer for answer in engine_answers(loaded, tiny, SAMPLED)}
    assert facts["prompt"] == "base"
    assert {path: path.stat().st_mtime_ns for path in parts} == parts, "what was there was not generated again"
    new = [row for path in set(answers.glob("part-*.json")) - set(parts) for row in json.loads(path.read_text())]
    assert len(new) == 70 - len(before)


def test_a_part_that_a_kill_left_half_written_is_not_read(evaluated: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    output, _ = evaluated
    (part, *_) = (output / "answers").glob("part-*.json")
    (tmp_path / f".{part.name}.1.tmp").write_text(part.read_text()[:20])
    assert driver.read_answers(tmp_path) == {}


def test_an_actor_loads_its_model_once(
    model_directory: Path, tiny: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[str] = []
    load = models.load_model
    monkeypatch.setattr(models, "load_model", lambda path, *rest: loads.append(path) or load(path, *rest))
    settings = {"max_new_tokens": 4, "batch_size": 2, "temperature": 0.0, "top_p": 1.0}
    generator = driver.Generator(ModelRef(str(model_directory)), "bfloat16", Decoding(**settings))
    assert generator.model.dtype == torch.bfloat16
    for sample in range(3):
        rows = pa.Table.from_pylist([asdict(Request("t/0", sample, [5, 6, 7], stops=("x",)))], schema=driver.REQUESTS)
        answers, facts = generator(rows, "part")
        assert facts["peak_mb"] > 0
        driver._write_rows(tmp_path, answers, "part", facts)
    assert len(loads) == 1
    assert driver.read_answers(tmp_path).keys() == {("t/0", sample) for sample in range(3)}


def test_a_finished_run_does_not_load_the_model_again(
    evaluated: tuple[Path, dict[str, Any]], tiny: Benchmark, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, facts = evaluated
    monkeypatch.setattr(driver, "Generator", None)
    again = driver.generate(ModelRef("no such model"), tiny, output / "answers", CONFIG, CLUSTER)
    assert again["answer_ends"] == facts["answer_ends"]


def test_actors_that_do_not_fit_the_cluster_are_refused(model_directory: Path, tiny: Benchmark, tmp_path: Path) -> None:
    with pytest.raises(CodeBlockError, match=r"generate answers to tiny: .* CPU asked"):
        driver.generate(ModelRef(str(model_directory)), tiny, tmp_path, CONFIG, ClusterConfig(actors=3, cpus_per_worker=64))


def test_answers_that_other_nodes_wrote_elsewhere_are_missed(
    model_directory: Path, tiny: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "_generate_with_hf", lambda *_: 0.0)
    with pytest.raises(CodeBlockError, match=r"^generate answers to tiny: what was written on other nodes is not in "):
        driver.generate(ModelRef(str(model_directory)), tiny, tmp_path, CONFIG, CLUSTER)
