"""A helper as in production, without benchmarks: builds the isolation, then forks, confines and runs one source after the other.

Run as a script. One argument: the arguments of `build_isolation` as JSON. Requests and answers are lines of JSON on the
standard streams. What a program prints is answered (its start), but proves nothing: the tests look from outside.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from codeblock.sandbox.isolation import Isolation, build_isolation

MAX_OUTPUT = 65536


def main() -> None:
    options = json.loads(sys.argv[1])
    options["visible"] = [Path(path) for path in options["visible"]]
    options["home"] = Path(options["home"])
    isolation = build_isolation(**options)
    answer({"missing": isolation.missing(), "uid": os.getuid()})
    for line in sys.stdin:
        answer(run(isolation, json.loads(line)))


def answer(data: dict[str, Any]) -> None:
    print(json.dumps(data), flush=True)


def run(isolation: Isolation, request: dict[str, Any]) -> dict[str, Any]:
    started = time.monotonic()
    scratch = isolation.new_scratch()
    output, output_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(output)
        child(isolation, scratch, request, output_end)
    os.close(output_end)
    printed, ended, deadline = bytearray(), 0, time.monotonic() + request["timeout"]
    total = request["total_mb"]
    while not ended and time.monotonic() < deadline and not (total and isolation.use()[0] > total):
        if output >= 0 and select.select([output], [], [], 0.001)[0]:
            piece = os.read(output, 65536)
            printed += piece[: MAX_OUTPUT - len(printed)]
            if not piece:
                os.close(output)
                output = -1
        elif output < 0:
            time.sleep(0.0005)
        ended, status = os.waitpid(pid, os.WNOHANG)
    survivors = isolation.kill_rest()
    if output >= 0:
        os.set_blocking(output, False)
        while piece := os.read(output, 65536):
            printed += piece[: MAX_OUTPUT - len(printed)]
        os.close(output)
    isolation.clean()
    return {
        "status": status if ended else None,
        "survivors": survivors,
        "printed": printed.decode(errors="replace"),
        "seconds": time.monotonic() - started,
    }


def child(isolation: Isolation, scratch: Path, request: dict[str, Any], output: int) -> NoReturn:
    try:
        null = os.open("/dev/null", os.O_RDWR)
        for descriptor, source in ((0, null), (1, output), (2, output)):
            os.dup2(source, descriptor)
        os.closerange(3, 256)
        isolation.confine(scratch, request["timeout"], request["memory_mb"])
    except BaseException as error:
        os.write(1, f"not confined: {error!r}".encode())
        os._exit(99)
    try:
        exec(compile(request["source"], "<program>", "exec"), {"__name__": "__main__"})
        sys.stdout.flush()
    except BaseException as error:
        os.write(1, repr(error).encode())
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    main()
