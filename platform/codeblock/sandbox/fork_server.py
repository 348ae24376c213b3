"""The helper process that forks a child for each solution: one clean, single-threaded Python behind the isolation.

A fork of this small process costs far less than a new interpreter, and modules that solutions often import are loaded already.
Standard input is a socket to the grader. A request is JSON with limits and, as a file descriptor, the channel on which the
child gets its solution and answers calls; the answer says how the child ended. This process never holds a solution, a test or a
value, so no child of it finds another one's. Life of a solution: fork; in the child closed files, the isolation' confinement, the
code, calls; then the end, the time limit or the grader's word, and every descendant is killed.

The modules beside this one that run here use the standard library alone.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from codeblock.sandbox import solution
from codeblock.sandbox.isolation import Isolation, build_isolation
from codeblock.sandbox.limits import cpu_seconds
from codeblock.sandbox.usage import waited_seconds

PRELOADED = (
    "abc bisect collections copy dataclasses datetime decimal enum fractions functools hashlib heapq itertools json math "
    "operator re string typing"
)
"""Modules of the standard library that solutions often import. Not `random` and `threading`: they make each fork slower."""

MAX_WAIT_FACTOR = 10
"""A program that waits for a core is given up after this many times its limit."""
MEMORY_SECONDS = 0.05
"""Time between two looks at the memory of all processes of a solution."""
UNIT = "codeblock.sandbox.test_class"
READY = b"ready"
STOP = b"s"


def main() -> None:
    """Answer requests until the grader is gone."""
    for name in PRELOADED.split():
        __import__(name)
    connection = take_connection()
    settings, _ = receive(connection)
    isolation = build_isolation(**settings)
    wakeup, wakeup_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakeup_end, warn_on_full_buffer=False)
    solution.warm_up()
    gc.collect()
    gc.freeze()
    with contextlib.suppress(EOFError, OSError):
        send(connection, {"missing": isolation.missing()})
        while True:
            request, channel = receive(connection)
            answer, stopped = run(request, channel, isolation, connection, wakeup)
            send(connection, answer)
            if not stopped and connection.recv(1) != STOP:
                return


def take_connection() -> socket.socket:
    """The socket that is standard input, under another number; standard input is empty from then on."""
    connection = socket.socket(fileno=os.dup(0))
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null, 0)
    return connection


def receive(connection: socket.socket) -> tuple[dict[str, Any], int]:
    """A request, and the file descriptor that came with it (-1: none). Raises EOFError."""
    head, descriptors, _, _ = socket.recv_fds(connection, 4, 1)
    while len(head) < 4:
        piece = connection.recv(4 - len(head))
        if not piece:
            raise EOFError
        head += piece
    (size,), body = struct.unpack("<I", head), bytearray()
    while len(body) < size:
        piece = connection.recv(min(size - len(body), 1 << 20))  # recv sets aside all that it is asked for
        if not piece:
            raise EOFError
        body += piece
    return json.loads(body), descriptors[0] if descriptors else -1


def send(connection: socket.socket, answer: dict[str, Any]) -> None:
    body = json.dumps(answer).encode()
    connection.sendall(struct.pack("<I", len(body)) + body)


def run(
    request: dict[str, Any], channel: int, isolation: Isolation, connection: socket.socket, wakeup: int
) -> tuple[dict[str, Any], bool]:
    """Run one solution to its end; leave no process and no file of it behind. The answer, and whether the grader ended it."""
    if request["beside"] and UNIT not in sys.modules:
        importlib.import_module(UNIT).prepare()  # not before: a larger process is slower to fork
        gc.collect()
        gc.freeze()
    scratch = isolation.new_scratch()
    ready_in, ready_out = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    started = time.monotonic()
    pid = os.fork()
    if pid == 0:
        child(request, channel, ready_out, isolation, scratch)
    os.close(channel)
    os.close(ready_out)
    end, status, usage, seconds = wait(pid, started, request, isolation, connection.fileno(), wakeup)
    left = isolation.kill_rest()
    ready = b""
    with contextlib.suppress(BlockingIOError):
        ready = os.read(ready_in, 4096)
    os.close(ready_in)
    isolation.clean()
    detail = f"no end after {request['timeout_seconds']:.3g} s"
    if end == "ended":
        end, detail = ended(status, usage.ru_utime + usage.ru_stime, cpu_seconds(request["timeout_seconds"]))
    elif end == "memory":
        detail = f"its processes hold more than {request['memory_mb']} MiB together"
    if ready != READY and end != "stopped":
        end, detail = "setup", f"the limits could not be set ({ready.decode(errors='replace')})"
    if left:
        end, detail = "left", f"{left} processes of the program could not be killed"
    return {"end": end, "detail": detail, "seconds": seconds}, end == "stopped"


def wait(
    pid: int, started: float, request: dict[str, Any], isolation: Isolation, grader: int, wakeup: int
) -> tuple[str, int, resource.struct_rusage, float]:
    """Wait for the child's end, the grader's word or the limit; how it came, and the seconds used.

    Seconds that the child was ready to run and waited for a core do not count: a busy machine gives the same verdicts. But they
    do once there is a second process or thread, which the child may be waiting for; then the CPU time of all counts too.
    """
    end, limit, looked, waited, used = "ended", request["timeout_seconds"], started, 0.0, 0.0
    while True:
        now = time.monotonic()
        alone = isolation.is_alone(pid)
        if alone:
            waited = waited_seconds(pid)  # read before the child is reaped
        seconds = max(now - started - waited, used)
        done, status, usage = os.wait4(pid, os.WNOHANG)
        if done:
            return end, status, usage, seconds if alone else max(seconds, usage.ru_utime + usage.ru_stime)
        if end != "ended" or seconds >= limit or now - started >= limit * MAX_WAIT_FACTOR:
            kill(pid)
            _, status, usage = os.wait4(pid, 0)
            return "timeout" if end == "ended" else end, status, usage, seconds
        if now - looked > MEMORY_SECONDS:
            looked = now
            held, spent = isolation.use()
            used = used if alone else max(used, spent)
            if held > request["memory_mb"]:
                end = "memory"
                continue
        ready = select.select([wakeup, grader], [], [], min(limit - seconds, MEMORY_SECONDS))[0]
        if wakeup in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(wakeup, 4096)
        if grader in ready:
            with contextlib.suppress(OSError):
                os.read(grader, 1)
            end = "stopped"


def kill(pid: int) -> None:
    for send_signal in (os.kill, os.killpg):  # the group does not exist before the child has made it
        with contextlib.suppress(ProcessLookupError, PermissionError):
            send_signal(pid, signal.SIGKILL)


def ended(status: int, cpu: float, cpu_limit: int) -> tuple[str, str]:
    """How a child ended by itself."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number == signal.SIGXCPU or (number == signal.SIGKILL and cpu >= cpu_limit):
            return "timeout", f"more than {cpu_limit} s of CPU time"
        return "killed", f"killed by {signal.Signals(number).name if number in list(signal.Signals) else number}"
    return "exit", f"exit with code {os.WEXITSTATUS(status)} before the tests ended"


def child(request: dict[str, Any], channel: int, ready: int, isolation: Isolation, scratch: Path) -> NoReturn:
    """Close everything, build the last isolation, run the solution. Never returns."""
    leave = os._exit
    try:
        isolation.confine(scratch, timeout_seconds=request["timeout_seconds"], memory_mb=request["memory_mb"])
        os.write(ready, READY)  # sent before the code runs, so no code can feign a failure of the harness
        connection = solution.close_files(channel)
    except BaseException as error:
        os.write(ready, repr(error).encode())
        leave(1)
    solution.child(connection, leave)
