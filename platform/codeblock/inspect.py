"""Pages of samples: what one arm supervises in chosen pairs, and why."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from codeblock.errors import CodeBlockError, RowError
from codeblock.models import load_tokenizer
from codeblock.plan import ArmPlan, Plan
from codeblock.prepare.render import Renderer
from codeblock.report.sample import Sample, sample_from_row, write_pages
from codeblock.select.pair import ScoredPair
from codeblock.select.utility import item_utility, rerank
from codeblock.tables import iter_rows, parts, read_part


def write_samples(plan: Plan, arm: str, output: Path, ids: Sequence[str] = (), count: int = 5) -> list[Path]:
    """Write a page for each of `ids`, or for `count` pairs drawn with the config's seed; returns the files.

    Raises CodeBlockError where the arm selects nothing, has not run yet, or an id is not among its pairs.
    """
    chosen = next((each for each in plan.arms if each.name == arm), None)
    if chosen is None or chosen.selected is None:
        names = ", ".join(each.name for each in plan.arms if each.selected)
        raise CodeBlockError(f"arm {arm!r}: not one that selects tokens; there are {names}")
    if chosen.selected.facts is None:
        raise CodeBlockError(f"arm {arm!r}: nothing selected yet; run `codeblock select` with the same config first")
    weights = {row["id"]: row["weight"] for row in iter_rows(chosen.selected.directory, ["id", "weight"])}
    wanted = list(ids) or _draw(sorted(weights), count, plan.config.seed)
    unknown = [id_ for id_ in wanted if id_ not in weights]
    if unknown:
        raise CodeBlockError(f"pair {unknown[0]!r}: not among the {len(weights)} pairs of arm {arm}")
    renderer = Renderer(load_tokenizer(plan.model.path, plan.model.revision))
    return write_pages([_sample(row, weights[row["id"]], chosen, renderer) for row in _rows(plan, wanted)], output)


def _draw(ids: list[str], count: int, seed: int) -> list[str]:
    picked = np.random.default_rng(seed).choice(len(ids), size=min(count, len(ids)), replace=False)
    return [ids[index] for index in picked]


def _rows(plan: Plan, ids: Sequence[str]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for path in parts(plan.scored.directory):
        here = set(read_part(path, ["id"])["id"].to_pylist()).intersection(ids)
        if here:
            found.update({row["id"]: row for row in read_part(path).to_pylist() if row["id"] in here})
    return [found[id_] for id_ in ids]


def _sample(row: dict[str, Any], weight: list[float], arm: ArmPlan, renderer: Renderer) -> Sample:
    rendered = renderer([row["messages"]], [row["response"]])[0]
    assert not isinstance(rendered, RowError), "a prepared pair was rendered before"
    start, length = rendered.response_start, len(row["response"])
    spans = zip(rendered.starts[start:].clip(0, length).tolist(), rendered.ends[start:].clip(0, length).tolist(), strict=True)
    pair, settings = ScoredPair.from_columns(row), arm.settings
    utility = item_utility(pair, settings.gce_q, settings.aggregate)
    structure = pair.item_reach.astype(np.float64), pair.item_bridge.astype(np.float64)
    ranked = arm.strategy == "codeblock"
    return sample_from_row(
        row,
        weight,
        list(spans),
        title=f"{arm.name}: {row['source']}",
        utility=utility.tolist() if ranked else None,
        priority=rerank(utility, *structure, settings).tolist() if ranked else None,
        gce_q=settings.gce_q,
    )
