"""A grading that loses a node: every verdict is there, and the head, which lends no CPU, was given no program."""

import json
import os
import subprocess
import sys
from contextlib import suppress

import psutil
import pytest
from tests.faults.conftest import SECONDS
from tests.faults.nodes import wait_until

pytestmark = pytest.mark.slow

TASKS = 40
RUN = """
import json, sys
from functools import partial
from pathlib import Path
from codeblock.core.cluster import ray_session
from codeblock.core.config import ClusterConfig
from codeblock.evaluate import Settings, load
from codeblock.evaluate.grading import grade_by
from codeblock.evaluate.grading_driver import run_on_nodes
home = Path(sys.argv[1])
samples = [json.loads(line) for line in (home / "samples.jsonl").read_text().splitlines()]
with ray_session(ClusterConfig()):
    benchmark, settings = load("tiny", str(home / "tasks.jsonl")), Settings(store=home / "expected")
    found = grade_by(partial(run_on_nodes, home / "work"), samples, benchmark, settings)
print(json.dumps({"verdicts": [row.verdict for row in found.rows], "graded_on": found.nodes}))
"""


def write(home):
    """Tasks that ask for `plus_N`, and slow answers of which every second is wrong."""
    tasks, samples = [], []
    for n in range(TASKS):
        code = f"import time\ndef plus_{n}(x):\n    time.sleep(0.25)\n    return x + {n} + {n % 2}\n"
        names = {"instruction": f"Add {n}.", "entry_point": f"plus_{n}", "test": f"assert plus_{n}(1) == {n + 1}"}
        tasks.append({"task_id": f"t/{n}", "reference": f"def plus_{n}(x):\n    return x + {n}\n", **names})
        samples.append({"task_id": f"t/{n}", "solution": code})
    for name, rows in (("tasks", tasks), ("samples", samples)):
        (home / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (home / "work").mkdir()


def grading(nodes):
    """Names of the nodes that have a part in hand."""
    found = set()
    for process in nodes.workers("grade tiny"):
        with suppress(psutil.NoSuchProcess):
            found.add(nodes.node_of(process))
    return found


def test_a_node_that_goes_down_costs_no_verdict_and_the_head_is_given_no_program(nodes, tmp_path):
    write(tmp_path)
    with (tmp_path / "log").open("w") as log:
        run = subprocess.Popen(
            [sys.executable, "-c", RUN, str(tmp_path)],
            **{"stdout": subprocess.PIPE, "stderr": log, "text": True, "start_new_session": True},
            env={**os.environ, "RAY_ADDRESS": nodes.address},
        )
    try:
        kept = tmp_path / "work"
        wait_until(lambda: list(kept.glob("part-*.json")) or run.poll() is not None, "no part is done")
        assert run.poll() is None, (tmp_path / "log").read_text()
        seen = set()
        wait_until(lambda: seen.update(grading(nodes)) or len(seen) == 2, "the nodes do not grade side by side")
        wait_until(lambda: "two" in grading(nodes), "the node does not grade")
        nodes.kill("two")
        told, _ = run.communicate(timeout=SECONDS)
        assert run.returncode == 0, (tmp_path / "log").read_text()
    finally:
        run.kill()
        run.wait()
        nodes.add(*{"two"} - nodes.started.keys())
    found = json.loads(told.splitlines()[-1])
    assert seen == {"one", "two"}
    assert found["verdicts"] == ["wrong_answer" if n % 2 else "passed" for n in range(TASKS)]
    assert sum(found["graded_on"].values()) == TASKS
    assert list(kept.iterdir()) == []
