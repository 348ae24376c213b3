"""What isolates model-written programs from the machine. Built once by the helper, which forks a child for each program.

`build_isolation` moves the helper into namespaces of its own (bubblewrap has done so where it is there), so that a program
costs a fork, its limits and a fresh scratch. Each layer is tried by itself; `Isolation.missing` names those that this machine
refuses, and what a program can do for want of each.

Holds everywhere: CPU seconds, address space, stack, open files, and size of a file are limited for each process; no core
dumps; all capabilities given up, for good; the helper's memory cannot be read; every descendant is killed that the helper
can find, also one in a session of its own.

Holds where the machine allows it:
- files: an own root with Python and the system's libraries, read-only; no home directories, no lists of users, no data of
  the grader, no other process in /proc. Elsewhere Landlock, which hides contents but not names. Elsewhere neither.
  With Landlock alone /tmp and /dev/shm are closed too: `multiprocessing`'s locks and pools then fail.
- disk: the scratch is a file system of limited bytes and files, in memory, made anew for each program.
- user: another user than the grader's; as the same user inside own namespaces a program finds nothing of that user's.
- processes: a namespace of its own, whose first process is the helper: it cannot be signalled, and kills all in one call.
- process limit: at most 64 processes and threads.
- network: none but a loopback of its own; without a namespace no sockets at all, by the filter of system calls.
- system calls: those that reach other processes, mounts, namespaces and rarely used parts of the kernel fail.

Memory over all processes of a program is what a helper makes of `Isolation.use` while it waits. What could be held without
being seen there is refused: files in memory, System V's shared memory, huge pages, larger socket buffers, asynchronous I/O,
`vmsplice`. What is left: about 100 MiB in pipes, kernel objects behind at most 128 open files of each process, and what is held
for less than the helper's interval.

Not covered: side channels; faults of the kernel itself.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # what `signal` wraps in enumerations, which each child would have to copy
import contextlib
import os
import signal
import sys
import time
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from codeblock.sandbox import kernel
from codeblock.sandbox.credentials import find_user
from codeblock.sandbox.landlock import Landlock, restrict
from codeblock.sandbox.limits import can_count_processes, own_limits, set_common_limits
from codeblock.sandbox.namespaces import FLAGS, enter_namespaces, in_fork, succeeds
from codeblock.sandbox.paths import python_paths, scratch_base, visible_paths
from codeblock.sandbox.rootfs import Scratch, enter_root
from codeblock.sandbox.seccomp import build_filter
from codeblock.sandbox.usage import (
    children,
    cpu_seconds_of,
    held_kb,
    is_childless,
    is_newest,
    process_ids,
    shared_kb,
    shares_memory,
    sockets_kb,
)

LAYERS = (*FLAGS, "user", "system calls", "landlock")
"""What `build_isolation` can be told to leave out, for tests."""
CLEANUP_SECONDS = 10.0
SHARED_KB = 16 << 10
"""So much of growth of shared memory is looked into."""


def build_isolation(
    inside_bwrap: bool = False, visible: Sequence[Path] = (), home: Path | None = None, without: Collection[str] = ()
) -> Isolation:
    """Build what this machine allows. Once, in the helper, at its start, with one thread and standard streams alone.

    inside_bwrap: it was started by `launch.command` with bubblewrap.
    visible: files and directories, besides Python and the system, that stay readable; read-only.
    home: a directory of this helper's own for scratch where no file system can be mounted, for the caller to remove;
        made among the system's temporary files where it is not given.
    without: names of LAYERS to leave out, for tests.

    Where a process namespace is made this returns in a child of the calling process, which ends as the child ends.
    Raises RuntimeError where `inside_bwrap` is not so.
    """
    if inside_bwrap and os.getpid() != 1:
        raise RuntimeError("the sandbox's own process is not the first of its namespace: launch.command has not started it")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a program of the same user could send it
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")  # when memory runs out, this goes before the grader
    set_common_limits()
    paths = visible_paths([*python_paths(), *(str(path) for path in visible)])
    entered = set(FLAGS) if inside_bwrap else enter_namespaces(set(FLAGS).difference(without))
    own_root = inside_bwrap or ("files" in entered and succeeds(lambda: enter_root(paths, "processes" in entered)))
    if own_root:
        base = Path(scratch_base(paths))
    else:
        base = home or temporary_directory()
        base.chmod(0o711)  # the programs' user passes through to its own directory
    return Isolation(paths, entered, own_root, Scratch(base, "files" in entered), without)


def temporary_directory() -> Path:
    """A new directory among the system's temporary files."""
    import tempfile  # brings `random`, whose reseeding makes each fork slower

    return Path(tempfile.mkdtemp(prefix="codeblock-grade-"))


class Confinement(NamedTuple):
    """What confines one program."""

    scratch: Path
    steps: Sequence[kernel.SetupStep]
    parent: int
    """The helper's process id."""


class Isolation:
    """What this machine allows, and what is done with it for each program."""

    def __init__(
        self, paths: Sequence[str], entered: Collection[str], own_root: bool, scratch: Scratch, without: Collection[str]
    ) -> None:
        self._entered = entered
        self._own_root = own_root
        self._scratch = scratch
        self._work: Path | None = None
        self._shared_kb = 0
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
        self._user = None if "user" in without else find_user(paths)
        self._own_count = self._user is not None or (bool(entered) and can_count_processes())
        self._filter: kernel.SockFprog | None = None
        self._landlock: Landlock | None = None
        if "landlock" not in without and not (own_root and "processes" in entered):
            with contextlib.suppress(OSError):
                self._landlock = Landlock(paths, "network" in entered)
        if not self._can_confine():
            self._landlock = None
        if "system calls" not in without:
            instructions = build_filter(os.getpid(), "network" in entered)
            self._filter = None if instructions is None else kernel.as_program(instructions)
        if not self._can_confine():
            self._filter = None
        # A process of the same user could otherwise read this one's memory, or stop it with a debugger's calls.
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)

    def missing(self) -> list[str]:
        """The layers that cannot be built here, each as "layer: what a program can do without it"."""
        found = {
            "files": self._without_files(),
            "disk": "" if self._scratch.mounted else "a program can fill the file system of the scratch directory",
            "user": self._without_user(),
            "processes": self._without_processes(),
            "process limit": "" if self._own_count else "a program can start any number of processes",
        }
        if self._filter is None:
            found["system calls"] = "a program can use every call of the kernel that its user may"
            if "network" not in self._entered:
                found["network"] = "a program can open connections"
            if "ipc" not in self._entered:
                found["ipc"] = "a program can leave shared memory and messages behind"
        return [f"{layer}: {consequence}" for layer, consequence in found.items() if consequence]

    def prepare(self, timeout_seconds: float, memory_mb: int) -> Confinement:
        """What confines the next program, with an empty directory that it owns. Before the fork.

        memory_mb: address space (MiB) of each process.
        """
        self._shared_kb = shared_kb()
        self._work = self._scratch.new(None if self._user is None else self._user.uid)
        for key in ("HOME", "TMPDIR", "PWD"):
            os.environ[key] = str(self._work)
        if (tempfile := sys.modules.get("tempfile")) is not None:
            vars(tempfile)["tempdir"] = None  # forget where the helper keeps its own
        steps: list[kernel.SetupStep] = [
            (os.setsid, ()),
            (_signal.signal, (signal.SIGCHLD, _signal.SIG_DFL)),
            (_signal.signal, (signal.SIGINT, signal.default_int_handler)),
            *own_limits(timeout_seconds, memory_mb, self._own_count),
            *self._privileges(),
            (os.chdir, (str(self._work),)),
            kernel.prctl_step(kernel.PR_SET_PDEATHSIG, signal.SIGKILL),  # after the change of user, which clears it
        ]
        return Confinement(self._work, steps, os.getpid())

    def confine(self, confinement: Confinement) -> None:
        """Isolate this process, for good. In the forked child, which may close descriptors before or after.

        New session, the scratch as working directory, limits, another user, no capabilities, no new ones, death with the
        helper, filters. Raises OSError where the kernel refuses: the program must not run then.
        """
        signal.set_wakeup_fd(-1)
        self._shed(confinement.steps, confinement.scratch)
        if os.getppid() != confinement.parent:
            os._exit(1)

    def is_alone(self, pid: int) -> bool:
        """Whether the program is still the one process, with one thread, that `confine` was called in."""
        return is_newest(pid) if "processes" in self._entered else is_childless(pid)

    def use(self) -> tuple[int, float]:
        """Memory (MiB) that the program's processes hold now, and the CPU seconds of those that are there, with ended children.

        Memory: of each what belongs to no file, less what it has from here; all files of the scratch, mapped or not; what its
        sockets hold; and, where it shares memory without a file, all by which such memory has grown on this machine since the
        program began: it stays where no process is seen to hold it. (0, 0) without a namespace of processes, or /proc in it.
        """
        if "processes" not in self._entered:
            return 0, 0.0
        own = held_kb(os.getpid())
        others = [pid for pid in process_ids() if pid != os.getpid()]
        scratch_kb = self._scratch.used_kb()
        shared = shared_kb() - self._shared_kb - scratch_kb
        if shared <= SHARED_KB or not any(map(shares_memory, others)):
            shared = 0
        sockets = sockets_kb() if "network" in self._entered else 0
        held = sum(max(held_kb(pid) - own, 0) for pid in others) + scratch_kb + shared + sockets
        return held >> 10, sum(map(cpu_seconds_of, others))

    def kill_rest(self) -> int:
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
            self._kill_all()
            time.sleep(0.0005)

    def clean(self) -> None:
        """Remove all files of the last program. After `kill_rest`."""
        if self._work is not None:
            self._scratch.clean(self._work)
            self._work = None

    def _kill_all(self) -> None:
        if "processes" in self._entered:
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)  # all of the namespace in one call, which no fork can outrun
        elif self._user is not None:
            in_fork(self._user.kill_all)
        else:
            for pid in children():
                for kill in (os.kill, os.killpg):  # the group does not exist before the child has made it
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        kill(pid, signal.SIGKILL)

    def _can_confine(self) -> bool:
        """Whether the kernel accepts the layers that are chosen so far."""
        return in_fork(partial(self._shed, self._privileges(), self._scratch.base))

    def _privileges(self) -> list[kernel.SetupStep]:
        """The steps that give up privileges."""
        # Without a user: root's capabilities, or those that come with a user namespace.
        given_up = [kernel.capabilities_step(0)] if self._user is None else self._user.steps()
        seen = kernel.prctl_step(kernel.PR_SET_DUMPABLE, 1)  # the program may look at itself in /proc
        return [*given_up, kernel.prctl_step(kernel.PR_SET_NO_NEW_PRIVS, 1), seen]

    def _shed(self, steps: Sequence[kernel.SetupStep], scratch: Path) -> None:
        """Carry out steps, and bind this process to the filters: there is no way back."""
        rules = None if self._landlock is None else self._landlock.rules(scratch)
        kernel.take(steps)
        if rules is not None:
            restrict(rules)
        if self._filter is not None:
            kernel.take([kernel.filter_step(self._filter)])

    def _without_files(self) -> str:
        if self._own_root:
            return ""
        if self._landlock is not None:
            alone = "a program can ask for the names, sizes and owners of files, but not open them"
            return alone if self._user is not None else f"{alone}; and change the permissions of those of the grader's user"
        if self._user is not None:
            readers = "root" if self._user.reads_all else "everyone"  # root: this Python lies where nobody else may read
            return f"a program can read what {readers} may read, and write and leave files where everyone may, such as /tmp"
        return "a program can read and write what the grader's user may"

    def _without_user(self) -> str:
        if self._user is not None or (self._own_root and "processes" in self._entered):
            return "" if os.geteuid() != 0 or self._user is not None else "programs run as root, without its capabilities"
        return "programs run as the grader's own user"

    def _without_processes(self) -> str:
        if "processes" in self._entered or self._user is not None:
            hidden = self._own_root or self._landlock is not None
            return "" if hidden else "a program can see the command lines of all processes"
        quiet = self._landlock is not None and self._landlock.blocks_signals
        return "a program can fork faster than it is killed" + ("" if quiet else ", and can signal the grader")
