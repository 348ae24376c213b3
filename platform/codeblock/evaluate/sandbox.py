"""Run one program at a time in a process of its own, with limits, and say how it ended.

A `Sandbox` owns one helper process (`fork_server.py`) that forks a child for each program.

What holds: wall-clock and CPU seconds, address space, size of a file, open files and core dumps are limited. Standard
input is empty, output is thrown away, the environment is empty, the working directory is private and removed afterwards.
Every descendant is killed when the program ends, also one in a session of its own. A program passes only if it runs to
its last line: a token that the helper writes into a pipe after the fork is sent back then, so leaving early with exit
code 0 is a failure.

What holds where the machine allows it (`Sandbox.missing` names what it does not): programs are in a process namespace, so
they cannot signal the grader; where the grader is root they run as a user of their own, who cannot read its memory or
write its files; the number of processes is limited (by that user, or by a user namespace).

What is not covered yet: the network; reading files that everyone may read; writing outside the private directory where
everyone may write (such as the directory for temporary files) or, where the grader is not root, where its user may; the
sum of memory and disk over many processes and files; and a program that attacks the tests from inside, by looking for the
token's pipe or replacing what the tests call.
"""

from __future__ import annotations

import json
import os
import select
import struct
import subprocess
import sys
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Final

from codeblock.errors import CodeBlockError

FORK_SERVER: Final = Path(__file__).with_name("fork_server.py")
START_SECONDS: Final = 60.0
GRACE_SECONDS: Final = 30.0
"""Time that the helper has beyond a program's own limit, for killing and cleaning, before it counts as stuck."""


class Verdict(StrEnum):
    """How a program ended."""

    PASSED = "passed"
    WRONG_ANSWER = "wrong_answer"  # an assertion failed
    EXCEPTION = "exception"  # any other error, or an exit before the tests ended
    SYNTAX_ERROR = "syntax_error"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    KILLED = "killed"  # by a signal: segmentation fault, abort, the kernel
    HARNESS_ERROR = "harness_error"  # the grader's fault, never the program's


@dataclass(frozen=True)
class Limits:
    """What one program may use."""

    timeout_seconds: float = 3.0
    """Wall-clock seconds."""
    memory_mb: int = 1024
    """Address space (MiB) of each of its processes."""


@dataclass(frozen=True)
class Outcome:
    """How one program ended."""

    verdict: Verdict
    seconds: float
    """Wall-clock seconds of the program, without the grader's own work."""
    error: str
    """Short text of the error; empty where it passed."""


class HelperDiedError(Exception):
    """The helper ended while it ran a program."""


class Sandbox:
    """Runs programs one after the other. Not to be shared by threads. Close it, or use it in a `with` block.

    Raises CodeBlockError where the helper cannot start.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.missing: list[str] = []
        self._start()

    def run(self, program: str) -> Outcome:
        """Run a whole program: it passes if it reaches its last line."""
        body = json.dumps(
            {
                "program": program,
                "timeout_seconds": self.limits.timeout_seconds,
                "memory_mb": self.limits.memory_mb,
            }
        ).encode()
        started = time.monotonic()
        try:
            answer = self._exchange(body)
        except HelperDiedError as error:
            return self._after_death(str(error), time.monotonic() - started)
        return Outcome(Verdict(answer["verdict"]), answer["seconds"], answer["error"])

    def close(self) -> None:
        """End the helper; it kills what still runs."""
        process = self._process
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
        self._home.cleanup()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _start(self) -> None:
        if not sys.platform.startswith("linux"):
            raise CodeBlockError(f"grading: the sandbox needs Linux, this is {sys.platform}; grade in a container")
        environment = {
            "LANG": "C.UTF-8",
            "PATH": os.defpath,
            "PYTHONHASHSEED": "0",  # the order of sets must not decide a verdict
            "PYTHONDONTWRITEBYTECODE": "1",
            # A pool of one thread per core would take more address space than a program may have.
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        self._home = TemporaryDirectory(prefix="codeblock-grade-", ignore_cleanup_errors=True)
        Path(self._home.name).chmod(0o711)  # the programs' user passes through to its own directory
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-s", str(FORK_SERVER), self._home.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            bufsize=0,
            start_new_session=True,  # Ctrl-C reaches the grader, which ends its helpers in order
        )
        try:
            self.missing = self._receive(time.monotonic() + START_SECONDS)["missing"]
        except HelperDiedError as error:
            raise CodeBlockError(f"grading: the sandbox helper does not start ({error}); is {sys.executable} whole?") from error

    def _exchange(self, body: bytes) -> dict[str, Any]:
        assert self._process.stdin is not None
        data = memoryview(struct.pack("<I", len(body)) + body)
        try:
            while data:
                data = data[self._process.stdin.write(data) :]
        except BrokenPipeError as error:
            raise HelperDiedError("its input is closed") from error
        return self._receive(time.monotonic() + self.limits.timeout_seconds + GRACE_SECONDS)

    def _receive(self, deadline: float) -> dict[str, Any]:
        (size,) = struct.unpack("<I", self._read(4, deadline))
        answer: dict[str, Any] = json.loads(self._read(size, deadline))
        return answer

    def _read(self, count: int, deadline: float) -> bytes:
        assert self._process.stdout is not None
        descriptor, data = self._process.stdout.fileno(), bytearray()
        while len(data) < count:
            if not select.select([descriptor], [], [], max(deadline - time.monotonic(), 0))[0]:
                raise HelperDiedError("no answer in time")
            piece = os.read(descriptor, count - len(data))
            if not piece:
                raise HelperDiedError(f"it ended with code {self._process.wait()}")
            data += piece
        return bytes(data)

    def _after_death(self, cause: str, seconds: float) -> Outcome:
        """Start anew. Where an empty program then passes, the program killed the helper; else the harness is broken."""
        self._process.kill()
        self.close()
        self._start()
        try:
            healthy = self._exchange(json.dumps({"program": "", "timeout_seconds": 10, "memory_mb": 1024}).encode())
        except HelperDiedError as error:
            return Outcome(Verdict.HARNESS_ERROR, seconds, f"the sandbox helper died twice ({cause}; {error})")
        if healthy["verdict"] != Verdict.PASSED:
            return Outcome(Verdict.HARNESS_ERROR, seconds, f"an empty program fails: {healthy['error']}")
        return Outcome(Verdict.KILLED, seconds, f"the program took the sandbox helper down ({cause})")
