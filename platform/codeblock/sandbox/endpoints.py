"""The two ends of a channel between processes that call each other: asking and answering.

A message is `["ask", n, operation, redirections, arguments]`. It is answered by `["value", n, value,
changed, printed]` or `["error", n, kind, place, text, error, changed, printed]`: `changed` are the new contents of containers
among the arguments, by their place in `containers`, and `printed` what went to the two output streams. Before it answers, the
other end may ask in turn. Standard library alone.
"""

from __future__ import annotations

import builtins
import contextlib
import copy
import io
import operator
import sys
from _thread import RLock
from collections.abc import Callable, Iterable
from typing import Any

from codeblock.sandbox import codec
from codeblock.sandbox.codec import Channel, ClosedError
from codeblock.sandbox.containers import Containers, Contents, containers, copy_into
from codeblock.sandbox.kinds import plain_of
from codeblock.sandbox.objects import Objects, Snapshot, exact_number
from codeblock.sandbox.standin import run_awaitable
from codeblock.sandbox.text import described, place_of

MAX_DEPTH = 100
MAX_PRINTED = 1 << 20
KINDS = ("exception", "out_of_memory", "timeout")
"""What an error may be."""
NATURAL: dict[str, Callable[..., Any]] = {
    **{f"__{kind.__name__}__": kind for kind in (int, float, complex, str, bytes, bool)},
    **{f"__{find.__name__}__": find for find in (iter, next, len, repr, hash, format, reversed, round, abs)},
    **{f"__{find.__name__}__": find for find in (operator.getitem, operator.setitem, operator.delitem, operator.contains)},
    "__index__": operator.index,
}
"""Special methods for which Python has a function, which also finds what stands in for them."""


class Raised:
    """What an answer says was raised: of which of `KINDS`, its text and place for a report, and the exception."""

    def __init__(self, kind: str, text: str, error: BaseException) -> None:
        self.kind, self.text, self.error = kind, text, error


class Endpoint(Objects):
    """One end."""

    file = ""
    """The file whose lines tell where an error came from."""

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self.channel = channel
        self.count = self.depth = 0
        self.lock = RLock()
        self.event_loop: Any = None

    # Asking.

    def ask(self, operation: str, *arguments: Any) -> Any:
        """What the other end answers. Raises what is raised there."""
        return self.exchange(operation, arguments, Containers())

    def call(self, function: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        """What a function of the other end returns; arguments get the contents that it leaves in them."""
        plain = not keywords and codec.ATOMS.issuperset(map(type, arguments))
        parts = Containers() if plain else containers((arguments, tuple(keywords.values())))
        return self.exchange("call", (function, list(arguments), keywords), parts)

    def special(self, name: str, target: Any, arguments: tuple[Any, ...]) -> Any:
        """What a special method of the other end returns."""
        return self.ask("special", name, target, list(arguments))

    def exchange(self, operation: str, arguments: Iterable[Any], parts: Containers) -> Any:
        """Ask, answer what is asked meanwhile, and give the value of the answer or raise its error."""
        with self.lock:  # one thread after the other
            number = self.next_number()
            self.send(self.dumps(["ask", number, operation, self.redirections(), list(arguments)], shared=parts))
            while True:
                message = self.read(self.receive(), parts)
                if message[0] != "ask":
                    found = self.settled(message, number, parts)
                    if isinstance(found, Raised):
                        raise self.raised(found)
                    return found
                self.answer(message)

    def next_number(self) -> int:
        """The number of a question."""
        self.count += 1
        return self.count

    def settled(self, message: list[Any], number: int, parts: list[Any]) -> Any:
        """The value of an answer, or what it raised. Raises ValueError and the like where it is no answer to this."""
        word, answered, *content, changed, printed = message
        if type(answered) is not int or answered != number or len(content) != {"value": 1, "error": 4}[word]:
            raise ValueError("an answer to something else")
        for place, contents in changed or ():
            copy_into(parts[exact_number(place)], contents)
        if printed is not None:
            out, errors, read = printed
            sys.stdout.write(out)
            sys.stderr.write(errors)
            sys.stdin.read(exact_number(read)) if read else None
        if word == "value":
            return content[0]
        kind, place, text, error = content
        if kind not in KINDS or type(place) is not str or type(text) is not str or not isinstance(error, BaseException):
            raise ValueError("no error")
        return Raised(kind, text + place, error)

    def raised(self, found: Raised) -> BaseException:
        """The exception that is raised for an error of the other end."""
        return found.error

    def send(self, text: str) -> None:
        """Send a message. Raises ClosedError."""
        self.channel.send(text)

    def receive(self) -> str:
        """The next message. Raises ClosedError."""
        return self.channel.receive()

    def redirections(self) -> list[Any] | None:
        """What the other end reads, as a text, and its `input`, where what it prints and reads belongs to this one."""
        return None

    # Answering.

    def answer(self, message: list[Any]) -> None:
        """Carry out what the other end asks and send its answer."""
        _, number, operation, given, arguments = message
        self.depth += 1
        parts = containers((tuple(arguments[1]), tuple(arguments[2].values()))) if operation == "call" else []
        before = self.contents_of(parts)
        streams = Streams(*given) if given is not None else None
        try:
            with streams or contextlib.nullcontext():
                head = self.attempt(number, operation, arguments)
        finally:
            self.depth -= 1
        printed = None if streams is None else streams.printed()
        with self.lock:
            self.send_answer(number, lambda: self.answer_text(head, parts, before, printed))

    def attempt(self, number: int, operation: str, arguments: list[Any]) -> list[Any]:
        """The value of an operation, or its error."""
        try:
            if self.depth > MAX_DEPTH:
                raise RecursionError("the tests and the solution call each other too deeply")
            self.permit(operation, arguments)
            return ["value", number, getattr(self, f"do_{operation}")(*arguments)]
        except BaseException as error:
            return self.error_of(number, error)

    def error_of(self, number: int, error: BaseException) -> list[Any]:
        """The answer that tells an error; may raise those that are not the other end's to know."""
        if isinstance(error, ClosedError):
            raise error
        return ["error", number, "out_of_memory" if isinstance(error, MemoryError) else "exception", error]

    def answer_text(self, head: list[Any], parts: list[Any], before: Snapshot, printed: list[Any] | None) -> str:
        changed = None
        if before is not None and self.have_changed(parts, before):
            changed = [[place, Contents(part)] for place, part in enumerate(parts)]
        if head[0] == "error":
            head = [*head[:3], place_of(head[3], self.file), described(head[3]), head[3]]
        return self.dumps([*head, changed, printed], parts)

    def send_answer(self, number: int, make: Callable[[], str]) -> None:  # noqa: ARG002
        """Send the text that `make` gives, or that it gives none."""
        self.send(make())

    def permit(self, operation: str, arguments: list[Any]) -> None:
        """Raise where the other end may not ask this."""

    def do_call(self, function: Any, arguments: list[Any], keywords: dict[str, Any]) -> Any:
        return function(*arguments, **keywords)

    def do_attribute(self, target: Any, name: str) -> Any:
        return getattr(target, name)

    def do_set_attribute(self, target: Any, name: str, value: Any) -> None:
        setattr(target, name, value)

    def do_delete_attribute(self, target: Any, name: str) -> None:
        delattr(target, name)

    def do_special(self, name: str, target: Any, arguments: list[Any]) -> Any:
        if name in NATURAL:
            return NATURAL[name](target, *arguments)
        return getattr(type(target), name)(target, *arguments)

    def do_contents(self, target: Any) -> Any:
        return plain_of(target)

    def do_copy(self, target: Any, deep: bool) -> Any:
        return copy.deepcopy(target) if deep else copy.copy(target)

    def do_await(self, target: Any) -> Any:
        return run_awaitable(target, self.loop())

    def loop(self) -> Any:
        """The event loop in which everything that is awaited runs."""
        import asyncio

        self.event_loop = self.event_loop or asyncio.new_event_loop()
        return self.event_loop


class Streams:
    """The standard streams of this process, in place of those of another one: what is printed, and how much is read."""

    def __init__(self, text: str | None, reading: Any) -> None:
        self.streams = [io.StringIO() if text is None else io.StringIO(text), io.StringIO(), io.StringIO()]
        self.inputs = (text, reading)
        self.before: tuple[Any, ...] = ()

    def __enter__(self) -> None:
        self.before = sys.stdin, sys.stdout, sys.stderr, builtins.input
        sys.stdout, sys.stderr = self.streams[1:]
        if self.inputs[0] is not None:
            sys.stdin = self.streams[0]
        if self.inputs[1] is not None:
            builtins.input = self.inputs[1]

    def __exit__(self, *_: object) -> None:
        sys.stdin, sys.stdout, sys.stderr, builtins.input = self.before

    def printed(self) -> list[Any]:
        """What went to the output streams, and how many characters were read."""
        return [*(stream.getvalue()[:MAX_PRINTED] for stream in self.streams[1:]), self.streams[0].tell()]
