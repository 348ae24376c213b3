"""The space of a sweep: all combinations of its lists, points drawn at random, and what Optuna is told of it."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from codeblock.core.config import Config, SweepConfig
from codeblock.core.config.sweep import MOST, Axis, Range
from codeblock.core.errors import CodeBlockError
from codeblock.sweep.points import Point, config_of

TRIES = 200
"""Draws for one new point before a small space counts as used up."""


def points_of(config: Config) -> list[Point]:
    """The points of the searches `grid` and `random`, the same for the same config; each was checked.

    Raises CodeBlockError where there is no space, and where a point's config is not valid.
    """
    sweep = config.sweep
    if not sweep.space:
        raise CodeBlockError("sweep.space: empty; name keys with their values, as in configs/sweep.yaml")
    count = math.prod(len(axis) for axis in sweep.space.values() if isinstance(axis, list))
    if sweep.search == "grid" and count > MOST:
        raise CodeBlockError(
            f"sweep.space: {count:,} points, and a sweep has at most {MOST:,}; list fewer values, or set sweep.search=random "
            "and sweep.samples"
        )
    points = grid(sweep) if sweep.search == "grid" else drawn(sweep, config.seed)
    for point in points:
        config_of(config, point)
    return points


def grid(sweep: SweepConfig) -> list[Point]:
    """All combinations of the lists, the last key changing first."""
    axes = [axis for axis in sweep.space.values() if isinstance(axis, list)]
    found = (Point.of(dict(zip(sweep.space, values, strict=True))) for values in itertools.product(*axes))
    return list(dict.fromkeys(found))


def drawn(sweep: SweepConfig, seed: int) -> list[Point]:
    """`samples` different points, or as many as are found in a small space."""
    rng, found = np.random.default_rng(seed), dict[Point, None]()
    for _ in range(sweep.samples):
        for _ in range(TRIES):
            point = Point.of({key: _draw(axis, rng) for key, axis in sweep.space.items()})
            if point not in found:
                found[point] = None
                break
    return list(found)


def corners(config: Config) -> list[Point]:
    """The ends of all ranges with all values of the lists, where such a config can be: what the shared stages must reach."""
    ends = [list(axis.ends) if isinstance(axis, Range) else axis for axis in config.sweep.space.values()]
    found, last = [], CodeBlockError("sweep.space: empty; name keys with their values, as in configs/sweep.yaml")
    for values in itertools.product(*ends):
        point = Point.of({key: _snapped(config.sweep.space[key], v) for key, v in zip(config.sweep.space, values, strict=True)})
        try:
            config_of(config, point)
            found.append(point)
        except CodeBlockError as error:
            last = error
    if not found:
        raise last
    return found


def distributions(sweep: SweepConfig) -> dict[str, Any]:
    """The space as Optuna has it. Raises CodeBlockError where Optuna is not installed."""
    try:
        from optuna import distributions as of
    except ImportError as error:
        raise CodeBlockError('sweep.search=optuna: Optuna is not installed; pip install "codeblock[tune]"') from error
    found: dict[str, Any] = {}
    for key, axis in sweep.space.items():
        if isinstance(axis, list):
            found[key] = of.CategoricalDistribution(axis)
        elif axis.loguniform is not None:  # Optuna has no steps on a logarithmic scale; `snapped` makes them
            found[key] = of.FloatDistribution(*axis.ends, log=True)
        else:
            found[key] = of.FloatDistribution(*axis.ends, step=axis.step)
    return found


def snapped(sweep: SweepConfig, values: dict[str, Any]) -> Point:
    """The point of values that Optuna suggests."""
    return Point.of({key: _snapped(axis, values[key]) for key, axis in sweep.space.items()})


def _draw(axis: Axis, rng: np.random.Generator) -> Any:
    if isinstance(axis, list):
        return axis[int(rng.integers(len(axis)))]
    low, high = axis.ends
    value = math.exp(rng.uniform(math.log(low), math.log(high))) if axis.loguniform else rng.uniform(low, high)
    return _snapped(axis, float(value))


def _snapped(axis: Axis, value: Any) -> Any:
    """A number of a range on its step, else with 4 digits, so that a name says all of it."""
    if not isinstance(axis, Range):
        return value
    low, high = axis.ends
    if axis.step is None:
        return min(max(float(f"{value:.4g}"), low), high)
    on_step = min(max(round(value / axis.step) * axis.step, low), high)
    whole = all(float(part).is_integer() for part in (axis.step, low, high))
    return round(on_step) if whole else float(f"{on_step:.10g}")
