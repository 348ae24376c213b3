"""Selection: from scored pairs to a weight per token. Imports neither Ray nor MLflow.

weights = select([ScoredPair.from_columns(row) for row in rows], "codeblock").weights
"""

from codeblock.selection.pair import ScoredPair, iter_pairs
from codeblock.selection.selection import Selection, select
from codeblock.selection.strategies import get_strategy, strategy, strategy_names

__all__ = ["ScoredPair", "Selection", "get_strategy", "iter_pairs", "select", "strategy", "strategy_names"]
