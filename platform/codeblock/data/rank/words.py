"""A cheap embedding of pairs: hashed n-grams of words, weighted by rarity, reduced by a singular value decomposition. [ours]

Latent semantic analysis (Deerwester et al. 1990) by scikit-learn; two passes over the texts, no model.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from codeblock.core.schema import EMBEDDED
from codeblock.core.storage.tables import count_rows, parts, read_part, write_part
from codeblock.data.filter.words import pair_text, runs, words

DIMENSIONS = 64
FEATURES = 2**16
WEAKEST = 1e-4
"""Directions of a smaller singular value, relative to the largest, are noise and left out."""
FITTED_ROWS = 20_000
"""The decomposition is made from at most so many texts, taken from all over the pool."""
_SEED = 1


def embed_words(prepared: Path, output: Path) -> None:
    """Embed the parts of `prepared` into parts of `output` of the same names (schema EMBEDDED): unit vectors."""
    from sklearn.preprocessing import normalize

    rows = count_rows(prepared)
    step = max(1, -(-rows // FITTED_ROWS))
    fitted = fit([text for row, text in enumerate(_texts(prepared)) if row % step == 0]) if rows > 1 else None
    for path in parts(prepared):
        table = read_part(path, ["id", "messages", "response"])
        vectors = normalize(fitted.transform(_part_texts(table))) if fitted and table.num_rows else np.ones((table.num_rows, 1))
        column = pa.array(list(np.asarray(vectors, dtype=np.float16)), EMBEDDED.field("embedding").type)
        write_part(output / path.name, pa.table([table["id"], column], schema=EMBEDDED))


def fit(texts: list[str]) -> Any:
    """The embedding that some texts ask for, at least two. Equal texts give an equal one: the decomposition starts from a fixed
    seed."""
    # scikit-learn takes most of a second to import, and few commands rank pairs.
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
    from sklearn.pipeline import make_pipeline

    steps = make_pipeline(
        HashingVectorizer(n_features=FEATURES, analyzer=_grams, alternate_sign=False, norm=None),
        TfidfTransformer(sublinear_tf=True),
        # Lanczos iterations: exact, and faster on rows as sparse as these than the randomised solver.
        TruncatedSVD(min(DIMENSIONS, len(texts) - 1), algorithm="arpack", random_state=_SEED),
    )
    with np.errstate(invalid="ignore", divide="ignore"):  # the share of variance explained of equal texts, which nobody reads
        steps.fit(texts)
    svd = steps[2]
    svd.components_ = svd.components_[svd.singular_values_ > WEAKEST * svd.singular_values_[0]]
    return steps


def _grams(text: str) -> list[str]:
    sequence = words(text)
    return sequence + runs(sequence, 2)


def _texts(prepared: Path) -> Iterator[str]:
    for path in parts(prepared):
        yield from _part_texts(read_part(path, ["messages", "response"]))


def _part_texts(table: pa.Table) -> list[str]:
    rows = zip(table["messages"].to_pylist(), table["response"].to_pylist(), strict=True)
    return [pair_text(messages, response) for messages, response in rows]
