"""The two knobs of a selection, and the third that follows: which share of the pool, inside which share of the pairs.

    token_budget = inside_share * subset_ratio

The paper states 1.9% of the pool. That it is made of few pairs with most of their tokens (10,000 of 300,000 pairs, about 57%
inside) is inferred from the authors' other recipes [ours]; thin masks in many pairs lose (docs/thin-masks.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TOKEN_BUDGET, INSIDE_SHARE = 0.019, 0.57
"""What is asked where a config names neither; 1.9% is the paper's [paper], 57% is inferred [ours]."""
Mixture = tuple[tuple[str, float], ...]
"""Names of data sets with their shares of the kept pairs and of the budget."""
TOLERANCE = 0.02
"""Relative distance within which three given shares agree."""


@dataclass(frozen=True)
class Shares:
    """What a selection asks for.

    `token_budget`: supervised share of the pool's response tokens. `inside_share`: supervised share inside the kept pairs.
    `subset_ratio`: kept share of the pool, of its pairs where `of_pairs` (it was given), else of its response tokens (it
    follows, so that the other two are met exactly).
    """

    token_budget: float
    inside_share: float
    subset_ratio: float
    of_pairs: bool
    mixture: Mixture = ()
    """What of it each data set has; none is named: whatever the ranking gives it."""

    @classmethod
    def of(cls, token_budget: float | None, inside_share: float | None, subset_ratio: float | None) -> Shares:
        """The three shares from those that are given (None: not given).

        Of what is missing `inside_share` is filled first, then `token_budget`, with the defaults or with what follows. Raises
        ValueError where the given ones contradict each other.
        """
        if subset_ratio is None:
            budget = TOKEN_BUDGET if token_budget is None else token_budget
            inside = max(INSIDE_SHARE, budget) if inside_share is None else inside_share
            if budget > inside:
                raise ValueError(
                    f"token_budget={budget:g} of the pool cannot be spent at inside_share={inside:g}, even with all pairs "
                    "kept; lower the one or raise the other"
                )
            return cls(budget, inside, budget / inside, False)
        if token_budget is None:
            inside = INSIDE_SHARE if inside_share is None else inside_share
            return cls(subset_ratio * inside, inside, subset_ratio, True)
        if token_budget > subset_ratio:
            raise ValueError(
                f"token_budget={token_budget:g} of the pool cannot be spent in subset_ratio={subset_ratio:g} of its pairs; "
                "lower the one or raise the other"
            )
        follows = token_budget / subset_ratio
        if inside_share is not None and abs(inside_share - follows) > TOLERANCE * follows:
            raise ValueError(
                f"token_budget={token_budget:g}, inside_share={inside_share:g} and subset_ratio={subset_ratio:g} contradict "
                f"each other: {inside_share:g} x {subset_ratio:g} = {inside_share * subset_ratio:.4g}; leave one of them out"
            )
        return cls(token_budget, follows, subset_ratio, True)

    def whole(self) -> Shares:
        """The same budget spent on whole pairs: as many of the best as hold so many tokens."""
        return Shares(self.token_budget, 1.0, self.token_budget, False, self.mixture)

    @property
    def nearest(self) -> bool:
        """Whether the kept pairs are those that come nearest to the ratio of tokens, for all of their tokens are supervised."""
        return not self.of_pairs and self.inside_share == 1.0

    def kept(self, tokens_N: NDArray[np.int64]) -> int:
        """How many pairs are kept of a pool in its order, best first; `tokens_N` are the response tokens of each.

        Where the ratio is one of tokens, the fewest pairs that hold so many; of whole pairs, the number that comes nearest.
        """
        if not tokens_N.size:
            return 0
        if self.of_pairs:
            return max(1, round(self.subset_ratio * tokens_N.size))
        held_N = np.cumsum(tokens_N)
        wanted = self.subset_ratio * float(held_N[-1])
        if self.nearest:
            return 1 + int(np.abs(held_N - wanted).argmin())
        # A hair less, so that a ratio of 1 does not ask for a pair more than there is.
        return 1 + min(int(np.searchsorted(held_N, wanted * (1 - 1e-12))), tokens_N.size - 1)
