"""Values keep their type and content on the way between two processes, and hostile text gives a plain value or an error."""

from __future__ import annotations

import collections
import contextlib
import json
import math
import socket
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeblock.sandbox import wire

Point = collections.namedtuple("Point", "x y")


class Opaque:
    def __init__(self, content: Any) -> None:
        self.content = content


def there_and_back(value: Any) -> Any:
    return wire.loads(wire.dumps(value, lambda other: type(other).__name__), Opaque)


ATOMS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
    st.complex_numbers(allow_nan=False),
    st.fractions(),
    st.decimals(allow_nan=False),
)
KEYS = st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.tuples(st.integers(), st.text()))
VALUES = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner),
        st.lists(inner).map(tuple),
        st.lists(inner).map(collections.deque),
        st.dictionaries(KEYS, inner),
        st.dictionaries(KEYS, inner).map(collections.OrderedDict),
        st.sets(KEYS),
        st.frozensets(KEYS),
    ),
    max_leaves=20,
)


def same_types(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return all(same_types(a, b) and same_types(one[a], other[b]) for a, b in zip(one, other, strict=True))
    if isinstance(one, list | tuple | collections.deque):
        return all(same_types(a, b) for a, b in zip(one, other, strict=True))
    return True


@given(VALUES)
def test_a_value_comes_back_equal_and_of_its_type(value: Any) -> None:
    back = there_and_back(value)
    assert back == value
    assert same_types(back, value)


EDGES = [
    10**5000,
    -(10**5000),
    [1, [10**4300]],
    float("inf"),
    "\ud800 lone",
    "\x00",
    range(3, 9, 2),
    {1: {(): frozenset()}},
    (int, ValueError),
]


@pytest.mark.parametrize("value", EDGES, ids=range(len(EDGES)))
def test_values_at_the_edge(value: Any) -> None:
    assert there_and_back(value) == value


def test_minus_zero_and_decimal_places_stay() -> None:
    assert repr(there_and_back([-0.0, Decimal("1.10"), Fraction(1, 3)])) == repr([-0.0, Decimal("1.10"), Fraction(1, 3)])


def test_nan_stays_nan() -> None:
    assert math.isnan(there_and_back([float("nan")])[0])


@pytest.mark.parametrize(
    "value", [np.float32(1.5), np.int64(3), np.bool_(True), np.complex128(1j), np.arange(6).reshape(2, 3), np.zeros((0, 2))]
)
def test_numpy_keeps_type_and_shape(value: Any) -> None:
    back = there_and_back(value)
    assert type(back) is type(value)
    assert back.dtype == value.dtype
    assert np.array_equal(back, value)
    assert np.shape(back) == np.shape(value)


def test_common_collections_keep_their_type() -> None:
    values = [
        collections.Counter("aab"),
        collections.defaultdict(int, a=1),
        collections.deque([1], maxlen=3),
        bytearray(b"\xff"),
    ]
    back = there_and_back(values)
    assert back == values
    assert [type(each) for each in back] == [type(each) for each in values]
    assert back[2].maxlen == 3
    assert there_and_back(Point(1, "b")) == (1, "b")


def test_a_subclass_that_lies_comes_back_as_what_it_is() -> None:
    class Liar(int):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = int.__hash__

        def __add__(self, other: object) -> Any:
            return 42

    class Color(IntEnum):
        RED = 1

    class Words(list):  # type: ignore[type-arg]
        def __iter__(self) -> Any:
            return iter(["forged"])

    back = there_and_back([Liar(3), Color.RED, Words(["real"])])
    assert back == [3, 1, ["real"]]
    assert [type(each) for each in back] == [int, int, list]


def test_anything_else_is_a_handle() -> None:
    back = there_and_back([object(), len, (n for n in "a")])
    assert [each.content for each in back] == ["object", "builtin_function_or_method", "generator"]


def test_a_value_that_holds_itself_is_an_error() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(RecursionError):
        wire.dumps(loop, str)


HOSTILE = [
    "{",
    '{"int": "zz"}',
    '{"dict": [[[1], 2]]}',
    '{"set": [[1]]}',
    '{"nope": 1}',
    '{"a": 1, "b": 2}',
    '{"fraction": [1, 0]}',
]
HOSTILE += ['{"type": "eval"}', '{"type": "nothing"}', '{"type": 3}', '{"type": []}']
HOSTILE += [
    '{"array": ["O", [1], [1]]}',
    '{"array": ["<i8", [7], [1]]}',
    '{"number": ["V", 1]}',
    '{"record": ["a b", ["x"], [1]]}',
]
HOSTILE += ['{"type": "eval"}', '{"type": "nothing"}', '{"type": 3}', '{"type": []}']
HOSTILE += ['{"record": ["P", ["__class__"], [1]]}', '{"decimal": "x"}', '{"range": [1, 2, 0]}', '{"bytes": 3}', '{"deque": 1}']


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        wire.loads(text, str)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.sampled_from([*wire.TAGS, "handle"]), x),
    )
)
def test_any_json_gives_a_value_or_a_known_error(found: Any) -> None:
    with contextlib.suppress(ValueError, RecursionError):
        wire.loads(json.dumps(found), Opaque)


@pytest.mark.parametrize("length", [0, 1, 4096, 4097, 10_000])
def test_a_long_list_is_told_by_its_digest(length: int) -> None:
    def value(last: int = 0) -> list[Any]:
        return [(n, str(n)) for n in range(length - 1)] + [(last, str(last))]

    assert wire.bounded_dumps(value(), str) == wire.dumps(value(), str)
    short = wire.bounded_dumps(value(), str, limit=1000)
    if length <= 4096:
        assert short == wire.dumps(value(), str)
    else:
        assert short == wire.bounded_dumps(value(), str, limit=1000) != wire.bounded_dumps(value(1), str, limit=1000)
        assert len(short) < 100
        assert wire.loads(short, str) != value()
    strange = [*value(), object()]
    assert wire.bounded_dumps(strange, str, limit=1000) == wire.dumps(strange, str)


def test_messages_come_whole_and_in_order() -> None:
    one, other = socket.socketpair()
    with one, other:
        sender, receiver = wire.Channel(one), wire.Channel(other)
        sender.send("first")
        sender.send("zwei \u20ac")
        assert [receiver.receive(), receiver.receive()] == ["first", "zwei \u20ac"]
        one.shutdown(socket.SHUT_RDWR)
        with pytest.raises(wire.ClosedError):
            receiver.receive()


def test_a_message_that_is_too_long_is_refused_before_it_is_read() -> None:
    one, other = socket.socketpair()
    with one, other:
        one.sendall(b"\xff\xff\xff\xff")
        with pytest.raises(ValueError, match="more than 256 MiB"):
            wire.Channel(other).receive()
