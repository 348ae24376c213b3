"""The stage: a selection over parts equals the library's over the same pairs, and every pair has one place."""

import numpy as np
import pyarrow as pa
import pytest

from codeblock.core.config import SelectConfig
from codeblock.core.errors import CodeBlockError
from codeblock.core.schema import SCORED, TokenClass
from codeblock.core.storage.tables import parts, read_table, write_part
from codeblock.selection import select
from codeblock.selection.pair import iter_pairs
from codeblock.selection.split import Ranked, split_pairs
from codeblock.selection.stage import SelectRequest, select_parts

P, X, C, K, S = (int(value) for value in TokenClass)


def row_of(number, rng):
    items = int(rng.integers(1, 6))
    size = 4 + 5 * items + 1
    return {
        "id": f"pair{number}",
        "messages": [],
        "response": "x = 0",
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
        "edges": [edge for user in range(1, items) for edge in (user - 1, user)],
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
    return SelectRequest(scored, scored.parent / "ranked", strategy, settings, settings.shares, **more)


def split_of(scored, shares, dev_pairs, seed):
    return split_pairs(Ranked.read(scored.parent / "ranked"), shares, ALL, dev_pairs, seed)


@pytest.mark.parametrize("scope", ["dataset", "response", "response_carry"])
@pytest.mark.parametrize(
    ("strategy", "more"),
    [
        ("codeblock", {}),
        ("random_tokens", {}),
        ("full", {}),
        ("codeblock", {"noise_quantile": 0.9, "aggregate": "shrunk", "shrink_items": 2.0}),
        ("codeblock", {"def_use_chains": True, "word_rank": "specific", "rank_stop": True, "gate": "product"}),
        ("random_tokens", {"rank_stop": True}),
    ],
)
def test_parts_and_library_select_the_same(scored, tmp_path, strategy, more, scope):
    settings = SelectConfig(token_budget=0.4, subset_ratio=1.0, scope=scope, **more)
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
    assert not (tmp_path / "out" / "candidates").exists()


def test_columns_of_a_second_model_are_read_beside_the_scores(scored, tmp_path):
    from codeblock.core.storage.tables import parts, read_part

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


def test_held_out_pairs_too_short_for_a_unit_each_do_not_end_a_run(scored, tmp_path):
    """Of these ten one unit each would take 60 tokens, and the density of the kept pairs, which have theirs, leaves 56."""
    settings = SelectConfig(token_budget=0.36, subset_ratio=1.0, scope="response")
    facts = select_parts(request(scored, "codeblock", settings, dev_pairs=10, split_seed=2), tmp_path / "out")
    assert facts["unsupervised_pairs"] == 0
    dev = [row for row in read_table(tmp_path / "out").to_pylist() if row["split"] == "dev"]
    assert len(dev) == 10
    assert 50 < sum(weight == 1 for row in dev for weight in row["weight"]) <= 56


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


def test_the_survey_does_not_depend_on_where_a_part_ends(scored, tmp_path):
    table = read_table(scored)
    write_part(tmp_path / "one" / "part-000000.parquet", table)
    settings = SelectConfig(token_budget=0.3, subset_ratio=1.0, noise_quantile=0.95, word_rank="specific")
    facts = [
        select_parts(
            SelectRequest(path, scored.parent / "ranked", "codeblock", settings, settings.shares, dev_pairs=10),
            tmp_path / f"out-{path.name}",
        )
        for path in (scored, tmp_path / "one")
    ]
    assert facts[0] == facts[1]
    assert facts[0]["noise_nll"] > 1


@pytest.mark.parametrize(("budget", "all_bought"), [(0.3, False), (1.0, True)])
def test_a_budget_that_buys_every_item_is_told(scored, tmp_path, budget, all_bought):
    settings = SelectConfig(token_budget=budget, subset_ratio=1.0)
    facts = select_parts(request(scored, "codeblock", settings, dev_pairs=10), tmp_path / "out")
    assert (facts["items_left_out"] == 0) == all_bought
    assert any("no ranking decided anything" in warning for warning in facts["warnings"]) == all_bought
    everything = select_parts(request(scored, "full_code", settings, dev_pairs=10), tmp_path / "code")
    assert not any("no ranking decided" in warning for warning in everything["warnings"])


def changed(scored, output, **settings):
    facts = select_parts(
        request(scored, "codeblock", SelectConfig(token_budget=0.3, subset_ratio=1.0, nl_share=0, **settings), dev_pairs=10),
        output,
    )
    chosen = {row["id"]: np.array(row["weight"]) for row in read_table(output).to_pylist() if row["split"] == "train"}
    items = set()
    for row in read_table(scored).to_pylist():
        if row["id"] in chosen:
            owner = np.array(row["token_item"])
            items |= {(row["id"], int(item)) for item in np.unique(owner[(chosen[row["id"]] > 0) & (owner >= 0)])}
    return facts, items


def test_the_items_that_the_rerank_changed_are_those_that_utility_alone_would_not_have_taken(scored, tmp_path):
    facts, with_structure = changed(scored, tmp_path / "with", reach_weight=2.0)
    plain, without = changed(scored, tmp_path / "without", reach_weight=0, bridge_weight=0)
    assert facts["rerank_changed_items"] == len(with_structure - without) > 0
    assert plain["rerank_changed_items"] == 0
    rows = [row for row in read_table(scored).to_pylist() if row["id"] in split_of(scored, ALL, 10, 0).train]
    reach = [value for row in rows for value in row["item_reach"]]
    assert facts["items"] == len(reach)
    assert facts["items_with_structure"] == sum(value > 0 for value in reach)


def test_what_was_picked_adds_up_to_what_was_kept_and_what_was_supervised(scored, tmp_path):
    facts = select_parts(
        request(scored, "codeblock", SelectConfig(token_budget=0.3, subset_ratio=1.0), dev_pairs=10), tmp_path / "out"
    )
    picked = dict(facts["picked"])
    poor = picked.pop("in poor pairs")
    assert sum(row["pool"] for row in picked.values()) == facts["pool_tokens"]
    assert sum(row["selected"] for row in picked.values()) == facts["supervised_tokens"]
    assert set(picked) == {"other code", "word", "stop"}
    train = split_of(scored, ALL, 10, 0).train
    rated = [row for row in read_table(scored).to_pylist() if row["id"] in train and row["quality"] is not None]
    assert poor["pool"] == sum(len(row["input_ids"]) - 2 for row in rated if row["quality"] < 2.5)
