"""Pages of samples: which tokens each arm supervises in chosen pairs, and why. Reads finished tables, computes no selection."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from codeblock.annotate.prepare.render import Renderer
from codeblock.annotate.prepare.stage import render_pairs
from codeblock.core.config import SelectConfig
from codeblock.core.errors import CodeBlockError, RowError
from codeblock.core.models.load import load_tokenizer
from codeblock.core.records import SelectedRecord
from codeblock.core.storage.scores import places, with_scores
from codeblock.core.storage.tables import parts, read_part
from codeblock.core.supervised import COLUMN, supervised
from codeblock.experiment.arms import ArmPlan, selecting_arm
from codeblock.experiment.plan import Plan
from codeblock.report.pages.index import ArmTally, write_pages
from codeblock.report.pages.item_outcome import Bid, Cut, PairStatus, ranked_outcome, unranked_outcome
from codeblock.report.pages.sample import ArmView, ItemOutcome, SampleView, items_from_row, sample_from_row
from codeblock.selection.pair import COLUMNS, PoolStatistics, ScoredPair, iter_pairs
from codeblock.selection.selection import settle, units_of
from codeblock.selection.split import Split
from codeblock.selection.strategies import Strategy, get_strategy
from codeblock.selection.utility import MIN_CORE_TOKENS, item_utility, normalise

TALLIED_PAIRS = 2000
"""Pairs that the distributions are counted over, drawn from all."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Mask:
    """What an arm does with one pair."""

    split: str
    weight: NDArray[np.float32]  # [T]
    selected: NDArray[np.bool_]  # [T]

    @classmethod
    def empty(cls, tokens: int) -> Mask:
        """Of a pair without a supervised token, which no table holds."""
        return cls("train", np.zeros(tokens, dtype=np.float32), np.zeros(tokens, dtype=bool))


@dataclass
class _Arm:
    """One arm with what its pages need from its tables."""

    plan: ArmPlan
    strategy: Strategy
    seed: int
    facts: SelectedRecord
    split: Split
    masks: dict[str, Mask]  # by pair
    tally: ArmTally
    lowest: dict[str, float]  # by split: priority of the last item taken, over all pairs

    @property
    def settings(self) -> SelectConfig:
        """As the selection took them. Pages rank items; how specific words are needs a pass over all pairs, and is left out."""
        return settle(self.plan.settings, self.strategy).model_copy(update={"word_rank": "gce"})

    @property
    def pool(self) -> PoolStatistics:
        """What the selection knew of all kept pairs."""
        return PoolStatistics(self.facts["kept_pairs"], self.facts["noise_nll"])

    @property
    def ranked(self) -> bool:
        """Whether the strategy gives whole items priorities that the scored table alone decides."""
        return self.strategy.whole_items and not self.strategy.needs

    @property
    def min_core(self) -> int:
        """Core tokens below which the utility, where the strategy ranks by it, is 0."""
        return MIN_CORE_TOKENS if "aggregate" in self.strategy.uses else 0

    @property
    def one_ranking(self) -> bool:
        """Whether the budget was spent over all pairs together."""
        return self.settings.scope == "dataset"


def write_samples(
    plan: Plan, arm: str, output: Path, ids: Sequence[str] = (), count: int = 5, seed: int | None = None
) -> list[Path]:
    """Write a page for each of `ids`, or for `count` pairs that `arm` trains on, and an index; returns the files.

    Each page opens with `arm` and shows every other arm that has selected. The draw uses `seed`, or the config's. Raises
    CodeBlockError where the arm selects nothing, has not run yet, or an id is not among the scored pairs.
    """
    plans = _order(plan, arm)
    drawn = np.random.default_rng(plan.config.seed if seed is None else seed)
    wanted = list(dict.fromkeys(ids)) or _draw(_trained(plans[0]), count, drawn)
    scored = places(plan.scored.directory).keys()
    everyone = [
        id_ for path in parts(plan.kept.directory) for id_ in read_part(path, ["id"])["id"].to_pylist() if id_ in scored
    ]
    unknown = set(wanted).difference(everyone)
    if unknown:
        raise CodeBlockError(f"pair {min(unknown)!r}: not among the {len(everyone):,} scored pairs; see the ids in index.html")
    tallied = frozenset(_draw(sorted(everyone), TALLIED_PAIRS, np.random.default_rng(plan.config.seed)))
    arms = [_arm(plan, each, tallied.union(wanted)) for each in plans]
    _tally(plan, arms, tallied)
    renderer = Renderer(load_tokenizer(plan.model.path, plan.model.revision))
    samples = [_sample(row, arms, renderer) for row in _rows(plan, wanted)]
    return write_pages(plan.config.name, samples, [each.tally for each in arms], output)


def _order(plan: Plan, name: str) -> list[ArmPlan]:
    """The arm asked for, then the others that have selected; seeds that share a selection are one, named by the arm."""
    first = selecting_arm(plan.arms, name)
    if first.selected is None or first.selected.facts is None:
        raise CodeBlockError(f"arm {name!r}: nothing selected yet; run `codeblock select` with the same config first")
    shown = {first.selected.key: first}
    for each in plan.arms:
        if each.selected is not None and each.selected.facts is not None:
            shown.setdefault(each.selected.key, each)
    return [_named_by_arm(each, plan) for each in shown.values()]


def _named_by_arm(arm: ArmPlan, plan: Plan) -> ArmPlan:
    keys = {each.selected.key for each in plan.arms if each.arm == arm.arm and each.selected is not None}
    return replace(arm, name=arm.arm) if len(keys) == 1 else arm


def _draw(ids: list[str], count: int, drawn: np.random.Generator) -> list[str]:
    return [ids[index] for index in drawn.choice(len(ids), size=min(count, len(ids)), replace=False)]


def _trained(plan: ArmPlan) -> list[str]:
    assert plan.selected is not None
    tables = [read_part(path, ["id", "split"]) for path in parts(plan.selected.directory)]
    rows = pa.concat_tables(tables)
    return sorted(rows.filter(pc.equal(rows["split"], "train"))["id"].to_pylist())


def _arm(plan: Plan, arm: ArmPlan, ids: Collection[str]) -> _Arm:
    assert arm.selected is not None
    assert arm.strategy is not None
    facts = cast(SelectedRecord, arm.selected.facts or {})
    made = _Arm(
        plan=arm,
        strategy=get_strategy(arm.strategy),
        seed=arm.seed,
        facts=facts,
        split=plan.selection(arm).split(),
        masks={},
        tally=ArmTally(arm.name, arm.strategy, facts["supervised_share"], facts["asked_share"]),
        lowest={},
    )
    # One ranking over all pairs ends at an item of any of them.
    made.masks.update(_masks(arm.selected.directory, None if made.ranked else ids))
    return made


def _masks(directory: Path, ids: Collection[str] | None) -> dict[str, Mask]:
    found = {}
    for path in parts(directory):
        table = read_part(path, ["id", "split", "weight", COLUMN])
        if ids is not None:
            table = table.filter(pc.is_in(table["id"], pa.array(list(ids), pa.string())))
        columns = table["id"].to_pylist(), table["split"].to_pylist(), table["weight"].to_numpy(zero_copy_only=False)
        found.update({id_: Mask(*mask) for id_, *mask in zip(*columns, supervised(table), strict=True)})
    return found


def _tally(plan: Plan, arms: list[_Arm], tallied: frozenset[str]) -> None:
    """One pass over the scored pairs: the distributions, and where each ranking over all pairs ended."""
    for arm in arms:
        arm.tally.largest_utility = 1.0 / arm.settings.gce_q if arm.settings.gce_q else 5.0
    needed = tallied.union(*(arm.masks for arm in arms if arm.ranked))
    scores = {"nll": plan.scored.directory}
    for path in parts(plan.kept.directory):
        table = read_part(path, [*COLUMNS, "edges", "item_kind"])
        table = with_scores(table.filter(pc.is_in(table["id"], pa.array(list(needed), pa.string()))), scores)
        for pair, kinds in zip(iter_pairs(table), table["item_kind"].to_pylist(), strict=True):
            for arm in arms:
                _count(arm, pair, kinds, pair.id in tallied and pair.id in arm.split.train)


def _count(arm: _Arm, pair: ScoredPair, kinds: list[str], tallied: bool) -> None:
    mask = arm.masks.get(pair.id) or Mask.empty(pair.nll.size)
    split = mask.split
    tokens, taken = _item_tokens(pair, mask)
    if tallied:
        share = float(mask.selected.sum() / max(pair.response.sum(), 1))
        arm.tally.add_pair(share, kinds, tokens, taken)
    if not arm.ranked or not (tallied or pair.id in arm.masks):
        return
    kept = taken > 0
    utility, priority = _figures(pair, arm)
    if kept.any() and arm.one_ranking:
        arm.lowest[split] = min(arm.lowest.get(split, np.inf), float(priority[kept].min()))
    if tallied and utility.size:
        reach, bridge = (
            normalise(signal.astype(np.float64), arm.settings.normalise) for signal in (pair.item_reach, pair.item_bridge)
        )
        weights = arm.settings.reach_weight, arm.settings.bridge_weight
        arm.tally.add_structure(weights[0] * reach + weights[1] * bridge, utility, kept, sum(weights))


def _item_tokens(pair: ScoredPair, mask: Mask) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Tokens of each item, and the chosen ones among them; both [I]."""
    inside, size = pair.token_item >= 0, pair.item_reach.size
    chosen = inside & mask.selected
    return np.bincount(pair.token_item[inside], minlength=size), np.bincount(pair.token_item[chosen], minlength=size)


def _figures(pair: ScoredPair, arm: _Arm) -> tuple[Floats, Floats]:
    """Utility and priority of each item, [I]; the priority is 0 where the strategy never takes the item."""
    pair = replace(pair, pool=arm.pool)
    units = units_of(pair, arm.strategy, arm.settings, arm.seed)
    of_items = (pair.token_item >= 0) & (units.unit_of_token >= 0)
    priority = np.zeros(pair.item_reach.size)
    priority[pair.token_item[of_items]] = units.priority[units.unit_of_token[of_items]]
    return item_utility(pair, arm.settings), priority


def _rows(plan: Plan, ids: Sequence[str]) -> Iterator[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for path in parts(plan.kept.directory):
        here = set(read_part(path, ["id"])["id"].to_pylist()).intersection(ids)
        if here:
            table = read_part(path)
            table = with_scores(table.filter(pc.is_in(table["id"], pa.array(list(here)))), {"nll": plan.scored.directory})
            found.update({row["id"]: row for row in table.to_pylist()})
    return (found[id_] for id_ in ids)


def _sample(row: dict[str, Any], arms: list[_Arm], renderer: Renderer) -> SampleView:
    (rendered,) = render_pairs(renderer, [row["messages"]], [row["response"]], [row["tools"]])
    assert not isinstance(rendered, RowError), "a prepared pair was rendered before"
    start, length = rendered.response_start, len(row["response"])
    spans = zip(rendered.starts[start:].clip(0, length).tolist(), rendered.ends[start:].clip(0, length).tolist(), strict=True)
    views = [_view(row, arm) for arm in arms]
    return sample_from_row(row, list(spans), views, title=row["source"], gce_q=arms[0].settings.gce_q)


def _view(row: dict[str, Any], arm: _Arm) -> ArmView:
    pair = ScoredPair.from_columns(row)
    mask = arm.masks.get(pair.id) or Mask.empty(pair.nll.size)
    status = PairStatus.DEV if mask.split == "dev" else PairStatus.TRAIN
    if pair.id not in arm.masks:
        status = PairStatus.EMPTY if pair.id in arm.split.train else PairStatus.OUTSIDE
    _, taken = _item_tokens(pair, mask)
    outcomes = _outcomes(row, arm, pair, taken.tolist(), mask.split, status)
    response = slice(row["response_start"], None)
    masks = mask.weight[response].tolist(), mask.selected[response].tolist()
    return ArmView(arm.plan.name, arm.strategy.name, str(status), *masks, outcomes)


def _outcomes(
    row: dict[str, Any], arm: _Arm, pair: ScoredPair, taken: list[int], split: str, status: PairStatus
) -> list[ItemOutcome]:
    items = items_from_row(row)
    if not arm.ranked:
        name, budgeted = arm.strategy.name, arm.strategy.budgeted
        return [unranked_outcome(*each, name, status, budgeted) for each in zip(items, taken, strict=True)]
    utility, priority = _figures(pair, arm)
    cut = _cut(arm, split, priority, np.array(taken) > 0)
    stop_cost = int(arm.settings.supervise_eos and status is PairStatus.EMPTY)
    return [
        ranked_outcome(item, tokens, Bid(u, p, stop_cost, arm.min_core), status, cut)
        for item, tokens, u, p in zip(items, taken, utility.tolist(), priority.tolist(), strict=True)
    ]


def _cut(arm: _Arm, split: str, priority: Floats, kept: NDArray[np.bool_]) -> Cut:
    if arm.one_ranking:
        asked = arm.facts["asked_tokens"] if split == "train" else None
        left = None if asked is None else max(0, asked - arm.facts["supervised_tokens"])
        return Cut(arm.lowest.get(split), left, "over all pairs" if split == "train" else "over all held-out pairs")
    return Cut(float(priority[kept].min()) if kept.any() else None, None, "in this response")
