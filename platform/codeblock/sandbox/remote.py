"""The checker's end of the channel: the solution's names and objects as stand-ins that call them in their own process."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from typing import Any

from codeblock.sandbox import wire
from codeblock.sandbox.wire import Channel, ClosedError

VALUE = '["value", '
SAID = ("syntax_error", "exception", "out_of_memory")
"""What a solution's process may say of how it was loaded; everything else is decided here."""


class LostError(BaseException):
    """The solution's process ended."""


class SolutionError(BaseException):
    """The solution failed: it could not be loaded, or raised what the tests did not catch."""

    def __init__(self, verdict: str, text: str) -> None:
        super().__init__(text)
        self.verdict, self.text = verdict, text


class RaisedError(Exception):
    """An exception of a type that only the solution knows."""


class Peer:
    """The solution's process.

    Raises SolutionError where the solution could not be loaded, LostError where its process ended.
    """

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self._told: list[tuple[BaseException, SolutionError]] = []
        first = self._receive()
        if first[0] == "failed":
            raise SolutionError(first[1] if first[1] in SAID else "exception", str(first[2]))
        self.names = frozenset(name for name in first[1] if isinstance(name, str))

    def ask(self, *message: Any) -> list[Any]:
        """Send a message; the values of its answer. Raises what the solution raised."""
        self._send(wire.dumps(list(message), handle_of))
        return self._answer()

    def named(self, name: str) -> Any:
        """A global of the solution: a plain value, or a stand-in."""
        return self.ask("global", name)[0]

    def outputs(self, oracle: dict[str, Any], limits: list[float]) -> Iterator[tuple[str, float]]:
        """The output of each input of `Cases`, as text, with the seconds it took; raises where an input raised."""
        message = ["cases", oracle["calls"], limits, oracle["base"], oracle["compare"] == "same_set"]
        self._send(f"{wire.dumps(message, handle_of)[:-1]}, {oracle['inputs_text']}]")
        for _ in limits:
            text = self._receive_text()
            if not text.startswith(VALUE):
                raise failure_of(self._read(text))
            seconds, _, value = text[len(VALUE) : -1].partition(", ")
            yield value, float(seconds)

    def value(self, text: str) -> Any:
        """The value of an output's text."""
        return self._read(f"[{text}]")[0]

    def told_of(self, error: BaseException) -> SolutionError | None:
        """The solution's failure behind an exception that was raised in its place, if it is one."""
        return next((told for raised, told in self._told if raised is error), None)

    def _answer(self) -> list[Any]:
        answer = self._receive()
        if answer[0] == "value":
            return answer[1:]
        told = failure_of(answer)
        raised = as_builtin([str(name) for name in answer[1]], told.text)
        if raised is None:
            raise told
        self._told.append((raised, told))
        raise raised

    def _send(self, text: str) -> None:
        try:
            self.channel.send(text)
        except ClosedError:
            raise LostError from None

    def _receive(self) -> list[Any]:
        return self._read(self._receive_text())

    def _receive_text(self) -> str:
        try:
            return self.channel.receive()
        except ClosedError:
            raise LostError from None
        except ValueError as error:
            raise SolutionError("exception", f"what the solution returned cannot be read ({error})") from None

    def _read(self, text: str) -> list[Any]:
        try:
            message = wire.loads(text, lambda content: Remote(self, *content))
        except (ValueError, RecursionError, TypeError) as error:
            raise SolutionError("exception", f"what the solution returned cannot be read ({str(error)[:100]})") from None
        if not isinstance(message, list) or not message:
            raise SolutionError("exception", "what the solution returned cannot be read")
        return message


def failure_of(answer: list[Any]) -> SolutionError:
    """The failure that an answer `["error", names of the type and its bases, text]` tells of."""
    verdict = {"MemoryError": "out_of_memory", "SlowError": "timeout"}.get(str(answer[1][0]), "exception")
    return SolutionError(verdict, str(answer[2]))


def as_builtin(names: list[str], text: str) -> BaseException | None:
    """An exception like the solution's, of the nearest type that Python has, so that tests may expect it.

    None for those that no test may catch by `except Exception`, such as SystemExit.
    """
    if "Exception" not in names or names[0] in ("MemoryError", "SlowError"):
        return None
    for name in names:
        kind = getattr(builtins, name, None)
        if isinstance(kind, type) and issubclass(kind, Exception) and kind not in (AssertionError, Exception):
            try:
                return kind(text)
            except TypeError:  # a type that wants other arguments
                continue
    return RaisedError(text)


def handle_of(value: Any) -> Any:
    """What stands for a stand-in where it goes back to the solution."""
    if isinstance(value, Remote):
        return object.__getattribute__(value, "_target")
    raise ValueError(f"a {type(value).__name__} of the tests cannot be given to the solution")


class Remote:
    """An object of the solution.

    It equals no plain value, and neither arithmetic nor order is asked of it: an object that claims to be equal to, or near,
    everything must not pass. Its parts can be read, which gives plain values in the end.
    """

    __slots__ = ("_peer", "_target", "_type")

    def __init__(self, peer: Peer, target: Any, kind: Any) -> None:
        self._peer, self._target, self._type = peer, target, str(kind)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        value, changed = self._peer.ask("call", self, list(arguments), keywords)
        if changed is not None:
            for before, after in zip(arguments, changed, strict=True):
                copy_into(before, after)
        return value

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._peer.ask("attribute", self, name)[0]

    def __next__(self) -> Any:
        return self._peer.ask("next", self)[0]

    def __iter__(self) -> Any:
        return self._operator("iter")

    def __getitem__(self, key: Any) -> Any:
        return self._operator("getitem", key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._operator("setitem", key, value)

    def __len__(self) -> int:
        return int(self._operator("len"))

    def __bool__(self) -> bool:
        return bool(self._operator("bool"))

    def __int__(self) -> int:
        return int(self._operator("int"))

    def __float__(self) -> float:
        return float(self._operator("float"))

    def __str__(self) -> str:
        return str(self._operator("str"))

    def __repr__(self) -> str:
        return f"<{self._type} of the solution>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Remote) and self._operator("eq", other) is True

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = object.__hash__

    def _operator(self, name: str, *arguments: Any) -> Any:
        return self._peer.ask("operator", name, [self, *arguments])[0]


def copy_into(before: Any, after: Any) -> None:
    """Give an argument the content that the solution left in it."""
    if isinstance(before, list | bytearray):
        before[:] = after
    elif isinstance(before, dict | set):
        before.clear()
        before.update(after)
