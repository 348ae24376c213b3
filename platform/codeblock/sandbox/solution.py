"""The process of one solution: it executes model-written code and answers calls to it until the channel closes.

Nothing here decides a verdict: what this process says is values, and how loading it failed. The memory that the server gave to
it holds no solution; its own comes first, a JSON list of the code and whether a test class will run beside it. Standard library
alone.

Messages from the checker are those of `endpoints.py`, and `["cases", name, limits, base, listed, inputs]`, which is answered
once for each input by `["value", seconds, output]` or `["error", kind, text]`. For a test class: `tests` and `spoiled`, whose
answers repeat a secret (`test_class.py`).
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sys
import time
import types
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NoReturn

from codeblock.sandbox import codec
from codeblock.sandbox.codec import Channel, ClosedError
from codeblock.sandbox.endpoints import Endpoint
from codeblock.sandbox.text import describe
from codeblock.sandbox.usage import is_newest, waited_seconds

SOLUTION = "<solution>"
"""File name of the solution in tracebacks."""
FLUSH_SECONDS = 0.001
WARMING = 12
"""Runs after which Python's interpreter has adapted the code that it runs (PEP 659)."""
WARM_UP = (
    '["def f(x):\\n    return [x, len(x)]", false]',
    '["ask", 1, "global", null, ["f"]]',
    '["ask", 2, "call", null, [{"handle": ["yours", 0]}, [[2, 1]], {"dict": []}]]',
    '["ask", 3, "call", null, [{"handle": ["yours", 0]}, [7], {"dict": []}]]',
    '["cases", "f", [1.0, 1.0], 1, false, [["x"], [7]]]',
)
PLAIN = (str, bytes, bytearray, list, tuple, dict, set, frozenset)
"""Collections that pass as they are."""


class SlowInputError(Exception):
    """One input took too long. An `Exception`, as in EvalPlus: a solution may catch it."""


def child(connection: socket.socket, leave: Any) -> NoReturn:
    """Read the solution from the channel, execute it and answer until the channel closes. Never returns; `leave` ends all."""
    try:
        Solution(Channel(connection)).serve()
    finally:
        leave(0)
    raise AssertionError("not reached")


def warm_up() -> None:
    """Serve a solution of no interest, so that Python has made what it makes when code first runs: a fork then copies less."""
    modules, arguments = dict(sys.modules), sys.argv
    for _ in range(WARMING):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            channel = Channel(ours)
            for message in WARM_UP:
                channel.send(message)
            ours.shutdown(socket.SHUT_WR)
            Solution(Channel(theirs)).serve()
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    sys.argv = arguments
    for name in sys.modules.keys() - modules.keys():
        del sys.modules[name]
    sys.modules.update(modules)


class Solution(Endpoint):
    """The solution's module, at its end of the channel."""

    file = SOLUTION
    words = Endpoint.words | {"known", "partial", "path"}

    def __init__(self, channel: Channel) -> None:
        super().__init__(channel)
        self.module = types.ModuleType("program")
        self.tests: Any = None
        self.pid = os.getpid()
        self._this_process, self._leave = os.getpid, os._exit

    def serve(self) -> None:
        """Read the solution, execute it and answer until the channel closes."""
        try:
            answer = self.load()
            self.send(answer or ["ready", [name for name in self.module.__dict__ if type(name) is str]])
            if answer is None:
                self.answer_calls()
        except (ClosedError, ValueError, RecursionError):
            pass  # the checker has its verdict, or a message that cannot be: it sees the end of the channel

    def load(self) -> list[Any] | None:
        """Read the solution and run its module; None, or the message that says how it failed."""
        try:
            code, beside = json.loads(self.channel.receive())
            if beside:
                from codeblock.sandbox.test_class import Tests  # the server has loaded it, before any solution ran

                self.tests = Tests(self.module)
            return self.execute(code)
        except MemoryError:
            return ["failed", "out_of_memory", "MemoryError"]

    def execute(self, code: str) -> list[Any] | None:
        """Run the solution's module. As `load`; raises MemoryError."""
        # A module that can be found by its name: dataclasses and pickle look it up.
        sys.modules["program"] = sys.modules["__main__"] = self.module
        sys.argv = ["program"]
        try:
            compiled = compile(code, SOLUTION, "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, OverflowError) as error:
            return ["failed", "syntax_error", describe(error, SOLUTION)]
        try:
            exec(compiled, self.module.__dict__)
        except MemoryError:
            raise
        except BaseException as error:
            return ["failed", "exception", describe(error, SOLUTION)]
        return None

    def answer_calls(self) -> None:
        """Answer messages. Raises ClosedError where the checker is done."""
        while True:
            with self.lock:  # no thread that a call has left behind reads what is not its own
                message = self.read(self.receive(), [])
            if message[0] == "cases":
                self.answer_cases(*message[1:])
            else:
                self.answer(message)

    def do_tests(self, secret: str, test: str, name: str) -> list[Any]:
        return [secret, self.tests.run(test, name)]

    def do_spoiled(self, secret: str, *arguments: Any) -> list[Any]:
        return [secret, self.tests.run_spoiled(*arguments)]

    def do_global(self, name: str) -> Any:
        return self.module.__dict__[name]

    def answer_cases(self, name: str, limits: list[float], base: int, listed: bool, inputs: list[list[Any]]) -> None:
        """Call a function on each input, each within its limit in seconds; send every output with the seconds it took.

        listed: of an output that is an iterator, what it yields.
        """
        function, alarm, sent = self.module.__dict__.get(name), Alarm(), 0.0
        for number, (limit, arguments) in enumerate(zip(limits, inputs, strict=True)):
            alarm.start(limit)
            started = time.perf_counter()
            answer = self.output_of(function, arguments, listed)
            ended = time.perf_counter()
            alarm.stop()
            self.put_text(partial(output_text, answer, ended - started), error_text)
            # What a crash would take along is little, and nothing of the base inputs.
            if ended - sent > FLUSH_SECONDS or number + 1 == base:
                self.channel.flush()
                sent = ended
        self.channel.flush()

    def output_of(self, function: Any, arguments: list[Any], listed: bool) -> list[Any]:
        """The output of one input, or its error."""
        try:
            output = function(*arguments)
            return ["value", list(output) if listed and isinstance(output, Iterable) and type(output) not in PLAIN else output]
        except MemoryError:
            return ["error", "out_of_memory", "MemoryError"]
        except BaseException as error:
            return ["error", "timeout" if isinstance(error, SlowInputError) else "exception", describe(error, SOLUTION)]

    def send(self, message: Any) -> None:
        """Send a message; what cannot be sent is an error of its own."""
        self.put_text(lambda: message if isinstance(message, str) else self.dumps(message), error_text)
        self.channel.flush()

    def send_answer(self, number: int, make: Callable[[], str]) -> None:
        def instead(kind: str, error: BaseException) -> str:
            failure = ValueError(f"a value cannot be read: {type(error).__name__}")
            return self.dumps(["error", number, kind, "", f"ValueError: {failure}", failure, None, None])

        self.put_text(make, instead)
        self.channel.flush()

    def put_text(self, make: Callable[[], str], instead: Callable[[str, BaseException], str]) -> None:
        """Send the text that `make` gives, or that it gives none."""
        if self._this_process() != self.pid:  # a fork of the solution comes back to here as well
            self._leave(0)
        try:
            text = make()
        except ClosedError:
            raise
        except BaseException as error:
            text = instead("out_of_memory" if isinstance(error, MemoryError) else "exception", error)
        self.channel.put(text)


def error_text(kind: str, error: BaseException) -> str:
    """The answer to an input whose output cannot be sent."""
    return codec.dumps(["error", kind, f"a value cannot be read: {type(error).__name__}"], str)


def output_text(answer: list[Any], seconds: float) -> str:
    """An output; its value comes last, since the checker reads it only where its text is not the expected one."""
    if answer[0] == "error":
        return codec.dumps(answer, str)
    return f'["value", {seconds!r}, {codec.bounded_dumps(answer[1], lambda value: type(value).__name__)}]'


class Alarm:
    """Raises SlowInputError in this process when an input took its seconds, less those that the process waited for a core."""

    def __init__(self) -> None:
        self._limit, self._started, self._waited = 0.0, 0.0, waited_seconds()
        signal.signal(signal.SIGALRM, self._ring)

    def start(self, limit: float) -> None:
        """Ring in `limit` seconds."""
        self._limit, self._started = limit, time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, limit)

    def stop(self) -> None:
        """Do not ring."""
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _ring(self, *_: object) -> None:
        waited = waited_seconds() if is_newest(os.getpid()) else self._waited
        # Waiting during earlier inputs counts as well: to look at each of them would cost more than they do.
        left = self._limit - (time.monotonic() - self._started) + waited - self._waited
        self._waited, self._limit = waited, self._limit + waited - self._waited
        if left > 0.001:
            signal.setitimer(signal.ITIMER_REAL, left)
        else:
            raise SlowInputError("no output in time")


def close_files(kept: int) -> socket.socket:
    """Point the standard streams at /dev/null, close everything else but the channel; the channel."""
    null = os.open("/dev/null", os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor)
    number = 32 + os.urandom(1)[0] % 32
    if kept != number:
        os.dup2(kept, number, inheritable=False)
    os.closerange(3, number)
    os.closerange(number + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    return socket.socket(fileno=number)
