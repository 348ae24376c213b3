"""One storage, read and written by the real command line: damaged stages, and several runs at a time."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow as pa
import pytest

from codeblock.cli.commands import main
from codeblock.core.storage.tables import MARKER, read_table, write_part

PAIRS = 600
"""Two parts of pairs, and three of kept ones."""


def response(number: int) -> str:
    code = f"def add_{number}(values):\n    return [value + {number} for value in values]\n"
    return f"Each value gets {number} more.\n\n```python\n{code}```\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory, small_model):
    """A directory with pairs and a config."""
    home = tmp_path_factory.mktemp("storage")
    rows = ({"instruction": f"Add {n} to each value.", "output": response(n)} for n in range(PAIRS))
    (home / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = {
        "name": "small",
        "storage": str(home / "runs"),
        "pairs": {"path": str(home / "pairs.jsonl")},
        "filter": {"near_duplicates": 0.99},
        "model": {"path": str(small_model), "max_length": 256},
        "rank": {"by": ["parses", "random"]},
        "select": {"token_budget": 0.2, "subset_ratio": 1.0},
        "arms": {"base": {}, "codeblock": {"strategy": "codeblock"}},
        "train": {"steps": 2, "batch_pairs": 4, "dev_pairs": 4},
        "evaluate": {"benchmarks": {}},
    }
    (home / "config.yaml").write_text(json.dumps(config))
    return home


def call(*arguments: object) -> int:
    """Run the command line in this process; returns its exit status."""
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


@pytest.fixture(scope="module")
def selected(home, ray_cluster):
    """The storage after a selection."""
    assert call("select", home / "config.yaml") == 0
    return home / "runs"


@pytest.fixture
def storage(selected, tmp_path):
    """A copy of it to do harm to."""
    shutil.copytree(selected, tmp_path / "runs")
    return tmp_path / "runs"


def step_of(storage, stage):
    (found,) = (storage / "cache").glob(f"{stage}-*")
    return found


def delete(part):
    part.unlink()


def cut(part):
    part.write_bytes(part.read_bytes()[:-40])


def empty(part):
    part.write_bytes(b"")


def replace_by_another(part):
    """By one of another run with other rows; the file's size may well be the same, and here it is not."""
    write_part(part, pa.table({"id": ["of another run"]}))


def duplicate(part):
    shutil.copy(part, part.with_name("part-000099.parquet"))


DAMAGES = {
    delete: "part-000000.parquet is missing (",
    cut: "part-000000.parquet is cut (",
    empty: "part-000000.parquet is cut (0 bytes, ",
    replace_by_another: "part-000000.parquet is ",
    duplicate: "part-000099.parquet is no part that this step wrote",
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("stage", ["pairs", "filtered", "tokenized", "segmented", "ranked", "kept", "scored", "selected"])
def test_a_stage_that_is_not_whole_ends_the_run_in_one_line(home, storage, capsys, stage, damage):
    directory = step_of(storage, stage)
    damage(directory / "part-000000.parquet")
    # Another budget makes a new selection, so that what was selected before is not read.
    change = "seed=0" if stage == "selected" else "select.token_budget=0.3"
    for command in ("select", "score") if stage == "scored" else ("select",):
        assert call(command, home / "config.yaml", f"storage={storage}", change) == 1
        told = capsys.readouterr().err
        assert told.startswith(f"error: {directory.name}: {DAMAGES[damage]}")
        assert told.rstrip().endswith(f"remove {directory} to compute it again")
        assert told.count("\n") == 1


@pytest.mark.parametrize("command", ["inspect", "export"])
def test_pages_and_masks_are_made_of_whole_stages_alone(home, storage, tmp_path, capsys, command):
    directory = step_of(storage, "selected")
    assert call(command, home / "config.yaml", f"storage={storage}", "--out", tmp_path / "out") == 0
    part = directory / "part-000001.parquet"
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 0xFF
    part.write_bytes(content)
    capsys.readouterr()
    assert call(command, home / "config.yaml", f"storage={storage}", "--out", tmp_path / "out") == 1
    told = capsys.readouterr().err
    assert told == (
        f"error: {directory.name}: part-000001.parquet is not the one that this step wrote (other content, of the same size); "
        f"remove {directory} to compute it again\n"
    )


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap")
def test_a_storage_that_may_be_read_alone_can_be_looked_at(home, storage, tmp_path):
    """Plan, pages and masks; what a plan says would run could not."""

    def look(*arguments: object) -> "subprocess.CompletedProcess[str]":
        read_only = ["bwrap", "--dev-bind", "/", "/", "--ro-bind", str(storage), str(storage)]
        command = [sys.executable, "-m", "codeblock", *map(str, arguments), f"storage={storage}"]
        return subprocess.run([*read_only, *command], capture_output=True, text=True)

    for command in ("inspect", "export"):
        done = look(command, home / "config.yaml", "--out", tmp_path / command)
        assert (done.returncode, done.stderr) == (0, "")
    assert list((tmp_path / "inspect").glob("*.html"))
    assert list((tmp_path / "export").glob("train/*"))
    plan = look("run", home / "config.yaml", "--plan")
    assert re.search(r"^score +cached *$", plan.stdout, re.MULTILINE)
    assert re.search(r"^train\[codeblock\] +would run", plan.stdout, re.MULTILINE)
    assert plan.stderr == f"error: storage={storage}: cannot be written (Read-only file system); free it or name another\n"


def test_what_is_removed_as_told_is_computed_again_to_the_same(home, storage, capsys):
    directory = step_of(storage, "scored")
    before = read_table(directory)
    (directory / "part-000001.parquet").unlink()
    assert call("score", home / "config.yaml", f"storage={storage}") == 1
    (remove,) = re.findall(r"remove (\S+) to compute it again", capsys.readouterr().err)
    shutil.rmtree(remove)
    assert call("score", home / "config.yaml", f"storage={storage}") == 0
    assert sorted(read_table(directory)["id"].to_pylist()) == sorted(before["id"].to_pylist())


def test_a_damaged_pairs_file_of_the_user_is_one_line(home, tmp_path, capsys):
    path = tmp_path / "mine.parquet"
    write_part(path, pa.table({"instruction": ["Add."], "output": [response(1)]}))
    path.write_bytes(path.read_bytes()[:-10])
    assert call("export", home / "config.yaml", f"storage={tmp_path}/runs", f"pairs.path={path}") == 1
    told = capsys.readouterr().err
    assert told.startswith(f"error: {path}: cannot be read (")
    assert told.count("\n") == 1


def begin(home: Path, storage: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "codeblock", "prepare", str(home / "config.yaml"), f"storage={storage}"]
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    return subprocess.Popen(command, env=environment, start_new_session=True)


@pytest.mark.slow
def test_of_two_runs_in_one_storage_one_waits_and_goes_on_where_the_other_is_killed(home, ray_cluster, tmp_path, capsys):
    """The first is halted in the middle of a stage on Ray, and killed once the second waits for it."""
    storage = tmp_path / "runs"
    work, deadline, said = storage / "cache" / ".work", time.monotonic() + 200, ""
    first = begin(home, storage)

    def kill_when_it_is_waited_for():
        nonlocal said
        while "waiting for process" not in said and time.monotonic() < deadline:
            said += capsys.readouterr().out
            time.sleep(0.05)
        first.kill()

    killer = threading.Thread(target=kill_when_it_is_waited_for)
    try:
        while not (notes := list(work.glob("filtered-*.json"))) and time.monotonic() < deadline:
            time.sleep(0.05)
        first.send_signal(signal.SIGSTOP)
        assert json.loads(notes[0].read_text())["pid"] == first.pid
        finished = {path: path.stat().st_mtime_ns for path in (storage / "cache").glob(f"*/{MARKER}")}
        assert {path.parent.name.partition("-")[0] for path in finished} == {"pairs"}
        killer.start()
        assert call("prepare", home / "config.yaml", f"storage={storage}") == 0
        killer.join()
        said += capsys.readouterr().out
        assert f"waiting for process {first.pid} on " in said
        assert f"rows: {PAIRS} read = " in said
        assert read_table(step_of(storage, "segmented")).num_rows > 0
        assert {path: path.stat().st_mtime_ns for path in finished} == finished, "it is not done again"
        assert len(list((storage / "cache").glob(f"*/{MARKER}"))) == 4
        assert not [path for path in work.iterdir() if path.suffix == ".json"]
    finally:
        if first.poll() is None:
            os.killpg(first.pid, signal.SIGKILL)
        first.wait()
