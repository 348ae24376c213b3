"""Steps whose storage is an object store: whole by their marker, computed once, taken over from the dead."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pyarrow as pa
import pytest
from tests.core.storage.processes import appears, line_with, log

from codeblock.core.errors import CodeBlockError
from codeblock.core.storage import claims, leases, object_work, places, store
from codeblock.core.storage.manifest import MARKER, check_tree, completed, files_of
from codeblock.core.storage.tables import count_rows, part_name, parts, read_part, read_table, write_part, write_text
from codeblock.experiment.cache import Step, check_storage


@pytest.fixture
def cache(bucket):
    return check_storage(places.place(f"{bucket}/runs"))


@pytest.fixture
def elsewhere(cache, tmp_path):
    """Names a path as another machine does, which has nothing of it on its disk."""
    return lambda path: Path(str(path).replace(str(path).partition("/codeblock-stores")[0], str(tmp_path)))


def scored(cache, key="x", rows=None):
    return Step("scored", "score", {"key": key}, cache, rows)


def table(number):
    return pa.table({"id": [f"{number}-{row}" for row in range(100)]})


def grow(output, to):
    done = {path.name for path in parts(output)}
    for number in range(to):
        if part_name(number) not in done:
            write_part(output / part_name(number), table(number))
    return {"kept": 100 * to}


def objects(cache):
    return sorted(store.sizes(cache))


def test_a_step_is_its_marker_and_the_objects_that_it_names(cache, elsewhere):
    def work(output):
        write_text(output / "model" / "config.json", "{}")
        (output / "model" / "weights.bin").write_bytes(b"x" * 100)  # by a library that knows files alone
        return grow(output, 2)

    step = scored(cache)
    assert step.facts is None
    assert step.run(work)["kept"] == 200
    own = completed(step.directory)["at"]
    assert objects(cache) == [
        f"objects/{own}/model/config.json",
        f"objects/{own}/model/weights.bin",
        f"objects/{own}/part-000000.parquet",
        f"objects/{own}/part-000001.parquet",
        f"{step.directory.name}/{MARKER}",
    ]
    there = scored(elsewhere(cache))
    assert there.facts["kept"] == 200
    assert read_table(there.directory)["id"].to_pylist()[::100] == ["0-0", "1-0"]
    check_tree(there.directory / "model")
    assert (there.directory / "model" / "weights.bin").read_bytes() == b"x" * 100
    assert there.run(lambda _: pytest.fail("it is done")) == there.facts


def test_without_its_marker_nothing_of_a_step_is_read(cache, elsewhere):
    step = scored(cache)
    step.run(lambda output: grow(output, 1))
    part = elsewhere(step.directory) / part_name(0)
    read_part(part)
    store.remove(step.directory / MARKER)
    for path in (part, step.directory / part_name(0)):  # though both disks have the file
        with pytest.raises(CodeBlockError, match=rf"^{step.directory.name}: not finished, or removed while it was read"):
            read_part(path)
    assert scored(elsewhere(cache)).facts is None
    assert step.run(lambda output: {"kept": 1, "found": len(parts(output))}, resume=True)["found"] == 0
    assert count_rows(step.directory) == 0


def test_what_is_put_and_not_finished_is_no_result(cache, elsewhere):
    step = scored(cache)
    with claims.locked(step.directory, None):
        output = claims.open_work(step.directory, resume=True, grows=False)
        grow(output, 2)
    assert scored(elsewhere(cache)).facts is None
    with pytest.raises(CodeBlockError, match="not finished"):
        parts(elsewhere(step.directory))
    found = []

    def work(output):
        found.extend(path.name for path in parts(output))
        return grow(output, 3)

    assert scored(elsewhere(cache)).run(work, resume=True)["kept"] == 300
    assert found == [part_name(0), part_name(1)], "another machine goes on from what was put"
    assert len({name.split("/")[1] for name in objects(cache) if name.startswith("objects/")}) == 1, "no waste is left"


DAMAGES = {
    "missing": (lambda part: store.remove(part), r"part-000000.parquet is missing \(1 of 2 parts are there, 100 of 200 rows\)"),
    "cut": (lambda part: store.put_text(part, "x"), r"part-000000.parquet is cut \(1 bytes, "),
    "added": (lambda part: store.put_text(part.with_name("part-000009.parquet"), "x"), r"part-000009.parquet is no part"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_objects_that_the_marker_does_not_tell_of_end_the_run_in_one_line(cache, elsewhere, damage):
    step = scored(cache)
    step.run(lambda output: grow(output, 2))
    harm, told = DAMAGES[damage]
    harm(cache / "objects" / completed(step.directory)["at"] / part_name(0))
    with pytest.raises(CodeBlockError, match=told) as caught:
        parts(elsewhere(step.directory))
    assert str(caught.value).endswith(f"remove {places.show(step.directory)} to compute it again") or damage == "added"


def test_another_object_of_the_same_size_is_told_and_a_damaged_mirror_is_fetched_again(cache, elsewhere):
    step = scored(cache)
    step.run(lambda output: grow(output, 1))
    mirror = elsewhere(step.directory) / part_name(0)
    read_part(mirror)
    mirror.write_bytes(b"y" * mirror.stat().st_size)
    assert read_part(mirror).num_rows == 100
    source = cache / "objects" / completed(step.directory)["at"] / part_name(0)
    store.put_text(source, "y" * mirror.stat().st_size)
    mirror.unlink()
    with pytest.raises(CodeBlockError, match=r"part-000000\.parquet is not the one that this step wrote"):
        read_part(mirror)


def test_a_result_that_grows_is_the_old_or_the_new_one_for_every_reader(cache, elsewhere):
    scored(cache, rows=lambda: 200).run(lambda output: grow(output, 2))
    there = scored(elsewhere(cache)).directory
    old = [path.name for path in parts(there)]
    before = completed(there)["at"]
    step = scored(cache, rows=lambda: 400)
    assert step.facts is None
    assert step.run(lambda output: grow(output, 4), resume=True)["kept"] == 400
    assert count_rows(there) == 400
    assert read_part(there / old[0])["id"][0].as_py() == "0-0"
    assert not [name for name in objects(cache) if before in name], "the objects of before are not kept"


def test_the_first_of_two_that_finish_a_step_counts(cache, elsewhere, monkeypatch):
    """Such as one that was halted for so long that another took over, in the moment before it puts its marker."""
    step = scored(cache)
    monkeypatch.setattr(object_work, "check_held", lambda _: None)

    def slow(output):
        other = scored(elsewhere(cache)).directory
        own = claims.open_work(other, resume=True, grows=False)
        write_part(own / part_name(0), table(7))
        assert claims.publish(own, other, {"identity": {}, "facts": {"kept": 7}})
        return grow(output, 1)

    assert step.run(slow)["kept"] == 7
    assert read_table(step.directory)["id"][0].as_py() == "7-0"


def test_one_whose_lease_was_taken_over_puts_no_marker(cache):
    step = scored(cache)

    def halted(output):
        store.put_text(object_work.lease_of(step.directory) / "000002", "{}")
        return grow(output, 1)

    with pytest.raises(CodeBlockError, match=f"{step.directory.name}: was taken over by another process"):
        step.run(halted)
    assert step.facts is None


def test_one_who_was_halted_and_goes_on_leaves_nothing_beside_the_result_of_the_other(cache, elsewhere):
    step = scored(cache)

    def halted(output):
        grow(output, 1)
        directory = scored(elsewhere(cache)).directory
        store.put_text(object_work.lease_of(directory) / "000002", "{}")  # the other one, which waits no longer
        own = claims.open_work(directory, resume=True, grows=False)
        grow(own, 2)
        assert claims.publish(own, directory, {"identity": {}, "facts": {"kept": 200}})
        return grow(output, 2)

    with pytest.MonkeyPatch.context() as patch:
        held = leases.check_held
        patch.setattr(object_work, "check_held", lambda place: held(place) if str(place).startswith(str(cache)) else None)
        with pytest.raises(CodeBlockError, match="was taken over by another process"):
            step.run(halted, resume=True)
    result = completed(step.directory)["at"]
    assert [name for name in objects(cache) if name.startswith("objects/")] == [
        f"objects/{result}/{part_name(number)}" for number in range(2)
    ]


WORKER = """
    import json, os, sys, time
    from pathlib import Path
    from codeblock.core.storage import leases, places, store
    from codeblock.experiment.cache import Step
    from codeblock.core.storage.tables import part_name, parts, write_part
    import pyarrow as pa

    home, name, cache = Path(sys.argv[1]), sys.argv[2], places.place(sys.argv[3])
    leases.POLL_SECONDS = 0.1

    def note(what):
        with (home / "log").open("a") as log:
            log.write(f"{name} {what}\\n")

    def work(output):
        note("finds " + " ".join(path.name for path in parts(output)))
        for number in range(3):
            if not store.exists(output / part_name(number)):
                write_part(output / part_name(number), pa.table({"id": [f"{number}-{row}" for row in range(100)]}))
                (home / f"{name} wrote {number}").touch()
                while number == 1 and not (home / "go on").exists():
                    time.sleep(0.02)
        return {"kept": 300}

    if name == "elsewhere":
        leases._node = lambda: "another machine"
        leases.BEAT_SECONDS = 0.2
    print(Step("scored", "score", {"key": "x"}, cache).run(work, resume=True)["kept"])
"""


@pytest.fixture
def start(cache, tmp_path):
    """Starts a process that computes the step `x`, with a disk of its own."""
    started = []

    def begin(name):
        environment = {**os.environ, places.SCRATCH: str(tmp_path / name)}
        command = [sys.executable, "-c", textwrap.dedent(WORKER), str(tmp_path), name, places.show(cache)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        started.append(subprocess.Popen(command, env=environment, text=True, **pipes))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_two_that_need_the_same_step_do_it_once_and_one_waits_for_the_other(cache, start, tmp_path):
    first = start("first")
    appears(tmp_path / "first wrote 1")
    second = start("second")
    assert f"score: waiting for process {first.pid} on " in line_with(second, "waiting")
    (tmp_path / "go on").touch()
    assert [process.communicate(timeout=200)[0].split()[-1] for process in (first, second)] == ["300", "300"]
    assert log(tmp_path) == ["first finds "]
    assert count_rows(scored(cache).directory) == 300


def test_a_holder_of_this_machine_that_is_killed_frees_the_step_within_seconds(cache, start, tmp_path):
    first = start("first")
    appears(tmp_path / "first wrote 1")
    second = start("second")
    line_with(second, "waiting")
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    killed = time.monotonic()
    (tmp_path / "go on").touch()
    assert second.communicate(timeout=200)[0].split()[-1] == "300"
    assert time.monotonic() - killed < 30
    assert log(tmp_path) == ["first finds ", f"second finds {part_name(0)} {part_name(1)}"]


def test_a_holder_elsewhere_is_left_while_its_heart_beats_and_taken_over_when_it_stops(cache, start, tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "STALE_SECONDS", 3.0)
    monkeypatch.setattr(leases, "POLL_SECONDS", 0.1)
    first = start("elsewhere")
    appears(tmp_path / "elsewhere wrote 1")
    lease = leases.Lease(object_work.lease_of(scored(cache).directory))
    watched = time.monotonic()
    while time.monotonic() - watched < 4.5:
        assert not lease.take()
        time.sleep(0.1)
    os.kill(first.pid, signal.SIGKILL)
    killed = time.monotonic()
    assert scored(cache).run(lambda output: grow(output, 3), resume=True)["kept"] == 300
    assert time.monotonic() - killed > 2.0


def test_a_lease_is_free_again_when_it_was_released_and_has_one_holder_at_a_time(cache):
    place = cache / ".locks" / "step"
    first, second = leases.Lease(place), leases.Lease(place)
    assert (first.take(), second.take()) == (True, False)
    first.release()
    assert (second.take(), first.take()) == (True, False)
    assert [path.name for path in store.children(place)] == ["000002"]
    leases.check_held(place)
    second.release()
    with pytest.raises(CodeBlockError):
        leases.check_held(place)


def test_one_who_is_late_with_a_number_that_was_removed_has_nothing(cache, monkeypatch):
    place = cache / ".locks" / "step"
    late, others = leases.Lease(place), [leases.Lease(place) for _ in range(2)]
    look, waits = late._newest, iter([None])

    def stale():  # what it saw before the others came
        for seen in waits:
            for other in others:
                assert other.take()
                other.release()
            return seen
        return look()

    monkeypatch.setattr(late, "_newest", stale)
    assert not late.take()
    assert [path.name for path in store.children(place)] == ["000002"]


def test_sweeping_removes_the_work_of_the_dead_that_nobody_can_go_on_from_alone(cache):
    left = {}
    for key, resume in (("resumable", True), ("not", False), ("held", False)):
        with claims.locked(scored(cache, key).directory, None):
            left[key] = claims.open_work(scored(cache, key).directory, resume=resume, grows=False)
            grow(left[key], 1)
    done = scored(cache, "done")
    done.run(lambda output: grow(output, 1))
    with claims.locked(scored(cache, "held").directory, None):
        claims.remove_dead(cache)
        assert [key for key in left if store.sizes(left[key])] == ["resumable", "held"]
    assert count_rows(done.directory) == 100


def test_what_became_a_result_is_not_swept_though_its_process_died_before_it_could_say_so(cache):
    step = scored(cache)
    step.run(lambda output: grow(output, 1))
    own = cache / "objects" / completed(step.directory)["at"]
    note = own.with_name(f"{own.name}.json")
    store.put_text(note, json.dumps({"keep": False}))
    assert claims.unfinished(step.directory) == []
    claims.remove_dead(cache)
    assert count_rows(step.directory) == 100
    assert not store.exists(note)


def test_what_a_dead_process_wrote_and_did_not_put_is_no_part_of_a_result(cache):
    step = scored(cache)
    with claims.locked(step.directory, None):
        output = claims.open_work(step.directory, resume=True, grows=False)
        grow(output, 1)
        (output / "model").mkdir()
        (output / "model" / "half").write_text("x")
    step.run(lambda output: grow(output, 2), resume=True)
    assert sorted(files_of(step.directory)) == [part_name(0), part_name(1)]


def test_a_node_reads_what_it_has_put_itself_without_fetching_it(cache, elsewhere, monkeypatch):
    step = scored(cache)

    def work(output):
        write_part(elsewhere(output) / part_name(0), table(0))  # by a worker on another node
        return {"kept": 100}

    step.run(work)
    there, fetched = elsewhere(step.directory), []
    get = store._get
    monkeypatch.setattr(store, "_get", lambda remote, path, info: fetched.append(path.name) or get(remote, path, info))
    assert read_part(there / part_name(0)).num_rows == 100
    assert fetched == [MARKER]


def test_an_error_of_the_work_leaves_nothing_or_what_can_be_gone_on_from(cache):
    def fails(output):
        write_part(output / part_name(0), table(0))
        raise CodeBlockError("no")

    for resume, left in ((False, 0), (True, 1)):
        with pytest.raises(CodeBlockError):
            scored(cache).run(fails, resume=resume)
        assert len(claims.unfinished(scored(cache).directory)) == left
    assert scored(cache).why() == "partly done"


def test_a_plan_says_what_differs_from_the_most_recent_result(cache, elsewhere):
    for key in ("a", "b"):
        scored(cache, key).run(lambda output: grow(output, 1))
        time.sleep(1.1)  # a store tells the time of an object in seconds
    assert scored(elsewhere(cache), "c").why() == "differs in key (b -> c)"


def test_scratch_may_be_removed_at_any_time(cache):
    step = scored(cache)
    step.run(lambda output: grow(output, 2))
    shutil.rmtree(cache)
    assert read_table(step.directory).num_rows == 200
    assert json.loads(store.read_text(step.directory / MARKER))["facts"]["kept"] == 200
