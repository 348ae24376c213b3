"""The response cut into blocks, boxes and pieces: nothing is lost, and each line has the owner a reader would name."""

from __future__ import annotations

import math
from html import unescape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeblock.report.pages.layout import PageBlock, blocks, line_numbers, shade
from codeblock.report.pages.sample import ItemView, SampleView


def bare(response: str, items: list[ItemView], spans: list[tuple[int, int]]) -> SampleView:
    """A sample of nothing but text, items and tokens."""
    count = len(spans)
    return SampleView("t", "i", "python", "", response, spans, [3] * count, [0.5] * count, items, [], [])


def item(*spans: tuple[int, int]) -> ItemView:
    return ItemView("call", list(spans), 1, 1, 0.0, 0.0)


def text(found: list[PageBlock]) -> str:
    return "".join(unescape(piece.text) for b in found for line in b.lines for box in line.boxes for piece in box.pieces)


def test_whole_lines_of_an_item_are_one_block_with_one_label_and_their_indents(sample: SampleView) -> None:
    found = list(blocks(sample))
    assert text(found) == sample.response
    control = next(block for block in found if block.item == 1)
    assert [line.indent for line in control.lines] == [0, 4]
    assert control.first
    assert [block.item for block in found] == [-1, 0, 1, -1, -1]


def test_a_line_that_items_share_holds_a_box_for_each(sample: SampleView) -> None:
    shared = next(block for block in blocks(sample) if block.shared)
    assert shared.shared == [2, 3]
    assert [box.item for box in shared.lines[0].boxes] == [-1, 2, -1, 3, -1]


def test_a_blank_line_goes_with_the_item_around_it() -> None:
    response = 'a = """\n\nb"""\n\nc\n'
    found = list(blocks(bare(response, [item((0, 13)), item((15, 16))], [])))
    assert [(block.item, len(block.lines)) for block in found] == [(0, 3), (-1, 1), (1, 1)]


def test_an_item_in_two_places_is_labelled_once() -> None:
    response = "f(\n  1,\n)\n"
    found = list(blocks(bare(response, [item((0, 2), (8, 9)), item((5, 7))], [])))
    assert [(block.item, block.first) for block in found] == [(0, True), (1, True), (0, False)]


def test_lines_are_counted_from_one(sample: SampleView) -> None:
    assert line_numbers(sample) == [(4, 4), (5, 6), (7, 7), (7, 7)]


def test_blank_ends_of_a_line_have_no_shade() -> None:
    response = "x\n    y\n"
    sample = SampleView("t", "i", "python", "", response, [(0, 1), (1, 7)], [3, 3], [9.0, 9.0], [item((0, 7))], [], [])
    pieces = [
        (str(p.text), p.token, p.shade) for b in blocks(sample) for line in b.lines for box in line.boxes for p in box.pieces
    ]
    assert pieces == [("x", 0, 9), ("\n", 1, 0), ("    ", 1, 0), ("y", 1, 9), ("\n", -1, 0)]


@pytest.mark.parametrize(("nll", "q", "step"), [(0.0, 0.7, 0), (20.0, 0.7, 9), (math.log(2), 0.0, 5), (math.nan, 0.7, 0)])
def test_the_shade_is_the_generalized_cross_entropy_over_its_largest_value(nll: float, q: float, step: int) -> None:
    assert shade(nll, q) == step


@settings(max_examples=200, deadline=None)
@given(data=st.data(), response=st.text(alphabet=st.sampled_from("ab \t\r\n\x0c\u2028<&'é😀"), max_size=50))
def test_any_response_with_any_spans_keeps_its_text(data: st.DataObject, response: str) -> None:
    place = st.integers(0, len(response))
    spans = data.draw(st.lists(st.tuples(place, place).map(lambda pair: (min(pair), max(pair))), max_size=8))
    cuts = sorted(data.draw(st.lists(place, min_size=4, max_size=4)))
    sample = bare(response, [item((cuts[0], cuts[1])), item((cuts[2], cuts[3]))], spans)
    assert text(list(blocks(sample))) == response
    assert all(1 <= low <= high for low, high in line_numbers(sample))
