"""The proof from packing to the table, with a small model on the CPU."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import numpy as np
import pytest
from tests.proof import collect, measure, pack, scoring
from tests.proof.parts import join_parts, split_file
from tests.proof.proof import main
from tests.proof.saving import save_directories
from tests.proof.schedule import Queue, names, tasks_of
from tests.proof.work import Setting, Task, carry_out, read_answers

from codeblock.core.errors import CodeBlockError
from codeblock.core.models.load import load_model
from codeblock.core.models.nll import response_nll
from codeblock.core.storage.tables import read_part, read_table


@pytest.fixture
def job(proof, config, tmp_path):
    return pack.pack_job(proof / "selections", config, str(proof / "model"), tmp_path / "job", ["base", "codeblock"])


@pytest.fixture
def setting(proof, job, tmp_path):
    pack.unpack_selections(tmp_path / "job", tmp_path / "selections")
    return Setting(tmp_path / "job", proof / "model", tmp_path / "selections", tmp_path / "work", time.time() + 600, threads=1)


def test_a_file_is_joined_from_its_parts_and_held_against_its_checksum(tmp_path):
    file = tmp_path / "weights.gguf"
    file.write_bytes(bytes(range(100)))
    folders = split_file(file, tmp_path / "carry", most_bytes=40)
    assert [[path.name for path in sorted(folder.iterdir())] for folder in folders] == [
        ["part.json", f"weights.gguf.{number}"] for number in range(3)
    ]
    assert join_parts(folders[::-1], tmp_path / "joined").read_bytes() == file.read_bytes()
    with pytest.raises(CodeBlockError, match=r"parts \[1\] are missing"):
        join_parts([folders[0], folders[2]], tmp_path / "other")
    (folders[1] / "weights.gguf.1").write_bytes(bytes(34))
    with pytest.raises(CodeBlockError, match="SHA-256 differs"):
        join_parts(folders, tmp_path / "other")


def test_selections_come_out_as_they_went_in(proof, setting):
    for name in ("full-seed0", "full-seed1", "codeblock-seed0", "codeblock-seed1"):
        assert read_table(setting.selections / name).equals(read_table(proof / "selections" / name))


def test_seed_0_of_every_arm_comes_first_and_answers_last(job):
    assert names(tasks_of(job)) == [
        "base-seed0 train", "full-seed0 train", "codeblock-seed0 train", "full-seed1 train", "codeblock-seed1 train",
        "base-seed0 generate humaneval", "codeblock-seed0 generate humaneval",
    ]  # fmt: skip


def test_what_is_done_is_not_done_again(job, setting):
    first = tasks_of(job)[:2]
    for task in first:
        carry_out(task, setting)
    stamps = {task: task.facts(setting).read_bytes() for task in first}
    deliveries: list[int] = []
    queue = Queue(job, setting, lambda queue: deliveries.append(len(queue.done)))
    assert names(queue.already) == ["base-seed0 train", "full-seed0 train"]
    queue.run_here()
    assert queue.failed == {}
    assert deliveries == [1, 2, 3, 4, 5]
    assert {task: task.facts(setting).read_bytes() for task in first} == stamps
    assert names(Queue(job, setting, lambda _: None).waiting) == []


def test_a_killed_generation_goes_on_with_the_answers_that_are_missing(job, setting, monkeypatch):
    monkeypatch.setattr("tests.proof.work.SAVED_BATCHES", 1)
    task = Task("base", 0, "humaneval")
    carry_out(Task("base", 0), setting)
    whole = carry_out(task, setting)
    assert (whole["answers"], whole["unfinished"]) == (6, 0)
    directory = setting.directory("base", 0)
    before = {(answer.task_id, answer.sample): answer for answer in read_answers(directory, "humaneval")}
    task.facts(setting).unlink()
    sorted((directory / "answers").iterdir())[0].unlink()
    kept = len(read_answers(directory, "humaneval"))
    again = carry_out(task, setting)
    assert 0 < kept < 6
    assert again["answers"] == 6
    assert {(answer.task_id, answer.sample): answer for answer in read_answers(directory, "humaneval")} == before


def test_after_the_deadline_nothing_is_begun(job, setting):
    late = replace(setting, deadline=time.time() - 1)
    queue = Queue(job, late, lambda _: None)
    queue.run_here()
    assert (queue.done, queue.failed) == ({}, {})
    assert len(queue.waiting) == 7
    carry_out(Task("base", 0), setting)
    facts = carry_out(Task("base", 0, "humaneval"), late)
    assert (facts["answers"], facts["unfinished"]) == (0, 6)
    assert not Task("base", 0, "humaneval").facts(setting).exists()


def test_a_failing_task_is_named_and_the_others_go_on(job, setting):
    for part in (setting.selections / "full-seed0").iterdir():
        part.unlink()
    queue = Queue(job, setting, lambda _: None)
    queue.run_here()
    assert list(queue.failed) == ["full-seed0 train"]
    assert len(queue.done) == 6


def test_training_is_the_sessions_own_and_leaves_its_curves(job, setting):
    facts = carry_out(Task("codeblock", 0), setting)
    directory = setting.directory("codeblock", 0)
    history, dev = read_part(directory / "history.parquet"), read_part(directory / "dev.parquet")
    assert history["step"].to_pylist() == [1, 2]
    assert facts["processed_tokens"] == sum(history["processed_tokens"].to_pylist())
    assert set(dev["step"].to_pylist()) == {0, 2}
    nll = read_part(directory / "reference_nll-humaneval.parquet")
    assert nll["task_id"].to_pylist() == ["HumanEval/0", "HumanEval/1", "HumanEval/2"]
    assert facts["reference_nll"]["humaneval"] == pytest.approx(np.mean(nll["nll"].to_pylist()))
    assert carry_out(Task("codeblock", 0), setting)["reference_nll"] == facts["reference_nll"]


def test_results_are_few_bounded_files_with_curves_before_answers(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.proof.saving.LARGEST", 5000)
    monkeypatch.setattr("tests.proof.saving.FILES", 3)
    for name in ("a-seed0/answers/humaneval-1.jsonl.gz", "a-seed0/train.json", "b-seed0/answers/humaneval-2.jsonl.gz"):
        (tmp_path / "work" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "work" / name).write_bytes(bytes(3000))
    (tmp_path / "work" / "a-seed0" / "trained.pt").write_bytes(bytes(10))
    assert save_directories(tmp_path / "work", tmp_path / "out") == ["b-seed0/answers/humaneval-2.jsonl.gz"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["results-0.tar", "results-1.tar"]


def test_the_pools_nll_is_token_nll_and_its_embedding_the_mean_state(proof, tmp_path):
    pack.pack_pool(proof / "scored", tmp_path / "pool")
    facts = scoring.score_pool(tmp_path / "pool", str(proof / "model"), tmp_path / "out", "float32", 300, 1)
    table, model = read_table(proof / "scored"), load_model(str(proof / "model"))
    input_ids = [np.asarray(ids, dtype=np.int32) for ids in table["input_ids"].to_pylist()]
    starts = table["response_start"].to_pylist()
    exact = response_nll(model, input_ids, starts, 300)
    found = read_part(tmp_path / "out" / "nll-0.parquet")
    assert found["id"].to_pylist() == table["id"].to_pylist()
    for nll_T, values, start in zip(exact, found["nll"].to_pylist(), starts, strict=True):
        np.testing.assert_array_equal(nll_T[start:], np.asarray(values, dtype=np.float32))
    assert facts["against_float32"]["largest_difference"] < 1e-5
    states = model.get_decoder()(input_ids=_tensor(input_ids[0]), output_hidden_states=True).hidden_states
    for name, state, rows in (
        ("response", states[-1], slice(starts[0], None)),
        ("instruction", states[1], slice(0, starts[0])),
    ):
        mean = state[0, rows].sum(0).detach().numpy()
        stored = read_part(tmp_path / "out" / f"{name}-0.parquet")["embedding"].to_pylist()[0]
        np.testing.assert_allclose(np.asarray(stored, dtype=np.float32), mean / np.linalg.norm(mean), atol=1e-3)


def _tensor(ids):
    import torch

    return torch.from_numpy(ids.astype(np.int64))[None]


def test_speeds_are_measured_and_packed_pairs_do_not_see_each_other(job, setting):
    carry_out(Task(*job.selections[0]), setting)
    facts = measure.measure(job, setting, processes=1, steps=1, batch_sizes=[2], new_tokens=4)
    assert facts["packing"]["relative_gap"] < 1e-5
    assert list(facts["train"]) == [1]
    assert all(row["calls"] > 0 for row in facts["profile"])
    assert any(row["name"].startswith("aten::") and row["here_ms"] > 0 for row in facts["profile"])
    assert [(row["model"], row["merged"], row["sampled"]) for row in facts["answers"]] == [
        ("untrained", False, False), ("untrained", False, True), ("trained", False, False), ("trained", False, True),
        ("trained", True, False), ("trained", True, True),
    ]  # fmt: skip


@pytest.mark.slow
def test_the_whole_way_in_processes_that_share_the_machine(proof, config, tmp_path, capsys):
    packed = tmp_path / "job"
    pack.pack_job(proof / "selections", config, str(proof / "model"), packed, ["base", "codeblock"])
    places = ["--job", packed, "--model", proof / "model", "--work", tmp_path / "work", "--out", tmp_path / "out"]
    main([str(each) for each in ["train", *places, "--processes", 2, "--deadline-seconds", 10**6]])  # from the import on
    state = json.loads((tmp_path / "out" / "machine.json").read_text())
    assert (len(state["done"]), state["failed"], state["left"], state["left_out"]) == (7, {}, [], [])
    results = tmp_path / "results"
    written = collect.unpack(tmp_path / "out", results, packed)
    assert [path.relative_to(results).as_posix() for path in written] == [
        "base-seed0/samples-humaneval.jsonl", "codeblock-seed0/samples-humaneval.jsonl"
    ]  # fmt: skip
    collect.grade_all(results, packed, 1)
    lines = collect.table(results, "humaneval", "codeblock").splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| base", "| codeblock", "| full"]
    assert [line.split(" | ")[1] for line in lines[2:]] == ["1", "2", "2"]
    assert lines[2].endswith(" of 3 x 2 |")
