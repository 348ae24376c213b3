"""Budgets are spent exactly: whole units, best first, within two percent, in every scope."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeblock.config import SelectConfig
from codeblock.errors import CodeBlockError
from codeblock.select.budget import TOLERANCE, Shelf, cost, spend


def shelf_of(rng, pairs, text_share=0.2):
    counts = rng.integers(0, 8, size=pairs)
    total = int(counts.sum())
    return Shelf(
        pair=np.repeat(np.arange(pairs), counts),
        size=rng.integers(0, 20, size=total),
        priority=np.round(rng.random(total), 2),
        tie=rng.random(total),
        text=rng.random(total) < text_share,
    )


def tokens_of(shelf, pairs):
    return np.bincount(shelf.pair, weights=shelf.size, minlength=pairs).astype(np.int64) + 5


def naive_dataset(shelf, budget, eos):
    """Code only: walk the units best first and take what fits."""
    order = sorted(range(shelf.pair.size), key=lambda u: (-shelf.priority[u], -shelf.tie[u], u))
    chosen, opened, left = np.zeros(shelf.pair.size, dtype=bool), set(), budget
    for unit in order:
        asked = shelf.size[unit] + (eos and shelf.pair[unit] not in opened)
        if shelf.size[unit] and asked <= left:
            chosen[unit] = True
            opened.add(shelf.pair[unit])
            left -= asked
    return chosen


@given(st.integers(0, 10_000), st.integers(0, 400), st.booleans())
@settings(max_examples=100, deadline=None)
def test_dataset_scope_equals_the_naive_walk(seed, budget, eos):
    shelf = shelf_of(np.random.default_rng(seed), 12, text_share=0.0)
    chosen = spend(shelf, tokens_of(shelf, 12), budget, SelectConfig(supervise_eos=eos))
    np.testing.assert_array_equal(chosen, naive_dataset(shelf, budget, eos))


@given(st.integers(0, 10_000), st.floats(0, 0.9), st.sampled_from(["dataset", "response_carry"]), st.booleans())
@settings(max_examples=100, deadline=None)
def test_the_budget_is_never_exceeded(seed, share, scope, eos):
    shelf = shelf_of(np.random.default_rng(seed), 12)
    tokens = tokens_of(shelf, 12)
    budget = int(share * tokens.sum())
    chosen = spend(shelf, tokens, budget, SelectConfig(supervise_eos=eos, scope=scope))
    assert cost(shelf, chosen, eos) <= budget


@pytest.mark.parametrize("scope", ["dataset", "response", "response_carry"])
@pytest.mark.parametrize("share", [0.3, 0.5])
def test_the_spent_budget_is_within_two_percent_on_a_thousand_pairs(scope, share):
    shelf = shelf_of(np.random.default_rng(0), 1000)
    tokens = tokens_of(shelf, 1000)
    budget = int(share * tokens.sum())
    chosen = spend(shelf, tokens, budget, SelectConfig(scope=scope))
    assert abs(cost(shelf, chosen, True) - budget) <= TOLERANCE * budget


def test_scope_response_gives_every_pair_a_unit():
    shelf = shelf_of(np.random.default_rng(0), 300, text_share=0.0)
    tokens = tokens_of(shelf, 300)
    chosen = spend(shelf, tokens, int(0.4 * tokens.sum()), SelectConfig(scope="response"))
    with_units = np.unique(shelf.pair[shelf.size > 0])
    np.testing.assert_array_equal(np.unique(shelf.pair[chosen]), with_units)


def test_scope_response_says_when_one_unit_each_is_too_much():
    shelf = shelf_of(np.random.default_rng(0), 300)
    tokens = tokens_of(shelf, 300)
    with pytest.raises(CodeBlockError, match=r"lower select.subset_ratio"):
        spend(shelf, tokens, int(0.01 * tokens.sum()), SelectConfig(scope="response"))


def test_words_take_at_most_their_share_and_leave_the_rest_to_code():
    shelf = Shelf(
        pair=np.zeros(40, dtype=np.int64),
        size=np.ones(40, dtype=np.int64),
        priority=np.ones(40),
        tie=np.zeros(40),
        text=np.arange(40) >= 20,
    )
    chosen = spend(shelf, np.array([41]), 20, SelectConfig(nl_share=0.1, supervise_eos=False))
    assert (chosen[shelf.text].sum(), chosen.sum()) == (2, 20)
    few_words = Shelf(shelf.pair, shelf.size, shelf.priority, shelf.tie, np.arange(40) >= 39)
    assert spend(few_words, np.array([41]), 20, SelectConfig(nl_share=0.5, supervise_eos=False)).sum() == 20


def test_words_are_bought_only_beside_selected_code():
    shelf = Shelf(
        pair=np.array([0, 1]),
        size=np.array([4, 1]),
        priority=np.array([0.5, 0.9]),
        tie=np.zeros(2),
        text=np.array([False, True]),
    )
    assert spend(shelf, np.array([10, 10]), 6, SelectConfig(nl_share=0.2)).tolist() == [True, False]
