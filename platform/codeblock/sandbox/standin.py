"""Stand-ins: objects and classes of another process, which look like what they stand for and ask it for everything.

Each class of the other process has a class of its own here (`StandInType`), with the special methods that it has there: so
`isinstance`, `except`, operators and what Python derives from them work as they do in one process. Standard library alone; used
by both ends.
"""

from __future__ import annotations

import collections
import contextlib
import operator
import pathlib
import sys
from collections.abc import Awaitable, Callable, Generator, Iterable
from typing import Any, Protocol

from codeblock.sandbox.text import NAME_OF, clean


def special(names: str) -> frozenset[str]:
    """Names of special methods, without their underscores."""
    return frozenset(f"__{name}__" for name in names.split())


BINARY = "add sub mul matmul truediv floordiv mod divmod pow lshift rshift and xor or"
IN_PLACE = special("i" + BINARY.replace(" ", " i"))
PLAIN_OPERANDS = special(f"eq ne contains lt le gt ge {BINARY}") | special("r" + BINARY.replace(" ", " r")) | IN_PLACE
"""Operators whose result a solution could bend once it is told the other operand, which may be the expected value."""
CHANGING = IN_PLACE | special("call next setitem delitem enter exit await aiter anext aenter aexit")
"""What may rightly leave an object another than it was."""
BASIC = special("eq hash str repr format")
SPECIALS = (
    PLAIN_OPERANDS | CHANGING | BASIC | special("iter len bool int float complex index bytes getitem reversed neg pos abs")
) | special("invert round trunc floor ceil fspath")
"""Special methods that pass from one process to the other."""
READABLE = special("name qualname module dict wrapped annotations notes doc defaults kwdefaults match_args members")
"""Attributes with such names that do."""
REFLECTED = ("add", "sub", "and_", "or_", "xor")
END, NUMBER = "_codeblock_end", "_codeblock_number"
IMMUTABLE: dict[str, type] = {
    **{kind.__name__: kind for kind in (int, float, complex, str, bytes, tuple, frozenset)},
    **{kind.__name__: kind for kind in (pathlib.PurePosixPath, pathlib.PureWindowsPath)},
}
"""Bases whose values are here as they are, whatever else is asked of the other process."""
MUTABLE: dict[str, type] = {
    **{kind.__name__: kind for kind in (collections.deque, collections.Counter, collections.OrderedDict)},
    **{kind.__name__: kind for kind in (collections.UserDict, collections.UserList, collections.UserString)},
    **{kind.__name__: kind for kind in (list, dict, set, bytearray)},
}
"""Bases whose values stay in their process, and are read anew to be compared; the special ones first."""
MAX_CLASSES = 1000
MAX_BASES = 8


class Home(Protocol):
    """What a stand-in needs of its end of the channel."""

    def ask(self, operation: str, *arguments: Any) -> Any:
        """What the other process answers. Raises what is raised there."""

    def call(self, function: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        """What a function of the other process returns."""

    def special(self, name: str, target: Any, arguments: tuple[Any, ...]) -> Any:
        """What a special method of the other process returns."""


class StandInType(type):
    """The class of stand-ins of one class of the other process."""

    _codeblock_end: Home | None = None
    _codeblock_class = -1
    _codeblock_has: frozenset[str] = frozenset()
    _codeblock_plain = ""

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **more: Any) -> StandInType:
        if END not in namespace and any(getattr(base, END, None) is not None for base in bases):
            raise TypeError(f"the tests cannot make a class of {bases[0].__name__}, which is in another process")
        return super().__new__(mcs, name, bases, namespace, **more)

    def __call__(cls, *arguments: Any, **keywords: Any) -> Any:
        return _end(cls).call(cls, arguments, keywords)

    def __getattr__(cls, name: str) -> Any:
        if cls._codeblock_end is None or (name.startswith("__") and name not in READABLE):
            raise AttributeError(f"type object {cls.__name__!r} has no attribute {name!r}")
        return cls._codeblock_end.ask("attribute", cls, name)

    def __setattr__(cls, name: str, value: Any) -> None:
        if cls._codeblock_end is None or name.startswith(("__", "_abc_")):
            super().__setattr__(name, value)
        else:
            cls._codeblock_end.ask("set_attribute", cls, name, value)

    def __getitem__(cls, key: Any) -> Any:
        return _end(cls).special("__getitem__", cls, (key,))

    def __iter__(cls) -> Any:
        return _end(cls).special("__iter__", cls, ())

    def __len__(cls) -> int:
        return int(_end(cls).special("__len__", cls, ()))

    def __contains__(cls, item: Any) -> bool:
        return bool(_end(cls).special("__contains__", cls, (item,)))

    def __bool__(cls) -> bool:
        return True


class StandIn(metaclass=StandInType):
    """What all stand-ins share. Their class holds the end of the channel, they their number."""

    def __getattr__(self, name: str) -> Any:
        hidden = "_" if isinstance(self, pathlib.PurePath) else "__"  # a path keeps things in such attributes
        if (name.startswith(hidden) and name not in READABLE) or name in (END, NUMBER):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return _end(self).ask("attribute", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(self, pathlib.PurePath):
            object.__setattr__(self, name, value)
        else:
            _end(self).ask("set_attribute", self, name, value)

    def __delattr__(self, name: str) -> None:
        _end(self).ask("delete_attribute", self, name)

    def __eq__(self, other: object) -> Any:
        return _end(self).special("__eq__", self, (other,))

    def __hash__(self) -> int:
        return int(_end(self).special("__hash__", self, ()))

    def __str__(self) -> str:
        return str(_end(self).special("__str__", self, ()))

    def __repr__(self) -> str:
        return str(_end(self).special("__repr__", self, ()))

    def __format__(self, form: str) -> str:
        return str(_end(self).special("__format__", self, (form,)))

    def __copy__(self) -> Any:
        return _end(self).ask("copy", self, False)

    def __deepcopy__(self, memory: Any) -> Any:
        return _end(self).ask("copy", self, True)

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(f"a {type(self).__name__} of another process cannot be pickled")


def _asked(name: str) -> property:
    return property(lambda self: _end(self).ask("attribute", self, name))


ASKED = {name: _asked(name) for name in ("__dict__", "__doc__")}
"""What every object has, and a stand-in has not of its own."""


def _end(target: Any) -> Home:
    kind: Any = target if isinstance(target, StandInType) else type(target)
    found: Home = kind._codeblock_end
    return found


def number_of(target: Any, end: Any) -> int | None:
    """The number of what a stand-in of this end stands for; None for everything else."""
    if isinstance(target, StandInType):
        return target._codeblock_class if target._codeblock_end is end else None
    kind = type(target)
    if type(kind) is not StandInType or kind._codeblock_end is not end:
        return None
    try:
        number: int = object.__getattribute__(target, NUMBER)
    except AttributeError:  # a path that was made of another one
        number = object.__getattribute__(end.call(kind, (str(target),), {}), NUMBER)
        object.__setattr__(target, NUMBER, number)
    return number


def describe_class(kind: type) -> tuple[str, list[str], str]:
    """Name, special methods and plain base of a class, for `make_kind`."""
    plain = next((name for name, base in {**IMMUTABLE, **MUTABLE}.items() if base in kind.__mro__), "")
    known = (*(IMMUTABLE.get(plain) or object).__mro__, BaseException)
    owners = {name: next((each for each in kind.__mro__ if name in each.__dict__), object) for name in sorted(SPECIALS)}
    return NAME_OF(kind), [name for name, owner in owners.items() if owner not in known], plain


def make_kind(end: Home, number: int, name: str, bases: Iterable[type], specials: Iterable[str], plain: str) -> StandInType:
    """The class of stand-ins for a class of the other process. Raises ValueError where there can be none such."""
    namespace: dict[str, Any] = {each: METHODS[each] for each in specials if each in METHODS}
    namespace.update({END: end, "_codeblock_class": number, "_codeblock_has": frozenset(specials), "_codeblock_plain": plain})
    real = [each for each in dict.fromkeys(bases) if each is not StandIn]
    base = IMMUTABLE.get(plain)
    if base is not None and not any(issubclass(each, base) for each in real):
        real.append(base)
    if not any(issubclass(each, BaseException) for each in real):
        namespace.update(ASKED)
    if "__eq__" in namespace:
        namespace.setdefault("__hash__", base.__hash__ if base else StandIn.__hash__)
    if plain in MUTABLE:
        namespace.update({f"__r{name.strip('_')}__": _reflected(name) for name in REFLECTED})
    if plain in MUTABLE or (base is not None and issubclass(base, pathlib.PurePath)):
        namespace["__class__"] = property(lambda self: _seen_as(type(self)))
    if not any(issubclass(each, StandIn) for each in real):
        real.append(StandIn)
    try:
        return StandInType(clean(name, 100) or "object", tuple(real), namespace)
    except TypeError:
        pass
    try:  # bases that do not go together here, where they are not what they are there
        return StandInType(clean(name, 100) or "object", (StandIn,) if base is None else (base, StandIn), namespace)
    except TypeError as error:
        raise ValueError("a class that cannot be") from error


def _reflected(name: str) -> Any:
    """`other + self` for a plain `other`: what the object is made of counts, and lists know no stand-in."""
    return lambda self, other: getattr(operator, name)(other, _end(self).ask("contents", self))


def _seen_as(kind: Any) -> type:
    """What `isinstance` takes an object for, besides its own class."""
    if kind._codeblock_plain in MUTABLE:
        return MUTABLE[kind._codeblock_plain]
    concrete = {"PosixPath": pathlib.PosixPath, "WindowsPath": pathlib.WindowsPath}
    return concrete.get(kind.__name__) or IMMUTABLE[kind._codeblock_plain]


def make_stand_in(number: int, kind: StandInType, *value: Any) -> Any:
    """The stand-in of an object; `value`: what it is made of, for an exception or a plain base. Raises ValueError."""
    base = IMMUTABLE.get(kind._codeblock_plain)
    if issubclass(kind, BaseException):
        made = _make_error(kind, value)
    elif base is not None:
        if len(value) != 1 or not isinstance(value[0], base):
            raise ValueError("no value of its base")
        made = _make_plain(kind, base, value[0])
    else:
        made = object.__new__(kind)
    object.__setattr__(made, NUMBER, number)
    return made


def _make_error(kind: Any, arguments: tuple[Any, ...]) -> Any:
    made = kind.__new__(kind, *arguments)
    known = next(each for each in kind.__mro__ if not isinstance(each, StandInType))
    with contextlib.suppress(Exception):  # a class that wants other arguments
        known.__init__(made, *arguments)
    made.args = arguments
    return made


def _make_plain(kind: Any, base: Any, value: Any) -> Any:
    given = str(value) if isinstance(value, pathlib.PurePath) else value
    made = base.__new__(kind, given)
    if sys.version_info >= (3, 12) and isinstance(value, pathlib.PurePath):
        base.__init__(made, given)
    return made


def _method(name: str) -> Callable[..., Any]:
    def method(self: Any, *arguments: Any) -> Any:
        return _end(self).special(name, self, arguments)

    method.__name__ = name
    return method


def _call(self: Any, /, *arguments: Any, **keywords: Any) -> Any:
    return _end(self).call(self, arguments, keywords)


def _await(self: Any) -> Generator[Any, None, Any]:
    return awaited(_end(self), self).__await__()


async def awaited(end: Home, target: Any) -> Any:
    """What an awaitable of the other process gives: it runs to its end there."""
    return end.ask("await", target)


def run_awaitable(found: Awaitable[Any], loop: Any) -> Any:
    """What an awaitable gives, in an event loop, or step by step where one runs already."""
    import asyncio

    async def whole() -> Any:
        return await found

    if loop is not None and asyncio._get_running_loop() is None:
        return loop.run_until_complete(whole())
    steps = whole()
    while True:
        try:
            if steps.send(None) is not None:
                raise RuntimeError("it waits for something while the other process waits for it")
        except StopIteration as end:
            return end.value


METHODS: dict[str, Any] = {**{name: _method(name) for name in SPECIALS}, "__call__": _call, "__await__": _await}
