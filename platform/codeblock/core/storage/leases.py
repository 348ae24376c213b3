"""A lock in an object store, made of conditional puts alone: a lease with a heartbeat, taken over when that stops.

    .locks/NAME/000007    who holds NAME, or held it last; each holder has a number of its own, one more than the one before

A number is created by one request that succeeds for one process only, and written by its holder alone after that. The highest
one counts. It is free where its holder has released it, where the holder was a process of this machine that is no more, and
where nobody has heard of the holder for STALE_SECONDS, by the clock of the one who waits.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from codeblock.core.errors import CodeBlockError
from codeblock.core.storage import store

BEAT_SECONDS = 10.0
STALE_SECONDS = 45.0
"""After so long without a heartbeat a lease is taken over; several heartbeats may be lost before that."""
POLL_SECONDS = 1.0
TELL_SECONDS = 30.0
"""Between two lines of a process that waits."""

_HELD: dict[Path, Lease] = {}


def holder_note() -> dict[str, Any]:
    """Who this process is, for others to read."""
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        "command": " ".join([Path(sys.argv[0]).name.replace("__main__.py", "codeblock"), *sys.argv[1:]])[:200],
    }


def process_note() -> dict[str, Any]:
    """`holder_note`, with what tells `is_dead` on the same machine whether this process still lives."""
    return {**holder_note(), **_identity()}


def holder_text(note: dict[str, Any]) -> str:
    """The note of a holder in words."""
    if "pid" not in note:
        return "another process"
    return "process {pid} on {host} ({command}, since {since})".format(**note)


@contextmanager
def leased(place: Path, waiting: Callable[[str], None] | None) -> Iterator[bool]:
    """Hold the lease on `place`; False where another has it and `waiting` is None. `waiting` hears of whom is waited for."""
    lease = Lease(place)
    held = lease.take()
    told = 0.0
    while not held and waiting is not None:
        if time.monotonic() - told >= TELL_SECONDS:
            waiting(lease.holder)
            told = time.monotonic()
        time.sleep(POLL_SECONDS)
        held = lease.take()
    try:
        yield held
    finally:
        if held:
            lease.release()


def check_held(place: Path) -> None:
    """Raise CodeBlockError where the lease that this process took on `place` is another's by now."""
    lease = _HELD.get(place)
    if lease is None or lease.is_lost():
        raise CodeBlockError(
            f"{place.name}: was taken over by another process, for nothing was heard of this one for {STALE_SECONDS:.0f} s "
            "(was it halted, or the store out of reach?); run the same command again"
        )


class Lease:
    """One process's lease on one name; `take` may be tried again and again."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._note = {**process_note(), "token": secrets.token_hex(8)}
        self._number = 0
        self._seen: tuple[str, float] = ("", 0.0)
        self._ended = threading.Event()
        self.holder = "another process"

    def take(self) -> bool:
        """Take the lease if it is free."""
        newest = self._newest()
        if newest is not None and not self._is_free(newest):
            return False
        number = 1 if newest is None else int(newest.name) + 1
        mine = self._place / f"{number:06d}"
        if not store.put_if_absent(mine, self._text(0)):
            return False
        last = self._newest()
        if last is not None and last != mine:  # of one who was faster, and had removed this number
            store.remove(mine)
            return False
        self._number = number
        for old in store.children(self._place):
            if old.name < mine.name:
                store.remove(old)
        _HELD[self._place] = self
        threading.Thread(target=self._beat, daemon=True).start()
        return True

    def release(self) -> None:
        """Free the lease; a store that cannot be reached any more leaves it to go stale."""
        self._ended.set()
        _HELD.pop(self._place, None)
        with suppress(CodeBlockError):
            if not self.is_lost():
                store.put_text(self._mine, self._text(-1))

    def is_lost(self) -> bool:
        """Whether another process has taken over."""
        return self._newest() != self._mine

    @property
    def _mine(self) -> Path:
        return self._place / f"{self._number:06d}"

    def _newest(self) -> Path | None:
        return max((path for path in store.children(self._place) if path.name.isdecimal()), default=None)

    def _text(self, beat: int) -> str:
        return json.dumps({**self._note, "beat": beat})

    def _beat(self) -> None:
        beat = 0
        while not self._ended.wait(BEAT_SECONDS):
            beat += 1
            with suppress(CodeBlockError):  # out of reach for a while; the next heartbeat may arrive
                if self.is_lost():
                    return
                store.put_text(self._mine, self._text(beat))

    def _is_free(self, newest: Path) -> bool:
        try:
            text = store.read_text(newest)
            note = dict(json.loads(text))
        except FileNotFoundError:  # removed by a newer one, which the next look will find
            return False
        except ValueError:
            text, note = "damaged", {}
        self.holder = holder_text(note)
        if note.get("beat") == -1 or is_dead(note):
            return True
        now = time.monotonic()
        if self._seen[0] != f"{newest.name} {text}":
            self._seen = f"{newest.name} {text}", now
        return now - self._seen[1] >= STALE_SECONDS


def _identity() -> dict[str, Any]:
    """What tells on the same machine, and in the same container, whether the process lives."""
    return {"node": _node(), "started": psutil.Process().create_time()}


def _node() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def is_dead(note: dict[str, Any]) -> bool:
    """Whether a `process_note` is of a process of this machine, and this container, that is no more."""
    if not note.get("node") or note["node"] != _node():
        return False
    try:
        process = psutil.Process(int(note["pid"]))
        return process.status() == psutil.STATUS_ZOMBIE or abs(process.create_time() - float(note["started"])) > 1.0
    except psutil.NoSuchProcess:
        return True
    except (psutil.Error, ValueError, KeyError):
        return False
