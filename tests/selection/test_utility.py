"""Utility and the gated rerank follow METHOD's formulas."""

from dataclasses import replace

import numpy as np
import pytest

from codeblock.core.config import SelectConfig
from codeblock.core.schema import TokenClass
from codeblock.selection import ScoredPair
from codeblock.selection.pair import PoolStatistics
from codeblock.selection.utility import generalized_cross_entropy, item_utility, normalise, rerank


def pair_of(classes, items, nll, count):
    return ScoredPair.from_columns(
        {
            "id": "p",
            "token_class": classes,
            "token_item": items,
            "token_word": [-1] * len(items),
            "item_reach": np.zeros(count),
            "item_bridge": np.zeros(count),
            "nll": nll,
        }
    )


def test_gce_is_the_formula_and_ends_in_cross_entropy():
    nll = np.array([0.0, 0.5, 3.0], dtype=np.float32)
    np.testing.assert_allclose(generalized_cross_entropy(nll, 0.7), (1 - np.exp(-nll) ** 0.7) / 0.7, rtol=1e-6)
    np.testing.assert_allclose(generalized_cross_entropy(nll, 0), nll)
    np.testing.assert_allclose(generalized_cross_entropy(nll, 1e-6), nll, rtol=1e-4)


def test_utility_is_the_mean_over_core_tokens_alone():
    core, code = TokenClass.CORE, TokenClass.CODE
    pair = pair_of([core, core, code, core], [0, 0, 0, 1], [1.0, 3.0, 99.0, 5.0], 2)
    np.testing.assert_allclose(item_utility(pair, SelectConfig(gce_q=0)), [2.0, 0.0])  # item 1 has fewer than two core tokens
    np.testing.assert_allclose(item_utility(pair, SelectConfig(gce_q=0, aggregate="sum")), [4.0, 0.0])


def test_an_item_without_scores_has_no_utility():
    pair = pair_of([TokenClass.CORE] * 2, [0, 0], [np.nan, np.nan], 1)
    assert item_utility(pair, SelectConfig()).tolist() == [0.0]


@pytest.mark.parametrize("how", ["minmax", "rank"])
def test_normalisation_keeps_the_order_between_0_and_1(how):
    got = normalise(np.array([3.0, 1.0, 1.0, 10.0]), how)
    assert got.min() == 0
    assert got.max() == 1
    assert got[1] == got[2] < got[0] < got[3]
    assert normalise(np.array([2.0, 2.0]), how).tolist() == [0.0, 0.0]


def structured(reach, bridge=None):
    """A pair of items whose structure is given; its tokens do not matter here."""
    pair = pair_of([], [], [], len(reach))
    bridge = np.zeros(len(reach)) if bridge is None else np.array(bridge)
    return replace(pair, item_reach=np.array(reach), item_bridge=bridge)


def test_without_normalisation_utilities_of_different_responses_stay_comparable():
    settings = SelectConfig(reach_weight=0, bridge_weight=0)
    hard = rerank(np.array([0.9]), structured([0]), settings)
    easy = rerank(np.array([0.2, 0.1]), structured([0, 0]), settings)
    assert hard[0] > easy.max()


UTILITY = np.array([0.0, 0.1, 0.9, 1.0])
REACH = [1.0, 0.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("gate", "priority"),
    [
        ("hard", [0.0, 0.1, 1.15, 1.0]),  # from the median of the response on, 0.5
        ("none", [0.25, 0.1, 1.15, 1.0]),
        ("product", [0.0, 0.1, 0.9 * 1.25, 1.0]),
    ],
)
def test_a_gate_says_which_items_structure_lifts(gate, priority):
    np.testing.assert_allclose(rerank(UTILITY, structured(REACH), SelectConfig(gate=gate)), priority)


def test_in_proportion_to_utility_a_mastered_item_is_not_lifted_over_one_that_is_not():
    mastered, hard = np.array([0.01, 0.005]), np.array([0.1])
    settings = SelectConfig(gate="product")
    assert rerank(mastered, structured([1.0, 1.0]), settings).max() < rerank(hard, structured([0.0]), settings)[0]
    by_response = SelectConfig(gate="hard")
    assert rerank(mastered, structured([1.0, 1.0]), by_response).max() > rerank(hard, structured([0.0]), by_response)[0]


def test_structure_of_a_small_response_is_shrunk():
    settings = SelectConfig(gate="none", shrink_items=8)
    three, nine = np.zeros(3), np.zeros(9)
    assert rerank(three, structured([1.0, 0, 0]), settings)[0] == pytest.approx(0.25 * 2 / 10)
    assert rerank(nine, structured([1.0] + [0] * 8), settings)[0] == pytest.approx(0.25 * 8 / 16)
    assert rerank(np.zeros(1), structured([0.0]), settings).tolist() == [0.0]


def test_a_mean_over_few_tokens_is_shrunk():
    core = TokenClass.CORE
    pair = pair_of([core] * 10, [0, 0] + [1] * 8, [2.0] * 10, 2)
    settings = SelectConfig(gce_q=0, aggregate="shrunk", shrink_tokens=8)
    np.testing.assert_allclose(item_utility(pair, settings), [2.0 * 2 / 10, 2.0 * 8 / 16])
    np.testing.assert_allclose(item_utility(pair, settings.model_copy(update={"shrink_tokens": 0})), [2.0, 2.0])


def test_a_token_above_the_noise_counts_as_a_token_worth_nothing():
    core = TokenClass.CORE
    pair = replace(pair_of([core] * 4, [0, 0, 1, 1], [1.0, 9.0, 1.0, 4.0], 2), pool=PoolStatistics(noise_nll=5.0))
    np.testing.assert_allclose(item_utility(pair, SelectConfig(gce_q=0)), [0.5, 2.5])


def test_excess_utility_is_what_a_trained_model_has_learned():
    core = TokenClass.CORE
    pair = replace(pair_of([core] * 4, [0, 0, 1, 1], [2.0, 2.0, 9.0, 9.0], 2), nll_second=np.array([1.0, 0.0, 9.0, 9.0]))
    np.testing.assert_allclose(item_utility(pair, SelectConfig(gce_q=0), excess=True), [1.5, 0.0])
    gce = generalized_cross_entropy(np.array([2.0, 1.0, 0.0]), 0.7)
    wanted = [gce[0] - (gce[1] + gce[2]) / 2, 0.0]
    np.testing.assert_allclose(item_utility(pair, SelectConfig(), excess=True), wanted)
