"""The accounting of rows: what was read was kept, rejected or filtered."""

import pytest

from codeblock.errors import CodeBlockError
from codeblock.results import Comparison


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
