"""Values and objects on their way between two processes: what is told of those of this one, and made of the other's.

A value passes as `wire` writes it. What is no plain value stays in its process and passes as its number there, with its class:
`mine` or `yours`, as its owner sees it, or as an exception, a class, a coroutine. Standard library alone.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import pathlib
import types
from collections.abc import Iterable
from typing import Any, cast

from codeblock.sandbox import codec
from codeblock.sandbox.containers import Containers, Contents, Shared, are_same, items_of
from codeblock.sandbox.kinds import plain_of
from codeblock.sandbox.known import find_known, is_error, known_error, known_name
from codeblock.sandbox.standin import (
    IMMUTABLE,
    MAX_BASES,
    MAX_CLASSES,
    MUTABLE,
    Home,
    StandIn,
    StandInType,
    awaited,
    describe_class,
    make_kind,
    make_stand_in,
    number_of,
)

MAX_CAUSES = 3
Snapshot = list[list[Any]] | str | None
"""What containers hold: the objects, or as a text."""


class Objects(Home):
    """This process's objects that the other one holds, by number in `held`; stand-ins of its objects, and of their classes."""

    words = frozenset(["yours", "part", "as", "shared", "again", "class", "mine", "coroutine", "error"])
    """What stands for a value of the other end begins with one of these."""

    def __init__(self) -> None:
        self.held: list[Any] = []
        self.numbers: dict[int, int] = {}
        self.stand_ins: dict[int, Any] = {}
        self.kinds: dict[int, StandInType] = {}
        self.facts: dict[int, tuple[str, list[str], str]] = {}
        self.repeated: dict[int, Any] = {}
        self.parts: list[Any] = []
        self.told: set[int] = set()
        self.part_names: dict[int, list[Any]] = {}
        self.shared: Shared | None = None
        self.reader = codec.Decoder(self.imported)

    def dumps(self, message: list[Any], parts: Iterable[Any] = (), shared: Containers | None = None) -> str:
        """A message as text.

        Containers of `parts` are named by their place; those of `shared`, if they occur more than once, by a number.
        """
        names = {id(part): ["part", place] for place, part in enumerate(parts)}
        with codec.UsualIntegers():
            for wide in (False, True):
                self.told, self.part_names = set(), names
                self.shared = Shared(shared) if shared is not None and shared.repeated else None
                try:
                    return json.dumps(self.packer(wide=wide).pack(message))
                except ValueError:
                    if wide:
                        raise
        raise AssertionError("not reached")

    def packer(self, *, wide: bool = True) -> codec.Packer:
        return codec.Packer(self.export, typed=True, known=self.name_of if self.part_names or self.shared else None, wide=wide)

    def name_of(self, value: Any) -> list[Any] | None:
        """What stands for a container that this message tells elsewhere."""
        if self.shared is not None:
            return self.shared.name_of(value, self.packer())
        return self.part_names.get(id(value))

    def contents_of(self, parts: list[Any]) -> Snapshot:
        """The contents of containers, to see whether they change; None where there are no containers."""
        if not parts:
            return None
        return items_of(parts) or self.text_of(parts)

    def have_changed(self, parts: list[Any], before: Snapshot) -> bool:
        """Whether containers have other contents than before."""
        if isinstance(before, str):
            return self.text_of(parts) != before
        return before is not None and not are_same(before, items_of(parts))

    def text_of(self, parts: list[Any]) -> str:
        try:
            return self.dumps([Contents(part) for part in parts], parts)
        except (ValueError, RecursionError):
            return ""

    def export(self, value: Any) -> list[Any]:
        """What stands for a value that does not pass as it is."""
        if type(value) is Contents:
            return ["as", self.packer().contents(value.part)]
        if (number := number_of(value, self)) is not None:
            return ["yours", number]
        return self.give(value)

    def give(self, value: Any) -> list[Any]:
        """What stands for an object of this end."""
        if isinstance(value, BaseException):
            return self.give_error(value)
        if isinstance(value, type):
            return ["class", self.reference(value)]
        kind = type(value)
        if kind is types.FunctionType:  # most are; no more is to be told of it
            return ["mine", self.hold(value), self.reference(kind)]
        if inspect.iscoroutine(value):
            return ["coroutine", self.hold(value)]
        if not issubclass(kind, tuple(MUTABLE.values())):
            with contextlib.suppress(TypeError, AttributeError, ValueError):
                packed = self.packer().pack(plain_of(value))  # first: it may tell of classes that this one is made of
                if issubclass(kind, tuple(IMMUTABLE.values())):
                    return ["mine", self.hold(value), self.reference(kind), packed]
                return ["as", packed]
        return ["mine", self.hold(value), self.reference(kind)]

    def give_error(self, error: BaseException, causes: int = MAX_CAUSES) -> list[Any]:
        """What stands for an exception: its number and class, or the names of one that both ends know; arguments; cause."""
        known = known_name(type(error)) is not None
        given: Any = error.args
        if known:
            with contextlib.suppress(Exception):
                given = error.__reduce__()[1]  # OSError's has the file, JSONDecodeError's the text
        packed = self.packable(list(given) if isinstance(given, tuple) else [])
        cause = error.__cause__
        told = None
        if cause is not None and causes > 0:
            own = number_of(cause, self) is None
            told = {"handle": self.give_error(cause, causes - 1) if own else self.export(cause)}
        if known:
            return ["error", None, names_of(type(error)), packed, told, self.packable(dict(vars(error)))]
        return ["error", self.hold(error), self.reference(type(error)), packed, told, None]

    def packable(self, value: Any) -> Any:
        """A value packed; its text where it cannot be."""
        try:
            return self.packer().pack(value)
        except (ValueError, RecursionError, TypeError):
            return self.packer().pack([repr(each)[:1000] for each in value]) if type(value) is list else None

    def hold(self, value: Any) -> int:
        """The number of an object that the other end may hold."""
        number = self.numbers.get(id(value))
        if number is None:
            number = self.numbers[id(value)] = len(self.held)
            self.held.append(value)
        return number

    def reference(self, kind: type) -> Any:
        """A class by its number, with all that makes it up where this message does not tell yet."""
        number = self.hold(kind)
        if number in self.told:
            return number
        self.told.add(number)
        if number not in self.facts:
            self.facts[number] = FUNCTION if kind is types.FunctionType else describe_class(kind)
        name, specials, plain = self.facts[number]
        return [number, name, self.bases(kind), specials, plain]

    def bases(self, kind: type) -> list[Any]:
        if kind is types.FunctionType:
            return FUNCTION_BASES
        return [names_of(kind)] if known_name(kind) else [self.base(base) for base in kind.__bases__]

    def base(self, kind: type) -> Any:
        return self.reference(kind) if known_name(kind) is None else names_of(kind)

    # Receiving values.

    def read(self, text: str, parts: list[Any]) -> list[Any]:
        """The values of a message. Raises ValueError, RecursionError."""
        before, self.parts = self.parts, parts
        try:
            message = self.reader.read(text, self.heaviest())
        finally:
            self.parts = before
        if type(message) is not list or not message or type(message[0]) is not str:
            raise ValueError("no message")
        if message[0] == "ask" and not is_question(*message[1:]):
            raise ValueError("no question")
        return message

    def heaviest(self) -> int | None:
        """Bytes of memory that a message may take."""
        return None

    def imported(self, content: Any) -> Any:
        """The value of what stands for one."""
        if type(content) is not list or not content or content[0] not in self.words:
            raise ValueError("no object")
        return getattr(self, f"take_{content[0]}")(*content[1:])

    def take_yours(self, number: Any) -> Any:
        return self.held[exact_number(number)]

    def take_part(self, place: Any) -> Any:
        return self.parts[exact_number(place)]

    def take_as(self, value: Any) -> Any:
        return value

    def take_shared(self, number: Any, value: Any) -> Any:
        self.repeated[exact_number(number)] = value
        return value

    def take_again(self, number: Any) -> Any:
        return self.repeated[exact_number(number)]

    def take_class(self, reference: Any) -> StandInType:
        if type(reference) is not list:
            return self.kinds[exact_number(reference)]
        number, name, bases, specials, plain = reference
        if exact_number(number) in self.kinds:
            return self.kinds[number]
        if len(self.kinds) >= MAX_CLASSES or len(bases) > MAX_BASES:
            raise ValueError("too many classes")
        if (
            type(bases) is not list
            or type(specials) is not list
            or not all(type(each) is str for each in (name, plain, *specials))
        ):
            raise ValueError("no class")
        found = [self.take_base(base) for base in bases]
        self.kinds[number] = made = make_kind(self, number, name, found, specials, plain)
        return made

    def take_base(self, base: Any) -> type:
        if type(base) is not str:
            return self.take_class(base)
        return next(filter(is_error, map(find_known, base.split("|"))), StandIn)

    def take_mine(self, number: Any, reference: Any, *value: Any) -> Any:
        kind = self.take_class(reference)
        found = self.stand_ins.get(exact_number(number))
        if found is None:
            found = self.stand_ins[number] = make_stand_in(number, kind, *value)
        elif type(found) is not kind:
            raise ValueError("an object of two classes")
        return found

    def take_coroutine(self, number: Any) -> Any:
        return awaited(self, self.take_mine(number, [-1, "coroutine", [], ["__await__"], ""]))

    def take_error(self, number: Any, kind: Any, arguments: Any, cause: Any, attributes: Any) -> BaseException:
        if type(arguments) is not list or not (cause is None or isinstance(cause, BaseException)):
            raise ValueError("no error")
        if number is None:
            error: Any = known_error(kind, arguments)
            if type(attributes) is dict:
                vars(error).update({str(key): value for key, value in attributes.items()})
        elif not is_error(self.take_class(kind)):
            raise ValueError("no error")
        else:
            error = self.take_mine(number, kind if type(kind) is int else kind[0], *arguments)
        if cause is not None:
            error.__cause__ = cause
        return cast(BaseException, error)

    def take_known(self, name: Any) -> Any:
        return find_known(name, load=True)

    def take_path(self, name: str, text: str) -> Any:
        return getattr(pathlib, name)(text)

    def take_partial(self, function: Any, arguments: Any, keywords: Any) -> Any:
        return functools.partial(function, *arguments, **keywords)


def names_of(kind: type) -> str:
    """The names of a class that is known to both ends, and of its bases: one may not have loaded it."""
    return "|".join(name for each in kind.__mro__ if (name := known_name(each)) is not None)


FUNCTION, FUNCTION_BASES = describe_class(types.FunctionType), [names_of(types.FunctionType)]
"""What is told of the class of functions, which nobody can change."""


def is_question(number: Any, operation: Any, _: Any, arguments: Any) -> bool:
    """Whether these are the parts of a question."""
    if type(number) is not int or type(operation) is not str or type(arguments) is not list or not arguments:
        return False
    return operation != "call" or [type(each) for each in arguments[1:]] == [list, dict]


def exact_number(found: Any) -> int:
    """The number of an object. Raises ValueError."""
    if type(found) is not int or not -(1 << 40) < found < 1 << 40:
        raise ValueError("no number")
    return found
