"""A seccomp filter: the system calls that no solution needs and that reach other processes, the kernel or the network.

What is refused fails with EPERM, so a program sees an error and goes on. x86_64 and aarch64 alone: numbers differ elsewhere.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys

CALLS = {
    # the memory and files of other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "kcmp": (312, 272),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    # mounts, namespaces, files by handle (which pass by every directory's permissions)
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "unshare": (272, 97),
    "setns": (308, 268),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    # parts of the kernel that are large or run for others
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "fanotify_init": (300, 262),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    # the machine
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "acct": (163, 89),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "syslog": (103, 116),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    # memory that no limit counts, or that outlives the program
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
}
"""Refused whatever the arguments: numbers on x86_64 and on aarch64 (asm/unistd_64.h, asm-generic/unistd.h of Linux)."""

ON_A_PROCESS = {
    "prlimit64": (302, 261),
    "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118),
    "sched_setattr": (314, 274),
    "kill": (62, 129),
    "tkill": (200, 130),
    "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
}
"""Calls that change or signal the process which their first argument names; a process of the same user may. The first
process of a namespace survives all signals, but its own handlers would run."""

ON_MANY_PROCESSES = {"setpriority": (141, 140, 2), "ioprio_set": (251, 30, 3)}
"""Calls that change the processes which their first two arguments name, with the first one that means all of a user; 0 as
the second one is the caller, or its own group or user."""

CLONE, CLONE3, SOCKET = (56, 220), (435, 435), (41, 198)
NEW_NAMESPACES = 0x7E020000
"""All CLONE_NEW* flags that clone(2) takes."""
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
X32 = 0x40000000
"""Bit of the numbers of x86_64's second set of system calls."""

LOAD, JUMP_EQUAL, JUMP_AT_LEAST, JUMP_ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
OFFSET_NUMBER, OFFSET_ARCH, OFFSET_ARGUMENTS = 0, 4, 16
ALLOW, FAIL = 0x7FFF0000, 0x00050000


def build_filter(protected: int, own_network: bool) -> bytes | None:
    """The filter as an array of struct sock_filter; None on a machine that it is not written for.

    protected: process id that programs must not change, the helper's own.
    own_network: sockets stay allowed, for Unix and the internet (the namespace's own loopback); otherwise none are.
    """
    machine = os.uname().machine
    if machine not in AUDIT_ARCH or sys.byteorder != "little" or sys.maxsize < 2**32:
        return None
    column = list(AUDIT_ARCH).index(machine)
    steps = [
        step(LOAD, OFFSET_ARCH),
        step(JUMP_EQUAL, AUDIT_ARCH[machine], 1, 0),
        refuse(),
        step(LOAD, OFFSET_NUMBER),
        step(JUMP_AT_LEAST, X32, 0, 1),
        refuse(),
    ]
    for numbers in CALLS.values():
        steps += on_call(numbers[column], [refuse()])
    # Its flags lie in memory, where a filter cannot look. The C library then takes clone.
    steps += on_call(CLONE3[column], [refuse(errno.ENOSYS)])
    steps += on_call(CLONE[column], [argument(0), step(JUMP_ANY_BIT, NEW_NAMESPACES, 0, 1), refuse(), step(RETURN, ALLOW)])
    for numbers in ON_A_PROCESS.values():
        steps += on_call(numbers[column], [argument(0), step(JUMP_EQUAL, protected, 0, 1), refuse(), step(RETURN, ALLOW)])
    for *calls, user in ON_MANY_PROCESSES.values():
        of_a_user = [argument(0), step(JUMP_EQUAL, user, 2, 0)]
        steps += on_call(calls[column], [*of_a_user, argument(1), step(JUMP_EQUAL, 0, 1, 0), refuse(), step(RETURN, ALLOW)])
    families = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6) if own_network else ()
    allowed = [step(JUMP_EQUAL, family, len(families) - place, 0) for place, family in enumerate(families)]
    steps += on_call(SOCKET[column], [argument(0), *allowed, refuse(), step(RETURN, ALLOW)])
    return b"".join([*steps, step(RETURN, ALLOW)])


def step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """One struct sock_filter; the last two are the steps to skip after a comparison."""
    return struct.pack("<HBBI", code, if_true, if_false, value)


def refuse(number: int = errno.EPERM) -> bytes:
    return step(RETURN, FAIL | number)


def argument(index: int) -> bytes:
    """Load the lower half of an argument: all that the kernel reads of an int."""
    return step(LOAD, OFFSET_ARGUMENTS + 8 * index)


def on_call(number: int, body: list[bytes]) -> list[bytes]:
    """Steps for one system call, which end with a return; others skip them."""
    return [step(JUMP_EQUAL, number, 0, len(body)), *body]
