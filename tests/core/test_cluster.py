"""Work that is mapped over parts: results in order, and an error of a worker as the one line that a user can act on."""

import os
from pathlib import Path

import pytest

from codeblock.core.cluster import map_parts, runtime_env, unreachable
from codeblock.core.errors import CodeBlockError
from codeblock.core.own_process import as_worker, is_worker
from codeblock.core.quiet import QUIET

pytestmark = pytest.mark.usefixtures("ray_cluster")


def double(item):
    return {"value": 2 * item["value"]}


def fill_the_disk(item):
    with Path("/dev/full").open("w") as full:  # the kernel's own "No space left on device"
        full.write("x" * 100_000)
    return item


def refuse(item):
    if item["value"] == 1:
        raise CodeBlockError("part 1: unreadable; write it again")
    return item


class Adder:
    def __init__(self, amount):
        self.amount = amount

    def __call__(self, item):
        return {"value": item["value"] + self.amount}


def test_results_come_in_the_order_of_the_items():
    assert map_parts(double, [{"value": n} for n in range(5)], what="double") == [{"value": 2 * n} for n in range(5)]


def test_a_task_takes_several_items_and_ends_with_the_first_that_is_refused():
    assert map_parts(double, [{"value": n} for n in range(40)], what="double") == [{"value": 2 * n} for n in range(40)]
    with pytest.raises(CodeBlockError, match=r"^read: part 1: unreadable; write it again$"):
        map_parts(refuse, [{"value": n} for n in range(40)], what="read")


def test_an_actor_is_built_with_its_arguments():
    results = map_parts(Adder, [{"value": n} for n in range(3)], what="add", actors=1, constructor={"amount": 10})
    assert results == [{"value": 10}, {"value": 11}, {"value": 12}]


def test_a_process_that_is_a_worker_does_the_work_itself():
    def process(item):
        return {"value": item["value"], "process": os.getpid()}

    with as_worker():
        found = map_parts(process, [{"value": n} for n in range(3)], what="ask")
        added = map_parts(Adder, [{"value": 1}], what="add", actors=5, constructor={"amount": 10})
        with pytest.raises(CodeBlockError, match=r"^read: part 1: unreadable; write it again$"):
            map_parts(refuse, [{"value": n} for n in range(2)], what="read")
    assert found == [{"value": n, "process": os.getpid()} for n in range(3)]
    assert added == [{"value": 11}]
    assert not is_worker()


def address(item):
    return {"address": os.environ.get("RAY_ADDRESS", "")}


def test_workers_know_the_address_of_their_own_cluster():
    """Ray's helpers look for one themselves otherwise, and beside a second cluster find none, or that one."""
    import ray

    own = ray.get_runtime_context().gcs_address
    assert map_parts(address, [{"value": 1}], what="ask") == [{"address": own}]


def test_a_full_disk_in_a_worker_is_one_line():
    with pytest.raises(
        CodeBlockError, match=r"^write: No space left on device: .*; free space there or name another storage=DIR$"
    ):
        map_parts(fill_the_disk, [{"value": 1}], what="write")


def test_an_error_of_the_work_is_told_in_its_own_words():
    with pytest.raises(CodeBlockError, match=r"^read: part 1: unreadable; write it again$"):
        map_parts(refuse, [{"value": n} for n in range(3)], what="read")


class Unloadable:
    def __init__(self, path):
        if path is None:
            raise CodeBlockError("model m: no weights there; download it")
        self.weights = Path(path).read_bytes()

    def __call__(self, item):
        return item


@pytest.mark.parametrize(
    ("path", "told"),
    [
        (None, "model m: no weights there; download it"),
        ("/no/weights", "No such file or directory: /no/weights; see that it is there and that this user may use it"),
    ],
)
def test_an_actor_that_cannot_be_built_tells_why_in_one_line(path, told):
    with pytest.raises(CodeBlockError, match=rf"^score: {told}$"):
        map_parts(Unloadable, [{"value": 1}], what="score", actors=1, constructor={"path": path})


def test_more_actors_than_the_cluster_has_are_refused():
    with pytest.raises(CodeBlockError, match="the cluster has"):
        map_parts(Adder, [{"value": n} for n in range(5000)], what="add", actors=5000, constructor={"amount": 1})


def test_a_cluster_out_of_reach_is_one_line_with_what_to_set(monkeypatch):
    silent = ConnectionError("Failed to connect to Ray cluster at 10.0.0.1:6379")
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    assert "set RAY_AUTH_MODE=token where it asks for a token" in unreachable(silent)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert unreachable(silent) == f"no Ray cluster answers there ({silent}); start one with `ray start --head`"


def test_the_address_for_jobs_is_not_the_cluster_s(monkeypatch):
    import ray

    with pytest.raises(ValueError, match="HTTP address") as caught:
        ray.init(address="http://127.0.0.1:8265")
    told = unreachable(caught.value)
    assert told.endswith("name the head's own port here, HOST:6379")
    assert "\n" not in told


def test_a_switch_that_the_user_has_set_holds_in_the_workers_too(monkeypatch):
    assert runtime_env()["env_vars"] == {key: os.environ.get(key, value) for key, value in QUIET.items()}
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    assert runtime_env()["env_vars"]["OMP_WAIT_POLICY"] == "passive"
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    assert runtime_env()["env_vars"]["OMP_WAIT_POLICY"] == "active"
