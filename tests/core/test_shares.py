"""The two knobs and the third that follows: `token_budget = inside_share * subset_ratio`."""

import numpy as np
import pytest

from codeblock.core.config import SelectConfig
from codeblock.core.config.file import load_config
from codeblock.core.errors import CodeBlockError
from codeblock.core.shares import Shares


@pytest.mark.parametrize(
    ("given", "budget", "inside", "subset", "of_pairs"),
    [
        ((None, None, None), 0.019, 0.57, 0.019 / 0.57, False),
        ((0.1, None, None), 0.1, 0.57, 0.1 / 0.57, False),
        ((0.8, None, None), 0.8, 0.8, 1.0, False),  # more than 57% of the pool: all pairs, so many inside
        ((None, 0.3, None), 0.019, 0.3, 0.019 / 0.3, False),
        ((None, None, 0.5), 0.285, 0.57, 0.5, True),  # the regime stays, the budget follows
        ((0.15, None, 0.8), 0.15, 0.1875, 0.8, True),
        ((None, 0.4, 0.5), 0.2, 0.4, 0.5, True),
        ((0.2, 0.4, 0.5), 0.2, 0.4, 0.5, True),
    ],
)
def test_what_is_not_given_follows(given, budget, inside, subset, of_pairs):
    shares = Shares.of(*given)
    assert (shares.token_budget, shares.inside_share) == pytest.approx((budget, inside))
    assert shares.subset_ratio == pytest.approx(subset)
    assert shares.of_pairs == of_pairs


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("select={token_budget: 0.2, inside_share: 0.5, subset_ratio: 0.5}", "0.5 x 0.5 = 0.25; leave one of them out"),
        ("select={token_budget: 0.5, inside_share: 0.4}", "cannot be spent at inside_share=0.4"),
        ("select={token_budget: 0.5, subset_ratio: 0.4}", "cannot be spent in subset_ratio=0.4"),
        ("arms.codeblock.select={token_budget: 0.5, subset_ratio: 0.4}", "arms.codeblock.select"),
    ],
)
def test_shares_that_contradict_each_other_are_one_line(override, says):
    with pytest.raises(CodeBlockError) as error:
        load_config(None, [override])
    assert says in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_an_arm_changes_one_share_and_the_others_follow():
    config = load_config(None, ["select.token_budget=0.1", "arms.codeblock.select.inside_share=0.25"])
    assert config.settings_of("codeblock").shares == Shares(0.1, 0.25, 0.4, False)
    assert config.settings_of("full").shares.subset_ratio == pytest.approx(0.1 / 0.57)


def test_the_fewest_pairs_that_hold_the_tokens_are_kept():
    tokens_N = np.array([10, 30, 10, 50])
    assert [Shares(0.1, 1 / 2, ratio, False).kept(tokens_N) for ratio in (0.1, 0.11, 0.4, 0.41, 1.0)] == [1, 2, 2, 3, 4]
    assert [Shares(0.1, 1 / 2, ratio, True).kept(tokens_N) for ratio in (0.01, 0.25, 0.5, 1.0)] == [1, 1, 2, 4]


def test_whole_pairs_come_as_near_to_the_budget_as_pairs_can():
    tokens_N = np.array([10, 30, 10, 50])
    assert [SelectConfig(token_budget=budget).shares.whole().kept(tokens_N) for budget in (0.05, 0.2, 0.3, 0.46)] == [
        1,
        1,
        2,
        3,
    ]
