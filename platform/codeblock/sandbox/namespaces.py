"""Leaving the machine's namespaces for new ones, each by itself, as far as the kernel lets this user."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import struct
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

from codeblock.sandbox import kernel

FLAGS = {
    "ipc": kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS,
    "network": kernel.CLONE_NEWNET,
    "files": kernel.CLONE_NEWNS,
    "processes": kernel.CLONE_NEWPID,
}
"""Layers that are namespaces."""
NOBODY = 65534
SIOCSIFFLAGS, IFF_UP = 0x8914, 1


def enter_namespaces(wanted: Collection[str]) -> set[str]:
    """Enter those of FLAGS that are wanted and can be had; the names of those entered. For a process with one thread.

    With "processes" among them this returns in a child, the first process of the new namespace; the caller's own process
    stays outside and ends as the child ends.
    """
    if not wanted:
        return set()
    if not in_fork(partial(kernel.unshare, kernel.CLONE_NEWNS)):
        if not in_fork(use_user_namespace):
            return set()
        enter_user_namespace()
    entered = {name for name, flags in FLAGS.items() if name in wanted and succeeds(partial(kernel.unshare, flags))}
    if "network" in entered:
        with contextlib.suppress(OSError):
            start_loopback()
    if "processes" in entered:
        become_first()
    return entered


def enter_user_namespace() -> None:
    """Have all capabilities, over what is made from now on. This user keeps its number; root becomes nobody."""
    user, group = os.geteuid(), os.getegid()
    kernel.unshare(kernel.CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user or NOBODY} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group or NOBODY} {group} 1")


def use_user_namespace() -> None:
    """A trial of the whole: some systems let a user make such a namespace and then allow nothing in it."""
    enter_user_namespace()
    kernel.unshare(kernel.CLONE_NEWNS)


def become_first() -> None:
    """Go on in a child, which has the process id 1; the parent waits for its end."""
    child = os.fork()
    if child:
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 0xFF)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getpid() != 1:  # killing "all" would reach the whole machine
        raise RuntimeError("the sandbox's own process is not the first of its namespace")


def start_loopback() -> None:
    """Let programs talk to themselves, which a few solutions do."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))


def succeeds(action: Callable[[], object]) -> bool:
    try:
        action()
    except OSError:
        return False
    return True


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
