"""Several processes in one storage: one computes a step, the others wait for it; a holder that dies frees it."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pyarrow as pa
import pytest
from tests.core.storage.processes import appears, line_with, log

from codeblock.core.errors import CodeBlockError
from codeblock.core.storage import claims
from codeblock.core.storage.claims import locked, open_work, remove_dead, unfinished
from codeblock.core.storage.manifest import GROWING, MARKER
from codeblock.core.storage.tables import count_rows, mark_complete, part_name, parts, read_table, write_part
from codeblock.experiment.cache import Step, run_together

WORKER = """
    import json, os, sys, time
    from pathlib import Path
    import pyarrow as pa
    from codeblock.experiment.cache import Step, run_together
    from codeblock.core.storage.tables import part_name, write_part

    home, name = Path(sys.argv[1]), sys.argv[2]

    def note(what):
        with (home / "log").open("a") as log:
            log.write(f"{name} {what}\\n")

    def wait_for(file):
        deadline = time.monotonic() + 120
        while not (home / file).exists():
            if time.monotonic() > deadline:
                os._exit(1)
            time.sleep(0.02)

    def step(key, rows=None):
        return Step("scored", "score", {"key": key}, home / "cache", rows)

    def write(output, number):
        write_part(output / part_name(number), pa.table({"id": [f"{number}-{row}" for row in range(100)]}))
"""


@pytest.fixture
def home(tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "log").touch()
    return tmp_path


@pytest.fixture
def start(home):
    """Starts a process with some code behind WORKER; those that are left are killed at the end."""
    started = []

    def begin(name, code):
        program = textwrap.dedent(WORKER) + textwrap.dedent(code)
        command = [sys.executable, "-c", program, str(home), name]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def scored(home, key="x", rows=None):
    return Step("scored", "score", {"key": key}, home / "cache", rows)


SLOW = """
    def work(output):
        note("works")
        write(output, 0)
        (home / f"{name} began").touch()
        wait_for("go on")
        write(output, 1)
        return {"kept": 200}

    print(json.dumps(step("x").run(work)["kept"]))
"""


def test_two_that_need_the_same_step_do_it_once_and_one_waits_for_the_other(home, start):
    first = start("first", SLOW)
    appears(home / "first began")
    second = start("second", SLOW)
    line = line_with(second, "waiting")
    name = scored(home).directory.name
    assert f"score: waiting for process {first.pid} on " in line
    assert f"which computes {name}; its result will be taken" in line
    assert not scored(home).directory.exists(), "unfinished work has another name"
    (home / "go on").touch()
    assert [process.communicate(timeout=200)[0].split()[-1] for process in (first, second)] == ["200", "200"]
    assert log(home) == ["first works"]
    assert count_rows(scored(home).directory) == 200
    assert not list((home / "cache" / ".work").iterdir())


RESUMED = """
    def work(output):
        note("finds " + " ".join(sorted(path.name for path in output.iterdir())))
        for number in range(3):
            if not (output / part_name(number)).exists():
                write(output, number)
                (home / f"{name} wrote {number}").touch()
                if name == "first" and number == 1:
                    time.sleep(600)
        return {"kept": 300}

    print(step("x").run(work, resume=%s)["kept"])
"""


@pytest.mark.parametrize("resume", [True, False])
def test_a_holder_that_is_killed_frees_the_step_within_seconds(home, start, resume):
    first = start("first", RESUMED % resume)
    appears(home / "first wrote 1")
    second = start("second", RESUMED % resume)
    line_with(second, "waiting for process")
    os.kill(first.pid, signal.SIGKILL)
    killed = time.monotonic()
    assert second.communicate(timeout=200)[0].split()[-1] == "300"
    assert time.monotonic() - killed < 30
    finished = f"{part_name(0)} {part_name(1)}" if resume else ""
    assert log(home) == ["first finds ", f"second finds {finished}"]
    assert read_table(scored(home).directory)["id"].to_pylist()[::100] == ["0-0", "1-0", "2-0"]
    assert not list((home / "cache" / ".work").iterdir())


ORPHANED = """
    def work(output):
        write(output, 0)
        if os.fork() == 0:
            (home / f"{name} began").touch()
            wait_for("late")  # a worker that lives longer than its driver, and still writes
            write_part(output / part_name(0), pa.table({"id": ["of the dead"]}))
            write_part(output / part_name(5), pa.table({"id": ["of the dead"]}))
            (home / "orphan wrote").touch()
            os._exit(0)
        time.sleep(600)

    step("x").run(work, resume=True)
"""


def test_what_workers_of_a_dead_holder_still_write_is_not_in_the_result(home, start):
    first = start("first", ORPHANED)
    appears(home / "first began")
    os.kill(first.pid, signal.SIGKILL)
    first.wait()

    def work(output):
        (home / "late").touch()
        appears(home / "orphan wrote")
        assert [path.name for path in parts(output)] == [part_name(0)]
        return {"kept": 100}

    step = scored(home)
    assert step.run(work, resume=True)["kept"] == 100
    assert read_table(step.directory)["id"].to_pylist()[:2] == ["0-0", "0-1"]
    assert [path.name for path in unfinished(step.directory)] != []
    remove_dead(home / "cache")
    assert unfinished(step.directory) == []
    assert count_rows(step.directory) == 100


def test_sweeping_leaves_what_another_process_has_in_hand_and_what_can_be_gone_on_from(home, start):
    first = start("first", SLOW)
    appears(home / "first began")
    for key, resume in (("resumable", True), ("not", False)):
        step = scored(home, key)
        with locked(step.directory, None):
            write_part(open_work(step.directory, resume=resume, grows=False) / part_name(0), pa.table({"id": ["a"]}))
    remove_dead(home / "cache")
    assert [len(unfinished(scored(home, key).directory)) for key in ("x", "resumable", "not")] == [1, 1, 0]
    (home / "go on").touch()
    assert first.communicate(timeout=200)[0].split() == ["200"]


def test_the_one_who_waits_says_so_again_and_goes_on_when_the_other_gives_up(home, monkeypatch, capsys):
    monkeypatch.setattr(claims, "TELL_SECONDS", 0.3)
    monkeypatch.setattr(claims, "POLL_SECONDS", 0.05)
    step, held = scored(home), threading.Event()

    def hold():
        with locked(step.directory, None) as mine:
            assert mine
            held.set()
            while (
                capsys.readouterr().out.count("waiting for another process") == 0
            ):  # read at each turn: two lines are two turns
                time.sleep(0.02)
            while capsys.readouterr().out.count("waiting for another process") == 0:
                time.sleep(0.02)

    other = threading.Thread(target=hold)
    other.start()
    held.wait()
    assert step.run(lambda _: {"kept": 1})["kept"] == 1
    other.join()


def test_an_error_of_the_work_frees_the_step_and_leaves_nothing_or_what_can_be_gone_on_from(home):
    def fails(output):
        write_part(output / part_name(0), pa.table({"id": ["a"]}))
        raise CodeBlockError("no")

    for resume, left in ((False, 0), (True, 1)):
        with pytest.raises(CodeBlockError):
            scored(home).run(fails, resume=resume)
        assert len(unfinished(scored(home).directory)) == left
    assert scored(home).run(lambda output: {"found": len(parts(output))}, resume=True)["found"] == 1


def grow(output, to):
    for number in range(to):
        if not (output / part_name(number)).exists():
            write_part(output / part_name(number), pa.table({"id": [f"{number}-{row}" for row in range(100)]}))
    return {"kept": 100 * to}


def test_a_result_that_grows_is_read_whole_at_every_moment(home):
    """Parts that are there stay; while more are put beside them, a reader sees the old result or the new one."""
    scored(home, rows=lambda: 200).run(lambda output: grow(output, 2))
    directory = scored(home).directory
    before = {path.name: path.stat().st_mtime_ns for path in parts(directory)}
    step, seen = scored(home, rows=lambda: 4000), set()
    grown = threading.Event()

    def read():
        while not grown.is_set():
            seen.add(read_table(directory).num_rows)

    reader = threading.Thread(target=read)
    reader.start()
    assert step.facts is None
    assert step.run(lambda output: grow(output, 40), resume=True)["kept"] == 4000
    grown.set()
    reader.join()
    assert seen <= {200, 4000}
    assert count_rows(directory) == 4000
    assert {path.name: path.stat().st_mtime_ns for path in parts(directory)[:2]} == before
    assert not (directory / GROWING).exists()


def test_growth_that_was_cut_off_while_it_was_put_in_place_harms_neither_readers_nor_the_next(home, monkeypatch):
    scored(home, rows=lambda: 200).run(lambda output: grow(output, 2))
    directory, put = scored(home).directory, claims._put

    def dies(source, target):
        if target == directory / part_name(3):
            raise KeyboardInterrupt
        put(source, target)

    monkeypatch.setattr(claims, "_put", dies)
    with pytest.raises(KeyboardInterrupt):
        scored(home, rows=lambda: 400).run(lambda output: grow(output, 4), resume=True)
    monkeypatch.undo()
    assert (directory / part_name(2)).exists()
    assert [path.name for path in parts(directory)] == [part_name(0), part_name(1)]
    assert scored(home, rows=lambda: 200).facts["kept"] == 200
    found = []

    def resumed(output):
        found.extend(path.name for path in parts(output))
        return grow(output, 5)

    assert scored(home, rows=lambda: 500).run(resumed, resume=True)["kept"] == 500
    assert found == [part_name(number) for number in range(4)]
    assert count_rows(directory) == 500


def test_a_part_that_is_missing_is_told_before_more_are_added(home):
    scored(home, rows=lambda: 200).run(lambda output: grow(output, 2))
    (scored(home).directory / part_name(0)).unlink()
    with pytest.raises(CodeBlockError, match=r"part-000000.parquet is missing \(1 of 2 parts are there, 100 of 200 rows\)"):
        scored(home, rows=lambda: 400).run(lambda output: grow(output, 4), resume=True)


def test_one_that_died_before_its_last_rename_is_gone_on_from(home):
    step = scored(home)
    with locked(step.directory, None):
        output = open_work(step.directory, resume=True, grows=False)
        grow(output, 2)
        (output / MARKER).write_text("half a mark")
    assert step.run(lambda output: grow(output, 3), resume=True)["kept"] == 300
    assert count_rows(step.directory) == 300


TOGETHER = """
    keys = sys.argv[2].split("-")

    def fill(todo):
        for each, output in todo:
            note(each.identity["key"])
            write(output, 0)
        time.sleep(0.5)

    run_together([(step(key), lambda output: {"kept": 100}) for key in keys], fill)
    print(sum(step(key).facts["kept"] for key in keys))
"""


def test_steps_that_are_filled_in_one_pass_are_done_once_in_whatever_order_two_processes_ask(home, start):
    processes = [start(keys, TOGETHER) for keys in ("a-b-c-d", "d-c-b-a", "b-d-e")]
    assert [process.communicate(timeout=200)[0].split()[-1] for process in processes] == ["400", "400", "300"]
    assert sorted(line.split()[1] for line in log(home)) == ["a", "b", "c", "d", "e"]


def test_a_storage_whose_locks_may_not_be_written_is_one_line(home):
    (home / "cache" / ".locks").write_text("")
    with pytest.raises(CodeBlockError, match=r"\.locks.*cannot be locked .*name a storage=DIR that you may write") as caught:
        scored(home).run(lambda _: {})
    assert "\n" not in str(caught.value)


def test_the_note_of_a_holder_names_it(home):
    directory = scored(home).directory
    with locked(directory, None):
        output = open_work(directory, resume=True, grows=False)
        note = json.loads(output.with_name(f"{output.name}.json").read_text())
    assert (note["pid"], note["keep"]) == (os.getpid(), True)
    assert note["host"]
    assert Path(note["command"].split()[0]).name == note["command"].split()[0]


def test_a_step_that_another_has_finished_is_not_held_while_waiting_for_the_next(home):
    """As where it was pending at a first look, and done at the second."""
    step = scored(home)
    finish_by_hand(step)
    stale = Late("scored", "score", {"key": "x"}, home / "cache", looks=iter([None]))
    run_together([(stale, lambda _: pytest.fail("it is done"))], lambda _: pytest.fail("nothing is to be filled"))
    with locked(step.directory, None) as held:
        assert held


class Late(Step):
    """A step whose result is seen only at the second look."""

    def __init__(self, *values, looks):
        super().__init__(*values)
        object.__setattr__(self, "looks", looks)

    @property
    def facts(self):
        return next(self.looks, super().facts)


def finish_by_hand(step):
    write_part(step.directory / part_name(0), pa.table({"id": ["a"]}))
    mark_complete(step.directory, {"identity": step.identity, "facts": {"kept": 1}})


def test_together_is_nothing_to_do_where_all_is_done(home):
    step = scored(home)
    step.run(lambda output: grow(output, 1))
    run_together([(step, lambda _: {})], lambda _: pytest.fail("nothing is to be filled"))
