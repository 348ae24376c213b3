"""What both ends of a channel have: functions, classes and modules of Python's own library, by their names.

Standard library alone.
"""

from __future__ import annotations

import sys
import types
from typing import Any


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
