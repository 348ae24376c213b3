"""The accounting of rows: what was read was kept, rejected or filtered."""

import pytest

from codeblock.errors import CodeBlockError
from codeblock.evaluate.metrics import pass_at_k_interval
from codeblock.evaluate.result import GradeResult, VerdictRow
from codeblock.results import Comparison, pass_rates
from codeblock.sandbox.box import Verdict


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
