"""Where a config's programs would be graded: on which nodes of the cluster, and what keeps the others from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from codeblock.cli.doctor.machine import Check
from codeblock.core.config import Config
from codeblock.core.nodes import Node
from codeblock.data.rank.driver import tools
from codeblock.sandbox.graders import NAMED, Needs, lending_nodes, look, problem_of, survey
from codeblock.sandbox.pool import Settings


def grading_checks(config: Config) -> list[Check]:
    """One line for the nodes that would run programs (solutions, and examples where a ranking reads them), and one for each
    thing that keeps nodes from it. Needs a Ray session.

    Nodes that cannot are no failure while others can; a cluster on which nobody can is one.
    """
    pythons: dict[str | None, None] = {None: None} if "python" in tools(config.rank) else {}
    if any(arm.generate for arm in config.arms.values()):
        pythons |= dict.fromkeys(config.evaluate.python_of(name) for name in config.evaluate.benchmarks)
    allowed, nodes = config.evaluate.allow_missing_layers, lending_nodes()
    return [
        Check("grading" if python is None else f"grading, {python}", ok, told)
        for python in pythons
        for ok, told in _found(nodes, Needs.of(Settings(python=python, allow_missing_layers=allowed)))
    ]


def _found(nodes: Sequence[Node], needs: Needs) -> Iterator[tuple[bool, str]]:
    others = [node for node in nodes if not node.here]
    found = survey(nodes if others else [], needs)
    if any(not node.here for node in found.able):
        names = ", ".join(node.name for node in found.able[:NAMED]) + (", ..." if len(found.able) > NAMED else "")
        yield True, f"{len(found.able)} of {len(nodes)} nodes would grade: {names}"
    else:
        problem = problem_of(look(needs), needs)
        yield not problem, problem or "the driver's node grades alone"
    yield from ((True, line) for line in found.lines())
