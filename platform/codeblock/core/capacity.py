"""What a Ray cluster has, and what it can have: an autoscaling one has no workers while it rests.

Three sources, the largest of each resource counts: the nodes that are there; the node groups that an autoscaler has declared
to Ray; and `CODEBLOCK_CLUSTER_MAXIMUM`, set on the head by whoever describes the cluster, for autoscalers that declare
nothing (KubeRay's).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from codeblock.core.errors import CodeBlockError

MAXIMUM = "CODEBLOCK_CLUSTER_MAXIMUM"
"""Such as `CPU=64,GPU=8`: the sum over all nodes once every group is at its largest."""
KEYS = ("CPU", "GPU")
LOWER = "lower cluster.train_workers, cluster.actors, cluster.cpus_per_worker or cluster.gpus_per_worker"
"""The remedy for what can never fit."""

TASKS_PER_CPU = 4
"""Tasks that a CPU has at least, where there are as many parts, so that none waits long for the last ones."""
PARTS_PER_TASK = 16
"""At most: Ray Data takes some 0.1 s to see that a task has ended, and gives a CPU its next one only then."""


@dataclass(frozen=True)
class Capacity:
    """Resources of a cluster, by their names in Ray."""

    present: Mapping[str, float]
    """Of the nodes that are there."""
    possible: Mapping[str, float]
    """Of all nodes, once every group is at its largest; at least what is there."""
    shapes: tuple[Mapping[str, float], ...]
    """Of each node that is there or can be started. Empty: not known."""
    present_shapes: tuple[Mapping[str, float], ...] = ()
    """Of each node that is there."""

    def told(self) -> str:
        """Such as `2 CPU, 0 GPU (can become 64 CPU, 8 GPU)`."""
        now, later = _told(self.present), _told(self.possible)
        return now if now == later else f"{now} (can become {later})"

    def of_present(self) -> Capacity:
        """The nodes that are there alone."""
        return Capacity(self.present, self.present, self.present_shapes)

    def misfit(self, what: str, count: int, cpus: float, gpus: float) -> str | None:
        """Why `count` workers of so many CPUs and GPUs each can never run at once; None where they can."""
        asked = {"CPU": cpus, "GPU": gpus}
        for key, each in asked.items():
            if count * each > self.possible.get(key, 0.0):
                return f"{what}: {count} x {each:g} {key} asked, the cluster has {self.possible.get(key, 0.0):g} {key}"
        if self.shapes and not any(all(shape.get(key, 0.0) >= each for key, each in asked.items()) for shape in self.shapes):
            largest = ", ".join(sorted({_told(shape) for shape in self.shapes}))
            return f"{what}: {cpus:g} CPU and {gpus:g} GPU asked of one node, the nodes have {largest}"
        return None

    def parts_per_task(self, parts: int, cpus: float) -> int:
        """How many of so many parts a task takes that asks for so many CPUs."""
        at_once = self.possible.get("CPU", 0.0) / cpus
        return max(1, min(PARTS_PER_TASK, int(parts // max(1.0, TASKS_PER_CPU * at_once))))  # groups may have no largest size


def capacity() -> Capacity:
    """The capacity of the cluster that this process is connected to."""
    import ray
    import ray._private.state

    present = {key: float(value) for key, value in ray.cluster_resources().items()}
    nodes = [{key: float(value) for key, value in node["Resources"].items()} for node in ray.nodes() if node["Alive"]]
    groups = getattr(ray._private.state.state.get_cluster_config(), "node_group_configs", ())
    startable = [group for group in groups if group.max_count != 0]
    declared = {key: _sum_of(startable, key) for key in KEYS}
    told = told_maximum(os.environ.get(MAXIMUM, ""))
    possible = {key: max(present.get(key, 0.0), declared[key], told.get(key, 0.0)) for key in KEYS}
    # A maximum without shapes says nothing of single nodes, so those that are there do not either.
    shapes = () if told else (*nodes, *({key: float(group.resources.get(key, 0)) for key in KEYS} for group in startable))
    return Capacity(present, possible, shapes, tuple(nodes))


def told_maximum(text: str) -> dict[str, float]:
    """`CPU=64,GPU=8` as a mapping. Raises CodeBlockError for anything else."""
    found = {}
    for part in filter(None, text.split(",")):
        match = re.fullmatch(r"\s*(\w+)=(\d+(?:\.\d+)?)\s*", part)
        if match is None:
            raise CodeBlockError(f"{MAXIMUM}={text}: write it as CPU=64,GPU=8 in the environment of the head")
        found[match[1]] = float(match[2])
    return found


def _sum_of(groups: Iterable[object], key: str) -> float:
    total = 0.0
    for group in groups:
        each, count = group.resources.get(key, 0), group.max_count  # type: ignore[attr-defined]
        if each:
            total += float("inf") if count < 0 or each < 0 else each * count
    return total


def _told(resources: Mapping[str, float]) -> str:
    return ", ".join(f"{resources.get(key, 0.0):g} {key}" for key in KEYS)
