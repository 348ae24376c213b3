"""Values of NumPy on their way between processes: no objects but plain ones, and no more of them than the text tells.

NumPy is loaded where its values occur.
"""

from __future__ import annotations

import importlib
import math
import re
import sys
from collections.abc import Callable
from typing import Any

Pack = Callable[[Any], Any]

MAX_ITEM_BYTES = 64 << 20
NUMERIC: frozenset[type] = frozenset({bool, int, float, complex})
NUMBERS = re.compile(r"[<>|=]?[?biufc]\d*")
"""Types of numpy whose values JSON can hold."""
LONG = ("<f16", ">f16", "<c32", ">c32")
TEXTS = re.compile(r"[<>|=]?[US]\d*")


def pack_numpy(value: Any, pack: Pack) -> Any:
    """A value of numpy; None where it does not pass."""
    import numpy as np

    if isinstance(value, np.dtype):
        return None if value.hasobject else {"dtype": np.lib.format.dtype_to_descr(value)}
    if not isinstance(value, np.ndarray | np.generic):
        return None
    masked = sys.modules.get("numpy.ma")
    if masked is not None and isinstance(value, masked.MaskedArray):
        if value is masked.masked:
            return {"single": "masked"}
        return {"masked": [pack(np.asarray(value.data)), pack(masked.getmaskarray(value))]}
    kind = value.dtype.str
    simple = (NUMBERS.fullmatch(kind) and kind not in LONG) or TEXTS.fullmatch(kind)
    if isinstance(value, np.generic):
        return {"number": [kind, pack(value.item())]} if simple else _pack_raw(value, scalar=True)
    exact = value.view(np.ndarray)
    if simple:
        items = exact.ravel().tolist()
        shape = list(value.shape)
        return {"array": [kind, shape, [pack(item) for item in items] if value.dtype.kind in "cS" else items]}
    if value.dtype == object:
        return {"objects": [list(value.shape), [pack(item) for item in exact.ravel().tolist()]]}
    return _pack_raw(exact, scalar=False)


def _pack_raw(value: Any, *, scalar: bool) -> Any:
    import numpy as np

    if value.dtype.hasobject:
        return None
    return {"raw": [np.lib.format.dtype_to_descr(value.dtype), list(value.shape), value.tobytes().decode("latin-1"), scalar]}


def make_dtype(found: Any) -> Any:
    """A type of numpy that holds no objects."""
    import numpy as np

    kind = np.dtype(found) if isinstance(found, str) else np.lib.format.descr_to_dtype(_tuples(found))
    if kind.hasobject:
        raise ValueError("a type that holds objects")
    return kind


def _tuples(found: Any) -> Any:
    """A description as it was before JSON: its fields and shapes are tuples."""
    if isinstance(found, str):
        return found
    if not all(isinstance(field, list | tuple) and len(field) in (2, 3) for field in found):
        raise ValueError("no type")
    return [
        (tuple(field[0]) if isinstance(field[0], list) else field[0], _tuples(field[1]), *(tuple(each) for each in field[2:]))
        for field in found
    ]


def _bounded(kind: Any, shape: Any) -> list[int]:
    if (
        not all(type(each) is int and 0 <= each < 1 << 31 for each in exact_list(shape))
        or math.prod(shape) * kind.itemsize > MAX_ITEM_BYTES
    ):
        raise ValueError("no shape")
    return list(shape)


def make_array(content: Any) -> Any:
    import numpy as np

    name, shape, items = content
    kind = _number_kind(name)
    if math.prod(_bounded(kind, shape)) != len(items):
        raise ValueError("no shape")
    return np.array(exact_list(items, NUMERIC | {str, bytes}), kind).reshape(shape)


def make_number(content: Any) -> Any:
    name, item = content
    kind = _number_kind(name)
    _bounded(kind, [1])
    import numpy as np

    return np.array(exact_list([item], NUMERIC | {str, bytes}), kind)[0]


def _number_kind(name: Any) -> Any:
    if not (NUMBERS.fullmatch(exact_text(name)) or TEXTS.fullmatch(name)):
        raise ValueError("no type of numbers or texts")
    return make_dtype(name)


def make_raw(content: Any) -> Any:
    import numpy as np

    name, shape, text, scalar = content
    kind = make_dtype(name)
    found = np.frombuffer(exact_text(text).encode("latin-1"), kind).reshape(_bounded(kind, shape)).copy()
    return found[()] if scalar else found


def make_objects(content: Any) -> Any:
    import numpy as np

    shape, items = content
    if math.prod(_bounded(np.dtype(object), shape)) != len(items):
        raise ValueError("no shape")
    found = np.empty(len(items), object)
    for place, item in enumerate(exact_list(items)):
        found[place] = item
    return found.reshape(shape)


def make_masked(content: Any) -> Any:
    import numpy as np

    data, mask = content
    if not isinstance(data, np.ndarray) or not isinstance(mask, np.ndarray):
        raise ValueError("no arrays")
    return np.ma.MaskedArray(data, mask)


def exact_list(content: Any, kinds: frozenset[type] | None = None) -> list[Any]:
    """A list, and nothing else that could stand for one. Raises ValueError."""
    if type(content) is not list or not (kinds is None or kinds.issuperset(map(type, content))):
        raise ValueError("no list")
    return content


def exact_text(value: Any) -> str:
    """A text. Raises ValueError."""
    if type(value) is not str:
        raise ValueError("no text")
    return value


def masked_value() -> Any:
    """NumPy's only value that stands for none."""
    return importlib.import_module("numpy.ma").masked
