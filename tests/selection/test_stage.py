"""The stage: a selection over parts equals the library's over the same pairs, and every pair has one place."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from codeblock.core.config import SelectConfig
from codeblock.core.errors import CodeBlockError
from codeblock.core.schema import SCORED, TokenClass
from codeblock.core.storage.tables import part_name, parts, read_part, read_table, write_part
from codeblock.selection import select
from codeblock.selection.pair import Units, iter_pairs
from codeblock.selection.request import SelectRequest
from codeblock.selection.split import Ranked, split_pairs
from codeblock.selection.stage import select_parts
from codeblock.selection.strategies import _REGISTRY, strategy
from codeblock.train.rows import read_pairs

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
    scores = {"nll": scored, **more.pop("scores", {})}
    return SelectRequest(scored, scored.parent / "ranked", strategy, settings, settings.shares, scores=scores, **more)


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


def test_a_strategy_reads_the_kinds_of_items_and_the_data_set_of_a_pair_where_it_asks_for_them(scored, tmp_path, monkeypatch):
    for path in parts(scored):
        table = read_part(path).to_pylist()
        for number, row in enumerate(table):
            row["dataset"] = "first" if number % 2 else "second"
            row["item_kind"] = ["return" if item % 2 else "comment" for item in range(len(row["item_kind"]))]
        write_part(path, pa.Table.from_pylist(table, schema=SCORED))

    monkeypatch.setattr("codeblock.selection.strategies._REGISTRY", dict(_REGISTRY))

    @strategy("returns_of_first", reads=("item_kind", "item_spans", "dataset"), whole_items=True)
    def returns_of_first(pair, settings, rng):
        """Return statements of one data set, and nothing else."""
        assert all(spans.tolist() == [0, 1] for spans in pair.item_spans)
        wanted = (pair.item_kind == "return") & (pair.dataset == "first")
        member_T = (pair.token_item >= 0) & wanted[pair.token_item]
        none = np.zeros(wanted.size)
        return Units(np.where(member_T, pair.token_item, -1).astype(np.int32), wanted.astype(float), none, none.astype(bool))

    settings = SelectConfig(token_budget=0.9, subset_ratio=1.0, nl_share=0.0)
    select_parts(request(scored, "returns_of_first", settings, dev_pairs=0), tmp_path / "out")
    rows = {row["id"]: row for row in read_table(scored).to_pylist()}
    chosen = read_table(tmp_path / "out").to_pylist()
    assert {rows[row["id"]]["dataset"] for row in chosen} == {"first"}
    for row in chosen:
        items = np.array(rows[row["id"]]["token_item"])[np.array(row["selected"])]
        assert set(items[items >= 0] % 2) == {1}


def test_columns_of_a_second_model_are_read_beside_the_scores(scored, tmp_path):

    for path in parts(scored):
        table = read_part(path)
        second = pa.array([[0.0] * len(ids) for ids in table["input_ids"].to_pylist()], pa.list_(pa.float32()))
        write_part(tmp_path / "second" / path.name, pa.table({"id": table["id"], "nll_second": second}))
    settings = SelectConfig(token_budget=0.3, subset_ratio=1.0)
    scores = {"nll_second": tmp_path / "second"}
    facts = select_parts(request(scored, "token_cleaning", settings, dev_pairs=0, scores=scores), tmp_path / "out")
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
    with pytest.raises(CodeBlockError, match="50 kept pairs, "):
        select_parts(request(scored, "codeblock", SelectConfig(token_budget=0.5), dev_pairs=5), tmp_path / "more")


def test_the_survey_does_not_depend_on_where_a_part_ends(scored, tmp_path):
    table = read_table(scored)
    write_part(tmp_path / "one" / "part-000000.parquet", table)
    settings = SelectConfig(token_budget=0.3, subset_ratio=1.0, noise_quantile=0.95, word_rank="specific")
    facts = [
        select_parts(
            SelectRequest(
                path, scored.parent / "ranked", "codeblock", settings, settings.shares, {"nll": scored}, dev_pairs=10
            ),
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


def test_with_a_background_weight_of_1_the_chosen_tokens_are_still_told_apart(scored, tmp_path):
    """By the facts, by what training counts, and in the columns; only where there is a loss differs."""
    outputs = {}
    for weight in (0.0, 1.0):
        settings = SelectConfig(token_budget=0.3, subset_ratio=1.0, background_weight=weight)
        facts = select_parts(request(scored, "codeblock", settings, dev_pairs=10), tmp_path / f"{weight}")
        pairs = {pair.id: pair for pair in read_pairs(tmp_path / f"{weight}", "train")}
        outputs[weight] = facts, pairs
    (facts, plain), (same, full) = outputs[0.0], outputs[1.0]
    assert facts == same
    assert plain.keys() == full.keys()
    for id_, pair in full.items():
        assert pair.supervised == plain[id_].supervised == plain[id_].with_loss
        np.testing.assert_array_equal(pair.selected_T, plain[id_].weight_T > 0)
        np.testing.assert_array_equal(pair.weight_T, (pair.token_class_T != P).astype(np.float32))


def drawn(pair, settings, rng):
    """A strategy of the user's own that draws."""
    return Units(
        pair.token_item,
        rng.random(pair.item_reach.size),
        rng.random(pair.item_reach.size),
        np.zeros(pair.item_reach.size, bool),
    )


@pytest.mark.parametrize("strategy", ["random_tokens", "random_items", "codeblock", f"{__name__}:drawn"])
def test_other_parts_in_another_order_select_the_same(scored, tmp_path, strategy):
    """Random numbers belong to a pair: not to its part, nor to the pairs before it."""
    settings = SelectConfig(token_budget=0.3, subset_ratio=1.0)
    select_parts(request(scored, strategy, settings, seed=7, dev_pairs=10), tmp_path / "whole")
    table = read_table(scored)
    mixed = table.take(np.random.default_rng(1).permutation(table.num_rows))
    for number, start in enumerate(range(0, 200, 23)):
        write_part(tmp_path / "kept" / part_name(number), table.slice(start, 23))
        write_part(tmp_path / "scores" / part_name(number), mixed.slice(start, 23).select(["id", "nll"]))
    other = SelectRequest(
        tmp_path / "kept", scored.parent / "ranked", strategy, settings, settings.shares, {"nll": tmp_path / "scores"}
    )
    select_parts(replace(other, seed=7, dev_pairs=10), tmp_path / "other")
    assert read_table(tmp_path / "other").equals(read_table(tmp_path / "whole"))


@pytest.mark.parametrize("strategy", ["random_tokens", "random_items", f"{__name__}:drawn"])
def test_pairs_in_another_order_draw_the_same(scored, strategy):
    pairs = list(iter_pairs(read_table(scored)))
    settings = SelectConfig(token_budget=0.3)
    plain, turned = (select(each, strategy, settings, seed=7) for each in (pairs, pairs[::-1]))
    for weight, same in zip(plain.weights, turned.weights[::-1], strict=True):
        np.testing.assert_array_equal(weight, same)
    assert any((a != b).any() for a, b in zip(plain.weights, select(pairs, strategy, settings, seed=8).weights, strict=True))
