"""The stage `prepared`: what one row does wrong costs that row alone."""

import pyarrow as pa
import pytest

from codeblock.annotate.prepare import stage
from codeblock.annotate.prepare.render import Renderer
from codeblock.core.config import PrepareConfig
from codeblock.core.schema import FILTERED, PAIRS, Reason


@pytest.fixture
def pairs():
    rows = [
        {
            "id": f"pair{number}",
            "messages": [{"role": "user", "content": "Set it."}],
            "response": f"```python\nx = {number}\nprint(x)\n```",
            "source": f"row {number}",
            "quality": None,
        }
        for number in range(3)
    ]
    return pa.Table.from_pylist(rows, schema=PAIRS)


def test_a_grammar_that_fails_on_one_row_costs_that_row(pairs, tokenizer, monkeypatch):
    real = stage.segment_response

    def fails_on_one(response, **settings):
        if "x = 1" in response:
            raise RecursionError("maximum recursion depth exceeded\nmore")
        return real(response, **settings)

    monkeypatch.setattr(stage, "segment_response", fails_on_one)
    kept, rejected = stage.prepare_batch(pairs, Renderer(tokenizer), PrepareConfig(), 512)
    assert kept["id"].to_pylist() == ["pair0", "pair2"]
    row = rejected.to_pylist()[0]
    assert (row["id"], row["source"], row["reason"]) == ("pair1", "row 1", "segmentation_error")
    assert row["detail"] == "RecursionError: maximum recursion depth exceeded"
    assert Reason.SEGMENTATION_ERROR not in FILTERED


def test_how_the_language_was_found_is_recorded(pairs, tokenizer):
    kept, _ = stage.prepare_batch(pairs, Renderer(tokenizer), PrepareConfig(), 512)
    assert set(kept["language"].to_pylist()) == {"python"}
    assert set(kept["language_from"].to_pylist()) == {"tag"}
