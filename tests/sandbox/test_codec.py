"""Values keep their type and content on the way between two processes, and hostile text gives a plain value or an error."""

from __future__ import annotations

import array
import collections
import contextlib
import datetime as dt
import ipaddress
import json
import math
import pathlib
import re
import socket
import sys
import uuid
import zoneinfo
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeblock.sandbox import codec

Point = collections.namedtuple("Point", "x y")


class Opaque:
    def __init__(self, content: Any) -> None:
        self.content = content


def there_and_back(value: Any) -> Any:
    return codec.loads(codec.dumps(value, lambda other: type(other).__name__), Opaque)


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


NUMPY = [
    np.float32(1.5),
    np.int64(3),
    np.bool_(True),
    np.complex128(1j),
    np.longdouble("1.1"),
    np.clongdouble(1.5j),
    np.str_("a\u20ac"),
    np.bytes_(b"\xff"),
    np.datetime64("2020-01-01T10", "h"),
    np.timedelta64(3, "D"),
    np.array((1, 2.5), [("a", "<i4"), ("b", "<f8")])[()],
    np.void(b"\x00\x01"),
    np.arange(6).reshape(2, 3),
    np.zeros((0, 2)),
    np.array(["x", "yy"]),
    np.array([b"x", b"yy"]),
    np.array(["2020-01-01", "NaT"], "M8[D]"),
    np.array([(1, "a"), (2, "b")], [("n", "<i8"), ("s", "<U3")]),
    np.array([1, "a", None], object),
    np.array([1j, 2]),
    np.float16(0.1),
]


@pytest.mark.parametrize("value", NUMPY, ids=range(len(NUMPY)))
def test_numpy_keeps_type_and_shape(value: Any) -> None:
    back = there_and_back(value)
    assert type(back) is type(value)
    assert back.dtype == value.dtype
    assert np.shape(back) == np.shape(value)
    np.testing.assert_array_equal(back, value)


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_what_numpy_has_besides_arrays() -> None:
    masked = there_and_back(np.ma.array([1, 2, 3], mask=[0, 1, 0]))
    assert (masked.tolist(), type(masked)) == ([1, None, 3], np.ma.MaskedArray)
    assert there_and_back(np.ma.masked) is np.ma.masked
    assert there_and_back(np.dtype([("a", "<f4"), ("b", "<i2", (2,))])) == np.dtype([("a", "<f4"), ("b", "<i2", (2,))])
    assert there_and_back(np.matrix([[1, 2]])).tolist() == [[1, 2]]
    assert there_and_back([np.str_("a"), {np.str_("k"): np.float64(1)}]) == ["a", {"k": 1.0}]


ZONE = dt.timezone(dt.timedelta(hours=-3, minutes=-30), "X")
LIBRARY = [
    dt.date(2020, 2, 29),
    dt.time(1, 2, 3, 4, fold=1),
    dt.datetime(2020, 1, 1, 2, 3, 4, 5, tzinfo=ZONE, fold=1),
    dt.timedelta(-1, 2, 3),
    dt.UTC,
    ZONE,
    uuid.UUID(int=7),
    pathlib.PurePosixPath("/a/../b"),
    pathlib.PureWindowsPath("C:/a"),
    ipaddress.ip_network("10.0.0.0/8"),
    ipaddress.ip_address("::1"),
    re.compile("a+", re.IGNORECASE),
    re.compile(b"a"),
    array.array("d", [1.5]),
    slice(1, None, 2),
    ...,
    NotImplemented,
]


@pytest.mark.parametrize("value", LIBRARY, ids=map(repr, LIBRARY))
def test_values_of_the_standard_library_keep_their_type(value: Any) -> None:
    back = there_and_back([value])[0]
    assert back == value
    assert type(back) is type(value)
    assert repr(back) == repr(value)


def test_a_zone_is_what_it_adds_and_a_path_reaches_no_file() -> None:
    summer = dt.datetime(2020, 7, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"))
    assert there_and_back(summer) == summer
    assert there_and_back(summer).utcoffset() == dt.timedelta(hours=2)
    assert type(there_and_back(pathlib.Path("/a"))) is pathlib.PurePosixPath


def test_views_keep_their_order() -> None:
    values = {"b": [1], "a": [2]}
    keys, items, inner = there_and_back([values.keys(), values.items(), values.values()])
    assert (list(keys), list(items), list(inner)) == (["b", "a"], [("b", [1]), ("a", [2])], [[1], [2]])
    assert keys == {"a", "b"}
    filled = there_and_back(collections.defaultdict(list, a=[1]))
    assert filled["new"] == []


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
        codec.dumps(loop, str)


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
LONG = '{"range": [0, 1000000000000, 1]}'
HOSTILE += [
    f'{{"tuple": {LONG}}}',
    f'{{"set": {LONG}}}',
    f'{{"dict": [{LONG}]}}',
    f'{{"deque": [{LONG}, null]}}',
    f'{{"ordered": [{LONG}]}}',
    f'{{"counter": {LONG}}}',
    f'{{"default": [null, {LONG}]}}',
    f'{{"keys": {LONG}}}',
    f'{{"array": ["<i8", [1], [{LONG}]]}}',
    f'{{"objects": [[1], {LONG}]}}',
    f'{{"machine_array": ["q", {LONG}]}}',
    '{"array": ["<U400000000", [1], ["x"]]}',
    '{"array": ["<i8", [-1], [1]]}',
    '{"raw": ["|O", [1], "xxxxxxxx", false]}',
    '{"raw": [[["a", "|O"]], [1], "xxxxxxxx", false]}',
    '{"raw": ["<f8", [99], "x", false]}',
    '{"dtype": "O"}',
    '{"decimal": "1E+9999999"}',
    '{"fraction": [1, {"int": "0x1' + 40000 * "0" + '"}]}',
    '{"single": "exit"}',
    '{"path": ["PosixPath", "/etc/passwd"]}',
    '{"address": ["ip_address", "1.1.1.1"]}',
    '{"pattern": ["(", 0]}',
    '{"default": ["exec", []]}',
    '{"tuple": [1], "tuple": [2]}',
    "1" + 5000 * "0",
]
HOSTILE += ['{"decimal": "x"}', '{"range": [1, 2, 0]}', '{"bytes": 3}', '{"deque": 1}']


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        codec.loads(text, str)


def test_a_value_that_takes_too_much_memory_is_refused_before_it_is_made() -> None:
    text = "[" + ",".join(['{"deque":[[],null]}'] * 10_000) + "]"
    assert codec.weight(text) > 10_000 * 700
    with pytest.raises(ValueError, match="too many parts"):
        codec.loads(text, str, 1 << 22)
    assert len(codec.loads(text, str, 1 << 24)) == 10_000
    assert codec.loads(json.dumps("[" * 100_000), str, 1 << 20) == "[" * 100_000  # in a text they are no parts


def test_integers_keep_their_limit_outside() -> None:
    before = sys.get_int_max_str_digits()
    try:
        sys.set_int_max_str_digits(0)
        assert there_and_back(7**6000) == 7**6000
        with pytest.raises(ValueError, match="4300 digits"):
            codec.loads("1" * 4301, str)
        assert sys.get_int_max_str_digits() == 0
    finally:
        sys.set_int_max_str_digits(before)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.sampled_from([*codec.TAGS, "handle"]), x),
    )
)
def test_any_json_gives_a_value_or_a_known_error(found: Any) -> None:
    with contextlib.suppress(ValueError, RecursionError):
        codec.loads(json.dumps(found), Opaque)


@pytest.mark.parametrize("length", [0, 1, 4096, 4097, 10_000])
def test_a_long_list_is_told_by_its_digest(length: int) -> None:
    def value(last: int = 0) -> list[Any]:
        return [(n, str(n)) for n in range(length - 1)] + [(last, str(last))]

    assert codec.bounded_dumps(value(), str) == codec.dumps(value(), str)
    short = codec.bounded_dumps(value(), str, limit=1000)
    if length <= 4096:
        assert short == codec.dumps(value(), str)
    else:
        assert short == codec.bounded_dumps(value(), str, limit=1000) != codec.bounded_dumps(value(1), str, limit=1000)
        assert len(short) < 100
        assert codec.loads(short, str) != value()
    strange = [*value(), object()]
    assert codec.bounded_dumps(strange, str, limit=1000) == codec.dumps(strange, str)


def test_messages_come_whole_and_in_order() -> None:
    one, other = socket.socketpair()
    with one, other:
        sender, receiver = codec.Channel(one), codec.Channel(other)
        sender.send("first")
        sender.send("zwei \u20ac")
        assert [receiver.receive(), receiver.receive()] == ["first", "zwei \u20ac"]
        one.shutdown(socket.SHUT_RDWR)
        with pytest.raises(codec.ClosedError):
            receiver.receive()


def test_a_message_that_is_too_long_is_refused_before_it_is_read() -> None:
    one, other = socket.socketpair()
    with one, other:
        one.sendall(b"\xff\xff\xff\xff")
        with pytest.raises(ValueError, match="more than 256 MiB"):
            codec.Channel(other).receive()
