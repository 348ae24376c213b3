"""The one rule for which tokens are supervised: the column `selected` of schema SELECTED.

`weight` says how much a token's nll counts in the loss; with `select.background_weight` tokens that nobody chose have one too,
and at 1 it is that of the chosen ones. Which tokens a strategy chose is told by `selected` alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

COLUMN = "selected"


def supervised(selected: pa.Table) -> list[NDArray[np.bool_]]:
    """Which tokens of each row were chosen; bool[T] a row, stop tokens that come with a pair included."""
    values: list[NDArray[Any]] = list(selected[COLUMN].to_numpy(zero_copy_only=False))
    return [np.asarray(row, dtype=bool) for row in values]
