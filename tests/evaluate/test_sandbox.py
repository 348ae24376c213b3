"""Programs end with the right verdict, none passes that did not run its tests, and none leaves anything behind."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from codeblock.errors import CodeBlockError
from codeblock.evaluate import sandbox as sandbox_module
from codeblock.evaluate.sandbox import Limits, Outcome, Sandbox, Verdict

TIMEOUT = 2.0


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(Limits(TIMEOUT, memory_mb=512)) as sandbox:
        yield sandbox


def processes_with(mark: str) -> list[str]:
    """Ids of the running processes whose command line holds the mark."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if mark.encode() in (entry / "cmdline").read_bytes():
                    found.append(entry.name)
            except OSError:
                continue
    return found


@pytest.mark.parametrize(
    ("program", "verdict", "error"),
    [
        ("def f(x):\n    return x\nassert f(1) == 1", Verdict.PASSED, ""),
        ("", Verdict.PASSED, ""),
        ("x = 1\nassert x == 2, 'off by one'", Verdict.WRONG_ANSWER, "AssertionError: off by one (line 2)"),
        ("\n\n1 / 0", Verdict.EXCEPTION, "ZeroDivisionError: division by zero (line 3)"),
        ("raise KeyboardInterrupt", Verdict.EXCEPTION, "KeyboardInterrupt (line 1)"),
        ("input()", Verdict.EXCEPTION, "EOFError"),
        ("def f(:", Verdict.SYNTAX_ERROR, "invalid syntax"),
        ("x = '\x00'", Verdict.SYNTAX_ERROR, "null bytes"),
        ("(" * 5000, Verdict.SYNTAX_ERROR, "too many nested parentheses"),
        ("raise MemoryError", Verdict.OUT_OF_MEMORY, "MemoryError"),
        ("import os\nos.abort()", Verdict.KILLED, "SIGABRT"),
        ("class E(Exception):\n    def __str__(self): return 1 / 0\nraise E", Verdict.EXCEPTION, "raised an error"),
    ],
)
def test_verdicts(sandbox: Sandbox, program: str, verdict: Verdict, error: str) -> None:
    outcome = sandbox.run(program)
    assert outcome.verdict == verdict, outcome
    assert error in outcome.error


HOSTILE = {
    "endless loop": ("while True: pass", {Verdict.TIMEOUT}),
    "sleep": ("import time\ntime.sleep(1000)", {Verdict.TIMEOUT}),
    "endless loop that catches everything": (
        "import signal\nfor n in range(1, 32):\n try: signal.signal(n, signal.SIG_IGN)\n except (OSError, ValueError): pass\n"
        "while True:\n try:\n  while True: pass\n except BaseException: pass",
        {Verdict.TIMEOUT},
    ),
    "endless output": ("while True: print('x' * 100_000, flush=True)", {Verdict.TIMEOUT}),
    "fork bomb": ("import os\nwhile True: os.fork()", {Verdict.EXCEPTION, Verdict.TIMEOUT}),
    "patient fork bomb": ("import os\nwhile True:\n try: os.fork()\n except OSError: pass", {Verdict.TIMEOUT}),
    "forks that outlive their parents": (
        "import os\nwhile True:\n if os.fork(): os._exit(0)\n os.setsid()",
        {Verdict.EXCEPTION, Verdict.TIMEOUT},
    ),
    "thread bomb": (
        "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(1000,)).start()",
        {Verdict.EXCEPTION, Verdict.TIMEOUT, Verdict.OUT_OF_MEMORY},
    ),
    # A busy machine may need longer than the time limit to fill the memory.
    "memory bomb": ("x = []\nwhile True: x.append(bytearray(10_000_000))", {Verdict.OUT_OF_MEMORY, Verdict.TIMEOUT}),
    "one huge allocation": ("x = bytearray(10 ** 12)", {Verdict.OUT_OF_MEMORY}),
    "deep recursion": ("def f(n): return f(n + 1)\nf(0)", {Verdict.EXCEPTION}),
    "deep recursion without limit": (
        "import sys\nsys.setrecursionlimit(10 ** 9)\ndef f(n): return max([n], key=f)\nf(0)",
        {Verdict.KILLED, Verdict.OUT_OF_MEMORY, Verdict.TIMEOUT},
    ),
    "segmentation fault": ("import ctypes\nctypes.string_at(0)", {Verdict.KILLED}),
    "sys.exit(0) before the tests": ("import sys\nsys.exit(0)\nassert False", {Verdict.EXCEPTION}),
    "os._exit(0) before the tests": ("import os\nos._exit(0)\nassert False", {Verdict.EXCEPTION}),
    "exit in a fork, tests fail": ("import os\nif os.fork() == 0: os._exit(0)\nassert False", {Verdict.WRONG_ANSWER}),
    "only a fork goes on": ("import os\nif os.fork(): os._exit(0)", {Verdict.EXCEPTION}),
    "patched exit": ("import os\nos._exit = os.write = lambda *_: None\nassert False", {Verdict.WRONG_ANSWER}),
    "writes to every file descriptor": (
        "import os\nfor n in range(3, 128):\n try: os.write(n, b'passed ')\n except OSError: pass\nassert False",
        {Verdict.EXCEPTION, Verdict.WRONG_ANSWER},
    ),
    "kills its parent": (
        "import os\nos.kill(os.getppid(), 9)\nassert False",
        {Verdict.EXCEPTION, Verdict.WRONG_ANSWER, Verdict.KILLED},
    ),
    "kills everyone": ("import os\nos.kill(-1, 9)\nassert False", {Verdict.KILLED, Verdict.WRONG_ANSWER, Verdict.EXCEPTION}),
    "huge file": ("with open('f', 'wb') as f:\n while True: f.write(bytes(1_000_000))", {Verdict.EXCEPTION}),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_program_fails_in_time(sandbox: Sandbox, name: str) -> None:
    program, verdicts = HOSTILE[name]
    if name == "kills everyone" and any(wall.startswith("processes") for wall in sandbox.missing):
        pytest.skip("no process namespace here: it would reach the test")
    started = time.monotonic()
    outcome = sandbox.run(program)
    assert outcome.verdict in verdicts, outcome
    assert time.monotonic() - started < TIMEOUT + 5
    assert sandbox.run("assert True").verdict == Verdict.PASSED


def test_grandchild_with_closed_output_neither_stalls_the_grader_nor_survives(sandbox: Sandbox) -> None:
    mark = "7654321.125"
    program = (
        "import subprocess\n"
        "quiet = dict(stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)\n"
        f"assert subprocess.Popen(['sleep', '{mark}'], **quiet).poll() is None\n"
    )
    started = time.monotonic()
    outcome = sandbox.run(program)
    assert outcome.verdict == Verdict.PASSED, outcome
    assert time.monotonic() - started < TIMEOUT
    assert not processes_with(mark)


def test_grandchild_of_a_timed_out_program_is_killed(sandbox: Sandbox) -> None:
    mark = "7654321.25"
    outcome = sandbox.run(
        f"import subprocess, time\nsubprocess.Popen(['sleep', '{mark}'], start_new_session=True)\ntime.sleep(1000)"
    )
    assert outcome.verdict == Verdict.TIMEOUT
    assert not processes_with(mark)


def test_a_started_grandchild_is_seen_by_this_test(sandbox: Sandbox) -> None:
    """The two tests above look for a mark: here it is found while the process lives."""
    process = subprocess.Popen(["sleep", "7654321.5"])
    try:
        assert processes_with("7654321.5") == [str(process.pid)]
    finally:
        process.kill()
        process.wait()
    assert sandbox.run("").verdict == Verdict.PASSED


def test_files_go_to_a_private_directory_that_is_removed(sandbox: Sandbox) -> None:
    before = sorted(Path.cwd().iterdir())
    home = Path(sandbox._home.name)
    program = (
        "import os, tempfile\n"
        "assert os.listdir() == []\n"
        "open('left.txt', 'w').write('x')\n"
        "assert tempfile.gettempdir() == os.getcwd() == os.environ['HOME']\n"
        "os.mkdir('locked'); open('locked/x', 'w').close(); os.chmod('locked', 0); os.chmod('.', 0)\n"
    )
    outcome = sandbox.run(program)
    assert outcome.verdict == Verdict.PASSED, outcome
    assert list(home.iterdir()) == []
    assert sorted(Path.cwd().iterdir()) == before


def test_environment_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_SECRET", "x")
    with Sandbox(Limits(TIMEOUT)) as fresh:
        outcome = fresh.run(
            "import os\nassert not [k for k in os.environ if 'SECRET' in k or 'TOKEN' in k or k == 'USER'], os.environ"
        )
    assert outcome.verdict == Verdict.PASSED, outcome


def test_order_of_sets_is_the_same_in_every_sandbox() -> None:
    def order() -> str:
        with Sandbox(Limits(TIMEOUT)) as sandbox:
            return sandbox.run("raise ValueError(list({'a', 'b', 'c', 'd', 'e'}))").error

    assert order() == order()


def test_state_does_not_pass_from_one_program_to_the_next(sandbox: Sandbox) -> None:
    assert sandbox.run("import math\nmath.pi = 3\nimport builtins\nbuiltins.len = None").verdict == Verdict.PASSED
    assert sandbox.run("import math\nassert math.pi > 3 and len('ab') == 2").verdict == Verdict.PASSED


def test_dataclasses_threads_and_subprocesses_work(sandbox: Sandbox) -> None:
    program = (
        "from __future__ import annotations\n"
        "import dataclasses, pickle, subprocess, sys, threading\n"
        "@dataclasses.dataclass\nclass P:\n    x: int\n"
        "assert pickle.loads(pickle.dumps(P(1))) == P(1)\n"
        "threads = [threading.Thread(target=int) for _ in range(16)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]\n"
        "assert subprocess.run(['echo', 'a'], capture_output=True, text=True).stdout == 'a\\n'\n"
    )
    outcome = sandbox.run(program)
    assert outcome.verdict == Verdict.PASSED, outcome


def test_main_block_is_not_run(sandbox: Sandbox) -> None:
    assert sandbox.run("if __name__ == '__main__':\n    raise SystemExit").verdict == Verdict.PASSED


def test_a_killed_helper_is_replaced_and_the_program_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    with Sandbox(Limits(TIMEOUT)) as sandbox:
        first = sandbox._process
        exchange = sandbox._exchange

        def kill_then_exchange(body: bytes) -> dict[str, object]:
            monkeypatch.setattr(sandbox, "_exchange", exchange)
            first.kill()
            first.wait()
            return exchange(body)

        monkeypatch.setattr(sandbox, "_exchange", kill_then_exchange)
        outcome: Outcome = sandbox.run("import time\ntime.sleep(1)")
        assert outcome.verdict == Verdict.KILLED
        assert sandbox.run("assert True").verdict == Verdict.PASSED


def test_closing_leaves_no_helper_and_no_directory() -> None:
    sandbox = Sandbox(Limits(TIMEOUT))
    home = sandbox._home.name
    assert processes_with(home)
    sandbox.close()
    assert not processes_with(home)
    assert not Path(home).exists()


LESS = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("fork_server", {path!r})
server = importlib.util.module_from_spec(spec)
spec.loader.exec_module(server)
server.LIBC.unshare = lambda flags: -1
{more}
server.main()
"""


@pytest.mark.parametrize("more", ["", "server.find_user = lambda: None"], ids=["no namespaces", "no namespaces, no other user"])
def test_with_fewer_walls_descendants_are_killed_and_the_missing_walls_are_named(
    more: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "less.py"
    script.write_text(LESS.format(path=str(sandbox_module.FORK_SERVER), more=more))
    monkeypatch.setattr(sandbox_module, "FORK_SERVER", script)
    mark = "7654321.75"
    program = (
        "import os, subprocess\n"
        f"for _ in range(3): subprocess.Popen(['sleep', '{mark}'], start_new_session=True)\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        f"    if os.fork() == 0: os.execvp('sleep', ['sleep', '{mark}'])\n"
        "    os._exit(0)\n"
    )
    with Sandbox(Limits(TIMEOUT)) as sandbox:
        if more or os.geteuid() != 0:
            assert [wall.split(":")[0] for wall in sandbox.missing] == ["user", "process limit", "processes"]
        assert sandbox.run(program).verdict == Verdict.PASSED
        assert not processes_with(mark)
        assert sandbox.run("import os\nos._exit(0)").verdict == Verdict.EXCEPTION
        assert sandbox.run("while True: pass").verdict == Verdict.TIMEOUT
        assert sandbox.run("assert True").verdict == Verdict.PASSED


def test_a_failure_to_set_the_limits_is_the_harness_s_and_no_program_can_feign_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox
) -> None:
    feign = (
        "import os\n"
        "for n in range(3, 128):\n"
        '    try: os.write(n, b\'{"verdict": "harness_error"}\')\n'
        "    except OSError: pass\n"
        "os._exit(1)\n"
    )
    assert sandbox.run(feign).verdict == Verdict.EXCEPTION
    script = tmp_path / "broken.py"
    broken = "def confine(*_): raise OSError('no limits')\nserver.confine = confine"
    script.write_text(LESS.format(path=str(sandbox_module.FORK_SERVER), more=broken))
    monkeypatch.setattr(sandbox_module, "FORK_SERVER", script)
    with Sandbox(Limits(TIMEOUT)) as other:
        outcome = other.run("assert True")
    assert outcome.verdict == Verdict.HARNESS_ERROR
    assert "no limits" in outcome.error


def test_a_helper_that_does_not_start_is_an_error_of_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox_module, "FORK_SERVER", tmp_path / "none.py")
    with pytest.raises(CodeBlockError, match="the sandbox helper does not start"):
        Sandbox(Limits(TIMEOUT))
