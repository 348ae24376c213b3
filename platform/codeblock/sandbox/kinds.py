"""The types whose values pass between processes as they are: how each is taken apart, and made again.

Only types whose making runs no code of anyone's choosing and whose size is bound by the text. Standard library alone; numpy and
rarer modules are used only where their values occur.
"""

from __future__ import annotations

import builtins
import collections
import importlib
import re
import sys
from collections.abc import Callable, Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Any

from codeblock.sandbox import arrays
from codeblock.sandbox.arrays import NUMERIC, exact_list, exact_text

Pack = Callable[[Any], Any]
PackedParts = Callable[[Any, Pack], Any]

MAX_EXPONENT = 1_000_000
MAX_FRACTION_BITS = 1 << 17
MAX_PATTERN = 2000
ADDRESSES = ("IPv4Address", "IPv6Address", "IPv4Network", "IPv6Network", "IPv4Interface", "IPv6Interface")
PATHS = ("PurePosixPath", "PureWindowsPath")
FACTORIES = (bool, bytes, complex, dict, float, frozenset, int, list, set, str, tuple)
ITEM_VIEWS: tuple[type, ...] = (type({}.items()), type(collections.OrderedDict().items()))
KEY_VIEWS: tuple[type, ...] = (type({}.keys()), type(collections.OrderedDict().keys()))
VALUE_VIEWS: tuple[type, ...] = (type({}.values()), type(collections.OrderedDict().values()))


def pairs(values: Iterable[Any], pack: Pack) -> list[Any]:
    """Keys and values, each packed."""
    return [[pack(key), pack(value)] for key, value in values]


SPECIAL: dict[type, tuple[str, PackedParts]] = {
    complex: ("complex", lambda value, _: [value.real, value.imag]),
    bytes: ("bytes", lambda value, _: value.decode("latin-1")),
    bytearray: ("bytearray", lambda value, _: value.decode("latin-1")),
    memoryview: ("bytes", lambda value, _: bytes(value).decode("latin-1")),
    frozenset: ("frozenset", lambda value, pack: [pack(item) for item in value]),
    range: ("range", lambda value, pack: [pack(value.start), pack(value.stop), pack(value.step)]),
    slice: ("slice", lambda value, pack: [pack(value.start), pack(value.stop), pack(value.step)]),
    collections.deque: ("deque", lambda value, pack: [[pack(item) for item in value], value.maxlen]),
    collections.Counter: ("counter", lambda value, pack: pairs(value.items(), pack)),
    collections.OrderedDict: ("ordered", lambda value, pack: pairs(value.items(), pack)),
    collections.defaultdict: ("default", lambda value, pack: [_factory(value), pairs(value.items(), pack)]),
    Fraction: ("fraction", lambda value, pack: [pack(value.numerator), pack(value.denominator)]),
    Decimal: ("decimal", lambda value, _: str(value)),
    type(...): ("single", lambda _, __: "Ellipsis"),
    type(NotImplemented): ("single", lambda _, __: "NotImplemented"),
    **{kind: ("keys", lambda value, pack: [pack(item) for item in value]) for kind in KEY_VIEWS},
    **{kind: ("items", lambda value, pack: pairs(value, pack)) for kind in ITEM_VIEWS},
    **{kind: ("values", lambda value, pack: [pack(item) for item in value]) for kind in VALUE_VIEWS},
}

BY_NAME: dict[str, tuple[str, PackedParts]] = {
    "datetime.date": ("date", lambda value, _: [value.year, value.month, value.day]),
    "datetime.time": ("time", lambda value, _: [*_clock(value), _zone(value), value.fold]),
    "datetime.datetime": (
        "datetime",
        lambda value, _: [value.year, value.month, value.day, *_clock(value), _zone(value), value.fold],
    ),
    "datetime.timedelta": ("timedelta", lambda value, _: [value.days, value.seconds, value.microseconds]),
    "datetime.timezone": ("timezone", lambda value, _: _offset(value.utcoffset(None), value.tzname(None))),
    "uuid.UUID": ("uuid", lambda value, _: value.hex),
    "re.Pattern": ("pattern", lambda value, pack: [pack(value.pattern), value.flags]),
    "array.array": ("machine_array", lambda value, pack: [value.typecode, [pack(item) for item in value]]),
    **{f"pathlib.{name}": ("path", lambda value, _: [type(value).__name__, str(value)]) for name in PATHS},
    **{f"ipaddress.{name}": ("address", lambda value, _: [type(value).__name__, str(value)]) for name in ADDRESSES},
}
"""Types of modules that need not be loaded, by their names."""

BASES: list[tuple[type, Callable[[Any], Any]]] = [
    (int, lambda value: int.__add__(value, 0)),
    (float, lambda value: float.__add__(value, 0.0)),
    (complex, lambda value: complex(complex.__add__(value, 0))),
    (str, lambda value: str.__getitem__(value, slice(None))),
    (bytes, lambda value: bytes.__getitem__(value, slice(None))),
    (bytearray, lambda value: bytearray(bytearray.__getitem__(value, slice(None)))),
    (list, lambda value: list.__getitem__(value, slice(None))),
    (tuple, lambda value: tuple.__getitem__(value, slice(None))),
    (collections.Counter, lambda value: collections.Counter(dict(dict.items(value)))),
    (collections.OrderedDict, lambda value: collections.OrderedDict(collections.OrderedDict.items(value))),
    (dict, lambda value: dict(dict.items(value))),
    (frozenset, lambda value: frozenset.union(value)),
    (set, lambda value: set(set.__iter__(value))),
    (collections.deque, lambda value: collections.deque(collections.deque.__iter__(value), value.maxlen)),
    (Fraction, lambda value: Fraction(Fraction.numerator.fget(value), Fraction.denominator.fget(value))),  # type: ignore[attr-defined]
    (Decimal, lambda value: Decimal(Decimal.__str__(value))),
    (collections.UserDict, lambda value: dict(value.data)),
    (collections.UserList, lambda value: list(value.data)),
    (collections.UserString, lambda value: str(value.data)),
]
"""What a value of a subclass is as one of its base: what the subclass overrides is not asked."""


def plain_of(value: Any) -> Any:
    """The value of a subclass as one of its base; raises TypeError where it has no such base."""
    for base, plain in BASES:
        if issubclass(type(value), base):
            return plain(value)
    for name in ("datetime.datetime", "datetime.date", "datetime.time", "datetime.timedelta", "pathlib.PurePath"):
        base = loaded(name)
        if base is not None and issubclass(type(value), base):
            return _plain_by_name(name, base, value)
    raise TypeError(type(value).__name__)


def _plain_by_name(name: str, base: Any, value: Any) -> Any:
    if name == "pathlib.PurePath":
        flavour = "PureWindowsPath" if issubclass(type(value), loaded("pathlib.PureWindowsPath")) else "PurePosixPath"
        return loaded(f"pathlib.{flavour}")(base.__str__(value))
    if name == "datetime.timedelta":
        return base(value.days, value.seconds, value.microseconds)
    date = [value.year, value.month, value.day] if name != "datetime.time" else []
    if name == "datetime.date":
        return base(*date)
    return base(*date, *_clock(value), value.tzinfo, fold=value.fold)


def loaded(name: str) -> Any:
    """A class of a module by its name; None where the module is not loaded or has none."""
    module, _, rest = name.partition(".")
    return getattr(sys.modules.get(module), rest, None)


def parts_of(kind: type) -> tuple[str, PackedParts] | None:
    """Tag and parts of the values of exactly this type."""
    found = SPECIAL.get(kind)
    if found is None:
        name = f"{kind.__module__}.{kind.__qualname__}"
        if name in BY_NAME and loaded(name) is kind:
            return BY_NAME[name]
    return found


def _factory(value: Any) -> str | None:
    return value.default_factory.__name__ if value.default_factory in FACTORIES else None


def _clock(value: Any) -> list[int]:
    return [value.hour, value.minute, value.second, value.microsecond]


def _zone(value: Any) -> list[Any] | None:
    """A zone passes as what it adds to UTC at that time, so that equal times are equal."""
    offset = value.utcoffset()
    return None if offset is None else _offset(offset, value.tzname())


def _offset(offset: Any, name: Any) -> list[Any]:
    return [offset.days, offset.seconds, offset.microseconds, str(name)]


# The other way: what a hostile text can ask for.


def _single(name: str) -> Any:
    if name == "masked":
        return arrays.masked_value()
    return {"Ellipsis": ..., "NotImplemented": NotImplemented}[name]


def _type(name: str) -> type:
    found = vars(builtins)[name]
    if not isinstance(found, type):
        raise ValueError(name)
    return found


def _decimal(text: str) -> Decimal:
    found = Decimal(text)
    if found.is_finite() and abs(found.adjusted()) > MAX_EXPONENT:
        raise ValueError("a decimal with an exponent so large")
    return found


def _fraction(content: Any) -> Fraction:
    above, below = content
    if type(above) is not int or type(below) is not int or max(above.bit_length(), below.bit_length()) > MAX_FRACTION_BITS:
        raise ValueError("no fraction")
    return Fraction(above, below)


def _default(content: Any) -> Any:
    name, items = content
    factory = None if name is None else {kind.__name__: kind for kind in FACTORIES}[name]
    return collections.defaultdict(factory, _pairs(items))


def _items(content: Any) -> Any:
    return _dict(content).items()


def _pairs(content: Any) -> Any:
    if type(content) is not list or not all(type(each) is list and len(each) == 2 for each in content):
        raise ValueError("no pairs")
    return content


def _dict(content: Any) -> dict[Any, Any]:
    return dict(_pairs(content))


def _deque(content: Any) -> Any:
    items, longest = content
    return collections.deque(exact_list(items), longest)


def _timezone(content: Any) -> Any:
    import datetime

    days, seconds, microseconds, name = content
    found = datetime.timedelta(days, seconds, microseconds)
    return datetime.timezone.utc if not found and name == "UTC" else datetime.timezone(found, exact_text(name))  # noqa: UP017


def _datetime(content: Any) -> Any:
    import datetime

    *numbers, zone, fold = content
    return datetime.datetime(*numbers, fold=fold).replace(tzinfo=None if zone is None else _timezone(zone))


def _time(content: Any) -> Any:
    import datetime

    *numbers, zone, fold = content
    return datetime.time(*numbers, fold=fold).replace(tzinfo=None if zone is None else _timezone(zone))


def _from(module: str, name: str) -> Callable[[Any], Any]:
    return lambda content: getattr(importlib.import_module(module), name)(*content)


def _named(module: str, names: tuple[str, ...]) -> Callable[[Any], Any]:
    def make(content: Any) -> Any:
        name, text = content
        if name not in names:
            raise ValueError(name)
        return getattr(importlib.import_module(module), name)(exact_text(text))

    return make


def _uuid(text: str) -> Any:
    import uuid

    return uuid.UUID(hex=exact_text(text))


def _pattern(content: Any) -> Any:
    pattern, flags = content
    if not isinstance(pattern, str | bytes) or len(pattern) > MAX_PATTERN or type(flags) is not int:
        raise ValueError("no pattern")
    return re.compile(pattern, flags & ~re.DEBUG)


def _machine_array(content: Any) -> Any:
    import array

    kind, items = content
    return array.array(exact_text(kind), exact_list(items, NUMERIC))


TAGS: dict[str, tuple[type, Callable[[Any], Any]]] = {
    "type": (str, _type),
    "single": (str, _single),
    "int": (str, lambda content: int(content, 16)),
    "tuple": (list, tuple),
    "dict": (list, _dict),
    "set": (list, set),
    "keys": (list, lambda content: dict.fromkeys(content).keys()),
    "items": (list, _items),
    "values": (list, lambda content: dict(enumerate(content)).values()),
    "complex": (list, lambda content: complex(*content)),
    "bytes": (str, lambda content: content.encode("latin-1")),
    "bytearray": (str, lambda content: bytearray(content.encode("latin-1"))),
    "frozenset": (list, frozenset),
    "range": (list, lambda content: range(*content)),
    "slice": (list, lambda content: slice(*content)),
    "deque": (list, _deque),
    "counter": (list, lambda content: collections.Counter(_dict(content))),
    "ordered": (list, lambda content: collections.OrderedDict(_pairs(content))),
    "default": (list, _default),
    "fraction": (list, _fraction),
    "decimal": (str, _decimal),
    "date": (list, _from("datetime", "date")),
    "time": (list, _time),
    "datetime": (list, _datetime),
    "timedelta": (list, _from("datetime", "timedelta")),
    "timezone": (list, _timezone),
    "uuid": (str, _uuid),
    "pattern": (list, _pattern),
    "machine_array": (list, _machine_array),
    "path": (list, _named("pathlib", PATHS)),
    "address": (list, _named("ipaddress", ADDRESSES)),
    "array": (list, arrays.make_array),
    "number": (list, arrays.make_number),
    "raw": (list, arrays.make_raw),
    "objects": (list, arrays.make_objects),
    "masked": (list, arrays.make_masked),
    "dtype": (object, arrays.make_dtype),
}
"""Type of a tag's content, and what it makes of it; raises an error where that is no such value.

The type is exact, within it too: a short text such as a range must not be made into a long list.
"""
