"""The checker's end of the channel: the solution's names and objects as stand-ins that call them in their own process.

What comes from there is a value, an object, or the solution's failure; never an error of the checker. A value that a test reads
twice is the same: what is only read of an object is asked once, until the test does something that may change it. No operator
tells the solution a plain operand, which may be the expected value, unless the task's own classes are made for that.
"""

from __future__ import annotations

import builtins
import functools
import inspect
import io
import json
import os
import pathlib
import re
import sys
import time
import types
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from typing import Any

from codeblock.sandbox import codec
from codeblock.sandbox.codec import Channel, ClosedError
from codeblock.sandbox.containers import Containers
from codeblock.sandbox.endpoints import MAX_DEPTH, Endpoint, Raised
from codeblock.sandbox.failures import LostError, SolutionError
from codeblock.sandbox.kinds import plain_of
from codeblock.sandbox.known import is_error, known_name
from codeblock.sandbox.standin import CHANGING, IMMUTABLE, MUTABLE, PLAIN_OPERANDS, READABLE, StandIn, StandInType, number_of
from codeblock.sandbox.text import MAX_REPORT, clean

TESTS = "<tests>"
"""File name of the tests in tracebacks, and the module of what they define."""
MODULE = "tests"
SAID = ("syntax_error", "exception", "out_of_memory")
"""What a solution's process may say of itself; everything else is decided here."""
OUTPUT = re.compile(r'\["value", (\d{1,9}(?:\.\d{1,20})?(?:e-\d{1,3})?), ')
FAILURE = re.compile(r'\["(failed|error)", "(\w{1,20})", ')
READING = frozenset({"attribute", "contents", "special"})
NEUTRAL = frozenset({"global", "copy"})
STEPS = frozenset({"__next__", "__anext__", "send", "throw", "next"})
"""What may end by StopIteration."""
FILES = (io.StringIO, io.BytesIO)
TOLD = 1000
ENOUGH = 0.5
"""Part of an input's limit that must have gone by before the word of a solution counts that it ran out."""


ObjectId = tuple[int, bool]


class Object:
    """An object of the solution among outputs: it equals nothing, and nothing is asked of it."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __repr__(self) -> str:
        return f"an object of {self.kind}"


class Bounds:
    """How large what the solution sends may be: bytes of a message, and bytes of memory that its value may take."""

    def __init__(self, expected_bytes: int = 0) -> None:
        self.message = min(max(FLOOR_BYTES, FACTOR * expected_bytes), codec.MAX_MESSAGE_BYTES)
        self.memory = MEMORY_FACTOR * self.message


FLOOR_BYTES = 16 << 20
FACTOR = 4
MEMORY_FACTOR = 32


class Peer(Endpoint):
    """The solution's process. `operators`: special methods of the task's own classes, which may be told plain operands.

    Raises SolutionError where the solution could not be loaded, LostError where its process ended.
    """

    file = TESTS

    def __init__(self, channel: Channel, operators: Iterable[str] = (), bounds: Bounds | None = None) -> None:
        super().__init__(channel)
        self.operators, self.bounds = frozenset(operators), bounds or Bounds()
        self.failure: BaseException | None = None
        self.remembered: dict[str, Any] = {}
        self.reading = 0
        self.steppers: set[int] = set()
        self.hashes: dict[ObjectId, int] = {}
        self.replays: dict[ObjectId, Replay] = {}
        self._streams = (sys.stdin, sys.stdout, sys.stderr, builtins.input)
        self._told: deque[tuple[BaseException, SolutionError]] = deque(maxlen=TOLD)
        first = self.read(self.receive(), [])
        if first[0] == "failed" and len(first) == 3 and first[1] in SAID and type(first[2]) is str:
            raise SolutionError(first[1], clean(first[2], MAX_REPORT))
        if first[0] != "ready" or len(first) != 2 or type(first[1]) is not list:
            raise self.refusal("its first message is none")
        self.names = frozenset(name for name in first[1] if type(name) is str)

    def named(self, name: str) -> Any:
        """A global of the solution: a plain value, or a stand-in."""
        return self.ask("global", name)

    def outputs(self, oracle: dict[str, Any], limits: list[float]) -> Iterator[tuple[str, float]]:
        """The output of each input of `Cases`, as text, with the seconds it took; raises where an input raised."""
        message = ["cases", oracle["calls"], limits, oracle["base"], oracle["compare"] == "same_set"]
        self.send(f"{json.dumps(message)[:-1]}, {oracle['inputs_text']}]")
        started = time.monotonic()
        for limit in limits:
            text = self.receive()
            found = OUTPUT.match(text)
            if found is None or not text.endswith("]"):
                raise self._failure_of(text, time.monotonic() - started >= ENOUGH * limit)
            yield text[found.end() : -1], float(found[1])

    def value(self, text: str) -> Any:
        """The value of an output's text."""
        return self._guarded(lambda: codec.loads(text, _object, self.bounds.memory))

    def told_of(self, error: BaseException) -> SolutionError | None:
        """The solution's failure behind an exception that was raised in its place, if it is one."""
        return next((told for raised, told in self._told if raised is error), None)

    def refusal(self, why: str | Exception) -> SolutionError:
        """The failure of a solution that sent what no honest process sends."""
        self.failure = SolutionError("exception", f"what the solution returned cannot be read ({clean(str(why), 100)})")
        return self.failure

    def end(self) -> None:
        """Raise what the tests have hidden: the end of the solution's process, or what it sent and nobody asked for."""
        if self.failure is not None:
            raise self.failure
        if self.channel.has_more():
            raise self.refusal("it sent more than it was asked for")

    # Messages.

    def send(self, text: str) -> None:
        try:
            self.channel.send(text)
        except ClosedError:
            raise self._lost() from None

    def receive(self) -> str:
        try:
            return self.channel.receive(self.bounds.message)
        except ClosedError:
            raise self._lost() from None
        except ValueError as error:
            raise self.refusal(error) from None

    def read(self, text: str, parts: list[Any]) -> list[Any]:
        return self._guarded(lambda: Endpoint.read(self, text, parts))  # type: ignore[no-any-return]

    def settled(self, message: list[Any], number: int, parts: list[Any]) -> Any:
        return self._guarded(lambda: Endpoint.settled(self, message, number, parts))

    def heaviest(self) -> int:
        return self.bounds.memory

    def _guarded(self, work: Any) -> Any:
        try:
            return work()
        except MemoryError:
            raise
        except Exception as error:
            raise self.refusal(error) from None

    def _lost(self) -> LostError:
        self.failure = LostError()
        return self.failure

    def _failure_of(self, text: str, late: bool) -> SolutionError:
        """The failure that the answer `["error", kind, text]` to an input tells of."""
        found = FAILURE.match(text)
        if found is None:
            return self.refusal("no output")
        message = self.read(text, [])
        if len(message) != 3 or message[1] not in (*SAID, "timeout") or (message[1] == "timeout" and not late):
            return self.refusal("no output")
        return SolutionError(message[1], clean(message[2], MAX_REPORT))

    # Asking.

    def exchange(self, operation: str, arguments: Iterable[Any], parts: Containers, *, keep: bool = False) -> Any:
        """As `Endpoint.exchange`; what is only read is asked once."""
        given = list(arguments)
        if operation not in READING or (operation == "special" and given[0] in CHANGING):
            if not keep and operation not in NEUTRAL:
                self.forget()
            return self.stopped(super().exchange, operation, given, parts)
        key = self.dumps([operation, self.redirections(), given])
        if key not in self.remembered:
            self.reading += 1
            try:
                self.remembered[key] = (True, self.stopped(super().exchange, operation, given, parts))
            except Exception as error:
                self.remembered[key] = (False, error)
            finally:
                self.reading -= 1
        well, found = self.remembered[key]
        if not well:
            raise found
        if operation == "attribute" and given[1] in STEPS:
            self.steppers.add(id(found))
        return found

    def next_number(self) -> int:
        """One that cannot be foreseen: an answer that comes before its question, or twice, answers nothing."""
        return int.from_bytes(os.urandom(7))

    def stopped(self, exchange: Any, operation: str, given: list[Any], parts: Containers) -> Any:
        """An end of iteration that comes from anything but a step of an iterator is an error: `all` would end on it."""
        try:
            return exchange(operation, given, parts)
        except StopIteration as error:
            if (operation == "special" and given[0] in STEPS) or (operation == "call" and id(given[0]) in self.steppers):
                raise
            raise self.retold(error, RuntimeError("the solution raised StopIteration")) from error

    def retold(self, error: BaseException, instead: BaseException) -> BaseException:
        """An exception of the tests' that is raised in place of one of the solution's."""
        if (told := self.told_of(error)) is not None:
            self._told.append((instead, told))
        return instead

    def forget(self) -> None:
        """The test does what may change objects: they are asked anew. What an object does while it is read does not count."""
        if not self.reading:
            self.remembered.clear()
            self.replays.clear()

    def redirections(self) -> list[Any] | None:
        if (sys.stdin, sys.stdout, sys.stderr, builtins.input) == self._streams:
            return None
        text = None
        if isinstance(sys.stdin, io.StringIO):
            at = sys.stdin.tell()
            text = sys.stdin.read()
            sys.stdin.seek(at)
        return [text, None if builtins.input is self._streams[3] else builtins.input]

    def raised(self, found: Raised) -> BaseException:
        told = SolutionError(found.kind if found.kind in SAID else "exception", clean(found.text, MAX_REPORT))
        if found.kind != "exception":
            self.failure = told
            return told
        if id(found.error) not in self.numbers:
            self._told.append((found.error, told))
        return found.error

    def special(self, name: str, target: Any, arguments: tuple[Any, ...]) -> Any:
        if name == "__hash__":
            place = self.place(target)
            if place not in self.hashes:
                self.hashes[place] = super().special(name, target, arguments)
            return self.hashes[place]
        if name == "__iter__":
            return self._iterated(target)
        if name in ("__exit__", "__aexit__"):
            return self._left(name, target, arguments)
        if name in PLAIN_OPERANDS and name not in self.operators and number_of(arguments[0], self) is None:
            return self._with_plain(name, target, arguments)
        return super().special(name, target, arguments)

    def _left(self, name: str, target: Any, arguments: tuple[Any, ...]) -> Any:
        """The end of a `with`. An object of the solution cannot make a failed test of nothing."""
        error = arguments[1]
        if isinstance(error, BaseException) and not isinstance(error, Exception) and self.told_of(error) is None:
            return False
        found = super().special(name, target, (*arguments[:2], None))
        if not isinstance(error, AssertionError) or self.told_of(error) is not None:
            return found
        return _nothing_swallowed(found) if name == "__aexit__" else False

    def _iterated(self, target: Any) -> Any:
        """An iterator goes on where it stands; anything else gives each time what it gave before."""
        if "__next__" in type(target)._codeblock_has:
            return target
        place = self.place(target)
        if place not in self.replays:
            source = self.exchange("special", ("__iter__", target, []), Containers(), keep=True)
            if not isinstance(source, StandIn) or "__next__" not in type(source)._codeblock_has:
                raise TypeError(f"iter() returned non-iterator of type {type(source).__name__!r}")
            self.replays[place] = Replay(self, source)
        return self.replays[place].items()

    def place(self, target: Any) -> ObjectId:
        """What tells an object or class of the solution from all others."""
        return int(number_of(target, self) or 0), isinstance(target, StandInType)

    def _with_plain(self, name: str, target: Any, arguments: tuple[Any, ...]) -> Any:
        """An operator whose other operand the solution must not see: by what the object is made of, if it is a plain thing."""
        plain = type(target)._codeblock_plain
        if plain in IMMUTABLE:
            return getattr(IMMUTABLE[plain], name, lambda *_: NotImplemented)(target, *arguments)
        if plain in MUTABLE:
            contents = self.ask("contents", target)
            return getattr(type(contents), name, lambda *_: NotImplemented)(contents, *arguments)
        if name != "__contains__":
            return NotImplemented
        return any(item is arguments[0] or item == arguments[0] for item in target)

    # Being asked.

    def answer(self, message: list[Any]) -> None:
        if message[3] is not None or self.depth > MAX_DEPTH:
            raise self.refusal("it asks for too much")
        self.forget()
        super().answer(message)
        self.forget()

    def error_of(self, number: int, error: BaseException) -> list[Any]:
        if isinstance(error, Exception) and not isinstance(error, MemoryError):
            return super().error_of(number, error)
        raise error

    def permit(self, operation: str, arguments: list[Any]) -> None:
        """Only what the tests gave, and of it only what cannot lead to anything else of this process."""
        target = arguments[1] if operation == "special" else arguments[0]
        name = arguments[0] if operation == "special" else arguments[1] if "attribute" in operation else ""
        own = type(target).__module__ == MODULE or (isinstance(target, type) and target.__module__ == MODULE)
        allowed = {
            "call": callable(target),
            "special": name in self.facts_of(target) or (own and name in ("__str__", "__repr__", "__eq__", "__hash__")),
            "attribute": name in READABLE - {"__dict__"} or ((own or isinstance(target, FILES)) and not name.startswith("__")),
            "set_attribute": own and not isinstance(target, type) and not name.startswith("__"),
            "copy": own,
            "await": inspect.iscoroutine(target),
        }
        if id(target) not in self.numbers or type(name) is not str or not allowed.get(operation):
            raise AttributeError(f"{name or operation} of what the tests gave")

    def facts_of(self, target: Any) -> list[str]:
        """Special methods that were told of a class."""
        facts = self.facts.get(self.numbers.get(id(type(target)), -1))
        return facts[1] if facts else []

    def give(self, value: Any) -> list[Any]:
        name = known_name(value)
        if name is not None and (callable(value) or isinstance(value, types.ModuleType)):
            return ["known", name]
        if type(value) is functools.partial:
            packer = self.packer()
            return ["partial", packer.pack(value.func), packer.pack(list(value.args)), packer.pack(value.keywords)]
        own = type(value).__module__ == MODULE or (isinstance(value, type) and value.__module__ == MODULE)
        plain = issubclass(type(value), (*IMMUTABLE.values(), *MUTABLE.values()))
        if isinstance(value, pathlib.PurePath):
            return ["path", type(value).__name__, str(value)]
        if plain and not own:
            return ["as", self.packer().pack(plain_of(value))]
        passes = is_error(type(value)) or inspect.iscoroutine(value) or hasattr(value, "__next__") or isinstance(value, FILES)
        if not (own or plain or passes or callable(value)) or isinstance(value, types.FrameType | types.CodeType):
            raise ValueError(f"a {type(value).__name__} of the tests cannot be given to the solution")
        return super().give(value)


class Replay:
    """What an object's iterator gave, for every loop over it."""

    def __init__(self, peer: Peer, source: Any) -> None:
        self.peer, self.source, self.found, self.ended = peer, source, [], False  # type: ignore[var-annotated]

    def items(self) -> Generator[Any, None, None]:
        """All that it gives, from the first on."""
        place = 0
        while place < len(self.found) or not self.ended:
            if place == len(self.found):
                try:
                    self.found.append(self.peer.exchange("special", ("__next__", self.source, []), Containers(), keep=True))
                except StopIteration:
                    self.ended = True
                    return
            yield self.found[place]
            place += 1


async def _nothing_swallowed(found: Any) -> bool:
    await found
    return False


def _object(content: Any) -> Object:
    if type(content) is not str:
        raise ValueError("no object")
    return Object(clean(content, 100))
