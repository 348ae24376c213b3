"""A helper process as its owner sees it: a Python with an empty environment at the other end of a socket."""

from __future__ import annotations

import json
import select
import socket
import struct
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 30.0
ENVIRONMENT: Final = {
    "LANG": "C.UTF-8",
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "PYTHONHASHSEED": "0",  # the order of sets must not decide a verdict
    "PYTHONDONTWRITEBYTECODE": "1",
    # A pool of one thread per core would take more address space than a solution may have.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # Symbols are looked up once, and not in each child of the helper.
    "LD_BIND_NOW": "1",
}


class HelperDiedError(Exception):
    """The helper ended, or does not answer."""


def environment(python: str) -> dict[str, str]:
    """Variables of a helper of this interpreter, which solutions may start as `python`."""
    return {**ENVIRONMENT, "PATH": f"{Path(python).parent}:{ENVIRONMENT['PATH']}"}


def arguments(module: str) -> list[str]:
    """Arguments for a Python that may not have this package: it is found for the start, and out of sight after it."""
    find = f"import sys; sys.path.insert(0, {str(ROOT)!r})"
    start = f"{find}; from codeblock.sandbox import {module}; sys.path.pop(0); {module}.main()"
    return ["-P", "-s", "-c", start]


class Helper:
    """Starts the process with its settings; `wait` before the first request. Raises HelperDiedError."""

    def __init__(self, python: str, command: Sequence[str], settings: dict[str, Any] | None) -> None:
        self.socket, other = socket.socketpair()
        with other:
            self._process = subprocess.Popen(
                command,
                stdin=other.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment(python),
                cwd="/",
                start_new_session=True,  # Ctrl-C reaches the grader, which ends its helpers in order
            )
        if settings is not None:
            self.send(settings)

    def wait(self) -> list[str]:
        """The layers that it misses, once it is ready. Raises HelperDiedError."""
        try:
            return list(self.receive(time.monotonic() + START_SECONDS)["missing"])
        except HelperDiedError:
            self.kill()
            raise

    def fileno(self) -> int:
        """For `select`."""
        return self.socket.fileno()

    def send(self, request: dict[str, Any], channel: socket.socket | None = None) -> None:
        """Send a request, and a socket with it."""
        body = json.dumps(request).encode()
        head = struct.pack("<I", len(body))
        try:
            if channel is None:
                self.socket.sendall(head)
            else:
                socket.send_fds(self.socket, [head], [channel.fileno()])
            self.socket.sendall(body)
        except OSError as error:
            raise HelperDiedError(f"it takes no requests ({error.strerror})") from error

    def signal(self, word: bytes) -> None:
        """Send one byte."""
        try:
            self.socket.sendall(word)
        except OSError as error:
            raise HelperDiedError(f"it takes no requests ({error.strerror})") from error

    def receive(self, deadline: float) -> dict[str, Any]:
        """An answer, until a time of `time.monotonic`."""
        (size,) = struct.unpack("<I", self._exactly(4, deadline))
        answer: dict[str, Any] = json.loads(self._exactly(size, deadline))
        return answer

    def _exactly(self, count: int, deadline: float) -> bytes:
        data = bytearray()
        while len(data) < count:
            if not select.select([self.socket], [], [], max(deadline - time.monotonic(), 0))[0]:
                raise HelperDiedError("no answer in time")
            try:
                piece = self.socket.recv(min(count - len(data), 1 << 20))
            except OSError:
                piece = b""
            if not piece:
                raise HelperDiedError(f"it ended with code {self._process.wait()}")
            data += piece
        return bytes(data)

    def ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.poll() is not None

    def kill(self) -> None:
        """End the helper at once."""
        self._process.kill()
        self.close()

    def hang_up(self) -> None:
        """Have the helper end; `close` waits for it."""
        self.socket.close()

    def close(self) -> None:
        """End the helper; it kills what still runs."""
        self.hang_up()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
