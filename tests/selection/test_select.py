"""Selection as a library: scored pairs in, weights out."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from codeblock.core.config import SelectConfig
from codeblock.core.errors import CodeBlockError
from codeblock.core.schema import TokenClass
from codeblock.selection import ScoredPair, get_strategy, select, strategy_names
from codeblock.selection.selection import units_of
from codeblock.selection.utility import require_column

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
            "nll_second": [np.nan, np.nan, *rng.exponential(size=size - 2)],
            "prompt_attention": [np.nan, np.nan, *rng.random(size - 2)],
            "item_kind": ["return" if item % 3 == 0 else "statement" for item in range(items)],
            "dataset": "mine",
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


BUDGETED = [name for name in strategy_names() if get_strategy(name).budgeted]


@pytest.mark.parametrize("strategy", BUDGETED)
@pytest.mark.parametrize("budget", [0.019, 0.1, 0.5])
def test_the_spent_budget_is_within_two_percent_of_the_asked_one(pairs, strategy, budget):
    if get_strategy(strategy).scope == "response" and budget < 2 / 34:
        pytest.skip("one token and the stop token of each response cost more")
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


def test_selected_tokens_are_told_apart_whatever_the_others_weigh(pairs):
    plain, full = (select(pairs, "codeblock", SelectConfig(token_budget=0.05, background_weight=w)) for w in (0.0, 1.0))
    assert plain.supervised_tokens == full.supervised_tokens
    for pair, chosen, same, weight in zip(pairs, plain.selected, full.selected, full.weights, strict=True):
        np.testing.assert_array_equal(chosen, same)
        np.testing.assert_array_equal(weight > 0, pair.response & chosen.any())


def test_random_draws_depend_on_seed_and_pair_alone(pairs):
    settings = SelectConfig(token_budget=0.1)
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


def naive_best_tokens(score, pair, count):
    among = [t for t in range(score.size) if pair.response[t] and pair.token_class[t] != S]
    return set(sorted(among, key=lambda t: -score[t])[:count])


@pytest.mark.parametrize(
    ("strategy", "score"),
    [
        ("rho1", lambda pair: pair.nll - pair.nll_second),
        ("sstoken", lambda pair: 0.5 * minmax(pair.nll - pair.nll_second) + 0.5 * pair.prompt_attention),
    ],
)
def test_baselines_of_two_models_take_the_best_of_each_response(pairs, strategy, score):
    settings = SelectConfig(token_budget=0.3, supervise_eos=False)
    for pair, weight in zip(pairs[:50], select(pairs[:50], strategy, settings).weights, strict=True):
        taken = set(np.flatnonzero(weight).tolist())
        assert taken == naive_best_tokens(score(pair), pair, len(taken))


def minmax(values):
    low, high = np.nanmin(values), np.nanmax(values)
    return (values - low) / (high - low)


def test_token_cleaning_ranks_the_excess_loss_over_the_data_set(pairs):
    weights = select(pairs, "token_cleaning", SelectConfig(token_budget=0.1, supervise_eos=False)).weights
    excess = [pair.nll - pair.nll_second for pair in pairs]
    open_ = [pair.response & (pair.token_class != S) for pair in pairs]
    least = min(value[weight > 0].min() for value, weight in zip(excess, weights, strict=True) if weight.any())
    most = max(value[ok & (w == 0)].max() for value, w, ok in zip(excess, weights, open_, strict=True))
    assert least >= most


def test_full_code_is_the_code_without_the_text(pairs):
    for pair, weight in zip(pairs, select(pairs, "full_code", SelectConfig(supervise_eos=False)).weights, strict=True):
        np.testing.assert_array_equal(weight > 0, pair.token_item >= 0)


def test_random_items_are_whole_items(pairs):
    for pair, weight in zip(pairs, select(pairs, "random_items", SelectConfig(token_budget=0.3)).weights, strict=True):
        for item in range(pair.item_reach.size):
            assert len(set(weight[pair.token_item == item])) == 1


def test_a_column_that_is_missing_is_named_with_what_brings_it(pairs):
    alone = [replace(pair, nll_second=None) for pair in pairs[:2]]
    with pytest.raises(CodeBlockError, match=r"no column edges; decorate the strategy with reads=\(\"edges\",\)"):
        require_column(pair_of("p", np.random.default_rng(0)), "edges")
    with pytest.raises(CodeBlockError, match=r"no column nll_second; set score.second_model"):
        select(alone, "rho1")


def test_a_strategy_of_the_users_own_is_named_by_its_import_path(pairs):
    theirs = select(pairs, "codeblock.selection.strategies:random_items", SelectConfig(token_budget=0.2))
    ours = select(pairs, "random_items", SelectConfig(token_budget=0.2))
    assert all((a == b).all() for a, b in zip(theirs.weights, ours.weights, strict=True))
    with pytest.raises(CodeBlockError, match=r"No module named 'nowhere' on \S+; name a function as package.module:function"):
        select(pairs, "nowhere:rule")


def test_an_unknown_strategy_suggests_the_nearest():
    with pytest.raises(CodeBlockError, match="did you mean codeblock"):
        select([], "codeblok")


def test_the_core_imports_neither_ray_nor_mlflow():
    code = (
        "import sys, codeblock.segmentation, codeblock.selection, codeblock.train.loss;"
        "assert not {'ray', 'mlflow'} & set(sys.modules), 'imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


RANKED = SelectConfig(token_budget=0.1, rank_stop=True)


RANKS_STOPS = (
    *("codeblock", "codeblock_excess", "random_items", "random_tokens"),
    *("self_evolving", "token_cleaning", "top_loss_tokens"),
)


@pytest.mark.parametrize("strategy", RANKS_STOPS)
def test_a_ranked_stop_token_is_taken_or_not_like_any_other(pairs, strategy):
    selection = select(pairs, strategy, RANKED)
    assert abs(selection.supervised_tokens - selection.asked_tokens) <= 0.02 * selection.asked_tokens
    some = [weight for weight in selection.weights if weight.any()]
    assert 0 < sum(weight[-1] == 1.0 for weight in some) < len(some)


def test_stop_tokens_of_the_highest_loss_are_ranked_first(pairs):
    weights = select(pairs, "top_loss_tokens", RANKED).weights
    taken = [pair.nll[-1] for pair, weight in zip(pairs, weights, strict=True) if weight[-1]]
    left = [pair.nll[-1] for pair, weight in zip(pairs, weights, strict=True) if not weight[-1]]
    assert min(taken) >= max(left)


@pytest.mark.parametrize("aggregate", ["mean", "shrunk"])
def test_a_ranked_stop_token_is_worth_what_an_item_of_one_core_token_would_be(aggregate):
    pair = pair_of("p", np.random.default_rng(0), items=1, words=0)
    settings = SelectConfig(rank_stop=True, aggregate=aggregate, gce_q=0)
    units = units_of(pair, get_strategy("codeblock"), settings, 0)
    assert units.unit_of_token[-1] == 1
    worth = float(pair.nll[-1]) / (9 if aggregate == "shrunk" else 1)
    assert units.priority[1] == pytest.approx(worth)


def test_ranking_the_stop_token_changes_nothing_where_there_is_no_budget_or_no_stop_token_is_wanted(pairs):
    for strategy in ("full", "full_code", "core_code"):
        assert all(weight[-1] == 1.0 for weight in select(pairs, strategy, RANKED).weights)
    never = RANKED.model_copy(update={"supervise_eos": False})
    assert not any(weight[-1] for weight in select(pairs, "codeblock", never).weights)


def test_core_code_is_every_item_with_core_logic_whole(pairs):
    pair = replace(pairs[0], token_class=pairs[0].token_class.copy())
    comment = pair.token_item == 2
    pair.token_class[comment] = C
    weight = select([pair], "core_code", SelectConfig(supervise_eos=False)).weights[0]
    np.testing.assert_array_equal(weight > 0, (pair.token_item >= 0) & ~comment)


def test_core_code_of_a_pair_without_items_is_nothing():
    rng = np.random.default_rng(0)
    assert not select([pair_of("p", rng, items=0)], "core_code").weights[0].any()


def test_whole_pairs_supervises_whole_responses_and_says_that_its_inside_share_is_one(pairs):
    rule = get_strategy("whole_pairs")
    assert (rule.whole_pairs, rule.budgeted, get_strategy("codeblock").whole_pairs) == (True, False, False)
    for pair, weight in zip(pairs, select(pairs, "whole_pairs").weights, strict=True):
        np.testing.assert_array_equal(weight, pair.response.astype(np.float32))


def test_excess_loss_ranks_items_by_what_training_removes():
    pair = pair_of("p", np.random.default_rng(0), items=3, words=0)
    pair.nll[2:17] = np.repeat([3.0, 2.0, 1.0], 5)
    pair.nll_second[2:17] = np.repeat([3.0, 1.0, 0.9], 5)
    settings = SelectConfig(token_budget=0.4, supervise_eos=False, reach_weight=0, bridge_weight=0)
    np.testing.assert_array_equal(np.flatnonzero(select([pair], "codeblock", settings).weights[0]), range(2, 7))
    np.testing.assert_array_equal(np.flatnonzero(select([pair], "codeblock_excess", settings).weights[0]), range(7, 12))
