"""A run on nodes that share nothing but the store: no file of one is there on another. The same results as on one node.

Every directory that a process of the run keeps files in (home, temporary files, scratch, working directory, Ray's sessions) is
below one, and each node sees a disk of its own there. In the fit of the first test a worker and then the node that trains are
killed: the checkpoints from which it goes on have come through the store.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import boto3
import psutil
import pyarrow.parquet as pq
import pytest
from tests.faults.conftest import Run, response
from tests.faults.nodes import Nodes, can_be_apart

from codeblock.core.storage import places, store
from codeblock.core.storage.manifest import MARKER, check_file
from codeblock.train.driver import HISTORY

pytestmark = [pytest.mark.slow, pytest.mark.long]

PAIRS = 600
"""Two parts of pairs."""
TASKS = 12
STEPS = 200
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
    """That of a run, and of a sweep where a strategy of one's own is one of two."""
    return {
        "name": "small",
        "pairs": {"path": f"{bucket}/in/pairs.jsonl"},
        "filter": {"near_duplicates": 0.99},
        "model": {"path": f"{bucket}/in/model", "max_length": 256},
        "score": {"batch_tokens": 1024},
        "rank": {"by": ["quality", "parses"]},
        "select": {"token_budget": 0.2, "subset_ratio": 1.0},
        "arms": {"codeblock": {"strategy": "codeblock"}},
        "train": {
            "steps": STEPS,
            "batch_pairs": 8,
            "dev_pairs": 8,
            "dev_every": 100,
            "checkpoint_every": 10,
            "max_failures": 2,
        },
        "evaluate": {"benchmarks": {"tiny": f"{bucket}/in/tasks.jsonl"}, "max_new_tokens": 8},
        "sweep": {"space": {"strategy": ["mine:pick", "codeblock"]}, "keep_models": 2},
    }


@pytest.fixture(scope="module")
def bucket(s3_address, small_model):
    """URL of a bucket with the inputs below `in`."""
    boto3.client("s3").create_bucket(Bucket="own-disks")
    put_inputs("s3://own-disks", small_model)
    return "s3://own-disks"


@pytest.fixture(scope="module")
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


def begin(command, home, storage, *overrides, **environment):
    """`codeblock run` or `sweep` in a process of its own."""
    (home / "config.yaml").write_text(json.dumps(config_of(storage.rpartition("/")[0])))
    (home / "mine.py").write_text(
        "import beside\n\ndef pick(pair, settings, rng):\n    return beside.rule(pair, settings, rng)\n"
    )
    (home / "beside.py").write_text("from codeblock.selection.strategies import random_items as rule\n")
    command = [sys.executable, "-m", "codeblock", command, "config.yaml", f"storage={storage}", *overrides]
    given = {key: value for key, value in {**os.environ, **environment}.items() if value}
    with (home / "log").open("w") as out:
        process = subprocess.Popen(command, cwd=home, env=given, stdout=out, stderr=out, start_new_session=True)
    return Run(process, home / "log", places.place(storage))


def check_end(run):
    assert run.end(SECONDS) == 0, run.told()
    assert "Traceback" not in run.told(), run.told()


def fit_of(cache):
    """The step from which a fit went on, and its losses."""
    (marker,) = (name for name in store.sizes(cache) if name.startswith("trained-") and name.endswith(MARKER))
    facts = json.loads(store.read_text(cache / marker))["facts"]
    losses = pq.read_table(check_file((cache / marker).with_name(HISTORY))).column("loss").to_pylist()
    return facts["resumed_from_step"], losses


def trials_of(storage):
    """The records of a sweep's trials, without how long they took."""
    place = places.place(storage) / "small" / "trials"
    records = [json.loads(store.read_text(place / name)) for name in store.sizes(place) if name.endswith("record.json")]
    same = ("values", "identity", "status", "error", "steps", "looks", "counts", "nll", "made", "uses")
    return sorted(({key: record[key] for key in same} for record in records), key=lambda record: record["identity"])


def test_nodes_that_share_nothing_but_the_store_come_to_what_one_node_does(apart, bucket, tmp_path):
    home = Path(apart.environment["HOME"])
    for node in ("one", "two"):
        (init,) = psutil.Process(apart.started[node].pid).children()
        assert not Path(f"/proc/{init.pid}/root{apart.directory}/head.log").exists(), "it sees the disk of the head"
    run = begin("run", home, f"{bucket}/apart", "cluster.actors=2", RAY_ADDRESS=apart.address, **apart.environment)
    run.reaches(lambda: "train[codeblock]" in run.told(), SECONDS)
    apart.add(run.loses_worker_and_node(apart, 2))  # with an empty disk
    check_end(run)
    check_end(begin("run", tmp_path, f"{bucket}/one", RAY_ADDRESS=""))

    on_one, on_several = (places.place(f"{bucket}/{name}/cache") for name in ("one", "apart"))
    assert results(on_several) == results(on_one)
    assert {name.partition("-")[0] for name in results(on_one)} >= {"scored", "selected", "trained", "generated", "graded"}
    (gone_on_from, losses), (begun_at, undisturbed) = fit_of(on_several), fit_of(on_one)
    assert gone_on_from >= 20
    assert begun_at == 0
    assert losses == undisturbed
    assert len(losses) == STEPS


def test_so_does_a_sweep_with_a_strategy_of_ones_own(apart, bucket, tmp_path):
    home = Path(apart.environment["HOME"])
    check_end(begin("sweep", home, f"{bucket}/apart", "train.steps=4", RAY_ADDRESS=apart.address, **apart.environment))
    check_end(begin("sweep", tmp_path, f"{bucket}/one", "train.steps=4", RAY_ADDRESS=""))
    several, one = (trials_of(f"{bucket}/{name}") for name in ("apart", "one"))
    assert several == one
    assert {(each["values"]["strategy"], each["status"]) for each in one} == {
        ("mine:pick", "evaluated"),
        ("codeblock", "evaluated"),
    }
    on_one, on_several = (results(places.place(f"{bucket}/{name}/cache")) for name in ("one", "apart"))
    assert on_several == on_one
