"""A picture of what runs a test class, taken as a whole: what a solution must leave alone, and the first piece that it did not.

Whole means: every attribute of every module of `unittest` and of the harness, of their classes and their functions, with code,
defaults, closures and the contents of containers; every builtin and what the builtin types consist of; the modules that
`unittest` runs tests through; the hooks of `sys`. No list of names: what is new in a class is a change too. Standard library
alone.
"""

from __future__ import annotations

import builtins
import sys
import threading
import types
from collections.abc import Iterable
from typing import Any

DEEP = ("unittest", "codeblock")
"""Packages whose every part counts."""
SHALLOW = ("contextlib", "functools", "inspect", "traceback", "difflib", "pprint", "pkgutil", "types")
"""Modules that unittest works through: their functions and classes count, not what they keep."""
MADE_LATER = frozenset({"__annotations__", "__warningregistry__", "__builtins__", "__cached__"})
"""Attributes that Python itself adds when it first needs them."""
CODE = ("__code__", "__defaults__", "__kwdefaults__", "__globals__")
Pieces = dict[str, object]


def picture(modules: Iterable[types.ModuleType]) -> Pieces:
    """Every piece of `builtins`, of these modules of DEEP, and of SHALLOW, by its place. Pieces are compared by identity."""
    found: Pieces = {}
    seen: set[int] = set()
    for name, value in vars(builtins).items():
        if name != "_":  # an interactive Python's last value, and gettext's function
            found[f"builtins.{name}"] = value
            if isinstance(value, type):
                _members(f"builtins.{name}", vars(value), found)
    for name in SHALLOW:
        _shallow(name, found)
    for module in modules:
        _attributes(module.__name__, vars(module), found, seen)
    return found


def hooks() -> Pieces:
    """What runs at each step of a program."""
    found: Pieces = {
        "sys.settrace": sys.gettrace(),
        "sys.setprofile": sys.getprofile(),
        "threading.settrace": threading.gettrace(),
        "threading.setprofile": threading.getprofile(),
    }
    monitoring = getattr(sys, "monitoring", None)
    if monitoring is not None:  # Python 3.12
        found.update({f"sys.monitoring {tool}": monitoring.get_tool(tool) for tool in range(6)})
    return found


def of_class(kind: type) -> Pieces:
    """The functions of a test class, and where they come from."""
    found: Pieces = {"class": kind, "metaclass": type(kind)}
    for base in kind.__mro__:
        for name, value in vars(base).items():
            if isinstance(value, types.FunctionType | staticmethod | classmethod | property):
                _attribute(f"{base.__qualname__}.{name}", value, found, set())
    return found


def difference(before: Pieces, now: Pieces) -> str | None:
    """The place of the first piece that is not what it was, or was not there; a new builtin alone changes nothing."""
    for place, value in before.items():
        if place not in now or now[place] is not value:
            return place
    return next((place for place in now if place not in before and not place.startswith("builtins.")), None)


def _attributes(place: str, attributes: Any, found: Pieces, seen: set[int]) -> None:
    for name, value in list(attributes.items()):
        if name not in MADE_LATER and not (isinstance(value, types.ModuleType) and f"{place}.{name}" == value.__name__):
            _attribute(f"{place}.{name}", value, found, seen)


def _attribute(place: str, value: Any, found: Pieces, seen: set[int]) -> None:
    """A piece, and what it consists of where that belongs to DEEP or is a plain container."""
    found[place] = value
    if id(value) in seen:
        return
    if isinstance(value, types.FunctionType):
        seen.add(id(value))
        if _is_deep(value.__module__):
            _function(place, value, found, seen)
    elif isinstance(value, staticmethod | classmethod):
        _attribute(f"{place}()", value.__func__, found, seen)
    elif isinstance(value, property):
        for part in ("fget", "fset", "fdel"):
            _attribute(f"{place}.{part}", getattr(value, part), found, seen)
    elif isinstance(value, type) and _is_deep(value.__module__):
        seen.add(id(value))
        found[f"{place} (type)"] = type(value)
        _sequence(f"{place} (bases)", value.__mro__, found)
        _attributes(place, vars(value), found, seen)
    elif type(value) in (tuple, set, frozenset, dict):  # lists are what running tests fills
        seen.add(id(value))
        _container(place, value, found, seen)


def _function(place: str, value: types.FunctionType, found: Pieces, seen: set[int]) -> None:
    for part in CODE:
        found[f"{place}.{part}"] = getattr(value, part)
    for number, cell in enumerate(value.__closure__ or ()):
        try:
            _attribute(f"{place} (closure {number})", cell.cell_contents, found, seen)
        except ValueError:  # an empty cell
            continue
    _attributes(place, vars(value), found, seen)


def _container(place: str, value: Any, found: Pieces, seen: set[int]) -> None:
    if isinstance(value, dict):
        for key, item in list(value.items()):
            _attribute(f"{place}[{key if type(key) is str else id(key)}]", item, found, seen)
    elif isinstance(value, tuple):
        for number, item in enumerate(value):
            _attribute(f"{place}[{number}]", item, found, seen)
    else:
        for item in list(value):
            found[f"{place}{{{item if type(item) is str else id(item)}}}"] = item


def _sequence(place: str, values: Iterable[object], found: Pieces) -> None:
    for number, value in enumerate(values):
        found[f"{place} {number}"] = value


def _members(place: str, attributes: Any, found: Pieces) -> None:
    for name, value in attributes.items():
        if name not in MADE_LATER:
            found[f"{place}.{name}"] = value


def _shallow(name: str, found: Pieces) -> None:
    """The functions and classes that a module defines."""
    module = sys.modules.get(name)
    for key, value in list(vars(module).items()) if module else ():
        if getattr(value, "__module__", None) != name:
            continue
        if isinstance(value, types.FunctionType):
            found[f"{name}.{key}"], found[f"{name}.{key} (code)"] = value, value.__code__
        elif isinstance(value, type):
            found[f"{name}.{key}"] = value
            _class_functions(f"{name}.{key}", value, found)


def _class_functions(place: str, kind: type, found: Pieces) -> None:
    for name, value in vars(kind).items():
        function = getattr(value, "__func__", value)
        if isinstance(function, types.FunctionType):
            found[f"{place}.{name}"], found[f"{place}.{name} (code)"] = value, function.__code__


def _is_deep(module: object) -> bool:
    return isinstance(module, str) and module.partition(".")[0] in DEEP
