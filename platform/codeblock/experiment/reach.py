"""How far into the ranked pool the arms of a config reach: so many pairs are kept and scored."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pyarrow as pa

from codeblock.core.config import Config
from codeblock.core.storage.tables import read_table
from codeblock.experiment.cache import Step
from codeblock.selection.split import Ranked, split_pairs
from codeblock.selection.strategies import get_strategy, shares_of


@dataclass
class Reach:
    """Called, the number of ranks that some arm looks at, held-out pairs included; infinity until the pool is ranked."""

    config: Config
    ranked: Step
    _found: int | None = None

    def __call__(self) -> float:
        if self._found is None and self.ranked.facts is not None:
            self._found = self._find()
        return math.inf if self._found is None else self._found

    def ids(self) -> pa.StringArray | None:
        """The ids of these pairs; None until the pool is ranked."""
        return None if self.ranked.facts is None else Ranked.read(self.ranked.directory).ids.slice(0, int(self()))

    def _find(self) -> int:
        config = self.config
        trained = {name: arm.strategy for name, arm in config.arms.items() if arm.strategy is not None}
        asked = {shares_of(get_strategy(strategy), config.settings_of(name)) for name, strategy in trained.items()}
        ranked = Ranked.read(self.ranked.directory, datasets=any(shares.mixture for shares in (*asked, config.select.shares)))
        held_out = config.select.shares, config.train.dev_pairs, config.seed
        return max((split_pairs(ranked, shares, *held_out).reach for shares in asked), default=0)


def ids_of(step: Step) -> pa.StringArray | None:
    """Ids of all pairs that a step has written; None where it is not done."""
    return None if step.facts is None else read_table(step.directory, ["id"])["id"].combine_chunks()
