"""The stage: a selection over parts equals the library's over the same pairs, and every pair has one place."""

import numpy as np
import pyarrow as pa
import pytest

from codeblock.config import SelectConfig
from codeblock.errors import CodeBlockError
from codeblock.schema import SCORED, TokenClass
from codeblock.select import select
from codeblock.select.split import Ranked, split_pairs
from codeblock.select.stage import Request, select_parts
from codeblock.tables import parts, read_table, write_part

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
    """200 scored pairs in the order of their rank, and their ranking beside."""
    rng = np.random.default_rng(0)
    rows = [row_of(number, rng) for number in range(200)]
    tokens = [len(row["input_ids"]) - row["response_start"] for row in rows]
    ranked = {
        "id": [row["id"] for row in rows],
        "tokens": pa.array(tokens, pa.int32()),
        "rank": pa.array(range(200), pa.int32()),
    }
    write_part(tmp_path / "ranked" / "part-000000.parquet", pa.table(ranked))
    for part in range(4):
        table = pa.Table.from_pylist(rows[part * 50 : part * 50 + 50], schema=SCORED)
        write_part(tmp_path / "scored" / f"part-{part:06d}.parquet", table)
    return tmp_path / "scored"


ALL = SelectConfig(subset_ratio=1.0).shares


def request(scored, strategy, settings, **more):
    return Request(scored, scored.parent / "ranked", strategy, settings, settings.shares, **more)


def split_of(scored, shares, dev_pairs, seed):
    return split_pairs(Ranked.read(scored.parent / "ranked"), shares, ALL, dev_pairs, seed)


@pytest.mark.parametrize("scope", ["dataset", "response", "response_carry"])
@pytest.mark.parametrize("strategy", ["codeblock", "random_tokens", "full"])
def test_parts_and_library_select_the_same(scored, tmp_path, strategy, scope):
    from codeblock.select.pair import iter_pairs

    settings = SelectConfig(token_budget=0.4, subset_ratio=1.0, scope=scope)
    facts = select_parts(request(scored, strategy, settings, seed=3, split_seed=5, dev_pairs=10), tmp_path / "out")
    split = split_of(scored, ALL, 10, 5)
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
    settings = SelectConfig(token_budget=0.3, subset_ratio=1.0)
    extra = {"nll_second": tmp_path / "second"}
    facts = select_parts(request(scored, "token_cleaning", settings, dev_pairs=0, extra=extra), tmp_path / "out")
    plain = select_parts(request(scored, "top_loss_tokens", settings, dev_pairs=0), tmp_path / "plain")
    assert facts["supervised_tokens"] == plain["supervised_tokens"]
    weights = (read_table(tmp_path / name).to_pylist() for name in ("out", "plain"))
    assert all(a["weight"] == b["weight"] for a, b in zip(*weights, strict=True))


def test_a_budget_that_buys_nothing_is_an_error(scored, tmp_path):
    with pytest.raises(CodeBlockError, match="no supervised token"):
        select_parts(request(scored, "codeblock", SelectConfig(token_budget=1e-6), dev_pairs=0), tmp_path / "out")


def test_a_round_gets_its_part_of_the_budget(scored, tmp_path):
    settings = SelectConfig(token_budget=0.3, subset_ratio=1.0)
    facts = select_parts(request(scored, "random_tokens", settings, share=(1, 3)), tmp_path / "out")
    assert facts["asked_tokens"] == round(0.3 * facts["pool_tokens"] / 3)


def test_both_shares_are_met_where_the_subset_follows(scored, tmp_path):
    facts = select_parts(request(scored, "random_tokens", SelectConfig(token_budget=0.2, inside_share=0.5)), tmp_path / "out")
    assert facts["asked_share"] == 0.2
    assert facts["supervised_share"] == pytest.approx(0.2, rel=0.02)
    assert facts["inside_share"] == pytest.approx(0.5, rel=0.03)
    assert facts["subset_tokens_share"] == pytest.approx(0.4, rel=0.03)
    assert facts["asked_subset_ratio"] == 0.4
    assert facts["kept_pairs"] + facts["below_subset_ratio"] == facts["pool_pairs"]


def test_held_out_pairs_are_bought_under_the_arms_own_rule_at_its_density(scored, tmp_path):
    settings = SelectConfig(token_budget=0.2, inside_share=0.5, scope="response")
    facts = select_parts(request(scored, "codeblock", settings, dev_pairs=20), tmp_path / "out")
    assert facts["dev_pairs"] == 20
    dev = [row for row in read_table(tmp_path / "out").to_pylist() if row["split"] == "dev"]
    taken = [sum(weight == 1 for weight in row["weight"]) for row in dev]
    tokens = [sum(token_class != P for token_class in row["token_class"]) for row in dev]
    assert min(taken) > 0  # in scope `response` each response has a unit; one ranking of all would leave some without
    assert sum(taken) / sum(tokens) == pytest.approx(0.5, rel=0.1)


def test_whole_pairs_hold_the_budget_in_fewer_responses(scored, tmp_path):
    settings = SelectConfig(token_budget=0.2, inside_share=0.5)
    blocks = select_parts(request(scored, "codeblock", settings, dev_pairs=10), tmp_path / "blocks")
    whole = select_parts(request(scored, "whole_pairs", settings, dev_pairs=10), tmp_path / "whole")
    assert whole["supervised_tokens"] == pytest.approx(blocks["supervised_tokens"], rel=0.03)
    assert whole["inside_share"] == 1.0
    assert whole["kept_pairs"] < 0.6 * blocks["kept_pairs"]


def test_scores_beyond_what_is_kept_need_not_be_there_and_are_not_read(scored, tmp_path):
    settings = SelectConfig(token_budget=0.05, inside_share=0.5)
    whole = select_parts(request(scored, "codeblock", settings, dev_pairs=5), tmp_path / "whole")
    for path in parts(scored)[1:]:
        path.unlink()
    assert select_parts(request(scored, "codeblock", settings, dev_pairs=5), tmp_path / "part") == whole
    with pytest.raises(CodeBlockError, match="50 scored pairs, "):
        select_parts(request(scored, "codeblock", SelectConfig(token_budget=0.5), dev_pairs=5), tmp_path / "more")
