"""No program uses more than its share, stalls its helper, or leaves a process or a file behind, in any mode."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from tests.sandbox.conftest import Helper, gone, processes_with

from codeblock.sandbox.limits import MAX_PROCESSES
from codeblock.sandbox.rootfs import SCRATCH_BYTES, SCRATCH_FILES

TIMEOUT = 1.0
SLACK = 10.0
"""Seconds that killing and cleaning may take on a busy machine."""


def fresh_mark() -> str:
    return "mark" + os.urandom(8).hex()


def sleeper(mark: str) -> str:
    """Code that replaces a process by a sleeping one, which can be found from outside."""
    return f"os.execv(sys.executable, [sys.executable, '-S', '-c', 'import time; time.sleep(600)  # {mark}'])"


def assert_well(helper: Helper, before: int) -> None:
    """The helper runs the next program, with no more processes than before."""
    answer = helper.run("import os; print(len(os.listdir('.')))", timeout=30)
    assert (answer.status, answer.printed) == (0, "0\n")
    assert len(helper.processes()) == before


ENDLESS = {
    "loop that catches everything": (
        "import signal\nfor n in range(1, 32):\n try: signal.signal(n, signal.SIG_IGN)\n except (OSError, ValueError): pass\n"
        "while True:\n try:\n  while True: pass\n except BaseException: pass"
    ),
    "output": "while True: print('x' * 100_000, flush=True)",
    "sleep": "import time; time.sleep(600)",
    "stopped by itself": "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
}


@pytest.mark.parametrize("name", ENDLESS)
def test_endless_program_ends_at_the_time_limit(any_helper: Helper, name: str) -> None:
    before = len(any_helper.processes())
    answer = any_helper.run(ENDLESS[name], TIMEOUT)
    assert answer.status is None
    assert TIMEOUT <= answer.seconds < TIMEOUT + SLACK
    assert_well(any_helper, before)


def test_cpu_seconds_are_limited_where_the_clock_is_not_watched(any_helper: Helper) -> None:
    source = "import resource; print(resource.getrlimit(resource.RLIMIT_CPU))"
    assert any_helper.run(source, timeout=2.5).printed == "(4, 5)\n"


CRASHES = {
    "segmentation fault": ("import ctypes; ctypes.string_at(0)", {signal.SIGSEGV}),
    "abort": ("import os; os.abort()", {signal.SIGABRT}),
    "stack exhaustion": (
        "import sys; sys.setrecursionlimit(10 ** 9)\ndef f(n): return max([n], key=f)\nf(0)",
        {signal.SIGSEGV},
    ),
}


@pytest.mark.parametrize("name", CRASHES)
def test_crash_takes_the_program_alone(any_helper: Helper, name: str) -> None:
    source, signals = CRASHES[name]
    answer = any_helper.run(source, timeout=20)
    assert answer.status is not None
    assert os.WTERMSIG(answer.status) in signals
    assert not list(Path().glob("core*"))


def test_memory_of_a_process_is_limited(any_helper: Helper) -> None:
    answer = any_helper.run("x = []\nwhile True: x.append(bytearray(10_000_000))", timeout=20, memory_mb=300)
    assert answer.printed == "MemoryError()"
    assert any_helper.run("x = bytearray(10 ** 12)", timeout=20).printed == "MemoryError()"


def test_memory_of_all_processes_can_be_watched(helper: Helper) -> None:
    """20 processes that stay below their own limit; their helper ends them when they hold too much together."""
    before = len(helper.processes())
    grow = "import os, time\nfor _ in range(20):\n if os.fork() == 0: x = bytes(range(256)) * (20 << 12); time.sleep(600)\n"
    answer = helper.run(grow + "time.sleep(600)", timeout=60, memory_mb=100, total_mb=100)
    assert answer.status is None
    assert answer.seconds < 30, "long before the time limit"
    assert_well(helper, before)
    assert helper.run("x = bytes(range(256)) * (50 << 12)", timeout=30, total_mb=100).status == 0


def test_hidden_memory_is_refused(any_helper: Helper) -> None:
    """A file in memory is no part of the address space: its writer could fill the machine."""
    if any("system calls" in layer for layer in any_helper.missing):
        pytest.skip("the filter of system calls is missing")
    answer = any_helper.run("import os; os.memfd_create('x')", timeout=20)
    assert answer.printed.startswith("PermissionError")


def test_when_memory_runs_out_programs_go_before_the_grader(helper: Helper) -> None:
    """The sum over a program's processes is not limited: the kernel is told whom to end first."""
    assert helper.seen_while_it_runs("oom_score_adj") == "1000\n"


BOMBS = {
    "forks": "import os\nwhile True: os.fork()",
    "patient forks": "import os\nwhile True:\n try: os.fork()\n except OSError: pass",
    "forks that outlive their parents": "import os\nwhile True:\n if os.fork(): os._exit(0)\n os.setsid()",
    "threads": "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(600,)).start()",
}


@pytest.mark.parametrize("name", BOMBS)
def test_bomb_stays_small_and_is_cleared_away(helper: Helper, name: str) -> None:
    before = len(helper.processes())
    helper.send(BOMBS[name], TIMEOUT)
    time.sleep(TIMEOUT / 2)
    assert len(helper.processes()) <= before + MAX_PROCESSES
    assert helper.receive().seconds < TIMEOUT + SLACK
    assert_well(helper, before)


LINGERING = {
    "grandchild with a closed output": "if os.fork() == 0:\n os.close(1); os.close(2)\n {sleeper}",
    "daemon": "if os.fork() == 0:\n os.setsid()\n if os.fork() == 0:\n  os.closerange(0, 3)\n  {sleeper}\n os._exit(0)",
    "crowd": "for _ in range(20):\n if os.fork() == 0:\n  os.setsid()\n  {sleeper}",
}


@pytest.mark.parametrize("name", LINGERING)
def test_no_process_is_left_behind(any_helper: Helper, name: str) -> None:
    mark, before = fresh_mark(), len(any_helper.processes())
    source = "import os, sys, time\n" + LINGERING[name].format(sleeper=sleeper(mark)) + "\ntime.sleep(0.5)"
    any_helper.send(source, timeout=20)
    deadline = time.monotonic() + 20
    while not processes_with(mark) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert any_helper.receive().status == 0
    assert gone(mark)
    assert_well(any_helper, before)


def test_file_size_is_limited(any_helper: Helper) -> None:
    answer = any_helper.run("with open('f', 'wb', 0) as f:\n while True: f.write(bytes(1_000_000))", timeout=30)
    assert "File too large" in answer.printed
    assert list(any_helper.home.iterdir()) == []


def test_disk_is_limited_over_all_files(helper: Helper) -> None:
    helper.needs_tmp()
    source = (
        "import os, tempfile\nwritten, places = 0, ['.', '/tmp', '/dev/shm']\ntry:\n for n in range(10 ** 6):\n"
        "  with open(tempfile.mkstemp(dir=places[n % 3])[1], 'wb', 0) as f:\n"
        "   for _ in range(30): written += f.write(bytes(1 << 20))\n"
        "except OSError as error: print(error.strerror, written >> 20)"
    )
    answer = helper.run(source, timeout=60)
    text, _, megabytes = answer.printed.strip().rpartition(" ")
    assert text == "No space left on device"
    assert SCRATCH_BYTES * 0.8 <= int(megabytes) << 20 <= SCRATCH_BYTES
    free = "import shutil; print(shutil.disk_usage('.').free, shutil.disk_usage('/tmp').total)"
    free_bytes, total = map(int, helper.run(free, timeout=30).printed.split())
    assert total == SCRATCH_BYTES
    assert free_bytes > SCRATCH_BYTES * 0.99, "the next program has all of it"


def test_number_of_files_is_limited(helper: Helper) -> None:
    source = f"try:\n for n in range({2 * SCRATCH_FILES}): open(f'/dev/shm/{{n}}', 'w').close()\nexcept OSError as e: print(n)"
    answer = helper.run(source, timeout=60)
    assert SCRATCH_FILES * 0.9 < int(answer.printed) <= SCRATCH_FILES
    assert answer.seconds < 60 + SLACK


def test_no_file_is_left_behind(any_helper: Helper) -> None:
    mark = fresh_mark()
    source = (
        f"import os\nos.makedirs('a/b')\nopen('a/b/{mark}', 'w')\nos.symlink('/etc', 'link')\nos.mkfifo('fifo')\n"
        "os.chmod('a/b', 0)\nos.chmod('a', 0)\nos.chmod('.', 0)"
    )
    assert any_helper.run(source, timeout=20).status == 0
    assert list(any_helper.home.iterdir()) == []
    assert_well(any_helper, len(any_helper.processes()))


def test_programs_of_one_helper_share_nothing(helper: Helper) -> None:
    helper.needs_tmp()
    leave = (
        "import os, pathlib, multiprocessing.shared_memory as m\n"
        "for place in ('/tmp', os.environ['HOME']):\n"
        " pathlib.Path(place, 'left').write_text('x'); pathlib.Path(place, 'left').chmod(0)\n"
        "m.SharedMemory('left_too', create=True, size=100)\nos.chmod('.', 0)\nos._exit(0)"
    )
    assert helper.run(leave, timeout=20).status == 0
    look = (
        "import os; own = [os.path.basename(os.getcwd())]\n"
        "print([os.listdir(place) == own for place in ('/tmp', '/dev/shm')], os.listdir())"
    )
    assert helper.run(look, timeout=20).printed == "[True, True] []\n"


@pytest.mark.parametrize("outermost", [True, False])
def test_all_die_with_the_helper(helper: Helper, outermost: bool) -> None:
    """Killed from outside, at its outermost process or at the first one inside."""
    spare = Helper(helper.mode, helper.stage, helper.home)
    mark = fresh_mark()
    spare.send(f"import os, sys\nos.setsid() if os.fork() == 0 else None\n{sleeper(mark)}", timeout=60)
    deadline = time.monotonic() + 20
    while not processes_with(mark) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert processes_with(mark)
    (spare.processes()[0] if outermost else spare.server()).kill()
    assert gone(mark, 10)
    spare.process.wait(10)
