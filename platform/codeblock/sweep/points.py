"""Points of a sweep: values of swept keys, what they are called, and the config of each."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from codeblock.core.config import Config, SweepConfig
from codeblock.core.config.file import with_values
from codeblock.core.digests import text_digest
from codeblock.core.errors import CodeBlockError

STRATEGY = "strategy"
"""The key of the arm's strategy; with `select.*` it is the arm's own, so that held-out pairs stay the same for all points."""
REFUSED = {
    "seed": "seeds are repeated at each point: set seeds=[0, 1]",
    "seeds": "seeds are repeated at each point: set seeds=[0, 1]",
    "name": "it names the report",
    "arms": "write select.KEY or strategy, which are the arm's own (sweep.arm)",
    **dict.fromkeys(("sweep", "storage", "track", "cluster"), "it does not decide what is produced"),
}
"""Keys that cannot be swept, and why."""


@dataclass(frozen=True)
class Point:
    """One combination of values."""

    items: tuple[tuple[str, Any], ...]

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Point:
        """The point with these values by key."""
        return cls(tuple(values.items()))

    @property
    def values(self) -> dict[str, Any]:
        """Values by key, in the order of the config."""
        return dict(self.items)

    @property
    def key(self) -> str:
        """Hash of the values."""
        return text_digest(json.dumps(self.items, default=str), 10)

    @property
    def name(self) -> str:
        """Such as `budget 0.15 reach 0.25`."""
        names = short_names([key for key, _ in self.items])
        return " ".join(f"{names[key]} {text(value)}" for key, value in self.items)


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """What keys are called in names and headings: their last part, or all of it where two would be called the same."""
    short = {key: _short(key) for key in keys}
    twice = {name for name in short.values() if list(short.values()).count(name) > 1}
    return {key: key if name in twice else name for key, name in short.items()}


def _short(key: str) -> str:
    return re.sub(r"^token_|_weight$", "", key.rpartition(".")[2]).replace("_", " ")


def text(value: Any) -> str:
    """A value as a person writes it."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def config_of(config: Config, point: Point) -> Config:
    """The config of a point: its arm alone, with every seed of the sweep.

    Raises CodeBlockError for keys that there are not or that cannot be swept, and for values that cannot be.
    """
    arm = config.sweep.arm
    if arm not in config.arms or (config.arms[arm].strategy is None and STRATEGY not in point.values):
        there = ", ".join(name for name, each in config.arms.items() if each.strategy) or "none"
        raise CodeBlockError(f"sweep.arm={arm}: no arm that is trained; there are: {there}")
    own, others = config.arms[arm].model_dump(mode="json"), {}
    for key, value in point.items:
        section, _, field = key.partition(".")
        if section in REFUSED:
            raise CodeBlockError(f"sweep.space.{key}: cannot be swept, {REFUSED[section]}")
        if key == STRATEGY:
            own[STRATEGY] = value
        elif section == "select" and field:
            own["select"] = {**own["select"], field: value}
        else:
            others[key] = value
    try:
        return with_values(config, {**others, "arms": {arm: own}, "sweep": SweepConfig().model_dump(mode="json")})
    except CodeBlockError as error:
        told = str(error).removeprefix("config: ").replace(f"arms.{arm}.select.", "select.")
        raise CodeBlockError(f"sweep.space: point {point.name}: {told}") from error


def best_config(config: Config, point: Point) -> Config:
    """What `codeblock run` takes to get the point again, beside the arms of the config that are not trained."""
    arms = {name: each.model_dump(mode="json") for name, each in config.arms.items() if each.strategy is None}
    chosen = config_of(config, point)
    best = chosen.arms[config.sweep.arm].model_dump(mode="json")
    return with_values(chosen, {"name": f"{config.name}-best", "arms": {**arms, config.sweep.arm: best}})
