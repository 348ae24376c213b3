"""Selection as a library: scored pairs in, weights out."""

import subprocess
import sys

import numpy as np
import pytest

from codeblock.config import SelectConfig
from codeblock.errors import CodeBlockError
from codeblock.schema import TokenClass
from codeblock.select import ScoredPair, select

P, X, C, K, S = TokenClass


def pair_of(id_, rng, items=6, words=3):
    """A pair of two prompt tokens, some words, items of five tokens and a stop token."""
    size = 2 + words + 5 * items + 1
    return ScoredPair.from_columns(
        {
            "id": id_,
            "token_class": [P, P] + [X] * words + [C, K, K, K, C] * items + [S],
            "token_item": [-1] * (2 + words) + [i for i in range(items) for _ in range(5)] + [-1],
            "token_word": [-1, -1, *range(words)] + [-1] * (5 * items + 1),
            "item_reach": rng.random(items),
            "item_bridge": rng.random(items),
            "nll": [np.nan, np.nan, *rng.exponential(size=size - 2)],
        }
    )


@pytest.fixture
def pairs():
    rng = np.random.default_rng(0)
    return [pair_of(f"pair{i}", rng) for i in range(1000)]


def test_full_supervises_every_response_token_and_no_prompt_token(pairs):
    weights = select(pairs, "full").weights
    for pair, weight in zip(pairs, weights, strict=True):
        np.testing.assert_array_equal(weight, pair.response.astype(np.float32))


@pytest.mark.parametrize("strategy", ["random_tokens", "codeblock"])
@pytest.mark.parametrize("budget", [0.019, 0.1, 0.5])
def test_the_spent_budget_is_within_two_percent_of_the_asked_one(pairs, strategy, budget):
    selection = select(pairs, strategy, SelectConfig(token_budget=budget))
    assert selection.asked_tokens == round(budget * sum(int(pair.response.sum()) for pair in pairs))
    assert abs(selection.supervised_tokens - selection.asked_tokens) <= 0.02 * selection.asked_tokens


def test_codeblock_supervises_whole_items(pairs):
    for pair, weight in zip(pairs, select(pairs, "codeblock", SelectConfig(token_budget=0.2)).weights, strict=True):
        for item in range(pair.item_reach.size):
            assert len(set(weight[pair.token_item == item])) == 1


def test_the_stop_token_comes_with_the_first_selected_token_of_a_pair(pairs):
    for pair, weight in zip(pairs, select(pairs, "codeblock", SelectConfig(token_budget=0.05)).weights, strict=True):
        assert weight[pair.token_class == S] == weight.any()
    without = SelectConfig(token_budget=0.05, supervise_eos=False)
    assert not any(w[-1] for w in select(pairs, "codeblock", without).weights)


def test_background_weight_reaches_the_unselected_response_tokens_of_selected_pairs(pairs):
    selection = select(pairs, "codeblock", SelectConfig(token_budget=0.05, background_weight=0.25))
    assert selection.supervised_tokens <= 1.02 * selection.asked_tokens
    for pair, weight in zip(pairs, selection.weights, strict=True):
        assert not weight[~pair.response].any()
        assert not weight.any() or set(weight[pair.response]) == {np.float32(0.25), np.float32(1.0)}


def test_random_draws_depend_on_seed_and_pair_alone(pairs):
    settings = SelectConfig(token_budget=0.1, scope="response")
    whole = select(pairs, "random_tokens", settings, seed=1).weights
    again = select(pairs[::-1], "random_tokens", settings, seed=1).weights[::-1]
    other = select(pairs, "random_tokens", settings, seed=2).weights
    assert all(np.array_equal(a, b) for a, b in zip(whole, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(whole, other, strict=True))


def test_the_highest_losses_are_selected_first():
    rng = np.random.default_rng(0)
    pair = pair_of("p", rng, items=4, words=0)
    pair.nll[2:] = [*np.repeat([0.1, 3.0, 0.2, 0.3], 5).tolist(), 0.1]
    settings = SelectConfig(token_budget=0.3, reach_weight=0, bridge_weight=0)
    weight = select([pair], "codeblock", settings).weights[0]
    np.testing.assert_array_equal(np.flatnonzero(weight), [*range(7, 12), 22])


def test_an_unknown_strategy_suggests_the_nearest():
    with pytest.raises(CodeBlockError, match="did you mean codeblock"):
        select([], "codeblok")


def test_the_core_imports_neither_ray_nor_mlflow():
    code = (
        "import sys, codeblock.segment, codeblock.select, codeblock.train.loss;"
        "assert not {'ray', 'mlflow'} & set(sys.modules), 'imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
