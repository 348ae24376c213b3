"""What is known of all kept pairs: quantiles from histograms, and how many pairs have a word."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeblock.core.config import SelectConfig
from codeblock.core.errors import CodeBlockError
from codeblock.core.schema import TokenClass
from codeblock.selection import ScoredPair, get_strategy, select
from codeblock.selection.pair import NO_POOL
from codeblock.selection.pool import Histogram, survey
from codeblock.selection.utility import item_utility
from codeblock.selection.words import words_of

P, X, C, K, S = TokenClass
CODEBLOCK = get_strategy("codeblock")


@given(st.integers(0, 1000), st.floats(0.01, 0.99))
def test_a_quantile_is_right_to_half_a_percent_and_does_not_depend_on_the_pieces(seed, share):
    rng = np.random.default_rng(seed)
    values = (rng.exponential(size=1000) * rng.choice([-1, 1], size=1000, p=[0.2, 0.8])).astype(np.float32)
    whole, pieces = Histogram(), Histogram()
    whole.add(values)
    for piece in np.array_split(rng.permutation(values), 7):
        pieces.add(piece)
    found = whole.quantile(share)
    assert found == pieces.quantile(share)
    exact = float(np.quantile(values, share, method="inverted_cdf"))
    assert exact <= found <= exact + 0.005 * abs(exact)


def test_no_value_has_no_quantile():
    assert Histogram().quantile(0.5) == 0.0


def pair_of(id_, words, nll=1.0, code=True):
    """A pair of a prompt token, words (a token each, by its id), an item of three tokens, a stop token."""
    count = len(words)
    classes = [P, *[X] * count, *([C, K, K] if code else []), S]
    tail = [-1] * (len(classes) - 1 - count)
    return ScoredPair.from_columns(
        {
            "id": id_,
            "token_class": classes,
            "token_item": [-1] * (1 + count) + ([0, 0, 0] if code else []) + [-1],
            "token_word": [-1, *range(count), *tail],
            "item_reach": np.zeros(int(code)),
            "item_bridge": np.zeros(int(code)),
            "nll": [np.nan, *np.full(len(classes) - 1, nll)],
            "input_ids": [0, *words, *[7] * len(tail)],
        }
    )


def test_nothing_is_surveyed_with_the_defaults():
    assert survey(lambda: pytest.fail("a pass over the pairs"), CODEBLOCK, SelectConfig()) is NO_POOL
    random = get_strategy("random_items")
    assert survey(lambda: pytest.fail("a pass over the pairs"), random, SelectConfig(noise_quantile=0.9)) is NO_POOL


def test_noise_is_what_lies_above_the_quantile_of_core_tokens():
    pairs = [pair_of(str(number), [], nll) for number, nll in enumerate([0.5, 1.0, 2.0, 3.0, 50.0])]
    settings = SelectConfig(noise_quantile=0.8, gce_q=0)
    pool = survey(lambda: pairs, CODEBLOCK, settings)
    assert pool.noise_nll == pytest.approx(3.0, rel=0.005)
    utilities = [float(item_utility(replace(pair, pool=pool), settings)[0]) for pair in pairs]
    assert utilities == [0.5, 1.0, 2.0, 3.0, 0.0]


FILLER = [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_word_of_few_pairs_ranks_before_one_that_all_have_and_an_opener_last():
    pairs = [pair_of(str(number), [99, *FILLER, 50, 100 + number]) for number in range(16)]
    settings = SelectConfig(word_rank="specific", gce_q=0)
    pool = survey(lambda: pairs, CODEBLOCK, settings)
    pair = replace(pairs[3], pool=pool)
    _, rank = words_of(pair, pair.nll.astype(float), settings)
    np.testing.assert_allclose(rank[8:], [0.0, 0.0, 1.0], atol=1e-12)  # 8 and 50 are everywhere, 103 is in one pair of 16
    assert rank[:8].tolist() == [0.0] * 8  # the first eight tokens open the response
    _, plain = words_of(pair, pair.nll.astype(float), SelectConfig())
    assert plain.tolist() == [1.0] * 11


def test_words_of_several_tokens_are_told_apart_by_all_of_them():
    split = pair_of("a", [*FILLER, 20, 21])
    joined = np.where(split.token_word == 9, 8, split.token_word).astype(np.int32)
    pairs = [replace(split, token_word=joined)] + [pair_of(str(number), [*FILLER, 20, 30]) for number in range(7)]
    pool = survey(lambda: pairs, CODEBLOCK, SelectConfig(word_rank="specific"))
    settings = SelectConfig(word_rank="specific", gce_q=0)
    first = replace(pairs[0], pool=pool)
    _, rank = words_of(first, first.nll.astype(float), settings)
    assert rank[8] == pytest.approx(1.0)  # "20 21" is one word, which no other pair has
    other = replace(pairs[1], pool=pool)
    _, rank = words_of(other, other.nll.astype(float), settings)
    assert rank[8] == pytest.approx(np.log(8 / 7) / np.log(8))


def test_a_selection_in_memory_surveys_its_pairs():
    pairs = [pair_of(str(number), [*FILLER, 100 + number, 50]) for number in range(16)]
    settings = SelectConfig(token_budget=0.35, nl_share=0.2, word_rank="specific")
    weights = select(pairs, "codeblock", settings).weights
    words = {int(id_) for pair, weight in zip(pairs, weights, strict=True) for id_ in pair.input_ids[(weight > 0)] if id_ > 7}
    assert words
    assert words <= set(range(100, 116))


def test_ids_that_are_missing_are_named():
    with pytest.raises(CodeBlockError, match="no column input_ids"):
        select([replace(pair_of("a", FILLER), input_ids=None)], "codeblock", SelectConfig(word_rank="specific"))
