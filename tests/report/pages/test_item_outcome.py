"""The reason of an item: whole items, best first, one that does not fit is skipped."""

import pytest

from codeblock.report.pages.item_outcome import Bid, Cut, PairStatus, ranked_outcome, unranked_outcome
from codeblock.report.pages.sample import ItemView

ITEM = ItemView("call", [(0, 9)], tokens=12, core=5, reach=0.0, bridge=0.0)
BARE = ItemView("import", [(0, 9)], tokens=12, core=1, reach=0.0, bridge=0.0)
SPENT = Cut(0.7, 0, "over all pairs")
BELOW = "Below the cut: priority 0.700"
NO_ROOM = "Does not fit: it needs 12 tokens, more than was left of the budget at its turn."
FEW_CORE = "Fewer than 2 core tokens (1), so its utility is 0."


@pytest.mark.parametrize(
    ("item", "supervised", "priority", "cut", "reason"),
    [
        (ITEM, 12, 0.8, SPENT, "Kept: the budget reached down to priority 0.700 over all pairs."),
        (ITEM, 0, 0.8, SPENT, NO_ROOM),
        (ITEM, 0, 0.6, SPENT, "Below the cut: the budget was spent at priority 0.700 over all pairs."),
        (ITEM, 0, 0.6, Cut(0.7, 3, "over all pairs"), f"{BELOW} over all pairs; it needs 12 tokens, the budget had 3 left."),
        (ITEM, 0, 0.6, Cut(0.7, None, "in this response"), f"{BELOW} in this response."),
        (ITEM, 0, 0.6, Cut(None, None, "in this response"), NO_ROOM),
        (BARE, 0, 0.0, Cut(0.7, None, "in this response"), f"{FEW_CORE} {BELOW} in this response."),
    ],
)
def test_a_ranked_item_was_kept_did_not_fit_or_came_below_the_cut(
    item: ItemView, supervised: int, priority: float, cut: Cut, reason: str
) -> None:
    outcome = ranked_outcome(item, supervised, Bid(0.5, priority, 0, 2), PairStatus.TRAIN, cut)
    assert (outcome.reason, outcome.utility, outcome.priority) == (reason, 0.5, priority)


def test_the_first_item_of_a_pair_would_have_bought_the_stop_token_too() -> None:
    outcome = ranked_outcome(ITEM, 0, Bid(0.5, 0.8, 1, 2), PairStatus.EMPTY, SPENT)
    assert outcome.reason.startswith("Does not fit: it needs 13 tokens, the stop token included,")


def test_a_pair_outside_the_subset_and_an_item_without_tokens_come_before_any_ranking() -> None:
    nothing = ItemView("call", [(0, 0)], tokens=0, core=0, reach=0.0, bridge=0.0)
    for outcome in (
        ranked_outcome(ITEM, 0, Bid(0.5, 0.8, 0, 2), PairStatus.OUTSIDE, SPENT),
        unranked_outcome(ITEM, 0, "full", PairStatus.OUTSIDE, budgeted=False),
    ):
        assert outcome.reason == "Not in the subset: the pair ranks below select.subset_ratio by quality."
    assert ranked_outcome(nothing, 0, Bid(0.0, 0.8, 0, 2), PairStatus.TRAIN, SPENT).reason == "Dropped: no token falls on it."


def test_other_strategies_show_what_they_have() -> None:
    reasons = [unranked_outcome(ITEM, count, "random_tokens", PairStatus.TRAIN, budgeted=True) for count in (0, 5, 12)]
    assert [outcome.reason for outcome in reasons] == [
        "Budget spent: random_tokens picked none of its 12 tokens.",
        "In part: random_tokens picked 5 of its 12 tokens.",
        "Kept: random_tokens picked every token of it.",
    ]
    assert reasons[0].priority is None
    assert unranked_outcome(ITEM, 12, "full", PairStatus.TRAIN, budgeted=False).reason == "Kept: full takes every token it may."
