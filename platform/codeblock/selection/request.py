"""What one selection asks for, and what its passes over the parts know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from codeblock.core.config import BudgetScope, SelectConfig
from codeblock.core.shares import Shares
from codeblock.selection.pair import NO_POOL, PoolStatistics
from codeblock.selection.split import Ranked, Split, split_pairs
from codeblock.selection.strategies import Strategy, get_strategy, shares_of


@dataclass(frozen=True)
class SelectRequest:
    """What one selection asks for."""

    kept: Path
    """Segmented pairs, best first; those beyond what is asked for need not be there."""
    ranked: Path
    """The ranking of the whole pool (schema RANKED)."""
    strategy: str
    settings: SelectConfig
    held_out: Shares
    """The held-out pairs are drawn among the pairs that these shares keep."""
    scores: Mapping[str, Path] = field(default_factory=dict)
    """Directories of scores by column: the `nll` of the reference, and what a strategy needs of other models."""
    seed: int = 0
    """Of the strategy's random numbers."""
    split_seed: int = 0
    """Of the draw of the held-out pairs."""
    dev_pairs: int = 64
    share: tuple[int, int] = (0, 1)
    """The pairs and the budget of a round: its number, of how many."""

    @property
    def rule(self) -> Strategy:
        return get_strategy(self.strategy)

    @property
    def shares(self) -> Shares:
        """What is asked, as the strategy takes it."""
        return shares_of(self.rule, self.settings)

    def split(self) -> Split:
        """Which pairs the selection is made of."""
        ranked = Ranked.read(self.ranked, datasets=bool(self.shares.mixture or self.held_out.mixture))
        return split_pairs(ranked, self.shares, self.held_out, self.dev_pairs, self.split_seed, self.share)

    @property
    def scope(self) -> BudgetScope:
        """Within what the budget is spent: the strategy's own scope, else the one that is set."""
        return self.rule.scope or self.settings.scope

    @property
    def reranks(self) -> bool:
        """Whether what the rerank changes is found out."""
        return self.rule.budgeted and self.rule.reranks(self.settings)


@dataclass(frozen=True)
class Order:
    """A request, where its result goes, and what is known of all kept pairs."""

    request: SelectRequest
    output: Path
    pool: PoolStatistics = NO_POOL
    poor_below: float | None = None
    """The quality below which a pair counts as poor; None where no pair has one."""

    @property
    def candidates(self) -> Path:
        """Where the candidates lie until the weights are written."""
        return self.output / "candidates"
