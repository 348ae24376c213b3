"""The stages `tokenized` and `segmented`: what one row does wrong costs that row alone."""

import pyarrow as pa
import pytest

from codeblock.annotate.prepare import stage
from codeblock.annotate.prepare.render import Renderer
from codeblock.core.config import PrepareConfig
from codeblock.core.schema import FILTERED, PAIRS, SEGMENTED, Reason


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


def test_rows_are_taken_out_where_they_fail_and_told_in_their_order(pairs, tokenizer):
    texts = ["no code here, sorry", "```python\n" + "x = 1\n" * 200 + "```", "```python\nx =\n```"]
    rows = pairs.set_column(pairs.column_names.index("response"), "response", pa.array(texts))
    kept, rejected = stage.prepare_batch(rows, Renderer(tokenizer), PrepareConfig(), 128)
    assert kept.num_rows == 0
    told = [(row["id"], row["stage"], row["reason"]) for row in rejected.to_pylist()]
    assert told == [
        ("pair0", "segmented", "no_code"),
        ("pair1", "tokenized", "longer_than_context"),
        ("pair2", "segmented", "syntax_error"),
    ]


def test_segmentation_needs_nothing_but_what_was_tokenized(pairs, tokenizer):
    """Tokens and their characters come from the table: a change of the options renders nothing again."""
    tokenized, _ = stage.tokenize_batch(pairs, Renderer(tokenizer), 512)
    row, rendered = (
        tokenized.to_pylist()[0],
        Renderer(tokenizer)(pairs["messages"].to_pylist(), pairs["response"].to_pylist())[0],
    )
    assert row["token_start"] == rendered.starts.tolist()
    assert row["token_end"] == rendered.ends.tolist()
    small, large = (stage.segment_batch(tokenized, PrepareConfig(max_item_tokens=size))[0] for size in (1, 64))
    assert small.select(list(PAIRS.names)).equals(large.select(list(PAIRS.names)))
    assert small["input_ids"].equals(large["input_ids"])
    assert set(small.column_names) == set(SEGMENTED.names)
