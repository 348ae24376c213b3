"""Share a grading out over the nodes that can grade. A part is some tasks: their references, and all programs of theirs.

References run beside the programs whose limits they set, for their times are those of one machine. A part is a task of one CPU
and has one sandbox, so a node has no more programs at a time than CPUs. What is done is kept beside the output until all is.
"""

from __future__ import annotations

import json
import platform
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import Any

from codeblock.core.console import counter
from codeblock.core.digests import value_digest
from codeblock.core.errors import CodeBlockError, result_or_told
from codeblock.core.nodes import Node, share_out
from codeblock.core.storage import places, store, tables
from codeblock.evaluate.benchmarks import Benchmark, Task
from codeblock.evaluate.grading import Graded, Program, require_references, run_here
from codeblock.sandbox.graders import Needs, graders
from codeblock.sandbox.oracles import Command
from codeblock.sandbox.pool import Settings
from codeblock.sandbox.sandbox import Outcome, Verdict, absolute_interpreter

PARTS = 4
"""Parts for each CPU that grades: the last ones end together."""
LEAST = 4
"""Programs of a part: fewer take less time than the start of a sandbox."""


def run_on_nodes(output: Path, benchmark: Benchmark, programs: Sequence[Program], settings: Settings) -> Graded:
    """`grading.run_here` on all nodes that can grade; on this machine where it grades alone.

    `output` keeps finished parts, so that a run that was cut off grades the rest. Raises CodeBlockError as `grading.grade`.
    """
    needs, grading = needs_of(benchmark.tasks, settings), _Grading(output, benchmark, programs, settings)
    grading.read_parts()
    while tasks := grading.tasks_left():
        nodes = graders(needs)
        if not nodes and not grading.done.references:
            return run_here(benchmark, programs, settings)
        if nodes:
            grading.share_out(tasks, nodes)
        else:
            grading.go_on_here(tasks)
    require_references(benchmark, grading.done.references)
    grading.remove_parts()
    return grading.done


def needs_of(tasks: Sequence[Task], settings: Settings) -> Needs:
    """What a machine has to have to grade these tasks."""
    modules = {name for task in tasks for name in task.needs}
    commands = [task.oracle for task in tasks if isinstance(task.oracle, Command)]
    programs, versions = {oracle.command[0] for oracle in commands}, {oracle.version for oracle in commands}
    return Needs.of(settings)._replace(
        modules=tuple(sorted(modules)), programs=tuple(sorted(programs)), versions=tuple(sorted(versions))
    )


def grade_part(benchmark: Benchmark, programs: Sequence[Program], settings: Settings) -> Graded | str:
    """`grading.run_here` of some tasks, on the node that they were given to; in one line what stops the run."""
    if settings.store is not None:
        settings = replace(settings, store=Path(places.here(str(settings.store))))

    def graded() -> Graded | str:
        return run_here(benchmark, programs, settings, whole=False)

    return result_or_told(graded, str)


@dataclass
class _Grading:
    """One grading, and how far it is."""

    output: Path
    benchmark: Benchmark
    programs: Sequence[Program]
    settings: Settings
    done: Graded = field(default_factory=Graded)

    def tasks_left(self) -> list[Task]:
        """The tasks that are still to be graded."""
        return [task for task in self.benchmark.tasks if task.task_id not in self.done.references]

    def share_out(self, tasks: Sequence[Task], nodes: Sequence[Node]) -> None:
        """Grade tasks on the nodes, as far as these live."""
        parts = [self._part(some) for some in self._cut(tasks, sum(node.cpus for node in nodes))]
        at_once = self.settings.processes and self.settings.processes * len(nodes)
        given = self._settings_of_nodes()
        what, total = f"grade {self.benchmark.name}", sum(len(programs) for _, programs in parts)
        results = share_out(what, grade_part, [(*part, given) for part in parts], nodes, at_once)
        with counter("samples", total) as advance, closing(results):
            for result in results:
                if isinstance(result.answer, str):
                    raise CodeBlockError(f"{result.answer} (on {result.node})")
                self._keep(result.answer, result.node)
                self._add(result.answer, result.node)
                advance(len(result.answer.outcomes))

    def go_on_here(self, tasks: Sequence[Task]) -> None:
        """Grade what nodes that are gone have left."""
        self._add(run_here(*self._part(tasks), self.settings, whole=False), platform.node())

    def read_parts(self) -> None:
        """Add what an earlier run has kept: tasks all of whose programs are done, in a sandbox as whole as it has to be."""
        by_digest = {(each.task_id, value_digest(each.code)): each for each in self.programs}
        for path in tables.parts_like(self.output, ".json"):
            kept = tables.read_json(path)
            if kept["missing_layers"] and not self.settings.allow_missing_layers:
                continue
            outcomes = {by_digest.get((task_id, digest)): _outcome(found) for task_id, digest, found in kept["outcomes"]}
            references = {task_id: _outcome(found) for task_id, found in kept["references"].items()}
            known = {program: found for program, found in outcomes.items() if program is not None}
            self._add(Graded(references, known, kept["missing_layers"]), kept["node"])
        for program in self.programs:
            if program not in self.done.outcomes:
                self.done.references.pop(program.task_id, None)

    def remove_parts(self) -> None:
        """Remove what was kept, once all is done."""
        for path in tables.parts_like(self.output, ".json"):
            store.remove(path)

    def _cut(self, tasks: Sequence[Task], cpus: float) -> list[Sequence[Task]]:
        """The tasks in parts for so many CPUs; neighbours, which are often alike, in different ones."""
        count = max(1, min(PARTS * ceil(cpus), len(tasks), (len(tasks) + len(self.programs)) // LEAST))
        return [tasks[first::count] for first in range(count)]

    def _part(self, tasks: Sequence[Task]) -> tuple[Benchmark, list[Program]]:
        programs = [program for task in tasks for program in self._by_task[task.task_id]]
        return replace(self.benchmark, tasks=list(tasks)), programs

    @cached_property
    def _by_task(self) -> dict[str, list[Program]]:
        found: dict[str, list[Program]] = defaultdict(list)
        for program in self.programs:
            found[program.task_id].append(program)
        return found

    def _settings_of_nodes(self) -> Settings:
        """Settings of a part: a node has a working directory of its own."""
        python, place = self.settings.python, self.settings.store
        return replace(
            self.settings,
            processes=1,
            python=python and absolute_interpreter(python),
            store=place and place.absolute(),
        )

    def _add(self, part: Graded, node: str) -> None:
        self.done.references.update(part.references)
        self.done.outcomes.update(part.outcomes)
        self.done.missing_layers = list(dict.fromkeys([*self.done.missing_layers, *part.missing_layers]))
        self.done.nodes[node] = self.done.nodes.get(node, 0) + len(part.outcomes)

    def _keep(self, part: Graded, node: str) -> None:
        """Write a part down, named by its tasks: those of a run on other nodes stay valid beside it."""
        content = {
            "node": node,
            "missing_layers": part.missing_layers,
            "references": {task_id: asdict(outcome) for task_id, outcome in part.references.items()},
            "outcomes": [[each.task_id, value_digest(each.code), asdict(found)] for each, found in part.outcomes.items()],
        }
        tables.write_text(self.output / f"part-{value_digest(list(part.references))}.json", json.dumps(content))


def _outcome(found: dict[str, Any]) -> Outcome:
    base = None if found["base"] is None else Verdict(found["base"])
    return Outcome(Verdict(found["verdict"]), found["seconds"], found["error"], base)
