"""The audit of masks finds what must never be trained on, and names the pairs."""

import numpy as np
import pyarrow as pa
import pytest

from codeblock.annotate.prepare.render import Renderer
from codeblock.annotate.prepare.stage import prepare_batch
from codeblock.core.config import PrepareConfig, SelectConfig
from codeblock.core.schema import PAIRS, TokenClass
from codeblock.selection.audit import Findings, judge, undecodable

P, X, C, K, S = TokenClass
CLASSES = np.array([P, X, C, C, K, K, S], np.uint8)
ITEMS = np.array([-1, -1, 0, 0, 1, 1, -1], np.int32)


def findings_of(*weights):
    findings = Findings()
    for number, weight in enumerate(weights):
        findings.look(f"pair{number}", np.array(weight) == 1, CLASSES, ITEMS)
    return findings


def verdict_of(findings, faulty=(), asked=None, spent=0, whole_items=True, **settings):
    return judge(findings, faulty, asked, spent, whole_items, SelectConfig(**settings))


def test_a_clean_selection_has_nothing_to_say():
    verdict = verdict_of(findings_of([0, 0, 1, 1, 0, 0, 1], [0, 0, 0, 0, 1, 1, 1]), asked=6, spent=6)
    assert (verdict.failures, verdict.warnings) == ([], [])
    assert verdict.distribution["p0"] == verdict.distribution["p100"] == 3


def test_an_item_in_part_is_a_failure_where_items_are_taken_whole():
    findings = findings_of([0, 0, 1, 0, 0, 0, 1])
    assert "item supervised in part (pair0)" in verdict_of(findings).failures[0]
    assert verdict_of(findings, whole_items=False).failures == []


def test_an_unsupervised_stop_token_is_a_failure_unless_it_was_asked_for():
    findings = findings_of([0, 0, 1, 1, 0, 0, 0])
    assert "unsupervised stop token (pair0)" in verdict_of(findings).failures[0]
    assert verdict_of(findings, supervise_eos=False).warnings == ["1 pairs do not learn to stop (select.supervise_eos=false)"]
    ranked = verdict_of(findings, supervise_eos=False, rank_stop=True)
    assert "do not learn to stop (select.rank_stop=true" in ranked.warnings[0]


def test_pairs_without_a_token_and_an_unspent_budget_are_warnings():
    verdict = verdict_of(findings_of([0] * 7, [0, 0, 1, 1, 0, 0, 1]), asked=100, spent=90)
    assert "1 kept pairs without a supervised token, not trained on (pair0)" in verdict.warnings[0]
    assert verdict.warnings[1] == "90 tokens spent of 100 asked (90.0%): the strategy offers no more, or few pairs"


@pytest.fixture
def prepared(tokenizer):
    rows = [
        {
            "id": f"pair{number}",
            "messages": [{"role": "user", "content": "Add."}],
            "response": f"Here 🎉:\n\n```python\ndef f{number}(a):\n    b = a + {number}\n    return b\n```\nDone.",
            "source": "",
            "quality": None,
        }
        for number in range(3)
    ]
    table, _ = prepare_batch(pa.Table.from_pylist(rows, PAIRS), Renderer(tokenizer), PrepareConfig(max_item_tokens=4), 512)
    return table


def test_a_mask_decodes_to_its_items(prepared, tokenizer):
    rows = prepared.to_pylist()
    masks = {row["id"]: np.array(row["token_item"]) >= 0 for row in rows}
    assert list(undecodable(prepared, masks, tokenizer)) == []
    ids = [row["input_ids"] for row in rows]
    ids[1] = [*ids[1][7:], *ids[1][:7]]
    at = prepared.column_names.index("input_ids")
    shifted = prepared.set_column(at, "input_ids", pa.array(ids, pa.list_(pa.int32())))
    assert list(undecodable(shifted, masks, tokenizer)) == ["pair1"]
