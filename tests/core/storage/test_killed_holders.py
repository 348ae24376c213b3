"""A run that is killed in a stage, whichever it is, while another one waits for that stage: the other goes on."""

import json
import multiprocessing
import re
import time

import psutil
import pytest
from tests.core.storage.relay import run_until

from codeblock.core.storage.manifest import MARKER
from codeblock.core.storage.tables import read_part

STAGES = (
    *("pairs", "filtered", "tokenized", "segmented", "ranked", "kept"),
    *("scored", "selected", "trained", "generated", "graded", "reference_nll"),
)
BY_PART = {"filtered", "tokenized", "segmented", "kept", "scored", "trained", "generated", "graded", "reference_nll"}
"""Stages that go on from what an earlier holder had finished; the others begin with nothing."""
IMPORTED = ("codeblock.evaluate.generate", "codeblock.train.worker", "transformers.models.llama.modeling_llama")
"""What stages import when they begin."""
SECONDS = 300.0


@pytest.fixture
def home(tmp_path, small_model):
    """A directory with pairs, tasks and a config that has every stage but the embedded default and the embeddings."""
    answer = "```python\ndef add_{n}(values):\n    return [v + {n} for v in values]\n```"
    rows = [{"instruction": f"Add {n} to each value.", "output": answer.format(n=n)} for n in range(24)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {"task_id": "t", "instruction": "Write one.", "entry_point": "one", "test": "assert one() == 1"}
    (tmp_path / "tasks.jsonl").write_text(json.dumps({**task, "reference": "def one():\n    return 1\n"}) + "\n")
    config = {
        "pairs": {"path": f"{tmp_path}/pairs.jsonl"},
        "filter": {"near_duplicates": 0.99},
        "model": {"path": str(small_model), "max_length": 256},
        "rank": {"by": ["parses", "random"]},
        "select": {"token_budget": 0.2, "subset_ratio": 1.0},
        "arms": {"codeblock": {"strategy": "codeblock"}},
        "train": {"steps": 2, "batch_pairs": 4, "dev_pairs": 4},
        "evaluate": {"benchmarks": {"tiny": f"{tmp_path}/tasks.jsonl"}, "max_new_tokens": 4},
    }
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    return tmp_path


@pytest.fixture
def start(home):
    """Starts a run that halts in a stage; all are forked from one process that has imported what they need."""
    forks, started = multiprocessing.get_context("forkserver"), []
    forks.set_forkserver_preload([run_until.__module__, *IMPORTED])

    def begin(stage, storage="runs"):
        log = home / f"log{len(started)}"
        log.touch()
        process = forks.Process(target=run_until, args=(stage, f"{home}/config.yaml", f"{home}/{storage}", str(log)))
        process.start()
        started.append(process)
        return process, log

    yield begin
    for process in started:
        process.kill()
        process.join()


def reached(there, log):
    until = time.monotonic() + SECONDS
    while not there():
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.02)


def halts(process, log):
    """Wait until a run halts in its stage, or ends."""
    reached(lambda: not process.is_alive() or psutil.Process(process.pid).status() == psutil.STATUS_STOPPED, log)


def results(storage):
    """The steps that are finished. Their names hold digests of what the steps before have written."""
    return {path.parent.name: json.loads(path.read_text())["facts"] for path in (storage / "cache").glob(f"*/{MARKER}")}


def last_tables(storage):
    """What no other step reads, without times."""
    nll = [read_part(path).to_pylist() for path in sorted((storage / "cache").glob("reference_nll-*/reference_nll.parquet"))]
    verdicts = [read_part(path, ["task_id", "verdict"]).to_pylist() for path in (storage / "cache").glob("graded-*/*.parquet")]
    return nll, verdicts


@pytest.mark.slow
def test_in_every_stage_a_run_that_waits_goes_on_where_the_holder_is_killed(home, start):
    """Twelve runs in a row: each is killed in one stage, where all its work is done and nothing of it published, while the
    next one waits for that stage, takes it over and goes on to the stage behind it. What they come to is what a run comes to
    that nothing happens to.

    Real are the stages, the steps and their locks, the processes, SIGKILL. Not covered here: Ray's workers, for each process
    does its work itself (a stage on Ray whose driver is killed, with one that waits: test_storage.py; workers that write after
    their driver's death: test_claims.py; drivers, workers and nodes that die in the middle: tests/faults), a death in the
    middle of a part, the embedded default and embeddings, MLflow, and object stores (test_object_work.py).
    """
    holder, log = start(STAGES[0])
    halts(holder, log)
    found = {}
    for stage, following in zip(STAGES, (*STAGES[1:], None), strict=True):
        assert holder.is_alive(), log.read_text()
        assert stage not in {name.partition("-")[0] for name in results(home / "runs")}, "it is not published"
        before = results(home / "runs")
        waiter, log = start(following)
        words = rf"waiting for process {holder.pid} on .* which computes {stage}-\w+; its result will be taken"
        reached(lambda log=log, words=words: re.search(words, log.read_text()), log)
        holder.kill()
        holder.join()
        halts(waiter, log)
        claimed = re.findall(r"claimed (\w+) found (\d+)", log.read_text())
        assert claimed[0][0] == stage, "what was finished before is not done again"
        found[stage] = int(claimed[0][1])
        assert before.items() <= results(home / "runs").items()
        holder = waiter
    assert holder.exitcode == 0, log.read_text()
    assert {stage for stage in found if found[stage]} == BY_PART
    assert not list((home / "runs" / "cache" / ".work").glob("*.json"))

    alone, log = start(None, "undisturbed")
    alone.join(SECONDS)
    assert alone.exitcode == 0, log.read_text()
    assert results(home / "runs").keys() == results(home / "undisturbed").keys()
    assert last_tables(home / "runs") == last_tables(home / "undisturbed")
