"""A seccomp filter: the system calls that no solution needs and that reach other processes, the kernel or the network.

What is refused fails with EPERM, so a program sees an error and goes on. Every call up to `NEWEST` was looked at, those of
Linux 6.17; all after it, and the numbers that are no calls, fail with ENOSYS as on an older kernel. That is a list of what is
allowed, told by what is not. x86_64 and aarch64 alone: numbers differ elsewhere.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Sequence

NONE = -1
"""There is no such call on that machine."""
NEWEST = 469
"""file_setattr."""
UNUSED = {"x86_64": (335, 424), "aarch64": (295, 424)}
"""From the first to before the last: numbers that were skipped, so that new calls have the same ones everywhere."""
CALLS = {
    # the memory and files of other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
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
    "open_tree_attr": (467, 467),
    "statmount": (457, 457),
    "listmount": (458, 458),
    "file_setattr": (469, 469),
    # what stays with a file or directory when its content is gone
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "setxattrat": (463, 463),
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
    "io_setup": (206, 0),
    "fanotify_init": (300, 262),
    "cachestat": (451, 451),
    "landlock_create_ruleset": (444, 444),
    "landlock_add_rule": (445, 445),
    "landlock_restrict_self": (446, 446),
    "lsm_get_self_attr": (459, 459),
    "lsm_set_self_attr": (460, 460),
    "lsm_list_modules": (461, 461),
    "personality": (135, 92),
    "modify_ldt": (154, NONE),
    "uselib": (134, NONE),
    "sysfs": (139, NONE),
    "ustat": (136, NONE),
    "_sysctl": (156, NONE),
    "lookup_dcookie": (212, 18),
    "nfsservctl": (180, 42),
    "vhangup": (153, 58),
    "iopl": (172, NONE),
    "ioperm": (173, NONE),
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
    "vmsplice": (278, 75),
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

CLONE, CLONE3, SOCKET, SOCKETPAIR, SETSOCKOPT, MMAP = (56, 220), (435, 435), (41, 198), (53, 199), (54, 208), (9, 222)
MAP_HUGETLB = 0x40000
"""Pages that are set aside for others, and part of no process's count."""
BUFFER_SIZES = (7, 8, 32, 33)
"""SO_SNDBUF, SO_RCVBUF and both by force: what waits in sockets is memory of the kernel's."""
PROTOCOLS = 18
"""The number above those of UDP and TCP; others bring parts of the kernel that nobody uses."""
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
        step(JUMP_AT_LEAST, NEWEST + 1, 0, 1),
        refuse(errno.ENOSYS),
        step(JUMP_AT_LEAST, UNUSED[machine][0], 0, 2),
        step(JUMP_AT_LEAST, UNUSED[machine][1], 1, 0),
        refuse(errno.ENOSYS),
    ]
    for numbers in CALLS.values():
        steps += on_call(numbers[column], [refuse()]) if numbers[column] != NONE else []
    # Its flags lie in memory, where a filter cannot look. The C library then takes clone.
    steps += on_call(CLONE3[column], [refuse(errno.ENOSYS)])
    steps += on_call(CLONE[column], [argument(0), step(JUMP_ANY_BIT, NEW_NAMESPACES, 0, 1), refuse(), step(RETURN, ALLOW)])
    for numbers in ON_A_PROCESS.values():
        steps += on_call(numbers[column], [argument(0), step(JUMP_EQUAL, protected, 0, 1), refuse(), step(RETURN, ALLOW)])
    for *calls, user in ON_MANY_PROCESSES.values():
        of_a_user = [argument(0), step(JUMP_EQUAL, user, 2, 0)]
        steps += on_call(calls[column], [*of_a_user, argument(1), step(JUMP_EQUAL, 0, 1, 0), refuse(), step(RETURN, ALLOW)])
    families = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6) if own_network else ()
    wanted = [argument(2), step(JUMP_AT_LEAST, PROTOCOLS, 0, 1), refuse()]
    steps += on_call(SOCKET[column], [*wanted, argument(0), *one_of(families), step(RETURN, ALLOW), refuse()])
    steps += on_call(SOCKETPAIR[column], [argument(0), *one_of([socket.AF_UNIX]), step(RETURN, ALLOW), refuse()])
    # Only a hint for the kernel as well: the program is told that it was taken.
    of_sockets = [argument(1), step(JUMP_EQUAL, socket.SOL_SOCKET, 1, 0), step(RETURN, ALLOW)]
    steps += on_call(SETSOCKOPT[column], [*of_sockets, argument(2), *one_of(BUFFER_SIZES), refuse(0), step(RETURN, ALLOW)])
    huge = [argument(3), step(JUMP_ANY_BIT, MAP_HUGETLB, 0, 1)]
    steps += on_call(MMAP[column], [*huge, refuse(errno.ENOMEM), step(RETURN, ALLOW)])
    return b"".join([*steps, step(RETURN, ALLOW)])


def step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """One struct sock_filter; the last two are the steps to skip after a comparison."""
    return struct.pack("<HBBI", code, if_true, if_false, value)


def refuse(number: int = errno.EPERM) -> bytes:
    return step(RETURN, FAIL | number)


def argument(index: int) -> bytes:
    """Load the lower half of an argument: all that the kernel reads of an int."""
    return step(LOAD, OFFSET_ARGUMENTS + 8 * index)


def one_of(values: Sequence[int]) -> list[bytes]:
    """Go on with the next step where what is loaded is one of these values, and skip it where it is none."""
    if not values:
        return [step(JUMP_ANY_BIT, 0, 0, 1)]
    last = len(values) - 1
    return [step(JUMP_EQUAL, value, last - place, 0 if place < last else 1) for place, value in enumerate(values)]


def on_call(number: int, body: list[bytes]) -> list[bytes]:
    """Steps for one system call, which end with a return; others skip them."""
    return [step(JUMP_EQUAL, number, 0, len(body)), *body]
