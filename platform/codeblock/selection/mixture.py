"""A budget for each data set. [ours]

`select.mixture` names data sets with their shares of the kept pairs and of the budget; those that it does not name have the
rest together. The pairs of a data set compete among themselves alone, so nothing is taken from one for another: a data set with
too few pairs leaves part of its share, which the selection reports. Shapes: P pairs, N pairs of the pool.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from codeblock.core.shares import Mixture, Shares
from codeblock.selection.candidates import Candidates, Chosen, Load, supervised_tokens

Members = NDArray[np.bool_]


def groups(mixture: Mixture) -> list[tuple[str, float]]:
    """Name and share of each data set that is named, and of all others together (the name is empty)."""
    return [*mixture, ("", max(0.0, 1.0 - sum(share for _, share in mixture)))]


def members(mixture: Mixture, name: str, dataset_P: NDArray[np.object_]) -> Members:
    """Which pairs belong to a group, bool[P]."""
    if name:
        return np.asarray(dataset_P == name, dtype=bool)
    return ~np.isin(dataset_P.astype(str), [named for named, _ in mixture])


def kept_of_each(shares: Shares, tokens_N: NDArray[np.int64], dataset_N: NDArray[np.object_]) -> NDArray[np.int64]:
    """Which pairs of a pool, best first, are kept: of each data set its share of what `shares` keep of the whole pool."""
    found: list[NDArray[np.int64]] = [np.empty(0, dtype=np.int64)]
    for name, share in groups(shares.mixture):
        places = np.flatnonzero(members(shares.mixture, name, dataset_N))
        whole, held = (tokens_N.size, places.size) if shares.of_pairs else (int(tokens_N.sum()), int(tokens_N[places].sum()))
        if share > 0 and held:
            own = replace(shares, subset_ratio=min(1.0, share * shares.subset_ratio * whole / held))
            found.append(places[: own.kept(tokens_N[places])])
    return np.sort(np.concatenate(found))


def allocate_each(
    loads: Sequence[Load], budget: int, mixture: Mixture, spend: Callable[[Sequence[Load], int], list[Chosen]]
) -> list[Chosen]:
    """What `spend` takes of each data set for its share of the budget, together; bool[U] for each part."""
    chosen = [np.zeros(load().pair.size, dtype=bool) for load in loads]
    for name, tokens in budgets(mixture, budget).items():
        if tokens <= 0:
            continue
        taken = spend([partial(_members_of, load, mixture, name) for load in loads], tokens)
        for load, all_chosen, of_group in zip(loads, chosen, taken, strict=True):
            candidates = load()
            all_chosen[_of_candidates(candidates, mixture, name)[candidates.pair]] = of_group
    return chosen


def budgets(mixture: Mixture, budget: int) -> dict[str, int]:
    """Tokens of each named data set, and of all others (the name is empty)."""
    named = {name: round(share * budget) for name, share in mixture}
    return {**named, "": budget - sum(named.values())}


def spent_by_dataset(
    loads: Sequence[Load], chosen: Sequence[Chosen], mixture: Mixture, budget: int, supervise_eos: bool
) -> dict[str, tuple[int, int]]:
    """Tokens asked and spent by data set, those that are not named under the empty name."""
    found = {}
    for name, asked in budgets(mixture, budget).items():
        spent = 0
        for load, taken in zip(loads, chosen, strict=True):
            candidates = load()
            members_P = _of_candidates(candidates, mixture, name)
            spent += supervised_tokens(candidates.only(members_P), taken[members_P[candidates.pair]], supervise_eos)
        found[name] = (asked, spent)
    return found


def _members_of(load: Load, mixture: Mixture, name: str) -> Candidates:
    candidates = load()
    return candidates.only(_of_candidates(candidates, mixture, name))


def _of_candidates(candidates: Candidates, mixture: Mixture, name: str) -> Members:
    assert candidates.dataset_P is not None
    return members(mixture, name, candidates.dataset_P)
