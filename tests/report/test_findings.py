"""The sentences below the table of arms, word by word."""

from __future__ import annotations

from codeblock.core.metrics import PairedComparison, PairedMeans
from codeblock.report.differences import Differences, NllDifferences
from codeblock.report.findings import findings, summary_sentence

ONE_SEED = "one seed, which says nothing about what another would give"


def against(difference: float, low: float, high: float, p_value: float) -> PairedComparison:
    """The other arm less the one that is spoken of, as `differences` gives it."""
    ends = (0.0, 1.0)
    return PairedComparison(600, 0, 0.5, ends, 0.5 + difference, ends, difference, (low, high), 1, 2, p_value, "exact McNemar")


def nll(difference: float, low: float | None, high: float | None, p_value: float | None, tasks: int = 164) -> PairedMeans:
    return PairedMeans(tasks, 0, 1.0, 1.0 + difference, difference, low, high, p_value)


FULL = against(-0.01, -0.04, 0.02, 0.5)


def test_one_control_without_a_difference() -> None:
    found = Differences("humaneval", "codeblock", {"full": FULL}, 0)
    assert findings([found]) == [
        "codeblock, humaneval pass@1 over 600 tasks: no difference shown against full (+0.010 [-0.020, +0.040])",
        "(the arm's less the other's, with 95% intervals over tasks; paired tests at 5%; no difference shown is not none; "
        + ONE_SEED
        + ")",
    ]


def test_controls_are_grouped_by_the_outcome() -> None:
    arms = {
        "base": against(-0.1, -0.15, -0.05, 0.001),
        "full": FULL,
        "whole_pairs": against(0.05, 0.01, 0.09, 0.01),
        "random_items": against(-0.2, -0.3, -0.1, 1e-9),
    }
    found = Differences("tiny", "codeblock", arms, 0)
    assert summary_sentence(found) == (
        "codeblock, tiny pass@1 over 600 tasks: "
        "better than base (+0.100 [+0.050, +0.150]), random_items (+0.200 [+0.100, +0.300]); "
        "worse than whole_pairs (-0.050 [-0.090, -0.010]); "
        "no difference shown against full (+0.010 [-0.020, +0.040])"
    )
    assert "paired tests at 5%, 4 comparisons, not corrected for their number; " in findings([found])[-1]


def test_a_difference_needs_the_test_and_the_interval() -> None:
    arms = {"test": against(-0.1, -0.2, 0.0, 0.04), "interval": against(-0.1, -0.2, -0.001, 0.06)}
    assert summary_sentence(Differences("tiny", "codeblock", arms, 0)).endswith(
        "tasks: no difference shown against test (+0.100 [+0.000, +0.200]), interval (+0.100 [+0.001, +0.200])"
    )


def test_seeds_show_their_spread_and_what_the_interval_leaves_out() -> None:
    found = Differences("tiny", "codeblock", {"full": FULL}, 0, {"full": (-0.04, 0.02, -0.01)})
    sentence, reach = findings([found])
    assert sentence.endswith("no difference shown against full (+0.010 [-0.020, +0.040], seeds -0.020 to +0.040)")
    assert reach.endswith(
        "the 3 seeds are averaged within a task, so the intervals are of tasks and do not hold the spread of seeds)"
    )


def test_of_the_reference_nll_less_is_better() -> None:
    arms = {"untrained": nll(0.2, 0.1, 0.3, 1e-6), "full": nll(-0.05, -0.06, -0.04, 1e-6), "one": nll(0.1, None, None, None, 1)}
    assert summary_sentence(NllDifferences("mbpp", "codeblock", arms)) == (
        "codeblock, mbpp reference nll (less is better) over 1 to 164 tasks: "
        "better than untrained (-0.2000 [-0.3000, -0.1000]); "
        "worse than full (+0.0500 [+0.0400, +0.0600]); "
        "no difference shown against one (-0.1000)"
    )


def test_no_difference_at_all_has_no_minus_sign() -> None:
    assert summary_sentence(Differences("tiny", "codeblock", {"full": against(0.0, -0.01, 0.0, 1.0)}, 0)).endswith(
        "(+0.000 [+0.000, +0.010])"
    )


def test_nothing_to_compare_is_no_sentence() -> None:
    assert findings([]) == []
    assert findings([Differences("tiny", "codeblock", {}, 0)]) == []
