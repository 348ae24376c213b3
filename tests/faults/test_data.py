"""Stages on Ray Data that lose a task, an actor, a node, all nodes, the head: the same rows, each once, or one line."""

import shutil

import numpy as np
import pytest
from tests.faults.conftest import PAIRS, response, rows_of

from codeblock.core.models.load import load_model
from codeblock.core.models.nll import response_nll

pytestmark = pytest.mark.slow


def check_scores(storage, model):
    """Every pair is there once, with the scores that the model gives it in this process."""
    kept, scored = rows_of(storage, "kept"), rows_of(storage, "scored")
    assert {row["response"] for row in kept.values()} == {response(n) for n in range(PAIRS)}
    assert kept.keys() == scored.keys()
    some = list(kept)[::50]
    ids, starts = [np.array(kept[id_]["input_ids"], np.int32) for id_ in some], [kept[id_]["response_start"] for id_ in some]
    for id_, expected in zip(some, response_nll(load_model(str(model)), ids, starts, 64), strict=True):
        np.testing.assert_allclose(scored[id_]["nll"], expected, rtol=1e-5, atol=1e-6)


def test_a_task_an_actor_and_a_node_that_are_killed_cost_no_row(hit, small_model):
    assert hit.process.returncode == 0, hit.told()
    assert f"rows: {PAIRS:,} read = {PAIRS:,} kept + 0 rejected + 0 filtered" in hit.told()
    check_scores(hit.storage, small_model)


@pytest.mark.long
def test_without_nodes_it_is_told_what_is_waited_for_and_without_a_head_the_run_ends_and_goes_on_elsewhere(
    storage, begin_in, nodes, small_model
):
    (scored,) = (storage / "cache").glob("scored-*")
    shutil.rmtree(scored)
    run = begin_in(storage, "score")
    run.halts_in("scored", nodes, 1)
    nodes.kill("one")
    nodes.kill("two")
    run.reaches(lambda: "note: one worker: 1 x 1 CPU asked, the cluster has 0 CPU; waiting for nodes\n" in run.told())
    nodes.kill("head")
    try:
        line = run.error()
    finally:  # the other tests need a cluster, whatever this one finds
        nodes.start_head()
        nodes.add("one", "two")
    assert line.startswith("error: cluster ")
    assert line.endswith(
        ": its head does not answer any more; what was finished is kept; the same command goes on from there, on this "
        "cluster or another (RAY_ADDRESS)"
    )
    assert not scored.exists()
    (done,) = (storage / "cache" / ".work").glob("scored-*/part-000000.parquet")
    before = done.stat().st_ino

    again = begin_in(storage, "score")
    assert again.end() == 0, again.told()
    check_scores(storage, small_model)
    assert (scored / done.name).stat().st_ino == before, "what was scored is not scored again"


def test_what_no_node_has_is_refused_in_one_line_before_any_work(begin_in, nodes, tmp_path):
    """Both nodes together have 2 CPUs, and none has."""
    line = begin_in(tmp_path / "runs", "score", "cluster.cpus_per_worker=2").error()
    assert line == (
        "error: train: 2 CPU and 0 GPU asked of one node, the nodes have 0 CPU, 0 GPU, 1 CPU, 0 GPU; lower "
        "cluster.train_workers, cluster.actors, cluster.cpus_per_worker or cluster.gpus_per_worker"
    )
    assert not list((tmp_path / "runs" / "cache").glob("pairs-*"))
