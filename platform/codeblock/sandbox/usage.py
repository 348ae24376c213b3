"""What processes use, as /proc tells it (proc(5)). Standard library alone."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

SOCKET_BYTES = 256 << 10
"""What a Unix socket holds at most, as long as `seccomp` keeps programs from asking for more."""
SHARED = "/dev/zero (deleted)\n"
"""How a mapping of memory that is shared without a file ends, where it is listed."""
PPID, UTIME, CSTIME, THREADS = 1, 11, 14, 17
"""Fields of /proc/PID/stat, counted from its third one."""
WAITING_QUEUES = {"sockstat": ("tcp", "udp"), "sockstat6": ("tcp6", "udp6")}
"""Lists of sockets with what waits in them, by the files that say how many there are."""


def content(path: str) -> bytes:
    """What a small file of /proc holds. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 4096)
    finally:
        os.close(descriptor)


def waited_seconds(pid: int | str = "self") -> float:
    """Seconds that a process was ready to run and waited for a core, by the kernel's count; 0 where it keeps none."""
    try:
        return int(content(f"/proc/{pid}/schedstat").split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


def is_newest(pid: int) -> bool:
    """Whether no process or thread was started after this one, by the kernel's count for this namespace of processes."""
    try:
        return int(content("/proc/loadavg").split()[-1]) == pid
    except (OSError, IndexError, ValueError):
        return False


def is_childless(pid: int) -> bool:
    """Whether a process has one thread, no child, and has waited for none."""
    fields = stat_of(pid)
    if not fields or int(fields[THREADS]) > 1 or any(ticks != b"0" for ticks in fields[UTIME + 2 : CSTIME + 1]):
        return False
    with contextlib.suppress(OSError):  # not every kernel keeps this file
        return not Path(f"/proc/{pid}/task/{pid}/children").read_bytes()
    return True


def process_ids() -> list[int]:
    """All processes that are in sight."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def children() -> list[int]:
    """Process ids of the children of this process."""
    return [pid for pid in process_ids() if (fields := stat_of(pid)) and int(fields[PPID]) == os.getpid()]


def stat_of(pid: int) -> list[bytes]:
    """The fields of /proc/PID/stat from the third on; none where the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return []


def cpu_seconds_of(pid: int) -> float:
    """CPU seconds of a process and of the children that it has waited for."""
    return sum(map(int, stat_of(pid)[UTIME : CSTIME + 1])) / os.sysconf("SC_CLK_TCK")


def held_kb(pid: int) -> int:
    """KiB of memory of a process that belong to no file, resident or swapped out; 0 where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(("RssAnon:", "VmSwap:", "VmPTE:")))


def shared_kb() -> int:
    """KiB of memory of this machine, whoever holds it, that is shared or lies in file systems in memory."""
    with contextlib.suppress(OSError):
        _, _, rest = content("/proc/meminfo").partition(b"\nShmem:")
        return int(rest.split(maxsplit=1)[0]) if rest else 0
    return 0


def shares_memory(pid: int) -> bool:
    """Whether a process maps memory that is shared without a file."""
    try:
        return SHARED in Path(f"/proc/{pid}/maps").read_text(errors="replace")
    except OSError:
        return False


def sockets_kb() -> int:
    """KiB that the sockets of this network namespace hold: Unix ones as much as each can, others what waits in them."""
    held = len(net_lines("unix")[1:]) * SOCKET_BYTES
    for counts, names in WAITING_QUEUES.items():
        used = {line.split()[0][:-1].lower() for line in net_lines(counts) if " inuse 0" not in line}
        for name in used.intersection(names):  # to read a list that is empty takes a millisecond: it is that of all namespaces
            held += sum(int(size, 16) for line in net_lines(name)[1:] for size in line.split()[4].split(":"))
    return held >> 10


def net_lines(name: str) -> list[str]:
    try:
        return Path(f"/proc/self/net/{name}").read_text().splitlines()
    except OSError:
        return []
