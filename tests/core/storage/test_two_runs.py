"""Two runs that are started together in one storage, each with a Ray of its own: what both need is computed once."""

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from mlflow import MlflowClient

from codeblock.core.storage.manifest import MARKER
from codeblock.report.mlflow.runs import NOTE_TAG, PARENT_TAG, PROCESS_TAG

QUICKSTART = Path(__file__).parents[3] / "configs" / "quickstart.yaml"
SMALL = {
    "filter.near_duplicates": "0.99",
    "arms": "{base: {}, codeblock: {strategy: codeblock}}",
    "train.steps": "2",
    "train.batch_pairs": "4",
    "train.dev_pairs": "4",
    "evaluate.limit": "6",
    "evaluate.max_new_tokens": "8",
}
STAGES = {
    *("tiny", "pairs", "filtered", "tokenized", "segmented", "ranked", "kept", "scored"),
    *("selected", "trained", "generated", "graded", "reference_nll"),
}
COMMAND = """
import os
from pathlib import Path

import codeblock.tiny as tiny
from codeblock.cli.commands import main
from codeblock.experiment.cache import Step

tiny.Recipe = lambda: tiny.SMALL
finish = Step._finish

def noted(step, output, work):
    with Path(os.environ["WORKED"]).open("a") as log:
        log.write(f"{os.getpid()} {step.directory.name}\\n")
    return finish(step, output, work)

Step._finish = noted
main()
"""
"""The command line with a small embedded default, which notes what it computes: process, step."""


@pytest.fixture
def begin(tmp_path):
    """Starts `codeblock run` on the quickstart in small; what is left of it is killed at the end."""
    begun = []

    def start():
        log = tmp_path / f"log{len(begun)}"
        given = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"} | {"WORKED": f"{tmp_path}/worked"}
        overrides = [f"{key}={value}" for key, value in {**SMALL, "storage": f"{tmp_path}/runs"}.items()]
        command = [sys.executable, "-c", COMMAND, "run", str(QUICKSTART), *overrides]
        with log.open("w") as out:
            begun.append(subprocess.Popen(command, stdout=out, stderr=out, env=given, start_new_session=True))
        return begun[-1], log

    yield start
    for process in begun:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def outcome(log):
    """What was printed at the end: the counts, the table of arms, what was found and picked."""
    return re.findall(r"^rows: .*?(?=^report: )", log.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.slow
@pytest.mark.long
def test_of_two_quickstarts_started_together_each_step_is_computed_by_one_and_both_end_alike(begin, tmp_path):
    both = [begin(), begin()]
    for process, log in both:
        assert process.wait(600) == 0, log.read_text()
    worked = [line.split() for line in (tmp_path / "worked").read_text().splitlines()]
    assert Counter(step for _, step in worked).most_common(1)[0][1] == 1, worked
    finished = {path.parent.name for path in (tmp_path / "runs" / "cache").glob(f"*/{MARKER}")}
    assert {step for _, step in worked} == finished
    assert {name.partition("-")[0] for name in finished} == STAGES
    assert {pid for pid, _ in worked} <= {str(process.pid) for process, _ in both}
    told = [log.read_text() for _, log in both]
    assert any("its result will be taken" in each for each in told), "they were at work at the same time"

    assert outcome(both[0][1]) == outcome(both[1][1])
    assert re.search(r"^codeblock\b.*\d", *outcome(both[0][1]), re.MULTILINE), told[0]
    client = MlflowClient(f"sqlite:///{tmp_path}/runs/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("codeblock").experiment_id])
    parents = [run for run in runs if PARENT_TAG not in run.data.tags]
    writers = {json.loads(run.data.tags[PROCESS_TAG])["pid"] for run in parents}
    assert (len(parents), writers) == (2, {process.pid for process, _ in both})
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len({run.data.tags[NOTE_TAG] for run in parents}) == 1
    arms = Counter((run.data.tags[PARENT_TAG], run.info.run_name) for run in runs if PARENT_TAG in run.data.tags)
    assert arms == {(run.info.run_id, arm): 1 for run in parents for arm in ("base", "codeblock")}
