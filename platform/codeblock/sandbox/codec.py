"""What passes between a solution's process and the checker: framed JSON, typed, from which only plain values can come.

Nothing is pickled: whatever bytes a hostile process sends, the other side gets plain values, what its `handle` makes, or an
error, and spends no more memory than its limits. Standard library alone.

A value is plain JSON (None, bool, int, float, str, list) or an object with one key, its tag, from `kinds.TAGS` or "handle".
"""

from __future__ import annotations

import builtins
import contextlib
import hashlib
import json
import marshal
import re
import socket
import sys
from collections.abc import Callable
from typing import Any

from codeblock.sandbox.arrays import pack_numpy
from codeblock.sandbox.kinds import TAGS, pairs, parts_of, plain_of

MAX_MESSAGE_BYTES = 256 << 20
HEAD_BYTES = 4
READ_BYTES = 64 << 10
FLUSH_BYTES = 64 << 10
WHOLE_BYTES = 16 << 20
PART_ITEMS = 4096
PLAIN_MARSHAL = 2
"""A format of marshal in which equal values have equal bytes, wherever their parts lie in memory. Only ever written."""
ATOMS = frozenset({type(None), bool, int, float, str})
MAX_DIGITS = 4300
QUOTED = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"')
WEIGHTS = {"[": 96, ",": 40, "{": 500}
"""Bytes of memory that a value's text stands for at most, by what occurs in it; each character counts as well."""
HEAVIEST = 1 + max(WEIGHTS.values())
"""What no character weighs more than."""

Handle = Callable[[Any], Any]


class ClosedError(Exception):
    """The other side is gone."""


class Digest:
    """Stands for a value that is too long to be read. It equals none: texts are compared."""


class Channel:
    """Messages over a stream socket, each four bytes of length and JSON."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._come, self._waiting = bytearray(), bytearray()

    def send(self, text: str) -> None:
        """Send one message. Raises ClosedError, and ValueError where it is too long."""
        self.put(text)
        self.flush()

    def put(self, text: str) -> None:
        """Keep one message until `flush`, or until there are many. Raises as `send`."""
        body = text.encode()
        if len(body) > MAX_MESSAGE_BYTES:
            raise ValueError(f"more than {MAX_MESSAGE_BYTES >> 20} MiB in one value")
        self._waiting += len(body).to_bytes(HEAD_BYTES, "little")
        self._waiting += body
        if len(self._waiting) > FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Send what waits. Raises ClosedError."""
        try:
            self._connection.sendall(self._waiting)
        except OSError as error:
            raise ClosedError from error
        self._waiting.clear()

    def receive(self, limit: int = MAX_MESSAGE_BYTES) -> str:
        """The next message, of at most `limit` bytes. Raises ClosedError at the end, ValueError for a longer one or no text."""
        self._have(HEAD_BYTES)
        size = int.from_bytes(self._come[:HEAD_BYTES], "little")
        if size > limit:
            raise ValueError(f"more than {limit >> 20} MiB in one value")
        self._have(HEAD_BYTES + size)
        with memoryview(self._come) as come, come[HEAD_BYTES : HEAD_BYTES + size] as body:
            text = str(body, "utf-8")
        del self._come[: HEAD_BYTES + size]
        return text

    def has_more(self) -> bool:
        """Whether bytes have come that nobody has received. Nothing can be received afterwards."""
        self._connection.setblocking(False)
        with contextlib.suppress(OSError):
            return bool(self._come or self._connection.recv(1, socket.MSG_PEEK))
        return False

    def _have(self, count: int) -> None:
        """Read until so many bytes have come, and what has come with them."""
        while len(self._come) < count:
            try:
                piece = self._connection.recv(READ_BYTES)
            except OSError as error:
                raise ClosedError from error
            if not piece:
                raise ClosedError
            self._come += piece


def dumps(value: Any, handle: Handle) -> str:
    """A value as JSON; `handle` gives the text's stand-in for a value of no known type.

    Raises RecursionError for a value that nests too deeply or holds itself.
    """
    with UsualIntegers():
        try:
            return json.dumps(Packer(handle).pack(value))
        except ValueError:  # an integer of more digits than Python turns into text
            return json.dumps(Packer(handle, wide=True).pack(value))


def bounded_dumps(value: Any, handle: Handle, limit: int = WHOLE_BYTES) -> str:
    """`dumps`, but a long list of plain values, of more than about `limit` bytes, gives a digest: equal lists have equal ones.

    Raises as `dumps`.
    """
    if type(value) is list and len(value) > PART_ITEMS:
        try:
            if _bytes_of(value[:PART_ITEMS]) * len(value) > limit * PART_ITEMS:
                return json.dumps({"digest": _digest(value)})
        except ValueError:
            pass  # it holds values that marshal does not take
    return dumps(value, handle)


def _bytes_of(values: list[Any]) -> int:
    return len(marshal.dumps(values, PLAIN_MARSHAL))


def _digest(values: list[Any]) -> str:
    digest = hashlib.sha256()
    for start in range(0, len(values), PART_ITEMS):
        digest.update(marshal.dumps(values[start : start + PART_ITEMS], PLAIN_MARSHAL))
    return digest.hexdigest()


def loads(text: str, handle: Handle, heaviest: int | None = None) -> Any:
    """The value of a JSON text; `handle` makes a value of each stand-in.

    `heaviest`: bytes of memory that it may take. Raises ValueError, RecursionError, and what `handle` raises but TypeError.
    """
    return Decoder(handle).read(text, heaviest)


class Decoder:
    """`loads` with one `handle` for many texts."""

    def __init__(self, handle: Handle) -> None:
        self.handle = handle
        self._decoder = json.JSONDecoder(object_pairs_hook=self._tagged)

    def read(self, text: str, heaviest: int | None = None) -> Any:
        """As `loads`."""
        if (
            heaviest is not None
            and len(text) * HEAVIEST > heaviest
            and weight(text) > heaviest
            and weight(QUOTED.sub('""', text)) + len(text) > heaviest
        ):
            raise ValueError("too many parts in one value")
        with UsualIntegers():
            found, end = self._decoder.raw_decode(text)
        if end != len(text):
            raise ValueError("more than one value")
        return found

    def _tagged(self, found: list[tuple[str, Any]]) -> Any:
        if len(found) != 1:
            raise ValueError("not a value")
        ((tag, content),) = found
        try:
            if tag == "handle":
                return self.handle(content)
            if tag == "digest":
                return Digest()
            kind, make = TAGS[tag]
            if kind is object or type(content) is kind:
                return make(content)
        except (ValueError, RecursionError, MemoryError):
            raise
        except Exception as error:
            raise ValueError(f"not a value: {tag[:20]}") from error
        raise ValueError(f"not a value: {tag[:20]}")


def weight(text: str) -> int:
    """Bytes of memory that the value of a text may take, by a rough count from above."""
    return len(text) + sum(bytes_each * text.count(what) for what, bytes_each in WEIGHTS.items())


class Packer:
    """Turns values into JSON's own types.

    `typed`: values of subclasses, too, go to `handle`; else they count as values of their base. `known`: gives what stands for
    a value, for `loads`'s `handle`, or None. `wide`: integers of any length.
    """

    def __init__(self, handle: Handle, *, typed: bool = False, known: Handle | None = None, wide: bool = False) -> None:
        self.handle, self.typed, self.known, self.wide = handle, typed, known, wide

    def pack(self, value: Any) -> Any:
        """A value as JSON's own types."""
        kind = type(value)
        if kind in ATOMS:
            return {"int": hex(value)} if self.wide and kind is int and value.bit_length() > 64 else value
        if self.known is not None and (name := self.known(value)) is not None:
            return {"handle": name}
        return self.contents(value)

    def contents(self, value: Any) -> Any:
        """`pack` for a container, which itself may be known."""
        kind = type(value)
        if kind is list:
            return self._items(value)
        if kind is tuple:
            return {"tuple": self._items(value)}
        if kind is dict:
            return {"dict": pairs(value.items(), self.pack)}
        if kind is set:
            return {"set": [self.pack(item) for item in value]}
        if (special := parts_of(kind)) is not None:
            tag, parts = special
            return {tag: parts(value, self.pack)}
        if kind is type and vars(builtins).get(name := str(value.__name__)) is value:
            return {"type": name}
        return self._rare(value)

    def _items(self, values: Any) -> list[Any]:
        if not self.wide and ATOMS.issuperset(map(type, values)):
            return list(values)
        return [self.pack(value) for value in values]

    def _rare(self, value: Any) -> Any:
        if "numpy" in sys.modules and (found := pack_numpy(value, self.pack)) is not None:
            return found
        if not self.typed:
            with contextlib.suppress(TypeError, AttributeError):
                return self.pack(plain_of(value))
        return {"handle": self.handle(value)}


class UsualIntegers:
    """Python's own limit on the digits of an integer as text, whatever holds outside: turning long ones takes endless time."""

    def __enter__(self) -> None:
        self.before = sys.get_int_max_str_digits()
        if self.before != MAX_DIGITS:
            sys.set_int_max_str_digits(MAX_DIGITS)

    def __exit__(self, *_: object) -> None:
        if self.before != MAX_DIGITS:
            sys.set_int_max_str_digits(self.before)


def unlimited_integers() -> None:
    """Let this process read and write integers of any length. Only for the checker: in a solution's it would show."""
    sys.set_int_max_str_digits(0)
