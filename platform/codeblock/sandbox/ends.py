"""The two ends of a channel between processes that call each other: asking, answering, and objects that stay where they are.

A message is `["ask", n, operation, whether to catch what is printed, arguments]`. It is answered by `["value", n, value,
changed, printed]` or `["error", n, kind, place, text, error, changed, printed]`: `changed` are the new contents of containers
among the arguments, by their place in `containers`, and `printed` what went to the two output streams. Before it answers, the
other end may ask in turn. What is no plain value is an object by number, `mine` or `yours` as its owner sees it. Standard
library alone.
"""

from __future__ import annotations

import collections
import contextlib
import copy
import functools
import inspect
import io
import json
import operator
import pathlib
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

from codeblock.sandbox import wire
from codeblock.sandbox.kinds import plain_of
from codeblock.sandbox.standin import (
    IMMUTABLE,
    MAX_BASES,
    MAX_CLASSES,
    MUTABLE,
    Kind,
    Remote,
    awaited,
    describe_class,
    make_kind,
    make_stand_in,
    number_of,
    run_awaitable,
)
from codeblock.sandbox.text import described, place_of
from codeblock.sandbox.wire import Channel, ClosedError

MAX_DEPTH = 100
MAX_PRINTED = 1 << 20
MAX_CAUSES = 3
CONTAINERS: frozenset[type] = frozenset(
    {
        list,
        dict,
        set,
        bytearray,
        tuple,
        collections.deque,
        collections.Counter,
        collections.OrderedDict,
        collections.defaultdict,
    }
)
NESTING = CONTAINERS - {set, bytearray}
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


class End:
    """One end. Its own objects that the other end holds are in `held`, by number."""

    words = frozenset(["yours", "part", "as", "shared", "again", "class", "mine", "coroutine", "error"])
    """What stands for a value of the other end begins with one of these."""
    file = ""
    """The file whose lines tell where an error came from."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.held: list[Any] = []
        self.numbers: dict[int, int] = {}
        self.stand_ins: dict[int, Any] = {}
        self.kinds: dict[int, Kind] = {}
        self.facts: dict[int, tuple[str, list[str], str]] = {}
        self.repeated: dict[int, Any] = {}
        self.count = self.depth = 0
        self.parts: list[Any] = []
        self.told: set[int] = set()
        self.part_names: dict[int, list[Any]] = {}
        self.shared: Shared | None = None
        self.event_loop: Any = None

    # Asking.

    def ask(self, operation: str, *arguments: Any) -> Any:
        """What the other end answers. Raises what is raised there."""
        return self.exchange(operation, arguments, [])

    def call(self, function: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        """What a function of the other end returns; arguments get the contents that it leaves in them."""
        return self.exchange("call", (function, list(arguments), keywords), containers((arguments, tuple(keywords.values()))))

    def special(self, name: str, target: Any, arguments: tuple[Any, ...]) -> Any:
        """What a special method of the other end returns."""
        return self.ask("special", name, target, list(arguments))

    def exchange(self, operation: str, arguments: Iterable[Any], parts: list[Any]) -> Any:
        """Ask, answer what is asked meanwhile, and give the value of the answer or raise its error."""
        number = self.next_number()
        self.send(self.dumps(["ask", number, operation, self.catches(), list(arguments)], shared=parts))
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
            copy_into(parts[_number(place)], contents)
        for stream, text in zip((sys.stdout, sys.stderr), printed, strict=False):
            stream.write(text)
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

    def catches(self) -> bool:
        """Whether what the other end prints belongs to this one."""
        return False

    # Answering.

    def answer(self, message: list[Any]) -> None:
        """Carry out what the other end asks and send its answer."""
        _, number, operation, catch, arguments = message
        self.depth += 1
        parts = containers((tuple(arguments[1]), tuple(arguments[2].values()))) if operation == "call" else []
        before = self.contents_of(parts)
        streams = [io.StringIO(), io.StringIO()] if catch else []
        try:
            with redirected(streams):
                head = self.attempt(number, operation, arguments)
        finally:
            self.depth -= 1
        printed = [stream.getvalue()[:MAX_PRINTED] for stream in streams]
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

    def answer_text(self, head: list[Any], parts: list[Any], before: str | None, printed: list[str]) -> str:
        changed = None
        if before is not None and self.contents_of(parts) != before:
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

    # Sending values.

    def dumps(self, message: list[Any], parts: Iterable[Any] = (), shared: Iterable[Any] = ()) -> str:
        """A message as text.

        Containers of `parts` are named by their place; those of `shared`, if they occur more than once, by a number.
        """
        names = {id(part): ["part", place] for place, part in enumerate(parts)}
        with wire.usual_integers():
            for wide in (False, True):
                self.told, self.part_names = set(), names
                self.shared = Shared(shared) if shared and has_repeated(message) else None
                try:
                    return json.dumps(self.packer(wide=wide).pack(message))
                except ValueError:
                    if wide:
                        raise
        raise AssertionError("not reached")

    def packer(self, *, wide: bool = True) -> wire.Packer:
        return wire.Packer(self.export, typed=True, known=self.name_of if self.part_names or self.shared else None, wide=wide)

    def name_of(self, value: Any) -> list[Any] | None:
        """What stands for a container that this message tells elsewhere."""
        if self.shared is not None:
            return self.shared.name_of(value, self.packer())
        return self.part_names.get(id(value))

    def contents_of(self, parts: list[Any]) -> str | None:
        """The contents of containers as text, to see whether they change; None where there are none."""
        if not parts:
            return None
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
            return ["error", None, self.name(type(error)), packed, told, self.packable(dict(vars(error)))]
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
        name, specials, plain = self.facts.get(number) or self.facts.setdefault(number, describe_class(kind))
        bases = [self.name(kind)] if known_name(kind) else [self.base(base) for base in kind.__bases__]
        return [number, name, bases, specials, plain]

    def base(self, kind: type) -> Any:
        return self.reference(kind) if known_name(kind) is None else self.name(kind)

    def name(self, kind: type) -> str:
        """The names of a class that is known to both ends, and of its bases: one may not have loaded it."""
        return "|".join(name for each in kind.__mro__ if (name := known_name(each)) is not None)

    # Receiving values.

    def read(self, text: str, parts: list[Any]) -> list[Any]:
        """The values of a message. Raises ValueError, RecursionError."""
        before, self.parts = self.parts, parts
        try:
            message = wire.loads(text, self.imported, self.heaviest())
        finally:
            self.parts = before
        if type(message) is not list or not message or type(message[0]) is not str:
            raise ValueError("no message")
        if message[0] == "ask" and not (len(message) == 5 and type(message[2]) is str and type(message[4]) is list):
            raise ValueError("no message")
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
        return self.held[_number(number)]

    def take_part(self, place: Any) -> Any:
        return self.parts[_number(place)]

    def take_as(self, value: Any) -> Any:
        return value

    def take_shared(self, number: Any, value: Any) -> Any:
        self.repeated[_number(number)] = value
        return value

    def take_again(self, number: Any) -> Any:
        return self.repeated[_number(number)]

    def take_class(self, reference: Any) -> Kind:
        if type(reference) is not list:
            return self.kinds[_number(reference)]
        number, name, bases, specials, plain = reference
        if _number(number) in self.kinds:
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
        return next(filter(is_error, map(find_known, base.split("|"))), Remote)

    def take_mine(self, number: Any, reference: Any, *value: Any) -> Any:
        kind = self.take_class(reference)
        found = self.stand_ins.get(_number(number))
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


class Contents:
    """What is in a container, to be told even where the container itself is known."""

    def __init__(self, part: Any) -> None:
        self.part = part


class Shared:
    """Containers of a message that occur more than once in it: the first time told whole, then by number."""

    def __init__(self, parts: Iterable[Any]) -> None:
        self.places = {id(part): place for place, part in enumerate(parts)}
        self.told: dict[int, bool] = {}

    def name_of(self, value: Any, packer: wire.Packer) -> list[Any] | None:
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


def _number(found: Any) -> int:
    if type(found) is not int or not -(1 << 40) < found < 1 << 40:
        raise ValueError("no number")
    return found


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
        if not wire.ATOMS.issuperset(map(type, inner)):
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


def known_name(value: Any) -> str | None:
    """`module:name` of what Python's own library or NumPy defines; None for everything else."""
    module: Any
    name: Any
    try:
        if isinstance(value, types.ModuleType):
            module, name = value.__name__, ""
        else:
            owner = getattr(value, "__objclass__", value)
            module, name = getattr(owner, "__module__", None), getattr(value, "__qualname__", None)
    except Exception:  # attributes that are code
        return None
    if type(module) is not str or type(name) is not str or not is_library(module):
        return None
    found = f"{module}:{name}"
    return found if find_known(found) is value else None


def is_library(module: str) -> bool:
    """Whether a module is of Python's own library, or NumPy's."""
    top = module.partition(".")[0]
    return (top in sys.stdlib_module_names or top == "numpy") and top != "__main__"


def find_known(name: Any, *, load: bool = False) -> Any:
    """What has a name of `known_name`, or None; in a module that is loaded, or may be."""
    if type(name) is not str:
        return None
    module, _, rest = name.partition(":")
    if not is_library(module):
        return None
    if load and module not in sys.modules:
        __import__(module)
    found: Any = sys.modules.get(module)
    for part in rest.split(".") if rest else ():
        found = getattr(found, part, None)
    return found


def known_error(names: Any, arguments: list[Any]) -> BaseException:
    """An exception of the nearest class that is known here. Raises ValueError where there is none."""
    for kind in map(find_known, str(names).split("|")):
        if is_error(kind):
            try:
                error: BaseException = kind(*arguments)
            except Exception:  # a class that wants other arguments
                error = kind.__new__(kind)
                error.args = tuple(arguments)
            return error
    raise ValueError("no error that is known here")


def is_error(kind: Any) -> bool:
    """Whether something is a class of exceptions."""
    return isinstance(kind, type) and issubclass(kind, BaseException)


@contextlib.contextmanager
def redirected(streams: list[Any]) -> Any:
    """What is printed goes to two streams, if there are any."""
    if not streams:
        yield
        return
    with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
        yield
