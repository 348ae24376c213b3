"""Utility and the gated rerank follow METHOD's formulas."""

import numpy as np
import pytest

from codeblock.config import SelectConfig
from codeblock.schema import TokenClass
from codeblock.select import ScoredPair
from codeblock.select.utility import generalized_cross_entropy, item_utility, normalise, rerank


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
    np.testing.assert_allclose(item_utility(pair, 0, "mean"), [2.0, 0.0])  # item 1 has fewer than two core tokens
    np.testing.assert_allclose(item_utility(pair, 0, "sum"), [4.0, 0.0])


def test_an_item_without_scores_has_no_utility():
    pair = pair_of([TokenClass.CORE] * 2, [0, 0], [np.nan, np.nan], 1)
    assert item_utility(pair, 0.7, "mean").tolist() == [0.0]


@pytest.mark.parametrize("how", ["minmax", "rank"])
def test_normalisation_keeps_the_order_between_0_and_1(how):
    got = normalise(np.array([3.0, 1.0, 1.0, 10.0]), how)
    assert got.min() == 0
    assert got.max() == 1
    assert got[1] == got[2] < got[0] < got[3]
    assert normalise(np.array([2.0, 2.0]), how).tolist() == [0.0, 0.0]


def test_without_normalisation_utilities_of_different_responses_stay_comparable():
    settings = SelectConfig(reach_weight=0, bridge_weight=0)
    hard = rerank(np.array([0.9]), np.zeros(1), np.zeros(1), settings)
    easy = rerank(np.array([0.2, 0.1]), np.zeros(2), np.zeros(2), settings)
    assert hard[0] > easy.max()


def test_structure_lifts_only_items_of_high_utility_behind_the_hard_gate():
    utility, reach, bridge = np.array([0.0, 0.1, 0.9, 1.0]), np.array([1.0, 0.0, 1.0, 0.0]), np.zeros(4)
    hard = rerank(utility, reach, bridge, SelectConfig(gate="hard"))
    np.testing.assert_allclose(hard, [0.0, 0.1, 1.15, 1.0])
    free = rerank(utility, reach, bridge, SelectConfig(gate="none"))
    np.testing.assert_allclose(free, [0.25, 0.1, 1.15, 1.0])
    smooth = rerank(utility, reach, bridge, SelectConfig(gate="sigmoid"))
    assert hard[0] < smooth[0] < free[0]
