"""Which nodes of a cluster can grade: the sandbox is as whole there as the config demands, and programs have the same Python.

A node that lends no CPU (the head of most clusters) is not asked: it grades only where no other node can.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from codeblock.core.capacity import capacity
from codeblock.core.console import say
from codeblock.core.errors import CodeBlockError, result_or_told
from codeblock.core.nodes import Node, ask_nodes, living_nodes
from codeblock.core.own_process import is_worker
from codeblock.sandbox.interpreters import importable, interpreter, languages
from codeblock.sandbox.pool import Settings, check_sandbox, lacking_layers
from codeblock.sandbox.sandbox import Sandbox, absolute_interpreter

NAMED = 5
"""Nodes that a line names."""


class Needs(NamedTuple):
    """What a machine has to have for a grading."""

    python: str | None = None
    """Path of the programs' interpreter; empty: the one that the platform runs with."""
    allow_missing_layers: bool = False
    modules: tuple[str, ...] = ()
    """Top-level modules that they import."""
    programs: tuple[str, ...] = ()
    """Programs that run solutions in other languages."""
    versions: tuple[tuple[str, ...], ...] = ()
    """Commands that say of which version these languages are."""

    @classmethod
    def of(cls, settings: Settings) -> Needs:
        """What programs need under these settings."""
        return cls(absolute_interpreter(settings.python) if settings.python else None, settings.allow_missing_layers)


@dataclass(frozen=True)
class Machine:
    """What a machine has for a grading."""

    lacking_layers: str
    """The layers of the sandbox that it lacks, with the remedy; empty where it is whole."""
    interpreter: dict[str, str]
    """What solutions run with there: Python and packages, and what other languages say of their versions."""
    absent: list[str]
    """Modules and programs that are asked for and not there."""


@dataclass
class GraderSurvey:
    """Which nodes can grade, and why the others cannot."""

    able: list[Node] = field(default_factory=list)
    unable: dict[str, list[Node]] = field(default_factory=dict)
    """Nodes by what is wrong with them, the remedy included."""

    def lines(self) -> Iterator[str]:
        """A line for each thing that is wrong, with the nodes."""
        count = len(self.able) + sum(map(len, self.unable.values()))
        for problem, nodes in self.unable.items():
            names = ", ".join(node.name for node in nodes[:NAMED]) + (", ..." if len(nodes) > NAMED else "")
            yield f"{len(nodes)} of {count} nodes cannot grade: {names}: {problem}"


_known: dict[tuple[str, Needs], Machine | str] = {}
"""What nodes have answered, by their ids: each is asked once."""
_said: set[str] = set()


def graders(needs: Needs) -> list[Node]:
    """The nodes to share programs out over; none where this machine runs them alone.

    That is without a cluster, where this process is a worker itself, and where no other node can grade. Nodes that cannot are
    told once, each thing that is wrong in one line.
    """
    nodes = lending_nodes()
    found = survey(nodes, needs) if any(not node.here for node in nodes) else GraderSurvey()
    for line in found.lines():
        if line not in _said:
            _said.add(line)
            say(f"note: grading: {line}")
    return found.able if any(not node.here for node in found.able) else []


def require_graders(needs: Needs) -> None:
    """Raise CodeBlockError where neither a node of the cluster nor this machine can grade: before a long run, not after it."""
    if graders(needs):
        return
    try:
        check_sandbox(needs.python, needs.allow_missing_layers)
    except CodeBlockError as error:
        if not _can_grow():
            raise
        say(f"note: {error}; nodes that start later are asked once there is something to grade")


def lending_nodes() -> list[Node]:
    """The nodes of the cluster that lend a CPU; none in a process that is a worker itself."""
    return [] if is_worker() else [node for node in living_nodes() if node.cpus >= 1]


def survey(nodes: Sequence[Node], needs: Needs) -> GraderSurvey:
    """Ask nodes whether they can grade."""
    unknown = [node for node in nodes if (node.id, needs) not in _known]
    silent: dict[str, str] = {}
    for node, told in zip(unknown, ask_nodes(unknown, look, needs), strict=True):
        if told.answer is None:
            silent[node.id] = told.problem  # asked again the next time
        else:
            _known[node.id, needs] = told.answer
    found, here = GraderSurvey(), _runs_with(needs) if nodes else {}
    for node in nodes:
        answer = silent.get(node.id) or _known[node.id, needs]
        if problem := problem_of(answer, needs, here):
            found.unable.setdefault(problem, []).append(node)
        else:
            found.able.append(node)
    return found


def look(needs: Needs) -> Machine | str:
    """What this machine has; in one line why no solution can be run here."""
    return result_or_told(partial(_look, needs), str)


def problem_of(machine: Machine | str, needs: Needs, here: Mapping[str, str] | None = None) -> str:
    """Why a machine cannot grade, and the remedy; empty where it can.

    `here`: what solutions run with on this machine, which it has to have too; None where it is this one.
    """
    if isinstance(machine, str):
        return machine
    if machine.lacking_layers and not needs.allow_missing_layers:
        return machine.lacking_layers
    if machine.absent:
        return f"lacks {', '.join(machine.absent)}, which tasks use; install the same on every node"
    if here is not None and machine.interpreter != here:
        there, ours = (_shown(each) for each in (machine.interpreter, here))
        return f"solutions would run with {there} there, with {ours} here; install the same on every node"
    return ""


def _look(needs: Needs) -> Machine | str:
    with Sandbox(needs.python) as sandbox:
        missing = sandbox.missing
    absent: set[str] = set(needs.modules) - importable(sandbox.python, needs.modules) if needs.modules else set()
    absent |= {program for program in needs.programs if shutil.which(program) is None}
    return Machine(lacking_layers(missing), _runs_with(needs), sorted(absent))


def _runs_with(needs: Needs) -> dict[str, str]:
    return {**interpreter(needs.python), **languages(needs.versions, needs.python)}


def _can_grow() -> bool:
    found = capacity()
    return found.possible.get("CPU", 0.0) > found.present.get("CPU", 0.0)


def _shown(found: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version or 'missing'}" for name, version in found.items())
