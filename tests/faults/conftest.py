"""A cluster of three nodes, a config whose stages last long enough to be hit, and a scoring that was hit three times."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.faults.nodes import Nodes, wait_until

from codeblock.core.storage import places, store
from codeblock.core.storage.claims import WORK
from codeblock.core.storage.manifest import MARKER, OBJECTS
from codeblock.core.storage.tables import read_table
from codeblock.train.driver import CHECKPOINTS

PAIRS = 1000
"""Two parts of pairs, and four of kept ones."""
STEPS = 300
SECONDS = 400
"""Most that one command may take."""
IMPATIENT = """
import codeblock.core.cluster_watch as watch
from codeblock.cli.commands import main
watch.GONE_SECONDS, watch.TELL_SECONDS, watch.FULL_SECONDS, watch.LOOK_SECONDS = 5.0, 2.0, 4.0, 1.0
main()
"""
"""The command line, with less time for what may come back."""


@pytest.fixture(scope="package")
def nodes() -> Iterator[Nodes]:
    """A head and the nodes `one` and `two`. A test that ends a node starts it again."""
    started = Nodes(Path(tempfile.mkdtemp(prefix="f")))
    try:
        started.start_head()
        started.add("one", "two")
        yield started
    finally:
        started.kill_all()
        shutil.rmtree(started.directory, ignore_errors=True)


def response(number: int) -> str:
    code = f"def add_{number}(values):\n    total = []\n    for value in values:\n        total.append(value + {number})\n"
    return f"Each value gets {number} more.\n\n```python\n{code}    return total\n```\n"


@pytest.fixture(scope="package")
def home(tmp_path_factory: pytest.TempPathFactory, small_model: Path) -> Path:
    """A directory with pairs and a config."""
    home = tmp_path_factory.mktemp("faults")
    rows = ({"instruction": f"Add {n} to each value.", "output": response(n)} for n in range(PAIRS))
    (home / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = {
        "name": "small",
        "pairs": {"path": str(home / "pairs.jsonl")},
        "filter": {"near_duplicates": None, "decontaminate": False},
        "model": {"path": str(small_model), "max_length": 256},
        "rank": {"by": ["random"]},
        "score": {"batch_tokens": 128},
        "select": {"token_budget": 0.2, "subset_ratio": 1.0},
        "arms": {"codeblock": {"strategy": "codeblock"}},
        "train": {"steps": STEPS, "batch_pairs": 8, "dev_pairs": 4, "dev_every": 1000, "checkpoint_every": 10},
        "evaluate": {"benchmarks": {}},
    }
    (home / "config.yaml").write_text(json.dumps(config))
    return home


@dataclass
class Run:
    """A command of a user, in a process of its own."""

    process: subprocess.Popen[str]
    log: Path
    storage: Path

    def end(self, seconds: float = SECONDS) -> int:
        """Its exit status; fails where it hangs."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pytest.fail(f"still running after {seconds} s: {self.told()}")
        finally:
            self.kill()

    def told(self) -> str:
        return self.log.read_text()

    def error(self) -> str:
        """The one line that it ended with."""
        assert self.end() == 1, self.told()
        assert "Traceback" not in self.told(), self.told()
        (line,) = [line for line in self.told().splitlines() if line.startswith("error: ")]
        return line

    def reaches(self, there: Callable[[], object], seconds: float = SECONDS) -> None:
        """Wait until the condition holds while it runs."""
        try:
            wait_until(lambda: there() or self.process.poll() is not None, "", seconds)
        except AssertionError:
            pytest.fail(f"not there after {seconds} s: {self.told()}")
        assert self.process.poll() is None, self.told()

    def reaches_part(self, stage: str) -> None:
        """Wait until some part of a stage is done, and not all."""
        self.reaches(lambda: list((self.storage / "cache" / ".work").glob(f"{stage}-*/part-*")))

    def reaches_checkpoints(self, count: int) -> None:
        """Wait until so many more checkpoints were seen, and one that may not be registered yet."""
        before, seen = self._checkpoints(), set[str]()

        def enough() -> bool:
            seen.update(self._checkpoints() - before)
            return len(seen) >= count + 1

        self.reaches(enough)

    def workers(self, nodes: Nodes, title: str, count: int) -> list[psutil.Process]:
        """Wait until so many worker processes are there while it runs."""
        self.reaches(lambda: len(nodes.workers(title)) == count)
        found = nodes.workers(title)
        assert len(found) == count, self.told()
        return found

    def halts_in(self, stage: str, nodes: Nodes, actors: int) -> list[psutil.Process]:
        """Halt all scoring actors where some part of a stage is done, and not all.

        Each is halted as soon as it is seen, too: else the first can have done all parts before the last has started.
        """
        halted: dict[int, psutil.Process] = {}

        def all_halted() -> bool:
            for actor in nodes.workers("MapWorker"):
                if actor.pid not in halted:
                    actor.suspend()
                    halted[actor.pid] = actor
            return len(halted) == actors

        self.reaches(all_halted)
        for actor in halted.values():
            actor.resume()
        self.reaches_part(stage)
        for actor in halted.values():
            actor.suspend()
        return list(halted.values())

    def loses_worker_and_node(self, nodes: Nodes, checkpoints: int) -> str:
        """Kill the worker of the fit and then the node that trains, each after new checkpoints; the name of that node."""
        self.reaches_checkpoints(checkpoints)
        (worker,) = self.workers(nodes, "RayTrainWorker", 1)
        worker.kill()
        self.reaches(lambda: [each for each in nodes.workers("RayTrainWorker") if each.pid != worker.pid])
        self.reaches_checkpoints(checkpoints)
        (worker,) = self.workers(nodes, "RayTrainWorker", 1)
        lost = nodes.node_of(worker)
        nodes.kill(lost)
        self.reaches(lambda: nodes.workers("RayTrainWorker"))
        return lost

    def _checkpoints(self) -> set[str]:
        unfinished = self.storage / "cache" / (OBJECTS if places.is_remote(self.storage) else WORK)
        inside = re.compile(rf"trained-[^/]+/{CHECKPOINTS}/(checkpoint_[^/]+)/")
        return {match[1] for match in map(inside.match, store.sizes(unfinished)) if match}

    def kill(self) -> None:
        """SIGKILL, to it and to what it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


Begin = Callable[..., Run]


@pytest.fixture(scope="package")
def begin_in(home: Path, nodes: Nodes) -> Iterator[Begin]:
    """Starts `codeblock COMMAND CONFIG storage=... [overrides]` on the cluster."""
    begun: list[Run] = []

    def start(storage: Path, command: str, *overrides: str, address: str | None = None, **environment: str) -> Run:
        log = home / f"log{len(begun)}"
        config = [str(home / "config.yaml"), f"storage={storage}", *overrides]
        given = {**os.environ, "RAY_ADDRESS": address or nodes.address, **environment}
        with log.open("w") as out:
            process = subprocess.Popen(
                [sys.executable, "-c", IMPATIENT, command, *config],
                **{"stdout": out, "stderr": out, "text": True, "env": given, "start_new_session": True},
            )
        begun.append(Run(process, log, storage))
        return begun[-1]

    yield start
    for run in begun:
        run.kill()


@pytest.fixture(scope="package")
def hit(begin_in: Begin, nodes: Nodes, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """`codeblock score`, ended: a data task, a scoring actor and a whole node were killed while it ran."""
    run = begin_in(tmp_path_factory.mktemp("hit") / "runs", "score", "cluster.actors=2")
    run.reaches(lambda: tasks_of(nodes))
    for task in tasks_of(nodes):
        with suppress(Exception):
            task.kill()
    first, second = run.halts_in("scored", nodes, 2)
    lost = nodes.node_of(second)
    first.kill()
    nodes.kill(lost)
    run.end()
    nodes.add(lost)
    return run


def tasks_of(nodes: Nodes) -> list[Any]:
    """The processes of Ray Data's tasks that run now."""
    actors = {process.pid for process in nodes.workers("MapWorker")}
    tasks = [*nodes.workers("ReadPartSource"), *nodes.workers("MapBatches")]  # one that only writes is over in no time
    return [process for process in tasks if process.pid not in actors]


@pytest.fixture
def storage(hit: Run, tmp_path: Path) -> Path:
    """A copy of the storage where all pairs are scored."""
    assert hit.process.returncode == 0, hit.told()
    shutil.copytree(hit.storage, tmp_path / "runs")
    return tmp_path / "runs"


def step_of(storage: Path, stage: str) -> Path:
    (found,) = (path.parent for path in (storage / "cache").glob(f"{stage}-*/{MARKER}"))
    return found


def facts_of(storage: Path, stage: str) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((step_of(storage, stage) / MARKER).read_text())["facts"]
    return facts


def rows_of(storage: Path, stage: str) -> dict[str, dict[str, Any]]:
    """The rows of a stage by their ids."""
    rows = read_table(step_of(storage, stage)).to_pylist()
    assert len({row["id"] for row in rows}) == len(rows)
    return {row["id"]: row for row in rows}
