"""Stages as pipelines of Ray Data: read the parts that are missing, map them by tasks or actors, write each one whole.

A part is read, mapped and written as one: its name goes along as a column, batches are sorted by length within it, and a part
that is written is one that a later run does not read again. Before an actor a block is one part; a task takes a block of
several, and writes each before it begins the next. Beside a pool, reading and writing take no CPU of the cluster's account:
actors may hold every one, and Ray Data would wait for a free one for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from ray.data import ActorPoolStrategy, Dataset, Datasource, TaskPoolStrategy, from_arrow, read_datasource
from ray.data.block import BlockMetadata
from ray.data.datasource import ReadTask

from codeblock.core.capacity import capacity
from codeblock.core.cluster import (
    ACTOR_LIMITS,
    TASK_LIMITS,
    built,
    deaths_told,
    named,
    require,
    with_limits,
    without_restart_warning,
)
from codeblock.core.collecting import collect_again
from codeblock.core.config import ClusterConfig
from codeblock.core.console import counter
from codeblock.core.errors import CodeBlockError, result_or_told
from codeblock.core.own_process import begin, is_worker
from codeblock.core.storage.tables import part_rows, read_part, write_part
from codeblock.core.threads import use_threads

PART = "_part"
"""Column: the name of the part that a block is or becomes."""
FACT = "_fact."
"""Begins the names of columns with what a transform says of the part: the same number in each row."""
ERROR = "_error"
"""The one column of a block that stands for a part that the user can mend."""
AT_ONCE = 2
"""Parts that are read, or written, at the same time: they take no CPU, so nothing else would keep them from being all."""

Facts = dict[str, Any]
Transform = Callable[[pa.Table, str], tuple[pa.Table, Mapping[str, float]]]
"""From the rows of a part and its name to other rows (some, where there were some) and numbers of the part."""
Write = Callable[[pa.Table, str, Facts], Facts]
"""Writes the rows of a part, by its name and the numbers of its transform; what more is to be said of it."""


@dataclass(frozen=True)
class Part:
    """What is read: a part, or some rows of it."""

    path: Path
    rows: Sequence[int] | None = None
    """Empty: all."""
    name: str = ""
    """Of the part that they become. Empty: the same."""

    @property
    def becomes(self) -> str:
        return self.name or self.path.name


@dataclass(frozen=True)
class Actors:
    """What a transform runs in that holds a model: how many actors, and what each is built with."""

    cluster: ClusterConfig
    constructor: Mapping[str, Any] = field(default_factory=dict)

    def pool(self, parts: int) -> ActorPoolStrategy:
        """As many actors as the config says, but none without a part."""
        most = min(self.cluster.actors, parts)
        return ActorPoolStrategy(min_size=min(self.cluster.min_actors or most, most), max_size=most)


@dataclass(frozen=True)
class PipelineInput:
    """The input of a pipeline."""

    parts: int
    dataset: Callable[[float, int | None, int], Dataset]
    """By the CPUs of a task that reads, how many of these run at a time, and how many parts each reads."""
    tables: Callable[[], Iterator[pa.Table]]
    """The same blocks, read in this process."""


def read_parts(parts: Sequence[Part], columns: list[str] | None = None) -> PipelineInput:
    """The rows of these parts, in this order. Each must have some: Ray Data maps no block without."""

    def dataset(cpus: float, at_once: int | None, per_task: int) -> Dataset:
        # With as many blocks as tasks Ray Data does not cut what they read.
        source = PartSource([parts[first : first + per_task] for first in range(0, len(parts), per_task)], columns)
        read = partial(read_datasource, source, override_num_blocks=len(source.tasks))
        rows: Dataset = with_limits(read, {"ray_remote_args": TASK_LIMITS}, num_cpus=cpus, concurrency=at_once)
        return rows

    return PipelineInput(len(parts), dataset, lambda: chain.from_iterable(_read([part], columns) for part in parts))


def tables_as_parts(tables: Mapping[str, pa.Table]) -> PipelineInput:
    """Tables of the driver by the names of the parts that they become, a block each."""
    blocks = [_labelled(table, name) for name, table in tables.items()]
    return PipelineInput(len(blocks), lambda *_: from_arrow(blocks), lambda: iter(blocks))


def run_parts(
    what: str, rows: PipelineInput, transform: Transform | type, write: Write, actors: Actors | None = None
) -> list[Facts]:
    """Map the parts of `rows` with `transform` and write them; the facts of each, in order.

    A function runs in tasks of one CPU, which read and write too. A class runs in a pool of `actors`, beside tasks that read
    and write; without a GPU, a single part takes a task in place of an actor. Raises CodeBlockError where the pool does not fit
    the cluster, and the one that a part raises; an OSError (a full disk) becomes one. A process that is a worker itself
    (own_process.py) does it alone.
    """
    if not rows.parts:
        return []
    if is_worker():
        return _collect(_here(rows, transform, write, actors), what, rows.parts)
    if isinstance(transform, type):
        if actors is None:
            raise TypeError(f"{what}: a class needs actors")
        cluster = actors.cluster
        require(what, actors.pool(rows.parts).max_size, cluster.cpus_per_worker, cluster.gpus_per_worker)
        if rows.parts > 1 or cluster.gpus_per_worker:
            return _collect(_by_actors(what, rows, transform, write, actors), what, rows.parts)
        cpus = cluster.cpus_per_worker
        transform = partial(_once, transform, dict(actors.constructor), cpus)
    else:
        cpus = 1.0
    return _collect(_by_tasks(what, rows, transform, write, cpus), what, rows.parts)


def _by_tasks(what: str, rows: PipelineInput, transform: Transform, write: Write, cpus: float) -> Iterator[Facts]:
    """The facts of each part, from tasks that read, transform and write some parts each."""
    source = _uncut(rows.dataset(cpus, None, capacity().parts_per_task(rows.parts, cpus)))
    work = partial(_map, source, named(partial(_done, transform, write), what))
    return _named_rows(what, with_limits(work, TASK_LIMITS, num_cpus=cpus))


def _by_actors(what: str, rows: PipelineInput, transform: type, write: Write, actors: Actors) -> Iterator[Facts]:
    """The facts of each part, from tasks that read and write one each beside a pool that transforms them."""
    pool, cluster = actors.pool(rows.parts), actors.cluster
    arguments = {"work": transform, "constructor": dict(actors.constructor), "cpus": cluster.cpus_per_worker}
    how = {"num_cpus": cluster.cpus_per_worker, "num_gpus": cluster.gpus_per_worker}
    at_once = min(AT_ONCE, rows.parts)  # Ray Data warns of more tasks than there are parts
    work = partial(_map, _uncut(rows.dataset(0.0, at_once, 1)), _actor(transform))
    mapped = with_limits(work, ACTOR_LIMITS, compute=pool, fn_constructor_kwargs=arguments, **how)
    writing = partial(_map, mapped, named(partial(_written, write), "write"))
    return _named_rows(what, with_limits(writing, TASK_LIMITS, num_cpus=0.0, compute=TaskPoolStrategy(at_once)))


def _named_rows(what: str, rows: Dataset) -> Iterator[Facts]:
    """The rows of a pipeline, which Ray's dashboard lists by the stage's name."""
    rows.set_name(what.replace(" ", "_"))
    found: Iterator[Facts] = rows.iter_rows()
    return found


def _here(rows: PipelineInput, transform: Transform | type, write: Write, actors: Actors | None) -> Iterator[Facts]:
    """The facts of each part, without Ray, one part after the other."""
    begin()
    call: Callable[[pa.Table], pa.Table] = partial(_transform, transform)
    if isinstance(transform, type) and actors is not None:
        call = _PartActor(transform, dict(actors.constructor), actors.cluster.cpus_per_worker)
    for table in rows.tables():
        yield from _written(write, call(table)).to_pylist()


def _uncut(rows: Dataset) -> Dataset:
    """The same, with no part cut in two however large it is."""
    rows.context.target_max_block_size = None
    return rows


def _once(work: type, constructor: dict[str, Any], cpus: float, rows: pa.Table, part: str) -> tuple[pa.Table, Facts]:
    """What an actor would do with its only part. A task gets a process that has imported torch before; each actor a new one."""
    begin()
    use_threads(cpus)
    found: tuple[pa.Table, Facts] = work(**constructor)(rows, part)
    return found


def part_writer(output: Path) -> Write:
    """Writes each part below a directory; nothing is to be said of it."""
    return partial(_write_below, output)


def filled(parts: Iterable[Path], output: Path, empty: pa.Table) -> list[Part]:
    """Those of the parts that have rows; for each of the others `empty` is written."""
    found = []
    for path in parts:
        if part_rows(path):
            found.append(Part(path))
        else:
            write_part(output / path.name, empty)
    return found


class PartSource(Datasource):  # type: ignore[misc]
    """One block a task, of the parts that are its, whatever sizes Ray Data would like blocks to have."""

    def __init__(self, tasks: Sequence[Sequence[Part]], columns: list[str] | None) -> None:
        super().__init__()
        self.tasks, self._columns = tasks, columns

    def estimate_inmemory_data_size(self) -> int | None:
        """Not known."""
        return None

    def get_read_tasks(self, *_: Any, **__: Any) -> list[ReadTask]:
        """The tasks, in order."""
        nothing = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
        return [ReadTask(partial(_read, parts, self._columns), nothing) for parts in self.tasks]


def _read(parts: Sequence[Part], columns: list[str] | None) -> list[pa.Table]:
    def rows() -> pa.Table:
        return pa.concat_tables([_rows_of(part, columns) for part in parts])

    return [result_or_told(rows, _error_row)]


def _rows_of(part: Part, columns: list[str] | None) -> pa.Table:
    table = read_part(part.path, columns)
    return _labelled(table if part.rows is None else table.take(pa.array(part.rows, pa.int64())), part.becomes)


def _map(rows: Dataset, work: Any, **how: Any) -> Dataset:
    return rows.map_batches(work, batch_size=None, batch_format="pyarrow", **how)


def _collect(rows: Iterable[Facts], what: str, parts: int) -> list[Facts]:
    facts: list[Facts] = []
    with deaths_told(what), without_restart_warning(), counter(what, parts) as advance:
        for row in rows:
            if row.get(ERROR):
                raise CodeBlockError(f"{what}: {row[ERROR]}")
            facts.append(row)
            advance(1)
    return facts


def _labelled(table: pa.Table, name: str) -> pa.Table:
    return table.append_column(PART, pa.repeat(name, table.num_rows))


def _unlabelled(table: pa.Table) -> tuple[pa.Table, str, Facts]:
    facts = {name.removeprefix(FACT): table[name][0].as_py() for name in table.column_names if name.startswith(FACT)}
    rows = table.select([name for name in table.column_names if name != PART and not name.startswith(FACT)])
    return rows, table[PART][0].as_py(), facts


def _transform(work: Transform, table: pa.Table) -> pa.Table:
    if ERROR in table.column_names:
        return table

    def rows() -> pa.Table:
        before, part, _ = _unlabelled(table)
        after, facts = work(before, part)
        collect_again()  # the first part has imported what the others need
        for name, value in facts.items():
            after = after.append_column(FACT + name, pa.repeat(float(value), after.num_rows))
        return _labelled(after, part)

    return result_or_told(rows, _error_row)


def _written(write: Write, table: pa.Table) -> pa.Table:
    """Write a part; the block with its facts."""
    if ERROR in table.column_names:
        return table

    def row() -> pa.Table:
        rows, part, facts = _unlabelled(table)
        return pa.Table.from_pylist([{"part": part, **facts, **write(rows, part, facts)}])

    return result_or_told(row, _error_row)


def _done(work: Transform, write: Write, table: pa.Table) -> pa.Table:
    """Transform and write the parts of a block, one after the other; the block with their facts, or the first error."""
    facts: list[Facts] = []
    for part in _each(table):
        done = _written(write, _transform(work, part))
        if ERROR in done.column_names:
            return done
        facts += done.to_pylist()
    return pa.Table.from_pylist(facts)


def _each(table: pa.Table) -> Iterator[pa.Table]:
    """The parts of a block."""
    if ERROR in table.column_names:
        yield table
        return
    first = 0
    for count in pc.value_counts(table[PART]).field("counts").to_pylist():
        yield table.slice(first, count)
        first += count


def _write_below(output: Path, table: pa.Table, part: str, facts: Facts) -> Facts:  # noqa: ARG001
    write_part(output / part, table)
    return {}


def _error_row(told: str) -> pa.Table:
    return pa.table({ERROR: [told]})


class _PartActor:
    def __init__(self, work: type, constructor: dict[str, Any], cpus: float) -> None:
        use_threads(cpus)
        self._answer = built(work, constructor, _transform, _error_row)

    def __call__(self, table: pa.Table) -> pa.Table:
        return self._answer(table)


def _actor(work: type) -> type:
    """The class under the name of `work`, by which Ray Data names the operator."""
    return type(work.__name__, (_PartActor,), {})
