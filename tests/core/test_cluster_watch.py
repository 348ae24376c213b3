"""A cluster that is lost while work waits for it: one line, and an end."""

import signal
import time

import pytest
from ray.exceptions import ActorDiedError, RaySystemError, RayTaskError

from codeblock.core import cluster_watch
from codeblock.core.cluster_watch import _told, answers, watched_cluster
from codeblock.core.config import ClusterConfig
from codeblock.core.errors import CodeBlockError

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    for name in ("LOOK_SECONDS", "GONE_SECONDS", "TELL_SECONDS"):
        monkeypatch.setattr(cluster_watch, name, 0.1)
    monkeypatch.setattr(cluster_watch, "ROOM_SECONDS", 1.0)


def test_work_that_no_node_fits_any_more_is_told_and_ends(capsys):
    with (
        pytest.raises(CodeBlockError, match=r"^one worker: 1 x 9 CPU asked, the cluster has 2 CPU, for 1 s; add nodes"),
        watched_cluster(ClusterConfig(cpus_per_worker=9)),
    ):
        time.sleep(30)
    assert capsys.readouterr().out == "note: one worker: 1 x 9 CPU asked, the cluster has 2 CPU; waiting for nodes\n"
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL


def test_a_head_that_no_longer_answers_ends_the_work(monkeypatch):
    monkeypatch.setattr(cluster_watch, "answers", lambda _: False)
    with (
        pytest.raises(CodeBlockError, match=r"^cluster \S+:\d+: its head does not answer any more; what was finished is kept"),
        watched_cluster(ClusterConfig()),
    ):
        time.sleep(30)


def test_work_that_goes_on_is_left_alone():
    with watched_cluster(ClusterConfig()):
        time.sleep(1)


def test_errors_of_the_work_and_interrupts_stay_what_they_are():
    for error in (ValueError("a bug"), KeyboardInterrupt(), CodeBlockError("mine")):
        with pytest.raises(type(error)) as caught, watched_cluster(ClusterConfig()):
            raise error
        assert caught.value is error
    assert _told(RayTaskError("work", "Traceback", ValueError("a bug")), "127.0.0.1:1") is None


def test_an_error_of_rays_own_is_one_line():
    import ray

    address = ray.get_runtime_context().gcs_address
    assert answers(address)
    line = _told(RaySystemError("The worker died\nunexpectedly."), address)
    assert line.startswith("Ray: RaySystemError: ")
    assert "\n" not in line
    assert _told(ActorDiedError(), "127.0.0.1:1").startswith("cluster 127.0.0.1:1: its head does not answer any more; ")
