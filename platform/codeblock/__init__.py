"""CodeBlock: which parts of code responses deserve a loss.

    from codeblock import grade, score_pairs, segment, select, sparse_cross_entropy

The library in five functions, without Ray and MLflow. Each imports what it needs when it is called; where it is from is where
its arguments are described in full.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from codeblock.moved import Finder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray
    from torch import Tensor

    from codeblock.core.config import PrepareConfig, SelectConfig
    from codeblock.evaluate import Benchmark, GradeResult, Sample, Settings
    from codeblock.segmentation import Segmentation
    from codeblock.selection import ScoredPair, Selection
    from codeblock.train.loss import Head

sys.meta_path.append(Finder())  # last: it is asked for names that nothing else finds

__all__ = ["grade", "score_pairs", "segment", "select", "sparse_cross_entropy"]


def segment(
    source: str,
    language: str | None = None,
    *,
    max_item_tokens: int = 64,
    token_starts: NDArray[np.int32] | None = None,
    mutation_defines: bool = False,
) -> Segmentation:
    """Coding items, core tokens and data flow of a piece of code (`codeblock.segmentation.segment`)."""
    from codeblock import segmentation

    return segmentation.segment(
        source, language, max_item_tokens=max_item_tokens, token_starts=token_starts, mutation_defines=mutation_defines
    )


def score_pairs(
    pairs: Iterable[Mapping[str, Any]],
    tokenizer: Any,
    model: Any,
    config: PrepareConfig | None = None,
    batch_tokens: int = 8192,
) -> pa.Table:
    """Pairs in memory as rows of tokens, items and their losses under a reference model (`codeblock.library.score_pairs`)."""
    from codeblock import library

    return library.score_pairs(pairs, tokenizer, model, config, batch_tokens)


def select(
    pairs: Iterable[ScoredPair],
    strategy: str,
    settings: SelectConfig | None = None,
    *,
    seed: int = 0,
    pool_tokens: int | None = None,
) -> Selection:
    """Which tokens of these pairs get a loss (`codeblock.selection.select`)."""
    from codeblock import selection

    return selection.select(pairs, strategy, settings, seed=seed, pool_tokens=pool_tokens)


def sparse_cross_entropy(hidden_ND: Tensor, lm_head: Head, targets_N: Tensor, weights_N: Tensor, chunk: int = 1024) -> Tensor:
    """The summed loss, with logits at the supervised positions alone (`codeblock.train.loss.sparse_cross_entropy`)."""
    from codeblock.train import loss

    return loss.sparse_cross_entropy(hidden_ND, lm_head, targets_N, weights_N, chunk)


def grade(samples: Iterable[Sample | Mapping[str, Any]], benchmark: Benchmark, settings: Settings | None = None) -> GradeResult:
    """Verdicts and pass@k of samples of a benchmark, each run in a sandbox (`codeblock.evaluate.grade`)."""
    from codeblock import evaluate

    return evaluate.grade(samples, benchmark, settings)
