"""Pipelines over parts: which parts are read, in which order, what becomes of errors, dead actors and a full cluster."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch  # before an actor is built, as where there is a model

from codeblock.core import cluster
from codeblock.core.capacity import Capacity
from codeblock.core.cluster import pending
from codeblock.core.cluster_watch import watched_cluster
from codeblock.core.config import ClusterConfig
from codeblock.core.errors import CodeBlockError, WorkersDiedError
from codeblock.core.ray_data import Actors, Part, filled, part_writer, read_parts, run_parts, tables_as_parts
from codeblock.core.storage.tables import part_name, parts, read_part, read_table, write_part

pytestmark = pytest.mark.usefixtures("ray_cluster")

SCHEMA = pa.schema([("value", pa.int64())])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Six parts of different sizes, 15 rows: 0, 10 11, 20 21 22 and so on; the first is empty."""
    for number in range(6):
        rows = pa.table({"value": [10 * number + row for row in range(number)]}, schema=SCHEMA)
        write_part(tmp_path / "source" / part_name(number), rows)
    return tmp_path / "source"


def doubled(rows: pa.Table, part: str) -> tuple[pa.Table, dict[str, float]]:
    return pa.table({"value": [2 * value for value in rows["value"].to_pylist()]}), {"largest": max(rows["value"].to_pylist())}


class Adder:
    """An actor; each part also says by which process it was done, in a file."""

    def __init__(self, amount: int, notes: Path | None = None, kill: str = "") -> None:
        self.amount, self.notes, self.kill = amount, notes, kill

    def __call__(self, rows: pa.Table, part: str) -> tuple[pa.Table, dict[str, float]]:
        if self.notes is not None:
            note = self.notes / f"{part}-{os.getpid()}"
            if part == self.kill and not list(self.notes.glob(f"{part}-*")):
                note.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            note.touch()
        table = pa.table({"value": [value + self.amount for value in rows["value"].to_pylist()]})
        return table, {"threads": torch.get_num_threads()}


class Unloadable:
    def __init__(self) -> None:
        raise CodeBlockError("model m: no weights there; download it")


def todo(source: Path, output: Path) -> list[Part]:
    return filled(pending(parts(source), output), output, SCHEMA.empty_table())


def actors(count: int = 2, cpus: float = 1.0, least: int | None = None, **constructor: Any) -> Actors:
    return Actors(ClusterConfig(actors=count, cpus_per_worker=cpus, min_actors=least), constructor)


def test_only_missing_parts_are_mapped_in_order_and_each_is_written_whole_under_its_name(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "output"
    work = partial(run_parts, "double", transform=doubled, write=part_writer(output))
    facts = work(rows=read_parts(todo(source, output)))
    assert facts == [{"part": part_name(number), "largest": 11.0 * number - 1} for number in range(1, 6)]
    assert [path.name for path in parts(output)] == [path.name for path in parts(source)]
    assert read_part(output / part_name(3)).to_pydict() == {"value": [60, 62, 64]}
    assert read_part(output / part_name(0)).schema == SCHEMA

    for number in (1, 4):
        (output / part_name(number)).unlink()
    untouched = (output / part_name(3)).stat().st_mtime_ns
    assert [each["part"] for each in work(rows=read_parts(todo(source, output)))] == [part_name(1), part_name(4)]
    assert (output / part_name(3)).stat().st_mtime_ns == untouched
    assert read_table(output)["value"].to_pylist() == [2 * value for value in read_table(source)["value"].to_pylist()]
    assert work(rows=read_parts(todo(source, output))) == []


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> None:
    """All parts in one task."""
    monkeypatch.setattr(Capacity, "parts_per_task", lambda _, parts, __: parts)


class Killed:
    """Ends its process with a part, the first time; notes what it began."""

    def __init__(self, notes: Path, kill: str) -> None:
        self.notes, self.kill = notes, kill

    def __call__(self, rows: pa.Table, part: str) -> tuple[pa.Table, dict[str, float]]:
        with (self.notes / part).open("a") as note:
            note.write(".")
        if part == self.kill and (self.notes / part).read_text() == ".":
            os.kill(os.getpid(), signal.SIGKILL)
        return doubled(rows, part)


@pytest.mark.usefixtures("together")
def test_a_process_that_ends_in_the_middle_of_its_parts_has_written_those_before_and_costs_no_row(
    source: Path, tmp_path: Path
) -> None:
    output, notes = tmp_path / "output", tmp_path / "notes"
    notes.mkdir()
    rows = read_parts(todo(source, output))
    written = partial(noted, output, notes)
    facts = run_parts("double", rows, Killed(notes, part_name(4)).__call__, written)
    assert facts == [{"part": part_name(number), "largest": 11.0 * number - 1} for number in range(1, 6)]
    assert read_table(output)["value"].to_pylist() == [2 * value for value in read_table(source)["value"].to_pylist()]
    begun = {part.name: len(part.read_text()) for part in notes.glob("part-*")}
    assert begun == {part_name(number): 2 if number < 5 else 1 for number in range(1, 6)}
    assert (notes / "written").read_text().split()[:4] == [part_name(number) for number in (1, 2, 3, 1)], "before it ended"


def noted(output: Path, notes: Path, rows: pa.Table, part: str, facts: dict[str, Any]) -> dict[str, Any]:
    write_part(output / part, rows)
    with (notes / "written").open("a") as note:
        note.write(f"{part}\n")
    return {}


@pytest.mark.usefixtures("together")
def test_an_error_ends_its_task_and_the_parts_before_it_stay(source: Path, tmp_path: Path) -> None:
    with pytest.raises(CodeBlockError, match=r"^read: part-000002.parquet: unreadable; write it again$"):
        run_parts("read", read_parts(todo(source, tmp_path)), refused, part_writer(tmp_path))
    assert [path.name for path in parts(tmp_path)] == [part_name(0), part_name(1)]


def test_a_part_can_be_some_rows_of_another_and_have_another_name(source: Path, tmp_path: Path) -> None:
    rows = read_parts([Part(source / part_name(5), [4, 1], "part-000077.parquet")])
    run_parts("double", rows, doubled, part_writer(tmp_path / "output"))
    assert read_part(tmp_path / "output" / "part-000077.parquet").to_pydict() == {"value": [108, 102]}


def test_a_part_larger_than_a_block_of_ray_data_is_not_cut(tmp_path: Path) -> None:
    rows = tables_as_parts({"large.parquet": pa.table({"value": ["x" * 2**20] * 140})})
    facts = run_parts("measure", rows, measured, part_writer(tmp_path))
    assert facts == [{"part": "large.parquet", "rows": 140.0}]


def measured(rows: pa.Table, part: str) -> tuple[pa.Table, dict[str, float]]:
    return rows.append_column("again", rows["value"]), {"rows": rows.num_rows}


@pytest.mark.timeout(120)
def test_actors_that_hold_every_cpu_leave_no_read_and_no_write_to_wait_for_ever(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "output"
    facts = run_parts("add", read_parts(todo(source, output)), Adder, part_writer(output), actors(amount=1000))
    assert [each["part"] for each in facts] == [part_name(number) for number in range(1, 6)]
    assert {each["threads"] for each in facts} == {1.0}
    assert read_table(output)["value"].to_pylist() == [1000 + value for value in read_table(source)["value"].to_pylist()]


def test_a_single_part_takes_no_actor_and_leaves_its_process_to_the_next(source: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    rows = read_parts([Part(source / part_name(2))])
    pool = actors(1, cpus=2.0, amount=1, notes=notes)
    for number in range(4):
        facts = run_parts("add", rows, Adder, part_writer(tmp_path / f"output{number}"), pool)
        assert facts == [{"part": part_name(2), "threads": 2.0}]
        assert read_part(tmp_path / f"output{number}" / part_name(2)).to_pydict() == {"value": [21, 22]}
    assert len(list(notes.iterdir())) < 4, "each actor would be a process of its own"


@pytest.mark.timeout(120)
def test_an_actor_that_is_killed_in_the_middle_costs_no_row(source: Path, tmp_path: Path) -> None:
    output, notes, killed = tmp_path / "output", tmp_path / "notes", part_name(3)
    notes.mkdir()
    pool = actors(1, cpus=2.0, amount=1, notes=notes, kill=killed)
    facts = run_parts("add", read_parts(todo(source, output)), Adder, part_writer(output), pool)
    assert len(list(notes.glob(f"{killed}-*"))) == 2  # by two processes
    assert {each["threads"] for each in facts} == {2.0}
    assert [each["part"] for each in facts] == [part_name(number) for number in range(1, 6)]
    assert read_table(output)["value"].to_pylist() == [1 + value for value in read_table(source)["value"].to_pylist()]


class Deadly:
    """An actor whose process ends: with its first part, or before."""

    def __init__(self, at_once: bool) -> None:
        if at_once:
            os.kill(os.getpid(), signal.SIGKILL)

    def __call__(self, rows: pa.Table, part: str) -> tuple[pa.Table, dict[str, float]]:
        if part == part_name(2):
            os.kill(os.getpid(), signal.SIGKILL)
        return rows, {}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("at_once", [False, True], ids=["with a part", "before any part"])
def test_actors_that_die_again_and_again_end_the_step_in_one_line(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    for key, limit in {"max_restarts": 2, "max_task_retries": 1}.items():
        monkeypatch.setitem(cluster.ACTOR_LIMITS, key, limit)
    output, pool = tmp_path / "output", actors(1, at_once=at_once)
    with (
        pytest.raises(WorkersDiedError, match=r"^die: worker processes died again and again \(Actor\w+Error\), most often for"),
        watched_cluster(pool.cluster),
    ):
        run_parts("die", read_parts(todo(source, output)), Deadly, part_writer(output), pool)


def refused(rows: pa.Table, part: str) -> tuple[pa.Table, dict[str, float]]:
    if part == part_name(2):
        raise CodeBlockError(f"{part}: unreadable; write it again")
    return rows, {}


def full_disk(path: Path, rows: pa.Table, part: str, facts: dict[str, Any]) -> dict[str, Any]:
    with path.open("w") as full:
        full.write("x" * 100_000)
    return {}


def test_an_error_in_any_operator_is_one_line_and_what_was_written_before_stays(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "output"
    with pytest.raises(CodeBlockError, match=r"^read: part-000002.parquet: unreadable; write it again$"):
        run_parts("read", read_parts(todo(source, output)), refused, part_writer(output))
    assert part_name(1) in [path.name for path in parts(output)]
    with pytest.raises(CodeBlockError, match=r"^write: No space left on device: .*; free space there"):
        run_parts("write", read_parts(todo(source, output)), doubled, partial(full_disk, Path("/dev/full")))
    cut = source / part_name(5)
    cut.write_bytes(cut.read_bytes()[:60])
    with pytest.raises(CodeBlockError, match=r"^double: .*part-000005.parquet: "):
        run_parts("double", read_parts([Part(cut)]), doubled, part_writer(output))
    for numbers in ((1,), (1, 2)):  # in a task, and in actors
        rows = read_parts([Part(source / part_name(number)) for number in numbers])
        with pytest.raises(CodeBlockError, match=r"^score: model m: no weights there; download it$"):
            run_parts("score", rows, Unloadable, part_writer(output), actors())


def test_a_pool_is_no_larger_than_the_parts_and_must_fit_the_cluster(source: Path, tmp_path: Path) -> None:
    assert (actors(4).pool(3).min_size, actors(4).pool(3).max_size) == (3, 3)
    assert (actors(4, least=1).pool(9).min_size, actors(4, least=1).pool(9).max_size) == (1, 4)
    with pytest.raises(CodeBlockError, match=r"^add: 3 x 2 CPU asked, the cluster has 2 CPU"):
        run_parts("add", read_parts(todo(source, tmp_path)), Adder, part_writer(tmp_path), actors(3, 2.0, amount=1))


@pytest.mark.timeout(120)
def test_tasks_that_die_again_and_again_do_so_too(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(rows: pa.Table, part: str) -> tuple[pa.Table, dict[str, float]]:
        os.kill(os.getpid(), signal.SIGKILL)
        return rows, {}

    monkeypatch.setitem(cluster.TASK_LIMITS, "max_retries", 1)
    with pytest.raises(
        WorkersDiedError, match=r"^die: worker processes died again and again \(WorkerCrashedError\), most often"
    ):
        run_parts("die", read_parts(todo(source, tmp_path / "output")), die, part_writer(tmp_path / "output"))


def test_nothing_is_said_of_what_ray_is_going_to_change(source: Path, tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    run_parts("double", read_parts(todo(source, tmp_path)), doubled, part_writer(tmp_path / "doubled"))
    run_parts(
        "add",
        read_parts(todo(source, tmp_path)),
        Adder,
        part_writer(tmp_path / "added"),
        Actors(ClusterConfig(actors=2), {"amount": 1}),
    )
    assert not [str(each.message) for each in recwarn if "deprecated" in str(each.message)]
