"""Disks that are full, of the storage and of Ray itself: one line that names the place, and then the same rows."""

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.faults.conftest import PAIRS, rows_of
from tests.faults.nodes import Nodes

pytestmark = pytest.mark.slow


@contextmanager
def small_disk(size):
    """A disk of so many bytes; skips where none may be mounted."""
    directory = Path(tempfile.mkdtemp(prefix="f"))
    asked = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(directory)]
    if os.geteuid() or subprocess.run(asked, capture_output=True).returncode:
        directory.rmdir()
        pytest.skip("a disk of its own cannot be mounted here: needs root, and a kernel that lets it")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)
        shutil.rmtree(directory, ignore_errors=True)


def test_a_storage_that_is_full_is_named_and_goes_on_where_there_is_room_again(begin_in):
    with small_disk("120k") as disk:
        run = begin_in(disk / "runs", "prepare")
        line = run.error()
        assert "No space left on device: " in line, run.told()
        assert f"{disk}/runs/cache/" in line
        assert line.endswith("; free space there or name another storage=DIR")
        assert not list((disk / "runs" / "cache").glob("segmented-*"))
        subprocess.run(["mount", "-o", "remount,size=50m", str(disk)], check=True)
        again = begin_in(disk / "runs", "prepare")
        assert again.end() == 0, again.told()
        assert len(rows_of(disk / "runs", "segmented")) == PAIRS


@pytest.mark.long
def test_rays_own_disk_that_is_full_ends_the_run_in_one_line(begin_in, tmp_path):
    """Ray starts workers that end at once, again and again, for ever.

    Its actors are halted first: those that were there before the disk was full could still end their work.
    """
    with small_disk("40m") as disk:
        nodes = Nodes(disk)
        try:
            nodes.start_head()
            nodes.add("one")
            run = begin_in(tmp_path / "runs", "score", address=nodes.address)
            run.reaches(lambda: nodes.workers("MapWorker"))
            for actor in nodes.workers("MapWorker"):
                actor.suspend()
            subprocess.run(["dd", "if=/dev/zero", f"of={disk}/all", "bs=64k"], stderr=subprocess.DEVNULL)
            line = [line for line in (run.end(), *run.told().splitlines()) if str(line).startswith("error: ")]
            assert line[0].startswith(f"error: Ray: {disk}/session_"), run.told()
            assert "the disk is full; free space there, or start Ray with --temp-dir on a larger disk; " in line[0]
            assert run.process.returncode == 1
        finally:
            nodes.kill_all()
