"""A run on nodes that share nothing but the store: no file of one is there on another. The same results as on one node.

Every directory that a process of the run keeps files in (home, temporary files, scratch, working directory, Ray's sessions) is
below one, and each node sees a disk of its own there.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest
from tests.faults.conftest import response
from tests.faults.nodes import Nodes, can_be_apart

from codeblock.core.storage import places, store
from codeblock.core.storage.manifest import MARKER

pytestmark = pytest.mark.slow

PAIRS = 600
"""Two parts of pairs."""
TASKS = 12
SECONDS = 500
TIMES = ("history.parquet", "verdicts.parquet")
"""Files that hold how long something took."""


def put_inputs(bucket, small_model):
    """Pairs, tasks and a model."""
    place = places.place(f"{bucket}/in")
    store.make_parent(place / "x")
    pairs = [{"instruction": f"Add {n} to each value.", "output": response(n), "quality": n % 5} for n in range(PAIRS)]
    tasks = [
        {
            "task_id": f"add/{n}",
            "instruction": f"Write add_{n}.",
            "entry_point": f"add_{n}",
            "test": f"assert add_{n}([1]) == [{n + 1}]",
            "reference": f"def add_{n}(values):\n    return [value + {n} for value in values]\n",
        }
        for n in range(TASKS)
    ]
    for name, rows in (("pairs", pairs), ("tasks", tasks)):
        (place / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    shutil.copytree(small_model, place / "model")
    store.put_tree(place)


def config_of(bucket):
    return {
        "name": "small",
        "pairs": {"path": f"{bucket}/in/pairs.jsonl"},
        "filter": {"near_duplicates": 0.99},
        "model": {"path": f"{bucket}/in/model", "max_length": 256},
        "score": {"batch_tokens": 1024},
        "rank": {"by": ["quality", "parses"]},
        "select": {"token_budget": 0.2, "subset_ratio": 1.0},
        "arms": {"codeblock": {"strategy": "codeblock"}},
        "train": {"steps": 4, "batch_pairs": 8, "dev_pairs": 8, "dev_every": 2, "checkpoint_every": 2},
        "evaluate": {"benchmarks": {"tiny": f"{bucket}/in/tasks.jsonl"}, "max_new_tokens": 8},
        "cluster": {"actors": 2},
    }


@pytest.fixture
def apart(s3_address):
    """A head that lends no CPU, and two nodes with disks of their own."""
    if not can_be_apart():
        pytest.skip("nodes cannot have disks of their own here: needs root, unshare, and a kernel that lets it mount")
    directory = Path(tempfile.mkdtemp(prefix="f"))
    for name in ("home", "tmp"):
        (directory / name).mkdir()
    own = {"HOME": f"{directory}/home", "TMPDIR": f"{directory}/tmp", places.SCRATCH: f"{directory}/tmp/scratch"}
    nodes = Nodes(directory, apart=True, environment=own)
    try:
        nodes.start_head()
        nodes.add("one", "two")
        yield nodes
    finally:
        nodes.kill_all()
        shutil.rmtree(directory, ignore_errors=True)


def results(cache):
    """Digests of all files of all steps, but of those that hold times."""
    found = {}
    for name in store.sizes(cache):
        step, _, file = name.partition("/")
        if file == MARKER:
            marker = json.loads(store.read_text(cache / name))
            found[step] = {name: entry["xxh3"] for name, entry in marker["files"].items() if Path(name).name not in TIMES}
    return found


def run(config, home, storage, *overrides, **environment):
    (home / "config.yaml").write_text(json.dumps(config))
    command = [sys.executable, "-m", "codeblock", "run", "config.yaml", f"storage={storage}", *overrides]
    given = {key: value for key, value in {**os.environ, **environment}.items() if value}
    ended = subprocess.run(
        command, cwd=home, env=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SECONDS, check=False
    )
    assert ended.returncode == 0, ended.stdout
    assert "Traceback" not in ended.stdout, ended.stdout
    return ended.stdout


def test_nodes_that_share_nothing_but_the_store_come_to_what_one_node_does(apart, bucket, small_model, tmp_path):
    put_inputs(bucket, small_model)
    config, home = config_of(bucket), Path(apart.environment["HOME"])
    for node in ("one", "two"):
        (init,) = psutil.Process(apart.started[node].pid).children()
        assert not Path(f"/proc/{init.pid}/root{apart.directory}/head.log").exists(), "it sees the disk of the head"
    run(config, home, f"{bucket}/apart", RAY_ADDRESS=apart.address, **apart.environment)
    apart.kill_all()
    run(config, tmp_path, f"{bucket}/one", "cluster.actors=1", RAY_ADDRESS="")

    on_one, on_several = (results(places.place(f"{bucket}/{name}/cache")) for name in ("one", "apart"))
    assert on_several == on_one
    assert {name.partition("-")[0] for name in on_one} >= {"scored", "selected", "trained", "generated", "graded"}
