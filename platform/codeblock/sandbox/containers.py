"""Containers within values that code may change, so that what one process leaves in them can be told to the other.

Standard library alone.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable
from operator import is_
from typing import Any

from codeblock.sandbox import codec

CONTAINERS: frozenset[type] = frozenset(
    {list, dict, set, bytearray, tuple, collections.deque}
    | {collections.Counter, collections.OrderedDict, collections.defaultdict}
)
NESTING = CONTAINERS - {set, bytearray}
SEEN_THROUGH = CONTAINERS - {tuple, bytearray}
"""Containers that change by what they hold alone."""


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


class Containers(list[Any]):
    """Containers within values, each once; whether one occurs more than once there."""

    repeated = False


def containers(values: Any) -> Containers:
    """The containers within values that code may change, in an order that both ends agree on."""
    found = walk(values)
    parts = Containers({id(value): value for value in found}.values())
    parts.repeated = len(parts) < len(found)
    return parts


def walk(values: Any) -> list[Any]:
    """The containers within a list or tuple, and it, that code may change: as often as they occur, but what is in them once."""
    found: list[Any] = []
    seen: set[int] = set()
    waiting = [values]
    while waiting:
        value = waiting.pop()
        kind = type(value)
        if kind is not tuple:
            found.append(value)
        if kind not in NESTING or id(value) in seen:
            continue
        seen.add(id(value))
        inner = value.values() if issubclass(kind, dict) else value
        if not codec.ATOMS.issuperset(map(type, inner)):
            waiting += [each for each in reversed(list(inner)) if type(each) in CONTAINERS or type(each).__name__ == "ndarray"]
    return found


def items_of(parts: list[Any]) -> list[list[Any]] | None:
    """What is in containers, to see by `are_same` whether they change; None where that cannot tell."""
    found = []
    for part in parts:
        kind = type(part)
        if kind not in SEEN_THROUGH:
            return None
        items = [*part, *part.values()] if issubclass(kind, dict) else list(part)
        if not codec.ATOMS.issuperset(map(type, items)):
            for item in items:
                flat = type(item) is tuple and codec.ATOMS.issuperset(map(type, item))
                if not flat and type(item) not in codec.ATOMS and type(item) not in SEEN_THROUGH:
                    return None
        found.append(items)
    return found


def are_same(before: list[list[Any]], after: list[list[Any]] | None) -> bool:
    """Whether containers hold the very objects that they held, in the same order."""
    return after is not None and all(
        len(old) == len(new) and all(map(is_, old, new)) for old, new in zip(before, after, strict=True)
    )


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
