"""The helper process that runs programs for `sandbox.py`: one clean, single-threaded Python that forks a child for each.

Run as a script with one argument, the directory for scratch, and with the standard library alone. Requests come on stdin,
answers go to stdout, both as a length of four bytes and JSON. A fork of this small process costs far less than a new
interpreter, and modules that solutions often import are loaded already.

Life of a program: fork; in the child a new session, closed files, an empty environment, a private directory, limits,
another user (where the helper is root); run; report; exit. The helper waits for the child's end or the time limit and
then kills every descendant. Where the machine allows, the helper is the first process of a process namespace: it sees
none but its programs' processes, kills them in one call, and they die with it. Elsewhere it is their subreaper.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import math
import os
import resource
import select
import shutil
import signal
import struct
import sys
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

PRELOADED = (
    "abc bisect collections copy dataclasses datetime decimal enum fractions functools hashlib heapq itertools json math "
    "operator random re statistics string threading typing unittest"
)
"""Modules of the standard library that solutions and tests often import."""

FIRST_UID = 0x70000000
"""Start of a range of user ids that no system hands out (systemd's UIDS-GIDS table); the helper's process id is added."""

MAX_PROCESSES = 64
MAX_OPEN_FILES = 128
MAX_FILE_BYTES = 64 << 20
MAX_REPORT_BYTES = 4096
MAX_ERROR_CHARS = 300
CLEANUP_SECONDS = 10.0
READY = b"ready "

PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 8, 36, 38
CAPABILITY_VERSION_3, CAP_DAC_READ_SEARCH = 0x20080522, 2
CLONE_NEWUSER, CLONE_NEWPID = 0x10000000, 0x20000000
FAILURES = ("wrong_answer", "exception", "syntax_error", "out_of_memory")
LIBC = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Answer requests until stdin ends."""
    for name in PRELOADED.split():
        __import__(name)
    home, walls = Path(sys.argv[1]), build_walls()
    wakeup, wakeup_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakeup_end, warn_on_full_buffer=False)
    gc.collect()
    gc.freeze()
    try:
        send({"missing": walls.missing()})
        while (request := receive()) is not None:
            send(run(request, walls, home, wakeup))
    except BrokenPipeError:
        pass  # the grader is gone
    finally:
        remove(home)


def receive() -> dict[str, Any] | None:
    """The next request, or None at the end of the input."""
    head = read_exactly(4)
    if head is None:
        return None
    body = read_exactly(struct.unpack("<I", head)[0])
    return None if body is None else json.loads(body)


def read_exactly(count: int) -> bytes | None:
    data = bytearray()
    while len(data) < count:
        piece = os.read(0, count - len(data))
        if not piece:
            return None
        data += piece
    return bytes(data)


def send(answer: dict[str, Any]) -> None:
    body = json.dumps(answer).encode()
    data = memoryview(struct.pack("<I", len(body)) + body)
    while data:
        data = data[os.write(1, data) :]


# --- what keeps programs from the rest of the machine --------------------------------------------------------------------


class User(NamedTuple):
    """The user that programs run as, where the helper is root."""

    uid: int
    reads_all: bool
    """Keeps the right to read every file: this Python lies where only root may read."""

    def become(self) -> None:
        """Give up root for this user, for good."""
        os.setgroups([])
        os.setgid(self.uid)
        if self.reads_all:
            LIBC.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
        os.setuid(self.uid)
        if self.reads_all:
            set_capabilities(1 << CAP_DAC_READ_SEARCH)

    def can_run_python(self) -> None:
        """Raise OSError where this user may not be, or cannot read the standard library."""
        self.become()
        Path(os.__file__).read_bytes()

    def kill_all(self) -> None:
        """Kill every process of this user, in one call."""
        self.become()
        os.kill(-1, signal.SIGKILL)


class Walls(NamedTuple):
    """What this machine allows."""

    user: User | None
    """Programs run as this user; None: as the helper's own."""
    own_count: bool
    """The kernel counts the programs' processes apart from others: they can be limited."""
    own_processes: bool
    """The helper is the first process of a process namespace."""

    def missing(self) -> list[str]:
        """The walls that cannot be built here, for the report."""
        found = []
        if self.user is None:
            found.append("user: programs run as the grader's own user and can write its files")
        elif self.user.reads_all:
            found.append("file reads: programs read every file, because only root can read this Python")
        if not self.own_count:
            found.append("process limit: a program can start any number of processes")
        if self.user is None and not self.own_processes:
            found.append("processes: a program can signal the grader, and fork faster than it is killed")
        return found


def build_walls() -> Walls:
    """Find another user, and move into namespaces, as far as this machine allows."""
    root, user = os.geteuid() == 0, find_user()
    own_processes = LIBC.unshare(CLONE_NEWPID if root else CLONE_NEWPID | CLONE_NEWUSER) == 0
    # A user namespace of its own has its own count of processes; root is exempt from the limit.
    own_count = user is not None or (not root and (own_processes or LIBC.unshare(CLONE_NEWUSER) == 0))
    if own_processes:
        pid = os.fork()
        if pid:  # stay outside and end as the helper ends
            os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 0xFF)
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        # The first process of its namespace has the id 1. Were it not so, killing "all" would reach the whole machine.
        own_processes = os.getpid() == 1
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    return Walls(user, own_count, own_processes)


def find_user() -> User | None:
    """A user of this helper's own, who can read the standard library; None where the helper is not root or may not change."""
    if os.geteuid() == 0:
        for user in (User(FIRST_UID + os.getpid(), False), User(FIRST_UID + os.getpid(), True)):
            if in_fork(user.can_run_python):
                return user
    return None


def set_capabilities(mask: int) -> None:
    """Give up all capabilities but these, for good."""
    header, sets = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0), (ctypes.c_uint32 * 6)(mask, mask)
    if LIBC.capset(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capabilities cannot be given up")


def in_fork(action: Callable[[], object]) -> bool:
    """Whether an action succeeds, tried in a child."""
    pid = os.fork()
    if pid == 0:
        status = 1
        with contextlib.suppress(BaseException):
            action()
            status = 0
        os._exit(status)
    return os.waitpid(pid, 0)[1] == 0


# --- one program ----------------------------------------------------------------------------------------------------------


def run(request: dict[str, Any], walls: Walls, home: Path, wakeup: int) -> dict[str, Any]:
    """Run one program to its end or its limit; leave no process and no file of it behind."""
    scratch = Path(tempfile.mkdtemp(dir=home))
    if walls.user is not None:
        os.chown(scratch, walls.user.uid, walls.user.uid)
    report_in, report_out = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    token_in, token_out = os.pipe2(os.O_CLOEXEC)
    started = time.monotonic()
    pid = os.fork()
    if pid == 0:
        child(request, walls, scratch, report_out, token_in)
    # Made after the fork, so that no copy of it lies in the child's memory.
    token = os.urandom(16).hex().encode()
    os.write(token_out, token)
    timed_out, status, usage = wait(pid, started + request["timeout_seconds"], wakeup)
    seconds = time.monotonic() - started
    left = kill_descendants(walls)
    # No waiting for the pipe's end: a grandchild may hold it.
    report = b""
    with contextlib.suppress(BlockingIOError):
        report = os.read(report_in, MAX_REPORT_BYTES)
    for descriptor in (report_in, report_out, token_in, token_out):
        os.close(descriptor)
    remove(scratch)
    ready, report = report.startswith(READY), report.removeprefix(READY)
    if left:
        verdict, error = "killed", f"{left} processes of the program could not be killed"
    elif timed_out:
        verdict, error = "timeout", f"no end after {request['timeout_seconds']:g} s"
    elif not ready:
        verdict, error = "harness_error", f"the limits could not be set ({report.decode(errors='replace')})"
    else:
        verdict, error = judge(status, usage.ru_utime + usage.ru_stime, cpu_seconds(request), report, token)
    return {"verdict": verdict, "seconds": seconds, "error": error}


def wait(pid: int, deadline: float, wakeup: int) -> tuple[bool, int, resource.struct_rusage]:
    """Wait for the child's end; at the deadline, or where the grader is gone, kill its session."""
    while True:
        done, status, usage = os.wait4(pid, os.WNOHANG)
        if done:
            return False, status, usage
        left = deadline - time.monotonic()
        ready = select.select([wakeup, 0], [], [], max(left, 0))[0]
        if wakeup in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(wakeup, 4096)
        if 0 in ready or left <= 0:
            kill_session(pid)
            _, status, usage = os.wait4(pid, 0)
            return True, status, usage


def kill_session(pid: int) -> None:
    for kill in (os.kill, os.killpg):  # the group does not exist before the child has made it
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)


def kill_descendants(walls: Walls) -> int:
    """Kill and reap all that the program left running; the number of processes that would not die."""
    deadline = time.monotonic() + CLEANUP_SECONDS
    while True:
        try:
            reaped, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return 0
        if reaped:
            continue
        if time.monotonic() > deadline:
            return len(children())
        if walls.own_processes:
            os.kill(-1, signal.SIGKILL)  # all processes of the namespace in one call, which no fork can outrun
        elif walls.user is not None:
            in_fork(walls.user.kill_all)
        else:
            for pid in children():
                kill_session(pid)
        time.sleep(0.001)


def children() -> list[int]:
    """Process ids of the children of this process."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
                if int(fields[1]) == os.getpid():
                    found.append(int(entry.name))
    return found


def judge(status: int, cpu: float, cpu_limit: int, report: bytes, token: bytes) -> tuple[str, str]:
    """The verdict on a program that ended by itself."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number == signal.SIGXCPU or (number == signal.SIGKILL and cpu >= cpu_limit):
            return "timeout", f"more than {cpu_limit} s of CPU time"
        return "killed", f"killed by {signal.Signals(number).name if number in list(signal.Signals) else number}"
    if report == b"passed " + token:
        return "passed", ""
    with contextlib.suppress(ValueError, TypeError, KeyError):
        failure = json.loads(report)
        if failure["verdict"] in FAILURES:
            return failure["verdict"], str(failure["error"])[:MAX_ERROR_CHARS]
    return "exception", f"exit with code {os.WEXITSTATUS(status)} before the tests ended"


def remove(directory: Path) -> None:
    """Remove a directory, also where the program took permissions away."""
    try:
        shutil.rmtree(directory)
    except FileNotFoundError:
        return
    except OSError:
        directory.chmod(0o700)
        for parent, names, _ in os.walk(directory):
            for path in (Path(parent, name) for name in names):
                if not path.is_symlink():
                    path.chmod(0o700)
        shutil.rmtree(directory, ignore_errors=True)


# --- inside the child -----------------------------------------------------------------------------------------------------


def cpu_seconds(request: dict[str, Any]) -> int:
    return math.ceil(float(request["timeout_seconds"])) + 1


def child(request: dict[str, Any], walls: Walls, scratch: Path, report: int, token: int) -> NoReturn:
    """Close everything, set the limits, run the program, report. Never returns."""
    # Bound here: a program that replaces functions of `os` must not change how its end is reported.
    leave, read, write, this_process, pid = os._exit, os.read, os.write, os.getpid, os.getpid()
    try:
        report, token = close_files(report, token)
        confine(request, walls, scratch)
        write(report, READY)  # sent before the program runs, so no program can feign a failure of the harness
    except BaseException as error:
        write(report, repr(error).encode())
        leave(1)
    out_of_memory = json.dumps({"verdict": "out_of_memory", "error": "MemoryError"}).encode()
    try:
        try:
            answer = execute(request["program"])
        except MemoryError:
            answer = out_of_memory
        if this_process() == pid:  # a fork of the program runs on to here as well
            write(report, b"passed " + read(token, 64) if answer is None else answer)
    finally:
        leave(0)


def close_files(report: int, token: int) -> tuple[int, int]:
    """Point the standard streams at /dev/null, move the two pipes to numbers that are not known beforehand, close the rest."""
    null = os.open("/dev/null", os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor)
    first, second = (32 + os.urandom(1)[0] % 32, 80 + os.urandom(1)[0] % 32)
    os.dup2(report, first, inheritable=False)
    os.dup2(token, second, inheritable=False)
    os.closerange(3, first)
    os.closerange(first + 1, second)
    os.closerange(second + 1, 1024)
    return first, second


def confine(request: dict[str, Any], walls: Walls, scratch: Path) -> None:
    """New session, private directory, limits, another user, death with the helper."""
    parent = os.getppid()
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.chdir(scratch)
    for key in ("HOME", "TMPDIR", "PWD"):
        os.environ[key] = str(scratch)
    bound = cpu_seconds(request)
    limit(resource.RLIMIT_CPU, bound, bound + 1)
    limit(resource.RLIMIT_AS, request["memory_mb"] << 20)
    limit(resource.RLIMIT_FSIZE, MAX_FILE_BYTES)
    limit(resource.RLIMIT_NOFILE, MAX_OPEN_FILES)
    limit(resource.RLIMIT_CORE, 0)
    if walls.own_count:
        limit(resource.RLIMIT_NPROC, MAX_PROCESSES)
    if walls.user is not None:
        walls.user.become()
    elif os.geteuid() != 0:
        set_capabilities(0)  # those that a new user namespace gives
    LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # after the change of user, which clears it
    if os.getppid() != parent:
        os._exit(1)


def limit(kind: int, soft: int, hard: int | None = None) -> None:
    """Lower one limit; a lower one that the machine has already set stays."""
    ceiling = resource.getrlimit(kind)[1]
    hard = soft if hard is None else hard
    if ceiling != resource.RLIM_INFINITY:
        soft, hard = min(soft, ceiling), min(hard, ceiling)
    resource.setrlimit(kind, (soft, hard))


def execute(program: str) -> bytes | None:
    """Run a program to its last line; None, or the failure as JSON. MemoryError passes through."""
    module = types.ModuleType("program")
    # A module that can be found by its name: dataclasses and pickle look it up.
    sys.modules["program"] = sys.modules["__main__"] = module
    sys.argv = ["program"]
    try:
        code = compile(program, "<program>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, OverflowError) as error:
        return failure("syntax_error", error)
    try:
        exec(code, module.__dict__)
    except MemoryError:
        raise
    except AssertionError as error:
        return failure("wrong_answer", error)
    except BaseException as error:
        return failure("exception", error)
    return None


def failure(verdict: str, error: BaseException) -> bytes:
    """What the helper is told: the verdict, the error's text and the program's line."""
    try:
        text = str(error)[:MAX_ERROR_CHARS]
    except MemoryError:
        raise
    except BaseException:
        text = "(its text raised an error)"
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<program>":
            line = trace.tb_lineno
        trace = trace.tb_next
    place = "" if line is None else f" (line {line})"
    described = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return json.dumps({"verdict": verdict, "error": (described + place)[:MAX_ERROR_CHARS]}).encode()


if __name__ == "__main__":
    main()
