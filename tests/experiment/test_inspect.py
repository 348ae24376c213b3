"""`codeblock inspect` over real tables: prepared, scored and selected by the stages' own functions, without a cluster."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from codeblock.annotate.prepare.render import Renderer
from codeblock.annotate.prepare.stage import prepare_batch
from codeblock.cli.commands import main
from codeblock.core.config import Config, PrepareConfig
from codeblock.core.config.file import load_config
from codeblock.core.errors import CodeBlockError
from codeblock.core.schema import PAIRS, SCORED
from codeblock.core.storage.tables import mark_complete, part_name, read_table, write_part
from codeblock.experiment.cache import Step, check_storage
from codeblock.experiment.inspect import write_samples
from codeblock.experiment.plan import Plan, make_plan
from codeblock.selection.stage import select_parts

CODE = """Here it is:

```python
import math
def area_{n}(radius, unit):
    squared = radius * radius + {n}
    total = math.pi * squared
    return total, unit
```
"""
ARMS = {
    "base": {},
    "full": {"strategy": "full"},
    "codeblock": {"strategy": "codeblock"},
    "each": {"strategy": "codeblock", "select": {"scope": "response", "token_budget": 0.3}},
    "drawn": {"strategy": "random_tokens", "select": {"subset_ratio": 0.5}},
    "items": {"strategy": "random_items"},
    "chains": {"strategy": "codeblock", "select": {"def_use_chains": True, "noise_quantile": 0.9, "gate": "product"}},
    "later": {"strategy": "codeblock", "select": {"token_budget": 0.01}},
}


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory, small_model: Path, tokenizer: Any) -> Plan:
    """A finished selection of 60 pairs in two parts; the arm `later` has not run."""
    home = tmp_path_factory.mktemp("inspect")
    rows = [{"instruction": f"Area {n}.", "output": CODE.format(n=n)} for n in range(60)]
    (home / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {
        "name": "small",
        "storage": home / "runs",
        "pairs": {"path": str(home / "pairs.jsonl")},
        "model": {"path": str(small_model), "max_length": 256},
        "prepare": {"max_item_tokens": 24},
        "select": {"token_budget": 0.15, "subset_ratio": 1.0},
        "arms": ARMS,
        "train": {"steps": 1, "dev_pairs": 5},
        "evaluate": {"benchmarks": {}},
    }
    config = Config.model_validate(settings)
    (home / "config.yaml").write_text(json.dumps(config.model_dump(mode="json", exclude_unset=True), default=str))
    plan = make_plan(config, check_storage(config.storage))
    table = scored(rows, tokenizer, config.prepare)
    for step in (plan.pairs, plan.filtered, plan.tokenized, plan.segmented):  # what they hold is in `kept`
        if step is not None:
            finish(step, [])
    response = pc.subtract(pc.list_value_length(table["input_ids"]), table["response_start"])
    ranked = {"id": table["id"], "tokens": response, "rank": pa.array(range(60), pa.int32())}
    halves = [table.slice(30 * part, 30) for part in range(2)]
    finish(plan.ranked, [pa.table(ranked)])
    finish(plan.kept, [half.drop_columns(["nll"]) for half in halves])
    finish(plan.scored, [half.select(["id", "nll"]) for half in reversed(halves)])
    for arm in plan.arms:
        if arm.selected is not None and arm.strategy is not None and arm.name != "later":
            arm.selected.run(partial(select_parts, plan.selection(arm)))
    return plan


def finish(step: Step, tables: list[pa.Table]) -> None:
    """Write a step's parts; what comes behind it is named by them."""
    step.directory.mkdir(parents=True)
    for number, table in enumerate(tables):
        write_part(step.directory / part_name(number), table)
    mark_complete(step.directory, {"identity": step.identity, "facts": {"kept": 60}})


def scored(rows: list[dict[str, str]], tokenizer: Any, config: PrepareConfig) -> pa.Table:
    """Prepared pairs with a seeded nll."""
    turns = [[{"role": "user", "content": row["instruction"]}] for row in rows]
    pairs = [
        {"id": f"p{n:02}", "messages": turns[n], "response": row["output"], "source": f"x:{n}"} for n, row in enumerate(rows)
    ]
    prepared, rejected = prepare_batch(pa.Table.from_pylist(pairs, schema=PAIRS), Renderer(tokenizer), config, 256)
    assert rejected.num_rows == 0
    rng = np.random.default_rng(0)
    nll = [
        [np.nan] * start + rng.exponential(size=len(ids) - start).tolist()
        for ids, start in zip(prepared["input_ids"].to_pylist(), prepared["response_start"].to_pylist(), strict=True)
    ]
    return prepared.append_column("nll", pa.array(nll, SCORED.field("nll").type))


@pytest.fixture(scope="module")
def seeded(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The config of `plan` with two seeds of three arms: of `codeblock` they share a selection, of `items` each has its own."""
    settings = {**plan.config.model_dump(mode="json", exclude_unset=True), "seeds": [0, 1]}
    settings["arms"] = {name: ARMS[name] for name in ("base", "codeblock", "items", "later")}
    path = tmp_path_factory.mktemp("seeded") / "config.yaml"
    path.write_text(json.dumps(settings, default=str))
    seeds = plan_of(path)
    for arm in seeds.arms:
        if arm.selected is not None and arm.selected.facts is None and arm.arm != "later":
            arm.selected.run(partial(select_parts, seeds.selection(arm)))
    return path


def plan_of(path: Path) -> Plan:
    config = load_config(path, [])
    return make_plan(config, check_storage(config.storage))


def page_data(path: Path) -> dict[str, Any]:
    """What the page's script is given."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text(), re.DOTALL)
    assert found
    return dict(json.loads(found[1]))


def selection(plan: Plan, arm: str) -> dict[str, dict[str, Any]]:
    step = next(each.selected for each in plan.arms if each.name == arm)
    assert step is not None
    return {row["id"]: row for row in read_table(step.directory).to_pylist()}


def test_a_page_shows_every_finished_arm_with_the_masks_of_its_table(plan: Plan, tmp_path: Path) -> None:
    paths = write_samples(plan, "codeblock", tmp_path, count=3)
    assert paths[0].name == "index.html"
    assert len(paths) == 4
    for path in paths[1:]:
        data = page_data(path)
        assert [arm["name"] for arm in data["arms"]] == ["codeblock", "full", "each", "drawn", "items", "chains"]
        for arm in data["arms"]:
            row = selection(plan, arm["name"]).get(path.stem)
            mask = (
                [] if row is None else [weight for weight, kind in zip(row["weight"], row["token_class"], strict=True) if kind]
            )
            assert [level == "2" for level in arm["levels"]] == ([w > 0 for w in mask] or [False] * len(arm["levels"]))


def test_the_draw_is_seeded_and_takes_pairs_that_the_arm_trains_on(plan: Plan, tmp_path: Path) -> None:
    first, again, other = (
        [path.stem for path in write_samples(plan, "codeblock", tmp_path / str(n), count=4, seed=seed)[1:]]
        for n, seed in enumerate((0, 0, 1))
    )
    assert first == again != other
    rows = selection(plan, "codeblock")
    assert all(rows[id_]["split"] == "train" for id_ in first + other)


@pytest.mark.parametrize("arm", ["codeblock", "chains"])
def test_the_reason_of_every_item_agrees_with_the_ranking_over_all_pairs(plan: Plan, tmp_path: Path, arm: str) -> None:
    """The claim of each reason, against the priorities and masks of all pairs together."""
    ids = [f"p{n:02}" for n in range(60)]
    paths = write_samples(plan, arm, tmp_path, ids)[1:]
    rows = selection(plan, arm)
    train = [
        (path.stem, *outcome) for path in paths for outcome in outcomes(path) if rows.get(path.stem, {}).get("split") != "dev"
    ]
    cut = min(priority for _, state, _, _, priority, _ in train if state == "kept")
    seen = set()
    for _, state, supervised, _, priority, reason in train:
        if state == "kept":
            told = re.fullmatch(r"Kept: the budget reached down to priority ([0-9.]+) over all pairs\.", reason)
            assert told
            assert float(told[1]) == pytest.approx(cut, abs=1e-3)
        elif reason.startswith("Does not fit"):
            assert priority > cut - 1e-4
        else:
            assert "Below the cut" in reason
            assert priority <= cut + 1e-4
        assert (supervised > 0) == (state == "kept")
        seen.add(re.split(r"[ :]", reason)[0])
    assert {"Kept", "Below"} <= seen
    assert any("Fewer than 2 core tokens" in reason for *_, reason in train)
    held = [path for path in paths if rows.get(path.stem, {}).get("split") == "dev"]
    assert len(held) == 5
    assert all("held out for dev" in path.read_text() for path in held)


def outcomes(path: Path, arm: int = 0) -> list[tuple[str, int, float, float, str]]:
    shown = page_data(path)["arms"][arm]
    return [(*outcome[:4], shown["reasons"][outcome[4]]) for outcome in shown["outcomes"]]


def test_a_budget_inside_each_response_has_a_cut_of_its_own(plan: Plan, tmp_path: Path) -> None:
    rows = selection(plan, "each")
    train = sorted(id_ for id_, row in rows.items() if row["split"] == "train")
    for path in write_samples(plan, "each", tmp_path, train[:5])[1:]:
        found = outcomes(path)
        cut = min(priority for state, _, _, priority, _ in found if state == "kept")
        for state, _, _, priority, reason in found:
            assert "in this response" in reason or reason.startswith("Does not fit"), reason
            if state == "kept":
                assert priority >= cut


def test_every_strategy_that_ranks_whole_items_shows_their_priorities(plan: Plan, tmp_path: Path) -> None:
    paths = write_samples(plan, "items", tmp_path, [f"p{n:02}" for n in range(60)])[1:]
    rows = selection(plan, "items")
    train = [outcome for path in paths for outcome in outcomes(path) if rows.get(path.stem, {}).get("split") != "dev"]
    kept = [priority for state, _, _, priority, _ in train if state == "kept"]
    dropped = [priority for state, _, _, priority, reason in train if reason.startswith("Below the cut")]
    assert min(kept) >= max(dropped) > 0
    assert len(set(kept)) == len(kept)
    assert not any("core tokens" in reason for *_, reason in train)


def test_a_pair_outside_the_subset_says_so(plan: Plan, tmp_path: Path) -> None:
    outside = sorted({f"p{n:02}" for n in range(60)}.difference(selection(plan, "drawn")))
    path = write_samples(plan, "drawn", tmp_path, outside[:1])[1]
    assert "drawn</b> (random_tokens), not in the subset: 0 of " in path.read_text()
    assert {reason for *_, reason in outcomes(path)} == {
        "Not in the subset: the pair ranks below select.subset_ratio by quality."
    }


def test_the_index_counts_the_pairs_of_each_arms_subset(plan: Plan, tmp_path: Path) -> None:
    html = write_samples(plan, "codeblock", tmp_path, count=1)[0].read_text()
    facts = {each.name: each.selected.facts for each in plan.arms if each.selected is not None}
    for name in ("codeblock", "full", "drawn"):
        found = facts[name]
        assert found is not None
        assert f"Histogram of {found['kept_pairs']} pairs;" in html
        assert f"{found['unsupervised_pairs']} without a supervised token." in html
    assert html.count("Utility against structure") == 1


@pytest.mark.parametrize(
    ("arm", "ids", "message"),
    [
        ("base", [], "arm 'base': not one that selects tokens; there are full, codeblock, each, drawn, items, chains, later"),
        ("later", [], "arm 'later': nothing selected yet; run `codeblock select` with the same config first"),
        ("codeblock", ["p01", "nobody"], "pair 'nobody': not among the 60 scored pairs"),
    ],
)
def test_what_cannot_be_shown_is_one_line(plan: Plan, tmp_path: Path, arm: str, ids: list[str], message: str) -> None:
    with pytest.raises(CodeBlockError, match=re.escape(message)):
        write_samples(plan, arm, tmp_path / "none", ids)
    assert not (tmp_path / "none").exists()


def test_the_command_writes_the_pairs_that_are_named(plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = str(plan.config.storage.parent / "config.yaml")
    with pytest.raises(SystemExit) as stop:
        main(["inspect", config, "--out", str(tmp_path / "pages"), "--ids", "p03, p07"])
    assert stop.value.code == 0
    assert sorted(path.name for path in (tmp_path / "pages").iterdir()) == ["index.html", "p03.html", "p07.html"]
    assert "3 files; open" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "arms"),
    [
        ("items", ["items seed 0", "codeblock", "items seed 1"]),
        ("items seed 1", ["items seed 1", "codeblock", "items seed 0"]),
        ("codeblock seed 1", ["codeblock", "items seed 0", "items seed 1"]),
    ],
)
def test_seeds_that_share_a_selection_are_one_arm_of_the_page(seeded: Path, tmp_path: Path, name: str, arms: list[str]) -> None:
    pages = write_samples(plan_of(seeded), name, tmp_path, ["p03"])
    assert [arm["name"] for arm in page_data(pages[1])["arms"]] == arms


def test_the_name_of_an_arm_is_its_first_seed_and_says_so(
    seeded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = "--arm items: takes items seed 0; there are also items seed 1\n"
    for command in ("inspect", "export"):
        with pytest.raises(SystemExit) as stop:
            main([command, str(seeded), "--arm", "items", "--out", str(tmp_path / command)])
        assert stop.value.code == 0
        assert capsys.readouterr().out.startswith(told)
    whole = selection(plan_of(seeded), "items seed 0")
    labels = [row["labels"] for row in read_table(tmp_path / "export" / "train").to_pylist()]
    train = [row for row in whole.values() if row["split"] == "train"]
    assert [sum(label >= 0 for label in each) for each in labels] == [sum(row["weight"]) for row in train]


def test_one_seed_is_exported_by_its_full_name(seeded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["export", str(seeded), "--arm", "items seed 1", "--format", "parquet", "--out", str(tmp_path)])
    assert "takes" not in capsys.readouterr().out
    weights = {row["id"]: row["weight"] for row in read_table(tmp_path / "train").to_pylist()}
    train = {id_: row["weight"] for id_, row in selection(plan_of(seeded), "items seed 1").items() if row["split"] == "train"}
    assert weights == train
    assert weights != {id_: row["weight"] for id_, row in selection(plan_of(seeded), "items seed 0").items() if id_ in train}


@pytest.mark.parametrize("command", ["inspect", "export"])
def test_a_name_that_is_no_arm_names_what_there_is(seeded: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, str(seeded), "--arm", "items seed 2"])
    assert stop.value.code == 1
    assert capsys.readouterr().err == (
        "error: arm 'items seed 2': not one that selects tokens; there are codeblock (seed 0, 1), items (seed 0, 1), "
        "later (seed 0, 1)\n"
    )


def test_the_plan_says_what_each_arm_asks_for_in_one_line(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", str(plan.config.storage.parent / "config.yaml"), "--plan"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[: len(plan.asked_shares())] == plan.asked_shares()
    assert max(map(len, plan.asked_shares())) > 80
