"""The Linux calls that Python's standard library does not offer. Each raises OSError where the kernel says no."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterable
from typing import Any

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_NOSUID, MS_NODEV, MS_NOEXEC = 2, 4, 8
MS_BIND, MS_REC, MS_SLAVE = 1 << 12, 1 << 14, 1 << 19
MNT_DETACH = 2
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, AT_RECURSIVE, AT_FDCWD = 1, 2, 0x8000, -100
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_KEEPCAPS, PR_SET_SECCOMP = 1, 4, 8, 22
PR_CAPBSET_DROP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 24, 36, 38
SECCOMP_MODE_FILTER = 2
CAP_DAC_READ_SEARCH = 2
CAPABILITY_VERSION_3 = 0x20080522
SYS_MOUNT_SETATTR = 442  # the same on every architecture, as all calls since 5.1
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}

SetupStep = tuple[Callable[..., object], tuple[Any, ...]]
"""A call with its arguments; it raises OSError where it fails, or returns -1."""

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]
LIBC.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]


class SockFprog(ctypes.Structure):
    """struct sock_fprog: a BPF program."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


class MountAttr(ctypes.Structure):
    """struct mount_attr."""

    _fields_ = tuple((name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns"))


def check(result: int, what: str) -> None:
    """Raise OSError where a call returned -1."""
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def take(steps: Iterable[SetupStep]) -> None:
    """Carry out calls that were prepared before a fork: so a child touches little of the memory that it would have to copy."""
    for function, arguments in steps:
        if function(*arguments) == -1:
            check(-1, function.__name__)


def unshare(flags: int) -> None:
    """Move this process (for CLONE_NEWPID: its next child) into new namespaces."""
    check(LIBC.unshare(flags), "unshare")


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """mount(2)."""
    name = None if kind is None else kind.encode()
    check(LIBC.mount(source.encode(), target.encode(), name, flags, options.encode() or None), f"mount {target}")


def unmount(target: str) -> None:
    """Take a mount away from here, at once, also where it is still in use."""
    check(LIBC.umount2(target.encode(), MNT_DETACH), f"unmount {target}")


def make_read_only(target: str, recursive: bool) -> None:
    """Make a mount, and those below it, read-only and without setuid programs (Linux 5.12)."""
    attributes = MountAttr(MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID)
    flags = AT_RECURSIVE if recursive else 0
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    call = (ctypes.c_long(SYS_MOUNT_SETATTR), AT_FDCWD, target.encode(), flags, ctypes.byref(attributes), size)
    check(LIBC.syscall(*call), f"read-only {target}")


def pivot_root(root: str) -> None:
    """Make a mount the root of this process's file system and drop the old one."""
    os.chdir(root)
    # Where both are the same place the old root lies on top of the new one: unmounting "." drops it (pivot_root(2)).
    check(LIBC.syscall(ctypes.c_long(SYS_PIVOT_ROOT[os.uname().machine]), b".", b"."), "pivot_root")
    unmount(".")
    os.chdir("/")


def prctl(option: int, first: int = 0) -> None:
    """prctl(2)."""
    take([prctl_step(option, first)])


def prctl_step(option: int, first: int = 0) -> SetupStep:
    return LIBC.prctl, (option, first, 0, 0, 0)


def capabilities_step(mask: int) -> SetupStep:
    """Give up all capabilities but these, for good."""
    return LIBC.capset, ((ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0), (ctypes.c_uint32 * 6)(mask, mask))


def drop_bounding_set() -> None:
    """No program started from here gains a capability."""
    for number in range(64):
        if LIBC.prctl(PR_CAPBSET_DROP, number, 0, 0, 0) == -1:
            return  # past the last one that this kernel knows


def filter_step(program: SockFprog) -> SetupStep:
    """Bind this process and its children to a seccomp filter; needs no_new_privs. The program has to outlive the step."""
    return LIBC.prctl, (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(program), 0, 0)


def as_program(instructions: bytes) -> SockFprog:
    """An array of struct sock_filter, for `filter_step`."""
    return SockFprog(len(instructions) // 8, instructions)
