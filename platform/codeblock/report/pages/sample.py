"""What the page of one sample shows: a pair, its coding items, and what each arm made of it.

Characters count Unicode code points of the response. Shapes: R response tokens (stop token included), I items, E edges.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from codeblock.core.schema import TokenClass

Span = tuple[int, int]
State = Literal["kept", "partly", "dropped"]


@dataclass(frozen=True)
class ItemView:
    """A coding item, whatever the arm."""

    kind: str  # ItemKind
    spans: Sequence[Span]  # characters of the response
    tokens: int
    core: int  # core logic tokens among them
    reach: float  # 0..1
    bridge: float  # 0..1


@dataclass(frozen=True)
class ItemOutcome:
    """What one arm did with one item. Utility and priority are None where the strategy ranks no items."""

    supervised: int  # tokens
    reason: str
    utility: float | None = None
    priority: float | None = None


@dataclass(frozen=True)
class ArmView:
    """One arm's mask of the pair."""

    name: str
    strategy: str
    status: str  # why the pair is, or is not, trained on
    weight: Sequence[float]  # [R]
    selected: Sequence[bool]  # [R] whether the strategy chose the token, whatever the others weigh
    outcomes: Sequence[ItemOutcome]  # [I]


@dataclass(frozen=True)
class SampleView:
    """One pair as several arms see it; the page opens with the first of them."""

    title: str
    id: str
    language: str
    prompt: str
    response: str
    token_spans: Sequence[Span]  # [R] characters of the response; the stop token's lie behind its end
    token_class: Sequence[int]  # [R] TokenClass
    token_nll: Sequence[float]  # [R] natural log
    items: Sequence[ItemView]
    edges: Sequence[tuple[int, int]]  # definition, use: indices of items
    arms: Sequence[ArmView]
    gce_q: float = 0.7  # exponent of the generalized cross-entropy by which tokens are shaded


@dataclass(frozen=True)
class SupervisionCounts:
    """What one arm supervises in one pair, in numbers."""

    tokens: int
    supervised: int
    background: int
    items: int
    kept: int
    partly: int
    stop: bool

    @property
    def share(self) -> float:
        """Supervised share of the response tokens."""
        return self.supervised / max(self.tokens, 1)


def sample_from_row(
    row: Mapping[str, Any], token_spans: Sequence[Span], arms: Sequence[ArmView], *, title: str, gce_q: float = 0.7
) -> SampleView:
    """The page's input from a row of `schema.SCORED`; `token_spans` holds one entry per response token."""
    start = int(row["response_start"])
    return SampleView(
        title=title,
        id=row["id"],
        language=row["language"],
        prompt="\n\n".join(map(_turn, row["messages"])),
        response=row["response"],
        token_spans=token_spans,
        token_class=row["token_class"][start:],
        token_nll=row["nll"][start:],
        items=items_from_row(row),
        edges=list(zip(row["edges"][::2], row["edges"][1::2], strict=True)),
        arms=arms,
        gce_q=gce_q,
    )


def _turn(turn: Mapping[str, Any]) -> str:
    return "\n".join(text for text in (f"{turn['role']}:", turn["content"], turn.get("tool_calls")) if text)


def items_from_row(row: Mapping[str, Any]) -> list[ItemView]:
    """The coding items of a row of `schema.SCORED`."""
    count = len(row["item_kind"])
    owner, kinds = np.asarray(row["token_item"], dtype=np.int64), np.asarray(row["token_class"])
    tokens = np.bincount(owner[owner >= 0], minlength=count).tolist()
    core = np.bincount(owner[(owner >= 0) & (kinds == TokenClass.CORE)], minlength=count).tolist()
    return [
        ItemView(
            kind=row["item_kind"][index],
            spans=list(zip(flat[::2], flat[1::2], strict=True)),
            tokens=tokens[index],
            core=core[index],
            reach=float(row["item_reach"][index]),
            bridge=float(row["item_bridge"][index]),
        )
        for index, flat in enumerate(row["item_spans"])
    ]


def levels(arm: ArmView) -> list[str]:
    """`on` for a supervised token, `faint` for one with a background weight, nothing for context."""
    return ["on" if one else "faint" if value > 0 else "" for one, value in zip(arm.selected, arm.weight, strict=True)]


def state(item: ItemView, outcome: ItemOutcome) -> State:
    """An item is kept where all of its tokens are supervised."""
    if outcome.supervised == 0:
        return "dropped"
    return "kept" if outcome.supervised == item.tokens else "partly"


def counts(sample: SampleView, arm: ArmView) -> SupervisionCounts:
    """The numbers of one arm."""
    chosen = np.asarray(arm.selected, dtype=bool)
    states = Counter(state(item, outcome) for item, outcome in zip(sample.items, arm.outcomes, strict=True))
    stops = np.asarray(sample.token_class) == TokenClass.STOP
    return SupervisionCounts(
        tokens=len(arm.weight),
        supervised=int(chosen.sum()),
        background=int(((np.asarray(arm.weight) > 0) & ~chosen).sum()),
        items=len(sample.items),
        kept=states["kept"],
        partly=states["partly"],
        stop=bool((chosen & stops).any()),
    )


def check(sample: SampleView) -> None:
    """Raises ValueError where lists differ in length, or an item or edge points outside the response."""
    lengths = {len(sample.token_spans), len(sample.token_class), len(sample.token_nll)}
    lengths |= {len(each) for arm in sample.arms for each in (arm.weight, arm.selected)}
    if len(lengths) != 1:
        raise ValueError(f"sample {sample.id}: token lists of different lengths {sorted(lengths)}")
    for arm in sample.arms:
        if len(arm.outcomes) != len(sample.items):
            raise ValueError(
                f"sample {sample.id}: arm {arm.name} has {len(arm.outcomes)} outcomes for {len(sample.items)} items"
            )
    end = len(sample.response)
    for low, high in (span for item in sample.items for span in item.spans):
        if not 0 <= low <= high <= end:
            raise ValueError(f"sample {sample.id}: item ({low}, {high}) lies outside the response of {end} characters")
    for edge in sample.edges:
        if not all(0 <= index < len(sample.items) for index in edge):
            raise ValueError(f"sample {sample.id}: edge {edge} names an item that is not there")
    if not sample.arms:
        raise ValueError(f"sample {sample.id}: no arm to show")
