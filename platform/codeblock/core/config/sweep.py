"""The section `sweep`: which points are tried, with which seeds, and which of them is taken."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from codeblock.core.config.section import Name, Section, execution

RANGE = ("uniform", "loguniform", "step")
"""The keys by which a range is told from a section of further keys."""
MOST = 10_000
"""Points of one sweep."""
EXPONENT = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")
"""Numbers that YAML takes for words where the point or the sign is missing."""


class Range(Section):
    """Numbers between two ends, both included; set `uniform` or `loguniform`."""

    uniform: tuple[float, float] | None = None
    """Lowest and highest, all alike."""
    loguniform: tuple[float, float] | None = None
    """Lowest and highest, equal factors alike."""
    step: float | None = Field(None, gt=0)
    """Only multiples of this, counted from 0. Whole numbers where step and ends are whole."""

    @model_validator(mode="after")
    def _one_range(self) -> Range:
        if (self.uniform is None) == (self.loguniform is None):
            raise ValueError("set uniform: [low, high] or loguniform: [low, high]")
        low, high = self.ends
        if low >= high or (self.loguniform is not None and low <= 0):
            raise ValueError(f"[{low:g}, {high:g}] is no range; write the lower end first, above 0 for loguniform")
        if self.step is not None and any(abs(round(end / self.step) * self.step - end) > 1e-9 * abs(end) for end in self.ends):
            raise ValueError(f"the ends {low:g} and {high:g} are no multiples of step={self.step:g}")
        return self

    @property
    def ends(self) -> tuple[float, float]:
        """Lowest and highest."""
        found = self.uniform or self.loguniform
        assert found is not None
        return found


Axis = Annotated[list[Any], Field(min_length=1)] | Range
"""The values of one key: a list of them, or a range."""


class StoppingConfig(Section):
    """Early stopping (ASHA, arXiv 1810.05934) by the nll of the held-out pairs' core tokens, supervised or not.

    That of the supervised tokens alone would depend on what was selected, that of all tokens punishes small budgets.
    """

    after: int = Field(..., ge=1)
    """Steps that every trial is given; the next decisions are at `factor` times as many each."""
    factor: float = Field(2.0, gt=1)
    """One trial of so many goes on beyond a decision."""


class SweepConfig(Section):
    """Many points of one arm on the same data and scores. Each is repeated with the config's `seeds`."""

    arm: str = "codeblock"
    """The arm that is varied."""
    space: dict[str, Axis] = {}
    """Values by key: any key of the config (`train.learning_rate`; `select.*` and `strategy` are the arm's own), a list of
    values or a range."""
    search: Literal["grid", "random", "optuna"] = "grid"
    """All combinations of the lists, `samples` drawn at random, or `samples` of Optuna's (needs `codeblock[tune]`)."""
    samples: int = Field(20, ge=1, le=MOST)
    """Points of the searches `random` and `optuna`."""
    stopping: StoppingConfig | None = None
    """Early stopping of trials. Empty: all are trained to their end."""
    measure: Literal["pass_at_1", "reference_nll"] = "pass_at_1"
    """By what the best point is chosen: the highest pass@1, or the lowest nll of the reference solutions."""
    choose_on: str | None = None
    """Benchmark by which the best point is chosen, the others being reported. Empty: one half of the tasks of each benchmark,
    the other half being reported."""
    keep_models: int = execution(1, ge=0)
    """Models of so many best points are kept, of all their seeds; those of others are removed once they are evaluated."""
    at_once: int | None = execution(None, ge=1)
    """Trials at the same time. Empty: as many as the cluster has room for."""
    register_as: Name | None = execution(None)
    """Name under which MLflow's registry gets the best point's model. Empty: it is not registered."""

    @field_validator("space", mode="before")
    @classmethod
    def _flat(cls, space: Any) -> Any:
        if not isinstance(space, Mapping):
            return space
        return {key: _range(key, axis) for key, axis in _flattened(space, "").items()}

    @model_validator(mode="after")
    def _search_fits(self) -> SweepConfig:
        ranges = [key for key, axis in self.space.items() if isinstance(axis, Range)]
        if self.search == "grid" and ranges:
            raise ValueError(f"sweep.search=grid takes lists, and {ranges[0]} is a range; list its values or set search=random")
        if self.search == "optuna" and self.stopping is not None:
            raise ValueError(
                "sweep.search=optuna learns from evaluated points and sweep.stopping leaves points without an evaluation: "
                "set sweep.stopping=null or sweep.search=random"
            )
        return self


def _range(key: str, axis: Any) -> Any:
    if isinstance(axis, list):
        return [_value(key, each) for each in axis] or _no_values(key)
    if isinstance(axis, Range):
        return axis
    if not isinstance(axis, Mapping):
        raise ValueError(f"sweep.space.{key}: write a list of values, or a range such as uniform: [0, 1] (found {axis!r:.40})")
    try:
        return Range.model_validate(axis)
    except ValidationError as error:
        told = error.errors()[0]
        place = ".".join(["sweep.space", key, *map(str, told["loc"])])
        raise ValueError(f"{place}: {told['msg'].removeprefix('Value error, ')}") from error


def _value(key: str, value: Any) -> Any:
    """A value of a list; a number that YAML takes for a word, such as 1e-3, as a number."""
    if isinstance(value, list | Mapping):
        raise ValueError(f"sweep.space.{key}: a value has to be a number, a word or null (found {value!r:.40})")
    return float(value) if isinstance(value, str) and EXPONENT.fullmatch(value) else value


def _no_values(key: str) -> Any:
    raise ValueError(f"sweep.space.{key}: no values; list some, or leave the key out")


def _flattened(space: Mapping[Any, Any], prefix: str) -> dict[str, Any]:
    """Sections in the space as dotted keys, so that `sweep.space.select.gce_q=[0, 0.7]` can be written; the last one wins."""
    flat: dict[str, Any] = {}
    for key, axis in space.items():
        name = f"{prefix}{key}"
        if isinstance(axis, Mapping) and axis and not set(axis) & set(RANGE):
            flat.update(_flattened(axis, f"{name}."))
        else:
            flat[name] = axis
    return flat
