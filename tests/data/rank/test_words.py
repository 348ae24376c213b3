"""The embedding of words: unit vectors, alike for like texts, whatever the borders of the parts."""

import numpy as np
import pytest
from tests.data.rank.conftest import pair, write_prepared

from codeblock.core.storage.tables import parts
from codeblock.data.rank import words as module
from codeblock.data.rank.neighbours import embeddings_of
from codeblock.data.rank.words import embed_words

TEXTS = ["sort a list of numbers", "sort the list of words", "draw a red circle", "draw a blue circle", "open a file"]


def embedded(tmp_path, rows, block):
    embed_words(write_prepared(tmp_path / f"in{block}", rows, block), tmp_path / f"out{block}")
    return np.concatenate([embeddings_of(path) for path in parts(tmp_path / f"out{block}")])


def test_texts_that_share_words_are_near_each_other(tmp_path):
    rows = embedded(tmp_path, [pair(text) for text in TEXTS * 3], 4)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-3)
    similar = rows @ rows.T
    np.testing.assert_allclose(similar[0, [5, 10]], 1, atol=2e-3)  # the same text again
    assert similar[0, 1] > 0.3 > similar[0, 2]
    assert similar[2, 3] > 0.3 > similar[3, 4]


def test_the_borders_of_parts_do_not_matter(tmp_path):
    rows = [pair(text) for text in TEXTS * 4]
    one, other = embedded(tmp_path, rows, 3), embedded(tmp_path, rows, 20)
    np.testing.assert_allclose(one @ one.T, other @ other.T, atol=1e-3)  # directions may change their signs


def test_a_large_pool_is_fitted_on_rows_from_all_over_it(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FITTED_ROWS", 7)
    rows = [pair(text) for text in TEXTS * 4]
    found = embedded(tmp_path, rows, 3)
    assert found.shape == (20, 5)  # every third row is fitted, 7 in all, and five of them are different
    other = embedded(tmp_path, rows, 8)
    np.testing.assert_allclose(found @ found.T, other @ other.T, atol=1e-3)


@pytest.mark.parametrize("texts", [[], ["one"], ["same", "same"], ["", "!"]])
def test_small_and_empty_pools(tmp_path, texts):
    rows = [pair(text) for text in texts]
    embed_words(write_prepared(tmp_path / "in", rows), tmp_path / "out")
    found = [embeddings_of(path) for path in parts(tmp_path / "out")]
    assert sum(len(rows) for rows in found) == len(texts)
