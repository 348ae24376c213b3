"""Landlock (Linux 5.13): a process gives up most files for good. Needs no privilege; the wall where namespaces are refused.

What it hides are contents and listings: names, sizes and owners of files can still be asked for, and the permissions of
one's own files changed.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Sequence
from pathlib import Path

from codeblock.sandbox import kernel
from codeblock.sandbox.paths import DEVICES

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
VERSION, PATH_BENEATH = 1, 1
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, TRUNCATE, IOCTL_DEVICE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14, 1 << 15
OF_A_FILE = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEVICE
RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""Number of rights over files that each version of the interface knows; later ones know as many as the fifth."""
NETWORK_VERSION, SCOPE_VERSION = 4, 6
TCP = 0b11
"""Rights to bind and to connect."""
SCOPES = 0b11
"""Abstract Unix sockets and signals stay among the processes that are bound alike."""


class Landlock:
    """What one program may open: everything below some paths for reading, the scratch for writing as well."""

    def __init__(self, readable: Sequence[str], own_network: bool) -> None:
        """Raises OSError where the kernel has no Landlock."""
        self.version = call(CREATE_RULESET, None, 0, VERSION)
        self._readable = readable
        self._everything = (1 << RIGHTS.get(self.version, 16)) - 1
        network = TCP if self.version >= NETWORK_VERSION and not own_network else 0
        fields = [self._everything, network, SCOPES][: 3 if self.blocks_signals else 2 if network else 1]
        self._handled = struct.pack(f"={len(fields)}Q", *fields)

    @property
    def blocks_signals(self) -> bool:
        return self.version >= SCOPE_VERSION

    def rules(self, scratch: Path) -> int:
        """A descriptor of the rules for one program, made while all these paths can still be opened."""
        rules = call(CREATE_RULESET, self._handled, len(self._handled), 0)
        for path in self._readable:
            allow(rules, path, EXECUTE | READ_FILE | READ_DIR)
        for path in DEVICES:
            allow(rules, path, READ_FILE | WRITE_FILE)
        allow(rules, str(scratch), self._everything)
        return rules


def restrict(rules: int) -> None:
    """Bind this process and its children, for good; needs no_new_privs."""
    call(RESTRICT_SELF, rules, 0)
    os.close(rules)


def allow(rules: int, path: str, rights: int) -> None:
    """Allow what is below a path."""
    descriptor = os.open(path, os.O_PATH)
    try:
        rights &= -1 if Path(path).is_dir() else OF_A_FILE
        call(ADD_RULE, rules, PATH_BENEATH, struct.pack("=Qi", rights, descriptor), 0)
    finally:
        os.close(descriptor)


def call(number: int, *arguments: object) -> int:
    result: int = kernel.LIBC.syscall(ctypes.c_long(number), *arguments)
    kernel.check(result, "landlock")
    return result
