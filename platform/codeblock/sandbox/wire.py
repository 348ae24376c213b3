"""What passes between a solution's process and the checker: framed JSON, typed, from which only plain values can come.

Nothing is pickled: whatever bytes a hostile process sends, the other side gets plain values, `Other` or an error. Standard
library alone; numpy is used only where its values occur.

A value is plain JSON (None, bool, int, float, str, list) or an object with one key, its tag, from `TAGS`.
"""

from __future__ import annotations

import builtins
import collections
import hashlib
import json
import marshal
import re
import socket
import struct
import sys
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

MAX_MESSAGE_BYTES = 256 << 20
FLUSH_BYTES = 64 << 10
WHOLE_BYTES = 64 << 20
PART_ITEMS = 4096
PLAIN_MARSHAL = 2
"""A format of marshal in which equal values have equal bytes, wherever their parts lie in memory. Only ever written."""
MAX_TEXT = 300
ATOMS = frozenset({type(None), bool, int, float, str})
KEYS_AND_ITEMS: tuple[type, ...] = (type({}.keys()), type({}.items()))
NUMBERS = re.compile(r"[<>|=]?[?biufc]\d*")
"""Types of numpy whose values may pass."""

Handle = Callable[[Any], Any]


class ClosedError(Exception):
    """The other side is gone."""


class Digest:
    """Stands for a value that is too long to be read. It equals none: texts are compared."""


class Channel:
    """Messages over a stream socket, each four bytes of length and JSON."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._reader = connection, connection.makefile("rb")
        self._waiting = bytearray()

    def send(self, text: str) -> None:
        """Send one message. Raises ClosedError, and ValueError where it is too long."""
        self.put(text)
        self.flush()

    def put(self, text: str) -> None:
        """Keep one message until `flush`, or until there are many. Raises as `send`."""
        body = text.encode()
        if len(body) > MAX_MESSAGE_BYTES:
            raise ValueError(f"more than {MAX_MESSAGE_BYTES >> 20} MiB in one value")
        self._waiting += struct.pack("<I", len(body)) + body
        if len(self._waiting) > FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Send what waits. Raises ClosedError."""
        try:
            self._connection.sendall(self._waiting)
        except OSError as error:
            raise ClosedError from error
        self._waiting.clear()

    def receive(self) -> str:
        """The next message. Raises ClosedError at the end, ValueError where it is too long or no text."""
        (size,) = struct.unpack("<I", self._exactly(4))
        if size > MAX_MESSAGE_BYTES:
            raise ValueError(f"more than {MAX_MESSAGE_BYTES >> 20} MiB in one value")
        return self._exactly(size).decode()

    def _exactly(self, count: int) -> bytes:
        try:
            data = self._reader.read(count)
        except OSError as error:
            raise ClosedError from error
        if len(data) < count:
            raise ClosedError
        return data


def dumps(value: Any, handle: Handle) -> str:
    """A value as JSON; `handle` gives the text's stand-in for a value of no known type.

    Raises RecursionError for one that nests too deeply or holds itself.
    """
    try:
        return json.dumps(pack(value, handle))
    except ValueError:  # an integer of more digits than Python turns into text
        return json.dumps(pack(value, handle, wide=True))


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


def loads(text: str, handle: Handle) -> Any:
    """The value of a JSON text; `handle` makes a value of each stand-in. Raises ValueError, RecursionError."""

    def tagged(found: dict[str, Any]) -> Any:
        if len(found) == 1:
            ((tag, content),) = found.items()
            if tag == "handle":
                return handle(content)
            if tag in TAGS:
                try:
                    return TAGS[tag](content)
                except Exception as error:
                    raise ValueError(f"not a value: {tag}") from error
        raise ValueError("not a value")

    return json.loads(text, object_hook=tagged)


def pack(value: Any, handle: Handle, wide: bool = False) -> Any:
    """A value as JSON's own types. `wide`: integers of any length."""
    kind = type(value)
    if kind in ATOMS:
        return {"int": hex(value)} if wide and kind is int and value.bit_length() > 64 else value
    if kind is list:
        return _items(value, handle, wide)
    if kind is tuple:
        return {"tuple": _items(value, handle, wide)}
    if kind is dict:
        return {"dict": _pairs(value, handle, wide)}
    if kind is set or kind in KEYS_AND_ITEMS:
        return {"set": [pack(item, handle, wide) for item in value]}
    special = SPECIAL.get(kind)
    if special is not None:
        tag, parts = special
        return {tag: _parts(parts(value), handle, wide)}
    if kind is type and vars(builtins).get(name := str(value.__name__)) is value:
        return {"type": name}
    if kind.__module__ == "numpy":
        return _pack_numpy(value, handle, wide)
    return _pack_subclass(value, handle, wide)


def _items(values: Any, handle: Handle, wide: bool) -> list[Any]:
    if not wide and ATOMS.issuperset(map(type, values)):
        return list(values)
    return [pack(value, handle, wide) for value in values]


def _pairs(values: Any, handle: Handle, wide: bool) -> list[Any]:
    return [[pack(key, handle, wide), pack(value, handle, wide)] for key, value in values.items()]


def _parts(value: Any, handle: Handle, wide: bool) -> Any:
    return value if type(value) is str else _items(value, handle, wide)


def _pack_numpy(value: Any, handle: Handle, wide: bool) -> Any:
    import numpy as np

    kind = type(value)
    if kind is np.ndarray and NUMBERS.fullmatch(value.dtype.str):
        return {"array": [value.dtype.str, list(value.shape), _items(value.ravel().tolist(), handle, wide)]}
    if issubclass(kind, np.generic) and NUMBERS.fullmatch(value.dtype.str):
        return {"number": [value.dtype.str, pack(value.item(), handle, wide)]}
    return {"handle": handle(value)}


def _pack_subclass(value: Any, handle: Handle, wide: bool) -> Any:
    """A value of a subclass counts as one of its base: what it overrides stays where it is."""
    kind = type(value)
    if issubclass(kind, tuple) and isinstance(names := kind.__dict__.get("_fields"), tuple):
        return {"record": [kind.__name__, list(names), _items(tuple.__getitem__(value, slice(None)), handle, wide)]}
    for base, plain in BASES:
        if issubclass(kind, base):
            return pack(plain(value), handle, wide)
    return {"handle": handle(value)}


BASES: list[tuple[type, Callable[[Any], Any]]] = [
    (int, lambda value: int.__add__(value, 0)),
    (float, lambda value: float.__add__(value, 0.0)),
    (str, lambda value: str.__getitem__(value, slice(None))),
    (bytes, lambda value: bytes.__getitem__(value, slice(None))),
    (list, lambda value: list.__getitem__(value, slice(None))),
    (tuple, lambda value: tuple.__getitem__(value, slice(None))),
    (dict, lambda value: dict(dict.items(value))),
    (frozenset, lambda value: frozenset.union(value)),
    (set, lambda value: set(set.__iter__(value))),
]

SPECIAL: dict[type, tuple[str, Callable[[Any], Any]]] = {
    complex: ("complex", lambda value: [value.real, value.imag]),
    bytes: ("bytes", lambda value: value.decode("latin-1")),
    bytearray: ("bytearray", lambda value: value.decode("latin-1")),
    frozenset: ("frozenset", list),
    range: ("range", lambda value: [value.start, value.stop, value.step]),
    collections.deque: ("deque", lambda value: [list(value), value.maxlen]),
    collections.Counter: ("counter", lambda value: [dict(value)]),
    collections.OrderedDict: ("ordered", lambda value: [list(pair) for pair in value.items()]),
    collections.defaultdict: ("default", lambda value: [dict(value)]),
    Fraction: ("fraction", lambda value: [value.numerator, value.denominator]),
    Decimal: ("decimal", str),
}


def _array(content: Any) -> Any:
    import numpy as np

    kind, shape, items = content
    if not NUMBERS.fullmatch(kind):
        raise ValueError(kind)
    return np.array(items, np.dtype(kind)).reshape(shape)


def _number(content: Any) -> Any:
    import numpy as np

    kind, item = content
    if not NUMBERS.fullmatch(kind):
        raise ValueError(kind)
    return np.dtype(kind).type(item)


def _type(name: Any) -> type:
    found = vars(builtins)[name]
    if not isinstance(found, type):
        raise ValueError(name)
    return found


TAGS: dict[str, Callable[[Any], Any]] = {
    "digest": lambda _: Digest(),
    "type": _type,
    "int": lambda content: int(content, 16),
    "tuple": tuple,
    "dict": dict,
    "set": set,
    "complex": lambda content: complex(*content),
    "bytes": lambda content: content.encode("latin-1"),
    "bytearray": lambda content: bytearray(content.encode("latin-1")),
    "frozenset": frozenset,
    "range": lambda content: range(*content),
    "deque": lambda content: collections.deque(*content),
    "counter": lambda content: collections.Counter(*content),
    "ordered": collections.OrderedDict,
    "default": lambda content: collections.defaultdict(None, *content),
    "fraction": lambda content: Fraction(*content),
    "decimal": Decimal,
    "record": lambda content: collections.namedtuple(content[0], content[1])(*content[2]),
    "array": _array,
    "number": _number,
}


def describe(error: BaseException, file: str) -> str:
    """Type, text and last line in `file` of an error, short. Raises MemoryError."""
    try:
        text = str(error)[:MAX_TEXT]
    except MemoryError:
        raise
    except BaseException:
        text = "(its text raised an error)"
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            line = trace.tb_lineno
        trace = trace.tb_next
    place = "" if line is None else f" (line {line})"
    name = type(error).__name__
    return ((f"{name}: {text}" if text else name)[:MAX_TEXT]) + place


def unlimited_integers() -> None:
    """Let this process read and write integers of any length. Only for the checker: in a solution's it would show."""
    sys.set_int_max_str_digits(0)
