"""Looks after the cluster while a run uses it: a loss is one line, and nobody waits without being told for what.

Ray itself waits for ever for a node that its work fits, tries for a minute to reach a head that is gone, and then ends the
process without a word to Python, so that nothing is closed.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, NoReturn

from codeblock.core.capacity import LOWER, capacity
from codeblock.core.config import ClusterConfig
from codeblock.core.console import console, errors, say
from codeblock.core.errors import ClusterLostError, CodeBlockError, WorkersDiedError, causes

LOOK_SECONDS = 2.0
GONE_SECONDS = 30.0
"""A head that does not answer for so long is lost. Ray ends the process after a minute."""
TELL_SECONDS = 10.0
"""Without a node that work fits for so long, it is said what is waited for."""
ROOM_SECONDS = 600.0
"""Without such a node, and without an autoscaler that could start one, for so long the run ends."""
UNWIND_SECONDS = 20.0
"""What a run that is ended may take to close what is open."""
LOW_SHARE = 0.05
"""Share of a disk that is free below which Ray spills nothing more to it."""
FULL_BYTES = 1 << 20
"""So little is free where nothing can be written: Ray then starts workers that end at once, again and again."""
FULL_SECONDS = 20.0
"""Ray's disk full for so long ends the run."""
AGAIN = "what was finished is kept; the same command goes on from there"


@contextmanager
def watched_cluster(config: ClusterConfig, ended_by: Callable[[BaseException], None] | None = None) -> Iterator[None]:
    """Raise ClusterLostError out of the block where the cluster is lost, or can do its work no more.

    To be used inside `ray_session`, in the main thread; elsewhere, or without a cluster, the block is left alone. Where the
    block waits inside of Ray and cannot be left, `ended_by` is told of the error in another thread, and the process ends.
    """
    ray = sys.modules.get("ray")  # where nothing is left to do, nobody has imported it
    if ray is None or not ray.is_initialized() or threading.current_thread() is not threading.main_thread():
        yield
        return
    look = _Look(config, ray.get_runtime_context().gcs_address, ended_by)
    before = signal.signal(signal.SIGUSR1, _interrupt)
    look.start()
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        if (lost := look.lost or _told(error, look.address)) is None:
            raise
        raise ClusterLostError(lost) from error
    finally:
        look.end()
        signal.signal(signal.SIGUSR1, before)


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt  # the one exception that Ray lets out of its own waiting


@dataclass
class _Look:
    """Threads that look every LOOK_SECONDS whether the head answers, and whether a node is there that one worker fits.

    Two of them, for a question to a head that is just going waits for as long as Ray does.
    """

    config: ClusterConfig
    address: str
    ended_by: Callable[[BaseException], None] | None = None
    lost: str | None = None
    """Why the run was ended."""
    _answered: float = field(default_factory=time.monotonic)
    _had_room: float = field(default_factory=time.monotonic)
    _could_write: float = field(default_factory=time.monotonic)
    _told: bool = False
    _ended: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    """No signal is sent to a process that listens no more."""

    def start(self) -> None:
        for checks in ((self._head_is_lost, self._disk_is_full), (self._room_is_lost,)):
            threading.Thread(target=self._run, args=checks, daemon=True).start()

    def end(self) -> None:
        with self._lock:
            self._ended.set()

    def _run(self, *checks: Callable[[], bool]) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            if any(check() for check in checks):
                with self._lock:
                    if self._ended.is_set():
                        return
                    os.kill(os.getpid(), signal.SIGUSR1)
                if not self._ended.wait(UNWIND_SECONDS):  # something waits for the cluster, and hears no signal
                    self._leave()
                return

    def _leave(self) -> NoReturn:
        """End the process from here, with all that leaving the block would have done for the user."""
        if self.ended_by is not None:
            told = threading.Thread(target=self.ended_by, args=(ClusterLostError(self.lost),), daemon=True)
            told.start()
            told.join(TELL_SECONDS)
        console.show_cursor()
        errors.print(f"[bold red]error:[/bold red] {self.lost}", soft_wrap=True)
        os._exit(1)

    def _head_is_lost(self) -> bool:
        now = time.monotonic()
        if answers(self.address):
            self._answered = now
        elif now - self._answered >= GONE_SECONDS:
            self.lost = head_lost(self.address)
        return self.lost is not None

    def _room_is_lost(self) -> bool:
        now = time.monotonic()
        if now - self._answered > LOOK_SECONDS:
            return False
        try:
            there = capacity()
        except Exception:  # of a cluster that is just going, which the next look finds out
            return False
        asked = (1, self.config.cpus_per_worker, self.config.gpus_per_worker)
        lacking = there.of_present().misfit("one worker", *asked)
        if lacking is None:
            if self._told:
                say("note: a node is there again, and the work goes on")
            self._had_room, self._told = now, False
            return False
        if not self._told and now - self._had_room >= TELL_SECONDS:
            self._told = True
            say(f"note: {lacking}; waiting for nodes")
        if now - self._had_room >= ROOM_SECONDS and there.misfit("one worker", *asked):
            self.lost = f"{lacking}, for {ROOM_SECONDS:.0f} s; add nodes, or {LOWER}; {AGAIN}"
        return self.lost is not None

    def _disk_is_full(self) -> bool:
        now, directory = time.monotonic(), _session_directory()
        if shutil.disk_usage(directory).free >= FULL_BYTES:
            self._could_write = now
        elif now - self._could_write >= FULL_SECONDS:
            self.lost = disk_full(directory)
        return self.lost is not None


def answers(address: str) -> bool:
    """Whether something listens at HOST:PORT."""
    host, _, port = address.rpartition(":")
    with suppress(OSError, ValueError), socket.create_connection((host.strip("[]"), int(port)), timeout=LOOK_SECONDS):
        return True
    return False


def head_lost(address: str) -> str:
    """The line for a cluster that is gone."""
    return f"cluster {address}: its head does not answer any more; {AGAIN}, on this cluster or another (RAY_ADDRESS)"


def disk_full(directory: str) -> str:
    """The line for a node where Ray can write nothing more."""
    return f"Ray: {directory}: the disk is full; free space there, or start Ray with --temp-dir on a larger disk; {AGAIN}"


def _told(error: BaseException, address: str) -> str | None:
    """One line for an error of Ray's own; None for one that comes from the work, and for an interrupt."""
    from ray.data.exceptions import SystemException
    from ray.exceptions import RayError, RayTaskError

    chain = list(causes(error))
    told = [each for each in chain if isinstance(each, CodeBlockError)]
    if isinstance(error, KeyboardInterrupt) or not all(isinstance(each, WorkersDiedError) for each in told):
        return None
    own = [each for each in chain if isinstance(each, RayError) and not isinstance(each, RayTaskError)]
    if not own and not any(isinstance(each, SystemException | ConnectionError) for each in chain):
        return None
    if not answers(address):
        return head_lost(address)
    if not own:
        return None
    usage = shutil.disk_usage(directory := _session_directory())
    if usage.free < LOW_SHARE * usage.total:
        return disk_full(directory)
    if told:
        return None  # the cluster is there: what was told says enough
    said = " ".join(str(own[-1]).split())
    return f"Ray: {type(own[-1]).__name__}: {said[:300]}; see `codeblock doctor` and Ray's logs; {AGAIN}"


def _session_directory() -> str:
    """Where Ray keeps its logs, and what does not fit memory, on this node."""
    import ray

    return str(ray._private.worker.global_worker.node.get_session_dir_path())
