"""What a page shows, as data: a scored row becomes a sample, masks become counts, and what does not fit is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from codeblock.core.schema import SCORED
from codeblock.report.pages.sample import (
    ArmView,
    ItemOutcome,
    ItemView,
    SampleView,
    check,
    counts,
    levels,
    sample_from_row,
    state,
)


def test_a_scored_row_becomes_a_sample() -> None:
    row = {
        "id": "r1",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Add."}],
        "response": "a = 1\nb = a",
        "source": "x",
        "quality": None,
        "input_ids": [9, 9, 1, 2, 3, 4, 0],
        "response_start": 2,
        "token_class": [0, 0, 3, 2, 3, 3, 4],
        "token_item": [-1, -1, 0, 0, 1, 1, -1],
        "token_word": [-1] * 7,
        "item_kind": ["definition", "definition"],
        "item_spans": [[0, 5], [6, 11]],
        "item_reach": [1.0, 0.0],
        "item_bridge": [0.0, 0.0],
        "edges": [0, 1],
        "language": "python",
        "language_from": "tag",
        "dataset": "pairs",
        "tools": None,
        "nll": [math.nan, math.nan, 1.0, 0.5, 0.25, 0.125, 0.0],
    }
    assert set(row) == set(SCORED.names)
    outcomes = [ItemOutcome(2, "Kept.", 0.5, 1.0), ItemOutcome(1, "In part.")]
    arm = ArmView("blocks", "codeblock", "trained on", [1.0, 1.0, 1.0, 0.1, 1.0], [True, True, True, False, True], outcomes)
    spans = [(0, 3), (3, 6), (6, 9), (9, 11), (11, 11)]
    sample = sample_from_row(row, spans, [arm], title="t")
    check(sample)
    assert sample.prompt == "system:\nBe brief.\n\nuser:\nAdd."
    assert [(item.tokens, item.core, item.spans) for item in sample.items] == [(2, 1, [(0, 5)]), (2, 2, [(6, 11)])]
    assert [state(item, outcome) for item, outcome in zip(sample.items, outcomes, strict=True)] == ["kept", "partly"]
    assert sample.edges == [(0, 1)]
    assert list(sample.token_nll) == [1.0, 0.5, 0.25, 0.125, 0.0]
    found = counts(sample, arm)
    assert (found.tokens, found.supervised, found.background, found.kept, found.partly) == (5, 4, 1, 1, 1)
    assert found.stop
    assert found.share == 0.8


def test_supervised_background_and_context_tokens_differ() -> None:
    assert levels(ArmView("a", "codeblock", "", [1.0, 0.1, 0.0], [True, False, False], [])) == ["on", "faint", ""]
    assert levels(ArmView("a", "codeblock", "", [1.0, 1.0], [True, False], [])) == ["on", "faint"]


def test_an_item_without_a_token_is_not_kept() -> None:
    assert state(ItemView("call", [(0, 0)], 0, 0, 0.0, 0.0), ItemOutcome(0, "")) == "dropped"


def test_what_does_not_fit_together_is_refused_with_the_name_of_the_sample(sample: SampleView) -> None:
    check(sample)
    arm = sample.arms[0]
    outside = replace(sample.items[0], spans=[(0, 10_000)])
    wrong = {
        "token lists of different lengths": {"token_nll": [0.0]},
        "arm blocks has 0 outcomes for 4 items": {"arms": [replace(arm, outcomes=[])]},
        r"item \(0, 10000\) lies outside the response": {"items": [outside, *sample.items[1:]]},
        r"edge \(0, 4\) names an item that is not there": {"edges": [(0, 4)]},
        "no arm to show": {"arms": []},
    }
    for message, change in wrong.items():
        with pytest.raises(ValueError, match=f"sample abc123: {message}"):
            check(replace(sample, **change))
