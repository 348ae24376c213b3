"""A whole run whose storage, pairs, model and benchmark are in an object store: killed, gone on from elsewhere, then done."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from codeblock.cli.commands import main
from codeblock.core.storage import places, store
from codeblock.core.storage.manifest import MARKER
from codeblock.train.driver import CHECKPOINTS

PAIRS = 40
STEPS = 8


def response(number: int) -> str:
    code = f"def add_{number}(values):\n    return [value + {number} for value in values]\n"
    return f"Each value gets {number} more.\n\n```python\n{code}```\n"


@pytest.fixture
def home(bucket, small_model, tmp_path):
    """A directory with the config; all else is in the bucket."""
    place = places.place(f"{bucket}/in")
    store.make_parent(place / "x")
    rows = ({"instruction": f"Add {n} to each value.", "output": response(n)} for n in range(PAIRS))
    (place / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    test = "def check(candidate):\n    assert candidate(1) == 2\n"
    task = {"task_id": "one/0", "instruction": "Add 1.", "entry_point": "add", "test": test, "reference": "add = abs"}
    (place / "tasks.jsonl").write_text(json.dumps(task) + "\n")
    for file in small_model.iterdir():
        (place / "model").mkdir(exist_ok=True)
        (place / "model" / file.name).write_bytes(file.read_bytes())
    store.put_tree(place)
    config = {
        "name": "small",
        "storage": f"{bucket}/runs",
        "pairs": {"path": f"{bucket}/in/pairs.jsonl"},
        "filter": {"near_duplicates": 0.99, "decontaminate": False},
        "model": {"path": f"{bucket}/in/model", "max_length": 256},
        "rank": {"by": ["parses", "random"]},
        "select": {"token_budget": 0.2, "subset_ratio": 1.0},
        "arms": {"codeblock": {"strategy": "codeblock"}},
        "train": {"steps": STEPS, "batch_pairs": 4, "dev_pairs": 4, "checkpoint_every": 1, "mode": "lora", "lora": {"rank": 2}},
        "evaluate": {"benchmarks": {"tiny": f"{bucket}/in/tasks.jsonl"}, "max_new_tokens": 4},
    }
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    return tmp_path


def begin(home: Path, disk: str) -> "subprocess.Popen[str]":
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    environment[places.SCRATCH] = str(home / disk)
    command = [sys.executable, "-m", "codeblock", "run", "config.yaml"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(command, text=True, cwd=home, env=environment, start_new_session=True, **pipes)


def finish(process: "subprocess.Popen[str]") -> str:
    try:
        printed, _ = process.communicate(timeout=600)
        return printed
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.mark.long
@pytest.mark.slow
def test_a_run_in_an_object_store_goes_on_from_its_checkpoint_on_another_machine_and_is_done_once(
    home, bucket, monkeypatch, capsys
):
    cache = places.place(f"{bucket}/runs/cache")
    first, deadline = begin(home, "first"), time.monotonic() + 400
    while time.monotonic() < deadline and first.poll() is None:
        of_training = [name for name in store.sizes(cache) if f"/{CHECKPOINTS}/checkpoint" in name]
        if of_training:
            break
        time.sleep(0.2)
    assert first.poll() is None, first.communicate()[0]
    os.killpg(first.pid, signal.SIGKILL)
    printed, _ = first.communicate()
    assert of_training, printed

    printed = finish(begin(home, "second"))
    assert f"report: {bucket}/runs/small (arms.md, " in printed, printed
    markers = {name.partition("-")[0]: name for name in store.sizes(cache) if name.endswith(MARKER)}
    facts = {stage: json.loads(store.read_text(cache / name))["facts"] for stage, name in markers.items()}
    assert facts["trained"]["steps"] == STEPS
    assert 0 < facts["trained"]["resumed_from_step"] < STEPS
    assert facts["graded"]["tasks"] == 1
    assert {"arms.md", "samples/codeblock/index.html"} < set(store.sizes(cache.parent / "small"))
    with sqlite3.connect(home / "runs" / "mlflow.db") as database:
        assert database.execute("SELECT artifact_location FROM experiments WHERE name = 'codeblock'").fetchall() == [
            (f"{bucket}/runs/mlartifacts",)
        ]
    assert any(name.endswith("arms.md") for name in store.sizes(cache.parent / "mlartifacts"))
    assert not [name for name in store.sizes(cache) if f"/{CHECKPOINTS}/" in name], "checkpoints are not kept"

    before = store.sizes(cache)
    capsys.readouterr()
    monkeypatch.chdir(home)
    monkeypatch.setenv(places.SCRATCH, str(home / "third"))
    with pytest.raises(SystemExit) as stop:
        main(["run", "config.yaml"])
    assert not stop.value.code
    assert "(the same results were logged before)" in " ".join(capsys.readouterr().out.split())
    assert store.sizes(cache) == before
