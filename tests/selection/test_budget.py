"""Budgets are spent exactly: whole units, best first, within two percent, in every scope."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeblock.core.config import SelectConfig
from codeblock.core.errors import CodeBlockError
from codeblock.selection import ranking
from codeblock.selection.budget import TOLERANCE, spend
from codeblock.selection.candidates import Candidates, supervised_tokens


def candidates_of(rng, pairs, text_share=0.2):
    counts = rng.integers(0, 8, size=pairs)
    total = int(counts.sum())
    pair, size = np.repeat(np.arange(pairs), counts), rng.integers(0, 20, size=total)
    return Candidates(
        pair=pair,
        size=size,
        priority=np.round(rng.random(total), 2),
        tie=rng.random(total),
        text=rng.random(total) < text_share,
        tokens_P=np.bincount(pair, weights=size, minlength=pairs).astype(np.int64) + 5,
    )


def taken(candidates, budget, settings):
    return spend([lambda: candidates], budget, settings)[0]


def cut_up(candidates, pieces):
    """The same units as several loads, whole pairs each."""
    parts, bounds = [], candidates.bounds()
    for pairs in np.array_split(np.arange(candidates.tokens_P.size), pieces):
        units = slice(bounds[pairs[0]], bounds[pairs[-1] + 1]) if pairs.size else slice(0, 0)
        first = pairs[0] if pairs.size else 0
        columns = {name: getattr(candidates, name)[units] for name in ("size", "priority", "tie", "text")}
        parts.append(Candidates(pair=candidates.pair[units] - first, tokens_P=candidates.tokens_P[pairs], **columns))
    return parts


def naive_dataset(candidates, budget, eos):
    """Code only: walk the units best first and take what fits."""
    order = sorted(range(candidates.pair.size), key=lambda u: (-candidates.priority[u], -candidates.tie[u], u))
    chosen, opened, left = np.zeros(candidates.pair.size, dtype=bool), set(), budget
    for unit in order:
        asked = candidates.size[unit] + (eos and candidates.pair[unit] not in opened)
        if candidates.size[unit] and asked <= left:
            chosen[unit] = True
            opened.add(candidates.pair[unit])
            left -= asked
    return chosen


@given(st.integers(0, 10_000), st.integers(0, 400), st.booleans())
@settings(max_examples=100, deadline=None)
def test_dataset_scope_equals_the_naive_walk(seed, budget, eos):
    candidates = candidates_of(np.random.default_rng(seed), 12, text_share=0.0)
    chosen = taken(candidates, budget, SelectConfig(supervise_eos=eos))
    np.testing.assert_array_equal(chosen, naive_dataset(candidates, budget, eos))


@given(st.integers(0, 10_000), st.floats(0, 0.9), st.sampled_from(["dataset", "response_carry"]), st.booleans())
@settings(max_examples=100, deadline=None)
def test_the_budget_is_never_exceeded(seed, share, scope, eos):
    candidates = candidates_of(np.random.default_rng(seed), 12)
    tokens = candidates.tokens_P
    budget = int(share * tokens.sum())
    chosen = taken(candidates, budget, SelectConfig(supervise_eos=eos, scope=scope))
    assert supervised_tokens(candidates, chosen, eos) <= budget


@pytest.mark.parametrize("scope", ["dataset", "response", "response_carry"])
@pytest.mark.parametrize("share", [0.3, 0.5])
def test_the_spent_budget_is_within_two_percent_on_a_thousand_pairs(scope, share):
    candidates = candidates_of(np.random.default_rng(0), 1000)
    tokens = candidates.tokens_P
    budget = int(share * tokens.sum())
    chosen = taken(candidates, budget, SelectConfig(scope=scope))
    assert abs(supervised_tokens(candidates, chosen, True) - budget) <= TOLERANCE * budget


def test_scope_response_gives_every_pair_a_unit():
    candidates = candidates_of(np.random.default_rng(0), 300, text_share=0.0)
    tokens = candidates.tokens_P
    chosen = taken(candidates, int(0.4 * tokens.sum()), SelectConfig(scope="response"))
    with_units = np.unique(candidates.pair[candidates.size > 0])
    np.testing.assert_array_equal(np.unique(candidates.pair[chosen]), with_units)


def test_scope_response_says_when_one_unit_each_is_too_much():
    candidates = candidates_of(np.random.default_rng(0), 300)
    tokens = candidates.tokens_P
    with pytest.raises(CodeBlockError, match=r"lower select.subset_ratio"):
        taken(candidates, int(0.01 * tokens.sum()), SelectConfig(scope="response"))


def test_words_take_at_most_their_share_and_leave_the_rest_to_code():
    candidates = Candidates(
        pair=np.zeros(40, dtype=np.int64),
        size=np.ones(40, dtype=np.int64),
        priority=np.ones(40),
        tie=np.zeros(40),
        text=np.arange(40) >= 20,
        tokens_P=np.array([41]),
    )
    chosen = taken(candidates, 20, SelectConfig(nl_share=0.1, supervise_eos=False))
    assert (chosen[candidates.text].sum(), chosen.sum()) == (2, 20)
    few_words = Candidates(
        candidates.pair, candidates.size, candidates.priority, candidates.tie, np.arange(40) >= 39, candidates.tokens_P
    )
    assert taken(few_words, 20, SelectConfig(nl_share=0.5, supervise_eos=False)).sum() == 20


def test_words_are_taken_only_beside_selected_code():
    candidates = Candidates(
        pair=np.array([0, 1]),
        size=np.array([4, 1]),
        priority=np.array([0.5, 0.9]),
        tie=np.zeros(2),
        text=np.array([False, True]),
        tokens_P=np.array([10, 10]),
    )
    assert taken(candidates, 6, SelectConfig(nl_share=0.2)).tolist() == [True, False]


@given(st.integers(0, 10_000), st.floats(0.05, 0.9), st.sampled_from(["dataset", "response", "response_carry"]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_several_parts_are_spent_on_like_one(seed, share, scope, eos):
    candidates = candidates_of(np.random.default_rng(seed), 12)
    config = SelectConfig(scope=scope, supervise_eos=eos)
    budget = int(share * candidates.tokens_P.sum())
    parts = cut_up(candidates, 3)
    try:
        together = taken(candidates, budget, config)
    except CodeBlockError:
        return
    apart = spend([lambda part=part: part for part in parts], budget, config)
    np.testing.assert_array_equal(np.concatenate(apart), together)


@pytest.mark.parametrize("rounding", [0, 1, 9], ids=["all equal", "many equal", "none equal"])
def test_a_cut_by_histograms_equals_the_naive_walk_up_to_the_last_tokens(rounding, monkeypatch):
    monkeypatch.setattr(ranking, "GATHERED", 8)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        candidates = candidates_of(rng, 60, text_share=0.0)
        equal = np.round(candidates.priority, rounding) * (rounding > 0)
        candidates = Candidates(
            candidates.pair, candidates.size, equal, np.round(candidates.tie, rounding), candidates.text, candidates.tokens_P
        )
        budget = int(rng.uniform(0.1, 0.8) * candidates.tokens_P.sum())
        apart = np.concatenate(spend([lambda part=part: part for part in cut_up(candidates, 5)], budget, SelectConfig()))
        wanted = naive_dataset(candidates, budget, True)
        assert supervised_tokens(candidates, apart, True) <= budget
        assert budget - supervised_tokens(candidates, apart, True) <= 40  # two units of the largest size
        assert (apart != wanted).sum() <= 8


def test_text_is_cut_by_histograms_too(monkeypatch):
    candidates = candidates_of(np.random.default_rng(3), 400)
    budget = int(0.4 * candidates.tokens_P.sum())
    wanted = taken(candidates, budget, SelectConfig())
    monkeypatch.setattr(ranking, "GATHERED", 16)
    apart = np.concatenate(spend([lambda part=part: part for part in cut_up(candidates, 7)], budget, SelectConfig()))
    assert abs(supervised_tokens(candidates, apart, True) - budget) <= TOLERANCE * budget
    assert (apart != wanted).mean() < 0.02
