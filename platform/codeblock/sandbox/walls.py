"""The walls between model-written programs and the machine: another user, namespaces, limits, and the killing of what is left.

Standard library alone: this runs in the helper process that forks a child for each program.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import resource
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

FIRST_UID = 0x70000000
"""Start of a range of user ids that no system hands out (systemd's UIDS-GIDS table); the helper's process id is added."""

MAX_PROCESSES = 64
MAX_OPEN_FILES = 128
MAX_FILE_BYTES = 64 << 20
CLEANUP_SECONDS = 10.0

PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 8, 36, 38
CAPABILITY_VERSION_3, CAP_DAC_READ_SEARCH = 0x20080522, 2
CLONE_NEWUSER, CLONE_NEWPID = 0x10000000, 0x20000000
LIBC = ctypes.CDLL(None, use_errno=True)


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

    def new_scratch(self) -> Path:
        import tempfile

        d = Path(tempfile.mkdtemp(prefix="cbx-"))
        if self.user is not None:
            os.chown(d, self.user.uid, self.user.uid)
        global _D
        _D = d
        return d

    def confine(self, scratch: Path, *, timeout_seconds: float, memory_mb: int) -> None:
        confine({"timeout_seconds": timeout_seconds, "memory_mb": memory_mb}, self, scratch)

    def kill_rest(self) -> int:
        return kill_descendants(self)

    def clean(self) -> None:
        remove(_D)

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


# --- in the forked child ------------------------------------------------------------------------------------------


def cpu_seconds(timeout_seconds: float) -> int:
    return math.ceil(timeout_seconds) + 1


def confine(request: dict[str, Any], walls: Walls, scratch: Path) -> None:
    """New session, private directory, limits, another user, death with the helper."""
    parent = os.getppid()
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.chdir(scratch)
    for key in ("HOME", "TMPDIR", "PWD"):
        os.environ[key] = str(scratch)
    bound = cpu_seconds(request["timeout_seconds"])
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


# --- after a program ------------------------------------------------------------------------------------------


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
