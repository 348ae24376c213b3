"""What fits a cluster: the one that is there, and the one that an autoscaler can make of it."""

import pytest

from codeblock.core.capacity import MAXIMUM, Capacity, capacity, told_maximum
from codeblock.core.cluster import require
from codeblock.core.errors import CodeBlockError

RESTING = Capacity({"CPU": 0}, {"CPU": 64, "GPU": 8}, ({"CPU": 0}, {"CPU": 32, "GPU": 4}))


def test_a_resting_cluster_is_taken_at_its_largest():
    assert RESTING.misfit("train", 8, 8, 1) is None
    assert RESTING.told() == "0 CPU, 0 GPU (can become 64 CPU, 8 GPU)"


def test_what_can_never_fit_says_which_resource_there_is_too_little_of():
    assert RESTING.misfit("train", 9, 1, 1) == "train: 9 x 1 GPU asked, the cluster has 8 GPU"
    assert RESTING.misfit("train", 9, 8, 0) == "train: 9 x 8 CPU asked, the cluster has 64 CPU"


def test_one_worker_does_not_lie_across_nodes():
    assert RESTING.misfit("train", 1, 1, 8) == (
        "train: 1 CPU and 8 GPU asked of one node, the nodes have 0 CPU, 0 GPU, 32 CPU, 4 GPU"
    )
    unknown = Capacity(RESTING.present, RESTING.possible, ())
    assert unknown.misfit("train", 1, 1, 8) is None


def test_a_maximum_is_written_as_pairs():
    assert told_maximum("CPU=64,GPU=8") == {"CPU": 64, "GPU": 8}
    assert told_maximum("") == {}
    with pytest.raises(CodeBlockError, match=r"^CODEBLOCK_CLUSTER_MAXIMUM=64 CPUs: write it as CPU=64,GPU=8"):
        told_maximum("64 CPUs")


def test_the_maximum_of_a_real_cluster_can_be_told(ray_cluster, monkeypatch):
    assert capacity().told() == "2 CPU, 0 GPU"
    with pytest.raises(CodeBlockError, match=r"^train: 3 x 1 CPU asked, the cluster has 2 CPU; lower cluster.train_workers"):
        require("train", 3, 1, 0)
    monkeypatch.setenv(MAXIMUM, "CPU=8,GPU=1")
    assert capacity().told() == "2 CPU, 0 GPU (can become 8 CPU, 1 GPU)"
    require("train", 3, 1, 0)


def test_the_groups_that_an_autoscaler_declares_to_ray_count(ray_cluster):
    """Through the same call by which an autoscaler declares them; a declaration holds as long as the cluster."""
    import ray
    from ray.core.generated.autoscaler_pb2 import ClusterConfig, NodeGroupConfig

    declared = ClusterConfig(node_group_configs=[NodeGroupConfig(resources={"CPU": 4, "GPU": 2}, max_count=3)])
    client = ray._private.worker.global_worker.gcs_client
    client.report_cluster_config(declared.SerializeToString())
    try:
        assert capacity().told() == "2 CPU, 0 GPU (can become 12 CPU, 6 GPU)"
        assert capacity().misfit("train", 3, 4, 2) is None
        assert "asked of one node" in str(capacity().misfit("train", 1, 5, 0))
    finally:
        client.report_cluster_config(ClusterConfig().SerializeToString())


def test_a_task_takes_several_parts_where_each_cpu_has_several_tasks_all_the_same() -> None:
    def per_task(parts: int, cluster: float, cpus: float = 1.0) -> int:
        return Capacity({}, {"CPU": cluster}, ()).parts_per_task(parts, cpus)

    assert [per_task(parts, 2.0) for parts in (1, 8, 15, 16, 40, 1000)] == [1, 1, 1, 2, 5, 16]
    assert per_task(1000, 64.0) == per_task(1000, 128.0, 2.0) == 3
    assert per_task(1000, 0.0) == 16, "a cluster that says nothing of its CPUs"
    assert per_task(1000, float("inf")) == 1, "one that grows without end"
