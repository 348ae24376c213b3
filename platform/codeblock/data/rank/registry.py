"""The rankers by name: each a small function from the pool to a signal of each pair, higher is better, NaN where unknown.

To add one, write the function and decorate it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from codeblock.core.errors import CodeBlockError
from codeblock.data.rank.pool import RankPool, Signal

Measure = Callable[[RankPool], Signal]
Need = Literal["nll", "embedding"]
Tool = Literal["grammars", "python"]
Scale = Literal["quality", "share", "quantile"]


@dataclass(frozen=True)
class Ranker:
    """A named signal."""

    name: str
    measure: Measure
    needs: frozenset[Need]
    """What has to be there besides the prepared pairs: the reference's `nll`, an `embedding`."""
    scale: Scale
    """How it is binned to 0..5: a `quality` by the scale of the data, a `share` of 0..1 by fifths, others by sixths of the
    pool."""
    tools: frozenset[Tool]
    """What gives its values besides this package: the `grammars` of tree-sitter, the `python` that programs run with in the
    sandbox. Their versions are part of a ranking's name."""


_REGISTRY: dict[str, Ranker] = {}


def ranker(
    name: str, needs: Iterable[Need] = (), scale: Scale = "quantile", tools: Iterable[Tool] = ()
) -> Callable[[Measure], Measure]:
    """Register a function as the ranker `name`."""

    def register(function: Measure) -> Measure:
        _REGISTRY[name] = Ranker(name, function, frozenset(needs), scale, frozenset(tools))
        return function

    return register


def ranker_names() -> list[str]:
    """The registered names."""
    return sorted(_REGISTRY)


def offline_names() -> list[str]:
    """Rankers that need nothing but the pairs: no quality in the data, no scores."""
    return [name for name in ranker_names() if name not in ("quality", "random") and "nll" not in _REGISTRY[name].needs]


def get_ranker(name: str) -> Ranker:
    """A ranker by name. Raises CodeBlockError with the nearest name."""
    if name not in _REGISTRY:
        near = difflib.get_close_matches(name, _REGISTRY, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(ranker_names())}"
        raise CodeBlockError(f"rank.by: ranker {name!r} is not known; {hint}")
    return _REGISTRY[name]


def needs_of(names: Iterable[str]) -> frozenset[Need]:
    """What some rankers need together. Raises CodeBlockError for a name that is not known."""
    return frozenset().union(*(get_ranker(name).needs for name in names))


def tools_of(names: Iterable[str]) -> frozenset[Tool]:
    """What some rankers work with. Raises CodeBlockError for a name that is not known."""
    return frozenset().union(*(get_ranker(name).tools for name in names))
