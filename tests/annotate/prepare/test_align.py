"""Character spans become token columns: each token goes where most of it lies."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codeblock.annotate.prepare.align import Spans, align
from codeblock.annotate.prepare.render import RenderedPair, Renderer
from codeblock.core.schema import TokenClass


def rendered_of(spans):
    """A prompt token, then tokens with these character spans, then the stop token."""
    end = max(end for _, end in spans)
    starts, ends = zip((-5, -1), *spans, (end, end), strict=True)
    return RenderedPair(np.zeros(len(starts), np.int32), np.array(starts, np.int32), np.array(ends, np.int32), 1)


def aligned_of(rendered, response, items=(), regions=(), core=()):
    return align([rendered], [response], [Spans(items, regions, core)])[0]


def item_of_token(rendered, items, response):
    return aligned_of(rendered, response, items=items).token_item


def test_a_token_that_straddles_two_items_goes_to_the_larger_overlap():
    rendered = rendered_of([(0, 3), (3, 8), (8, 10)])
    got = item_of_token(rendered, [[(0, 4)], [(4, 10)]], "x" * 10)
    assert got.tolist() == [-1, 0, 1, 1, -1]


def test_an_item_of_several_spans_owns_the_tokens_of_each():
    rendered = rendered_of([(0, 2), (2, 4), (4, 6)])
    assert item_of_token(rendered, [[(0, 2), (4, 6)], [(2, 4)]], "x" * 6).tolist() == [-1, 0, 1, 0, -1]


def test_line_break_and_indent_go_with_the_item_behind_them():
    response = "if x:\n    y\n"
    rendered = rendered_of([(0, 5), (5, 10), (10, 11), (11, 12)])
    got = aligned_of(rendered, response, items=[[(0, 5)], [(10, 11)]], regions=[(0, 12)])
    assert got.token_item.tolist() == [-1, 0, 1, 1, -1, -1]


def test_fences_go_with_the_first_and_the_last_item_of_their_region():
    response = "Do:\n```py\na\nb\n```\nok"
    rendered = rendered_of([(0, 4), (4, 7), (7, 10), (10, 11), (11, 12), (12, 13), (13, 14), (14, 17), (17, 18), (18, 20)])
    got = aligned_of(rendered, response, items=[[(10, 11)], [(12, 13)]], regions=[(10, 14)])
    assert got.token_item.tolist() == [-1, -1, 0, 0, 0, 1, 1, 1, 1, -1, -1, -1]
    X, C, S = TokenClass.TEXT, TokenClass.CODE, TokenClass.STOP
    assert got.token_class.tolist() == [TokenClass.PROMPT, X, X, X, C, C, C, C, X, X, X, S]
    assert got.token_word.tolist()[2:9] == [-1] * 7


def test_a_fence_that_is_not_closed_has_no_end():
    response = "```py\na\n"
    got = aligned_of(rendered_of([(0, 3), (3, 6), (6, 7), (7, 8)]), response, items=[[(6, 7)]], regions=[(6, 8)])
    assert got.token_item.tolist() == [-1, 0, 0, 0, -1, -1]


def test_words_around_a_fence_do_not_go_with_it():
    response = "So: ```py\na```\nok"
    rendered = rendered_of([(0, 4), (4, 10), (10, 11), (11, 14), (14, 17)])
    got = aligned_of(rendered, response, items=[[(10, 11)]], regions=[(10, 11)])
    assert got.token_item.tolist() == [-1, -1, 0, 0, 0, -1, -1]


def test_a_closing_fence_opens_nothing_for_the_code_behind_it():
    response = "```\n3\n```\na\n"
    rendered = rendered_of([(0, 4), (4, 5), (5, 6), (6, 9), (9, 10), (10, 11), (11, 12)])
    got = aligned_of(rendered, response, items=[[(4, 5)], [(10, 11)]], regions=[(4, 6), (10, 12)])
    assert got.token_item.tolist() == [-1, 0, 0, 0, 0, -1, 1, -1, -1]


def test_classes_of_prompt_text_code_core_and_stop():
    response = "so: x = 1"
    rendered = rendered_of([(0, 3), (3, 5), (5, 7), (7, 9)])
    got = aligned_of(rendered, response, regions=[(4, 9)], core=[(4, 5), (8, 9)]).token_class
    P, X, C, K, S = TokenClass
    assert got.tolist() == [P, X, K, C, K, S]


def test_words_are_numbered_and_stop_words_are_not():
    response = "the sorted list's end"
    rendered = rendered_of([(0, 3), (3, 7), (7, 10), (10, 17), (17, 21)])
    got = aligned_of(rendered, response).token_word
    assert got.tolist() == [-1, -1, 0, 0, 1, 2, -1]


SPANS = st.lists(st.integers(0, 40), min_size=2, max_size=12, unique=True).map(
    lambda cuts: [(a, b) for a, b in zip(sorted(cuts)[::2], sorted(cuts)[1::2], strict=False)]
)


@given(st.text("ab \n🎉(é", min_size=1, max_size=40).filter(str.strip), SPANS)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_equals_counting_characters_token_by_token(tokenizer, response, spans):
    spans = [[(start, min(end, len(response)))] for start, end in spans if start < len(response)]
    rendered = Renderer(tokenizer)([[{"role": "user", "content": "x"}]], [response])[0]
    got = item_of_token(rendered, spans, response)
    for token, (start, end) in enumerate(zip(rendered.starts, rendered.ends, strict=True)):
        here = range(max(start, 0), min(end, len(response)))
        overlap = [len(set(here) & set(range(*span[0]))) for span in spans]
        best = max(overlap, default=0)
        assert (got[token] == -1) if best == 0 else (overlap[got[token]] == best)


@pytest.mark.parametrize("spans", [[], [[(0, 5)]]])
def test_empty_tokens_belong_nowhere(spans):
    assert item_of_token(rendered_of([(0, 5), (5, 5)]), spans, "x" * 5).tolist()[2:] == [-1, -1]


def test_a_batch_gives_what_its_pairs_give_alone(tokenizer):
    responses = ["so: x = 1", "", "é🎉 return the sorted list", "x = 1\n"]
    rendered = Renderer(tokenizer)([[{"role": "user", "content": "x"}]] * 4, ["a" + text for text in responses])
    spans = [Spans([[(0, 2)], [(2, len(text) + 1)]], [(0, 2)], [(1, 2)]) if text else Spans([], [], []) for text in responses]
    together = align(rendered, ["a" + text for text in responses], spans)
    for pair, response, found, whole in zip(rendered, responses, spans, together, strict=True):
        alone = align([pair], ["a" + response], [found])[0]
        for name in ("token_class", "token_item", "token_word"):
            np.testing.assert_array_equal(getattr(whole, name), getattr(alone, name))
