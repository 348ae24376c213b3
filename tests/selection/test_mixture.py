"""Each data set has its own budget, spent as if there were no other, and its own share of the kept pairs."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.selection.test_budget import candidates_of, cut_up
from tests.selection.test_stage import request, scored  # noqa: F401  a fixture

from codeblock.core.config import SelectConfig
from codeblock.core.errors import CodeBlockError
from codeblock.core.schema import SCORED
from codeblock.core.shares import Shares
from codeblock.core.storage.tables import parts, read_part, read_table, write_part
from codeblock.selection import select
from codeblock.selection.budget import spend
from codeblock.selection.candidates import Candidates, supervised_tokens
from codeblock.selection.mixture import budgets
from codeblock.selection.pair import iter_pairs
from codeblock.selection.selection import allocate
from codeblock.selection.split import Ranked, split_pairs
from codeblock.selection.stage import select_parts

NAMES = np.array(["a", "b", "c"], dtype=object)


def alone(candidates, members_P):
    """The candidates of some pairs, made unit by unit."""
    units = [unit for unit in range(candidates.pair.size) if members_P[candidates.pair[unit]]]
    pairs = np.flatnonzero(members_P).tolist()
    columns = {name: getattr(candidates, name)[units] for name in ("size", "priority", "tie", "text")}
    number = np.array([pairs.index(candidates.pair[unit]) for unit in units], dtype=np.int64)
    return units, Candidates(pair=number, tokens_P=candidates.tokens_P[pairs], **columns)


@given(st.integers(0, 10_000), st.integers(1, 400), st.integers(1, 4), st.sampled_from(["dataset", "response_carry"]))
@settings(max_examples=60, deadline=None)
def test_each_data_set_is_chosen_from_as_if_there_were_no_other(seed, budget, pieces, scope):
    rng = np.random.default_rng(seed)
    candidates = candidates_of(rng, 12)
    datasets = rng.choice(NAMES, size=12)
    config = SelectConfig(mixture={"a": 0.5, "b": 0.2}, scope=scope)
    wanted = np.zeros(candidates.pair.size, dtype=bool)
    for name, tokens in (("a", round(0.5 * budget)), ("b", round(0.2 * budget))):
        units, own = alone(candidates, datasets == name)
        wanted[units] = spend([lambda own=own: own], tokens, config)[0]
    units, own = alone(candidates, datasets == "c")
    wanted[units] = spend([lambda own=own: own], budget - round(0.5 * budget) - round(0.2 * budget), config)[0]
    cut = cut_up(candidates, pieces)
    ends = np.cumsum([part.tokens_P.size for part in cut])[:-1]
    loads = []
    for part, names in zip(cut, np.split(datasets, ends), strict=True):
        whole = Candidates(part.pair, part.size, part.priority, part.tie, part.text, part.tokens_P, names)
        loads.append(lambda whole=whole: whole)
    np.testing.assert_array_equal(np.concatenate(allocate(loads, budget, config, scope)), wanted)


def test_the_budgets_add_up_to_the_whole():
    assert budgets((("a", 0.5), ("b", 0.25)), 1001) == {"a": 500, "b": 250, "": 251}
    assert budgets((("a", 1.0),), 7) == {"a": 7, "": 0}


@given(st.integers(0, 10_000), st.booleans())
@settings(max_examples=60, deadline=None)
def test_each_data_set_has_its_share_of_the_kept_pairs(seed, of_pairs):
    """The best pairs of each, as many as make its share of the kept ratio of the whole pool, walked one by one."""
    rng = np.random.default_rng(seed)
    tokens, datasets = rng.integers(1, 50, size=60), rng.choice(NAMES, size=60)
    mixture = {"a": 0.6, "b": 0.1}
    ranked = Ranked.of([str(number) for number in range(60)], tokens, datasets)
    shares = Shares(0.05, 0.25, 0.2, of_pairs, tuple(mixture.items()))
    wanted = set()
    for name in NAMES:
        share, places = mixture.get(name, 0.3), np.flatnonzero(datasets == name).tolist()
        if of_pairs:
            wanted |= set(places[: max(1, round(share * 0.2 * 60))])
            continue
        held = 0
        for place in places:
            if held >= share * 0.2 * tokens.sum() * (1 - 1e-9):
                break
            wanted.add(place)
            held += tokens[place]
    split = split_pairs(ranked, shares, shares, 0, seed=0)
    assert {int(id_) for id_ in split.train} == wanted
    assert split.reach == max(wanted) + 1
    assert split.kept_tokens == sum(tokens[place] for place in wanted)


def with_datasets(scored):  # noqa: F811
    """Every fifth pair is of `rare`, the others of `plenty`, in the pairs and in their ranking."""
    for path in parts(scored):
        rows = read_part(path).to_pylist()
        for row in rows:
            row["dataset"] = "rare" if int(row["id"].removeprefix("pair")) % 5 == 0 else "plenty"
        write_part(path, pa.Table.from_pylist(rows, schema=SCORED))
    (path,) = parts(scored.parent / "ranked")
    ranked = read_part(path)
    names = ["rare" if int(id_.removeprefix("pair")) % 5 == 0 else "plenty" for id_ in ranked["id"].to_pylist()]
    write_part(path, ranked.append_column("dataset", pa.array(names)))


def supervised_by_dataset(scored, output):  # noqa: F811
    names = {row["id"]: row["dataset"] for row in read_table(scored).to_pylist()}
    found = dict.fromkeys(("rare", "plenty"), 0)
    for row in read_table(output).to_pylist():
        if row["split"] == "train":
            found[names[row["id"]]] += sum(row["selected"])
    return found


def test_a_selection_over_parts_spends_each_budget_and_equals_the_library(scored, tmp_path):  # noqa: F811
    with_datasets(scored)
    config = SelectConfig(token_budget=0.1, inside_share=0.5, mixture={"rare": 0.7, "plenty": 0.3})
    asked = request(scored, "codeblock", config, dev_pairs=10)
    facts = select_parts(asked, tmp_path / "out")
    spent = supervised_by_dataset(scored, tmp_path / "out")
    assert spent["rare"] == pytest.approx(0.7 * facts["asked_tokens"], rel=0.02)
    assert spent["plenty"] == pytest.approx(0.3 * facts["asked_tokens"], rel=0.05)
    assert not [line for line in facts["warnings"] if "mixture" in line]
    pairs = [pair for pair in iter_pairs(read_table(scored)) if pair.id in asked.split().train]
    wanted = select(pairs, "codeblock", config, pool_tokens=facts["pool_tokens"])
    assert facts["supervised_tokens"] == wanted.supervised_tokens
    rows = {row["id"]: row["weight"] for row in read_table(tmp_path / "out").to_pylist()}
    for pair, weight in zip(pairs, wanted.weights, strict=True):
        assert not weight.any() or rows[pair.id] == weight.tolist()


def test_what_a_data_set_cannot_spend_is_told_and_goes_to_no_other(scored, tmp_path):  # noqa: F811
    with_datasets(scored)
    config = SelectConfig(token_budget=0.4, inside_share=0.5, mixture={"rare": 0.9})
    facts = select_parts(request(scored, "codeblock", config, dev_pairs=0), tmp_path / "out")
    spent, asked = supervised_by_dataset(scored, tmp_path / "out"), facts["asked_tokens"]
    assert spent["plenty"] <= asked - round(0.9 * asked)
    assert next(line for line in facts["warnings"] if "mixture" in line) == (
        f"select.mixture, rare: {spent['rare']:,} of {round(0.9 * asked):,} tokens spent; its kept pairs hold no more that "
        "fits, lower its share or select.inside_share"
    )


def test_what_cannot_be_is_told():
    with pytest.raises(ValueError, match=r"mixture: the shares add up to 1\.2"):
        SelectConfig(mixture={"a": 0.6, "b": 0.6})
    ranked = Ranked.of(["x", "y"], np.array([1, 1]), np.array(["a", "a"], dtype=object))
    with pytest.raises(CodeBlockError, match=r"select\.mixture\.b: no pair is of that data set; there are a$"):
        ranked.kept(SelectConfig(mixture={"b": 0.5}).shares)


def test_without_a_mixture_nothing_looks_at_data_sets():
    assert SelectConfig().shares.mixture == ()
    candidates = candidates_of(np.random.default_rng(0), 5)
    chosen = allocate([lambda: candidates], 30, SelectConfig(), "dataset")[0]
    np.testing.assert_array_equal(chosen, spend([lambda: candidates], 30, SelectConfig())[0])
    assert supervised_tokens(candidates, chosen, True) <= 30
