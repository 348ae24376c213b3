"""The nodes of the cluster that this process is connected to: ask each of them, or share work out over some of them.

For work that is about machines, not about tables: what a node allows, programs that only some nodes may run.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from codeblock.core.cluster import deaths_told

Answer = TypeVar("Answer")
ASK_SECONDS = 60.0
LOOK_SECONDS = 2.0
"""Without a result for so long it is looked whether a node is left that the work may run on."""
RETRIES = 5
"""Times that a piece of work is begun again after its process or its node died."""


@dataclass(frozen=True)
class Node:
    """A living node."""

    id: str
    name: str
    """Host name and address, for messages."""
    cpus: float
    """What it lends to work."""
    here: bool
    """Whether this process runs on it."""


@dataclass(frozen=True)
class SharedAnswer(Generic[Answer]):
    """What a part came to."""

    answer: Answer
    node: str
    """Name of the node that it ran on."""


@dataclass(frozen=True)
class NodeAnswer(Generic[Answer]):
    """What came of asking a node: an answer, or in one line why there is none."""

    answer: Answer | None
    problem: str = ""


def living_nodes() -> list[Node]:
    """The living nodes, the head first; none where this process is connected to no cluster. Starts and imports nothing."""
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return []
    here = ray.get_runtime_context().get_node_id()
    living = [node for node in ray.nodes() if node["Alive"]]
    living.sort(key=lambda node: "node:__internal_head__" not in node["Resources"])
    return [
        Node(
            node["NodeID"],
            f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})",
            float(node["Resources"].get("CPU", 0.0)),
            node["NodeID"] == here,
        )
        for node in living
    ]


def ask_nodes(nodes: Sequence[Node], ask: Callable[..., Answer], *arguments: Any) -> list[NodeAnswer[Answer]]:
    """What `ask(*arguments)` returns on each of the nodes, in their order; it takes none of their CPUs.

    A node that does not answer within ASK_SECONDS, or whose answer is an exception, has a problem in place of an answer.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(num_cpus=0)(ask)
    asked = [
        task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False)).remote(*arguments)
        for node in nodes
    ]
    answered, _ = ray.wait(asked, num_returns=len(asked), timeout=ASK_SECONDS) if asked else ([], [])
    return [_told(ref, ref in answered) for ref in asked]


def share_out(
    what: str, work: Callable[..., Answer], parts: Sequence[Sequence[Any]], nodes: Sequence[Node], at_once: int | None = None
) -> Generator[SharedAnswer[Answer], None, None]:
    """`work(*part)` of each part in a task of one CPU on any of the nodes; the results as they come.

    A part whose node dies runs on another of them. Ends early where none of them is left: whoever asks goes on with the parts
    that are missing. `at_once`: parts at the same time, in all; empty: as many as the nodes have CPUs. Raises WorkersDiedError
    for a part whose processes die again and again.
    """
    import ray
    from ray.util.scheduling_strategies import In, NodeLabelSchedulingStrategy

    # Whichever of these nodes is free: a part that waits for one of them alone would wait for whoever holds its CPUs.
    names = {node.id: node.name for node in nodes}
    which = NodeLabelSchedulingStrategy(hard={"ray.io/node-id": In(*names)})
    task = ray.remote(num_cpus=1, max_retries=RETRIES)(_on_node).options(scheduling_strategy=which, name=what)
    waiting, running = iter(parts), set[Any]()
    try:
        with deaths_told(what):
            while True:
                while (at_once is None or len(running) < at_once) and (part := next(waiting, None)) is not None:
                    running.add(task.remote(work, part))
                if not running:
                    return
                done, _ = ray.wait(list(running), num_returns=1, timeout=LOOK_SECONDS)
                for ref in done:
                    running.remove(ref)
                    node, answer = ray.get(ref)
                    yield SharedAnswer(answer, names[node])
                if not done and not names.keys() & {node.id for node in living_nodes()}:
                    return
    finally:
        with suppress(Exception):  # of a cluster that is gone: what ended the work is what counts
            for ref in running:
                ray.cancel(ref, force=True)


def _on_node(work: Callable[..., Answer], part: Sequence[Any]) -> tuple[str, Answer]:
    import ray

    return ray.get_runtime_context().get_node_id(), work(*part)


def _told(ref: Any, answered: bool) -> NodeAnswer[Any]:
    import ray

    if not answered:
        return NodeAnswer(None, f"the node did not answer within {ASK_SECONDS:.0f} s")
    try:
        return NodeAnswer(ray.get(ref))
    except Exception as error:  # a node that is ill in whatever way
        return NodeAnswer(None, (str(error).strip().splitlines() or [type(error).__name__])[-1][:200])
