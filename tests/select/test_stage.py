"""The stage: a selection over parts equals the library's over the same pairs, and every pair has one place."""

import numpy as np
import pyarrow as pa
import pytest

from codeblock.config import SelectConfig
from codeblock.errors import CodeBlockError
from codeblock.schema import SCORED, TokenClass
from codeblock.select import select
from codeblock.select.split import split_pairs
from codeblock.select.stage import Request, select_parts
from codeblock.tables import read_table, write_part

P, X, C, K, S = (int(value) for value in TokenClass)


def row_of(number, rng):
    items = int(rng.integers(1, 6))
    size = 4 + 5 * items + 1
    return {
        "id": f"pair{number}",
        "messages": [],
        "response": "",
        "source": "",
        "quality": float(number % 5) if number % 7 else None,
        "input_ids": list(range(size)),
        "response_start": 2,
        "token_class": [P, P, X, X] + [C, K, K, K, C] * items + [S],
        "token_item": [-1] * 4 + [i for i in range(items) for _ in range(5)] + [-1],
        "token_word": [-1, -1, 0, 1] + [-1] * (5 * items + 1),
        "item_kind": ["other"] * items,
        "item_spans": [[0, 1]] * items,
        "item_reach": rng.random(items).tolist(),
        "item_bridge": rng.random(items).tolist(),
        "edges": [],
        "language": "python",
        "language_from": "tag",
        "nll": [np.nan, np.nan, *rng.exponential(size=size - 2)],
    }


@pytest.fixture
def scored(tmp_path):
    rng = np.random.default_rng(0)
    rows = [row_of(number, rng) for number in range(200)]
    for part in range(4):
        table = pa.Table.from_pylist(rows[part * 50 : part * 50 + 50], schema=SCORED)
        write_part(tmp_path / "scored" / f"part-{part:06d}.parquet", table)
    return tmp_path / "scored"


@pytest.mark.parametrize("scope", ["dataset", "response", "response_carry"])
@pytest.mark.parametrize("strategy", ["codeblock", "random_tokens", "full"])
def test_parts_and_library_select_the_same(scored, tmp_path, strategy, scope):
    from codeblock.select.pair import iter_pairs

    settings = SelectConfig(token_budget=0.4, scope=scope)
    facts = select_parts(Request(scored, strategy, settings, seed=3, dev_pairs=10), tmp_path / "out")
    split = split_pairs(scored, 1.0, 10, 3)
    pairs = [pair for pair in iter_pairs(read_table(scored)) if pair.id in split.train]
    wanted = select(pairs, strategy, settings, seed=3, pool_tokens=split.pool_tokens)
    rows = {row["id"]: row for row in read_table(tmp_path / "out").to_pylist()}
    for pair, weight in zip(pairs, wanted.weights, strict=True):
        if weight.any():
            np.testing.assert_array_equal(np.array(rows[pair.id]["weight"], np.float32), weight)
        else:
            assert pair.id not in rows
    assert facts["supervised_tokens"] == wanted.supervised_tokens
    assert facts["supervised_pairs"] == wanted.supervised_pairs
    assert {id_ for id_, row in rows.items() if row["split"] == "dev"} == split.dev
    assert facts["supervised_pairs"] + facts["unsupervised_pairs"] + facts["below_subset_ratio"] + len(split.dev) == 200
    assert not (tmp_path / "out" / "offers").exists()


def test_columns_of_a_second_model_are_read_beside_the_scores(scored, tmp_path):
    from codeblock.tables import parts, read_part

    for path in parts(scored):
        table = read_part(path)
        second = pa.array([[0.0] * len(ids) for ids in table["input_ids"].to_pylist()], pa.list_(pa.float32()))
        write_part(tmp_path / "second" / path.name, pa.table({"id": table["id"], "nll_second": second}))
    settings = SelectConfig(token_budget=0.3)
    extra = {"nll_second": tmp_path / "second"}
    facts = select_parts(Request(scored, "token_cleaning", settings, 0, 0, extra), tmp_path / "out")
    plain = select_parts(Request(scored, "top_loss_tokens", settings, 0, 0), tmp_path / "plain")
    assert facts["supervised_tokens"] == plain["supervised_tokens"]
    weights = (read_table(tmp_path / name).to_pylist() for name in ("out", "plain"))
    assert all(a["weight"] == b["weight"] for a, b in zip(*weights, strict=True))


def test_a_budget_that_buys_nothing_is_an_error(scored, tmp_path):
    with pytest.raises(CodeBlockError, match="no supervised token"):
        select_parts(Request(scored, "codeblock", SelectConfig(token_budget=1e-6), 0, 0), tmp_path / "out")


def test_shares_divide_the_kept_pairs_and_the_budget(scored, tmp_path):
    whole = split_pairs(scored, 0.8, 10, 0)
    shares = [split_pairs(scored, 0.8, 10, 0, share=(number, 3)) for number in range(3)]
    assert frozenset.union(*(share.train for share in shares)) == whole.train
    assert sum(len(share.train) for share in shares) == len(whole.train)
    assert all(share.dev == whole.dev for share in shares)
    request = Request(scored, "random_tokens", SelectConfig(token_budget=0.3), share=(1, 3))
    facts = select_parts(request, tmp_path / "out")
    assert facts["asked_tokens"] == round(0.3 * facts["pool_tokens"] / 3)
