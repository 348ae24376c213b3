"""The process of one solution: it executes model-written code and answers calls to it until the channel closes.

Nothing here decides a verdict: what this process says is values, and how loading it failed. The memory that the server gave to
it holds no solution; its own comes first, a JSON list of the code and whether a test class will run beside it. Standard library
alone.

Messages from the checker, lists of a word and its arguments; each is answered by `["value", ...]` or `["error", ...]`:
`global name`, `call target args kwargs`, `attribute target name`, `operator name args`, `next target`, and `cases name limits
base listed inputs`, which is answered once for each input by `["value", seconds, output]` or an error. For a test class
`tests secret test name` and `spoiled secret ...`, whose answers repeat the secret (`unit.py`).
"""

from __future__ import annotations

import json
import operator
import os
import resource
import signal
import socket
import sys
import time
import types
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from codeblock.sandbox import wire
from codeblock.sandbox.usage import is_newest, waited_seconds
from codeblock.sandbox.wire import Channel, ClosedError

SOLUTION = "<solution>"
"""File name of the solution in tracebacks."""
OPERATORS: dict[str, Callable[..., Any]] = {
    **{"iter": iter, "len": len, "bool": bool, "int": int, "float": float, "str": str},
    **{"eq": operator.eq, "getitem": operator.getitem, "setitem": operator.setitem},
}
FLUSH_SECONDS = 0.001
MUTABLE = (list, dict, set, bytearray)


class SlowError(Exception):
    """One input took too long. An `Exception`, as in EvalPlus: a solution may catch it."""


def child(connection: socket.socket, leave: Any) -> NoReturn:
    """Read the solution from the channel, execute it and answer until the channel closes. Never returns; `leave` ends all."""
    solution = Solution(Channel(connection))
    try:
        answer = solution.load()
        solution.send(answer or ["ready", [name for name in solution.module.__dict__ if type(name) is str]])
        if answer is None:
            solution.answer_calls()
    except (ClosedError, ValueError, RecursionError):
        pass  # the checker has its verdict, or a message that cannot be: it sees the end of the channel
    finally:
        leave(0)
    raise AssertionError("not reached")


class Solution:
    """The solution's module, and the objects of it that the checker holds handles to."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.module = types.ModuleType("program")
        self.held: list[Any] = []
        self.tests: Any = None
        self.pid = os.getpid()
        self._this_process, self._leave = os.getpid, os._exit

    def load(self) -> list[Any] | None:
        """Read the solution and run its module; None, or the message that says how it failed."""
        try:
            code, beside = json.loads(self.channel.receive())
            if beside:
                from codeblock.sandbox.unit import Tests  # the server has loaded it, before any solution ran

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
            return ["failed", "syntax_error", wire.describe(error, SOLUTION)]
        try:
            exec(compiled, self.module.__dict__)
        except MemoryError:
            raise
        except BaseException as error:
            return ["failed", "exception", wire.describe(error, SOLUTION)]
        return None

    def answer_calls(self) -> None:
        """Answer messages. Raises ClosedError where the checker is done."""
        while True:
            message = wire.loads(self.channel.receive(), self.value_of)
            if message[0] == "cases":
                self.answer_cases(*message[1:])
            else:
                self.send(self.attempt(getattr(self, f"do_{message[0]}"), *message[1:]))

    def attempt(self, action: Any, *arguments: Any) -> list[Any]:
        """The value of an action, or its error."""
        try:
            return ["value", *action(*arguments)]
        except MemoryError:
            return ["error", ["MemoryError"], "MemoryError"]
        except BaseException as error:
            names = [kind.__name__ for kind in type(error).__mro__]
            return ["error", names, wire.describe(error, SOLUTION)]

    def do_tests(self, secret: str, test: str, name: str) -> tuple[str, Any]:
        return secret, self.tests.run(test, name)

    def do_spoiled(self, secret: str, *arguments: Any) -> tuple[str, Any]:
        return secret, self.tests.run_spoiled(*arguments)

    def do_global(self, name: str) -> tuple[Any]:
        return (self.module.__dict__[name],)

    def do_call(self, function: Any, arguments: list[Any], keywords: dict[str, Any]) -> tuple[Any, Any]:
        if not any(isinstance(argument, MUTABLE) for argument in arguments):
            return function(*arguments, **keywords), None
        before = wire.dumps(arguments, self.handle)
        value = function(*arguments, **keywords)
        return value, arguments if wire.dumps(arguments, self.handle) != before else None

    def do_attribute(self, target: Any, name: str) -> tuple[Any]:
        return (getattr(target, name),)

    def do_operator(self, name: str, arguments: list[Any]) -> tuple[Any]:
        return (OPERATORS[name](*arguments),)

    def do_next(self, target: Any) -> tuple[Any]:
        return (next(target),)

    def do_case(self, function: Any, arguments: list[Any], listed: bool) -> tuple[Any]:
        output = function(*arguments)
        return (list(output) if listed and isinstance(output, Iterator) else output,)

    def answer_cases(self, name: str, limits: list[float], base: int, listed: bool, inputs: list[list[Any]]) -> None:
        """Call a function on each input, each within its limit in seconds; send every output with the seconds it took.

        listed: of an output that is an iterator, what it yields.
        """
        function, alarm, sent = self.module.__dict__.get(name), Alarm(), 0.0
        for number, (limit, arguments) in enumerate(zip(limits, inputs, strict=True)):
            alarm.start(limit)
            started = time.perf_counter()
            answer = self.attempt(self.do_case, function, arguments, listed)
            ended = time.perf_counter()
            alarm.stop()
            self.put_output(answer, ended - started)
            # What a crash would take along is little, and nothing of the base inputs.
            if ended - sent > FLUSH_SECONDS or number + 1 == base:
                self.channel.flush()
                sent = ended
        self.channel.flush()

    def put_output(self, answer: list[Any], seconds: float) -> None:
        """An output; its value comes last, since the checker reads it only where its text is not the expected one."""
        if answer[0] == "error":
            return self.put(answer)
        return self.put_text(lambda: f'["value", {seconds!r}, {wire.bounded_dumps(answer[1], self.handle)}]')

    def send(self, message: list[Any]) -> None:
        """Send an answer; what cannot be sent is an error of its own."""
        self.put(message)
        self.channel.flush()

    def put(self, message: list[Any]) -> None:
        """`send`, but it may wait for others."""
        self.put_text(lambda: wire.dumps(message, self.handle))

    def put_text(self, make: Callable[[], str]) -> None:
        """Send the text that `make` gives, or that it gives none."""
        if self._this_process() != self.pid:  # a fork of the solution comes back to here as well
            self._leave(0)
        try:
            text = make()
        except MemoryError:
            text = wire.dumps(["error", ["MemoryError"], "MemoryError: the value is too large"], self.handle)
        except ClosedError:
            raise
        except BaseException as error:
            text = wire.dumps(["error", ["ValueError"], f"a value cannot be read: {type(error).__name__}"], self.handle)
        self.channel.put(text)

    def handle(self, value: Any) -> list[Any]:
        """The stand-in of an object that stays here."""
        self.held.append(value)
        return [len(self.held) - 1, type(value).__name__]

    def value_of(self, handle: Any) -> Any:
        return self.held[handle]


class Alarm:
    """Raises SlowError in this process when an input took its seconds, less those that the process waited for a core."""

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
            raise SlowError("no output in time")


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
