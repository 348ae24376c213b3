"""Another user than the grader's, where the helper is root."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from codeblock.sandbox import kernel
from codeblock.sandbox.namespaces import in_fork

FREE_USERS = ((0x70000000, 0x0FFFFFF0), (61184, 4336))
"""First number and count of user ids that no system hands out for good (systemd's UIDS-GIDS table). The second range is
within what most containers map."""


class User(NamedTuple):
    """The user that programs run as."""

    uid: int
    reads_all: bool
    """Keeps the right to read every file that is in sight: this Python lies where only root may read."""

    def steps(self) -> list[kernel.SetupStep]:
        """Give up root for this user, for good."""
        return [
            (os.setgroups, ([],)),
            (os.setgid, (self.uid,)),
            *([kernel.prctl_step(kernel.PR_SET_KEEPCAPS, 1)] if self.reads_all else []),
            (os.setuid, (self.uid,)),
            kernel.capabilities_step(1 << kernel.CAP_DAC_READ_SEARCH if self.reads_all else 0),
        ]

    def can_run_python(self, paths: Sequence[str]) -> None:
        """Raise OSError where this user may not be, or cannot read what Python needs."""
        kernel.take(self.steps())
        Path(os.__file__).read_bytes()
        for path in map(Path, paths):
            if path.is_dir():
                next(path.iterdir(), None)

    def kill_all(self) -> None:
        """Kill every process of this user, in one call."""
        kernel.take(self.steps())
        os.kill(-1, signal.SIGKILL)


def find_user(paths: Sequence[str]) -> User | None:
    """A user of this helper's own, who can read these paths; None where the helper is not root or may not change."""
    if os.geteuid() != 0:
        return None
    kernel.drop_bounding_set()  # no program that is started later gains a capability
    # Not `random`, which is seeded anew in each fork from then on.
    choices = [first + int.from_bytes(os.urandom(4), "little") % count for first, count in FREE_USERS]
    for user in (User(uid, reads_all) for uid in choices for reads_all in (False, True)):
        if in_fork(partial(user.can_run_python, paths)):
            return user
    return None
