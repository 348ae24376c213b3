"""Containers within values that code may change, so that what one process leaves in them can be told to the other.

Standard library alone.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator
from typing import Any

from codeblock.sandbox import codec

CONTAINERS: frozenset[type] = frozenset(
    {list, dict, set, bytearray, tuple, collections.deque}
    | {collections.Counter, collections.OrderedDict, collections.defaultdict}
)
NESTING = CONTAINERS - {set, bytearray}


class Contents:
    """What is in a container, to be told even where the container itself is known."""

    def __init__(self, part: Any) -> None:
        self.part = part


class Shared:
    """Containers of a message that occur more than once in it: the first time told whole, then by number."""

    def __init__(self, parts: Iterable[Any]) -> None:
        self.places = {id(part): place for place, part in enumerate(parts)}
        self.told: dict[int, bool] = {}

    def name_of(self, value: Any, packer: codec.Packer) -> list[Any] | None:
        place = self.places.get(id(value))
        if place is None:
            return None
        if place in self.told:
            if not self.told[place]:
                raise ValueError("a value that holds itself cannot be given to the solution")
            return ["again", place]
        self.told[place] = False
        packed = packer.contents(value)
        self.told[place] = True
        return ["shared", place, packed]


def containers(values: Any) -> list[Any]:
    """The containers within values that code may change, each once, in an order that both ends agree on."""
    return list({id(value): value for value in walk(values) if type(value) is not tuple}.values())


def has_repeated(values: Any) -> bool:
    """Whether a container occurs more than once within values."""
    found = [id(value) for value in walk(values) if type(value) is not tuple]
    return len(found) > len(set(found))


def walk(values: Any) -> Iterator[Any]:
    """The containers within values and tuples, as often as they occur, but what is in them once."""
    seen: set[int] = set()
    waiting = [values]
    while waiting:
        value = waiting.pop()
        kind = type(value)
        if kind not in CONTAINERS and kind.__name__ != "ndarray":
            continue
        yield value
        if id(value) in seen or kind not in NESTING:
            continue
        seen.add(id(value))
        inner = list(value.values()) if issubclass(kind, dict) else list(value)
        if not codec.ATOMS.issuperset(map(type, inner)):
            waiting.extend(reversed(inner))


def copy_into(before: Any, after: Any) -> None:
    """Give a container the content that the other end left in it. Raises ValueError where that is of another type."""
    if type(before) is not type(after):
        raise ValueError("a container of another type")
    if isinstance(before, list | bytearray):
        before[:] = after
    elif isinstance(before, dict | set):
        before.clear()
        before.update(after)
    elif isinstance(before, collections.deque):
        before.clear()
        before.extend(after)
    else:
        before[...] = after
