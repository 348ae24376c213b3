"""The accounting of rows: what was read was kept, rejected or filtered."""

import pytest

from codeblock.core.config import SelectConfig
from codeblock.core.errors import CodeBlockError
from codeblock.core.metrics import pass_at_k_interval
from codeblock.evaluate.result import GradeResult, VerdictRow
from codeblock.experiment.arms import ArmPlan
from codeblock.experiment.results import ArmResult, Comparison, pass_rates, picked_by_arm
from codeblock.sandbox.sandbox import Verdict


def comparison(**filtered):
    facts = {
        "pairs": {"read": 10, "reasons": {"duplicate": 1, "invalid_json": 1}},
        "filtered": {"reasons": {"near_duplicate": 2, "contaminated": 1}, **filtered},
        "prepared": {"kept": 4, "reasons": {"no_code": 1}},
    }
    return Comparison(None, **facts)


def test_every_stage_is_counted():
    assert comparison().accounting() == (
        "rows: 10 read = 4 kept + 1 rejected + 5 filtered "
        "(near_duplicate 2, duplicate 1, invalid_json 1, contaminated 1, no_code 1)"
    )


def test_failed_ratings_are_told():
    told = comparison(rating_asked=7, rating_failed=2).accounting()
    assert told.endswith("; 2 of 7 ratings failed, these pairs rank without one")


def test_a_lost_row_is_an_error():
    with pytest.raises(CodeBlockError, match="rows were lost: 10 read, 4 kept, 1 rejected, 3 filtered"):
        comparison(reasons={"contaminated": 1}).accounting()


def test_rates_are_told_for_as_many_samples_as_each_task_has():
    rows = [
        VerdictRow(task, sample, Verdict.PASSED if sample < passed else Verdict.EXCEPTION, 0.1, "")
        for task, passed in (("t/0", 1), ("t/1", 0))
        for sample in range(10)
    ]
    rates = pass_rates(GradeResult("tiny", rows, ["t/0", "t/1"], [], {}, [], 1.0).facts())
    assert rates == {k: pytest.approx((rate, *pass_at_k_interval([(10, 1), (10, 0)], k))) for k, rate in ((1, 0.05), (10, 0.5))}


def arm_of(name, seed=0, picked=None):
    plan = ArmPlan(name, seed, f"{name} {seed}", None if name == "base" else name, SelectConfig(), [], {}, {})
    return ArmResult(plan, picked and {"picked": picked})


PICKED = {"header": {"pool": 2, "selected": 1}}


def test_the_terminal_shows_what_ranked_items_were_picked_and_the_report_every_arm():
    names = ["full", "core_code", "random_items", "codeblock", "random_tokens"]
    arms = [arm_of("base"), *(arm_of(name, picked=PICKED) for name in names)]
    assert picked_by_arm(arms) == dict.fromkeys(names, PICKED)
    assert picked_by_arm(arms, whole_items=True) == {"random_items": PICKED, "codeblock": PICKED}


def test_what_was_picked_adds_up_over_the_seeds_of_an_arm():
    arms = [arm_of("codeblock", seed, PICKED) for seed in range(3)]
    assert picked_by_arm(arms) == {"codeblock": {"header": {"pool": 6, "selected": 3}}}


def test_the_rounds_of_an_arm_add_up_and_its_shares_are_of_all_rounds():
    def round_of(kept, supervised, selected):
        return {
            "pool_pairs": 100,
            "kept_pairs": kept,
            "below_subset_ratio": 100 - kept,
            "supervised_tokens": supervised,
            "kept_tokens": 10 * kept,
            "asked_share": 0.1,
            "supervised_share": supervised / 1000,
            "inside_share": supervised / (10 * kept),
            "asked_inside_share": 0.5,
            "items": 4,
            "warnings": [f"{kept} kept"],
            "supervised_tokens_per_pair": {"p0": kept, "p100": 40},
            "picked": {"header": {"pool": 10, "selected": selected}},
        }

    arm = arm_of("self_evolving")
    arm.add_selected(round_of(20, 100, 3))
    arm.add_selected(round_of(30, 100, 4))
    assert arm.selected == {
        "pool_pairs": 100,
        "kept_pairs": 50,
        "below_subset_ratio": 50,
        "supervised_tokens": 200,
        "kept_tokens": 500,
        "asked_share": 0.2,
        "supervised_share": 0.2,
        "inside_share": 0.4,
        "asked_inside_share": 0.5,
        "items": 8,
        "warnings": ["20 kept", "30 kept"],
        "supervised_tokens_per_pair": {"p0": 30, "p100": 40},
        "picked": {"header": {"pool": 20, "selected": 7}},
    }
