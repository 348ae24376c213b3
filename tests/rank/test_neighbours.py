"""The long-tail score against the plain formula, the index against brute force, the embeddings against one pair at a time."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from codeblock.filter.embed import mean_hidden
from codeblock.filter.long_tail import build_index, long_tail, neighbour_distance, score

from codeblock.filter import long_tail as module
from codeblock.models import load_model
from codeblock.schema import EMBEDDED
from codeblock.tables import part_name, parts, read_table, write_part


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def clusters(rng, rows, width=32, centres=50):
    """Crowds of different density, and rows that lie alone."""
    where = rng.normal(size=(centres, width))
    spread = rng.uniform(0.05, 0.5, centres)
    picked = rng.integers(0, centres, rows)
    return unit(where[picked] + spread[picked, None] * rng.normal(size=(rows, width))).astype(np.float16)


def write(embeddings, directory, block=300):
    for part, start in enumerate(range(0, len(embeddings), block)):
        rows = embeddings[start : start + block]
        ids = [f"id{start + row}" for row in range(len(rows))]
        column = pa.array(list(rows), EMBEDDED.field("embedding").type)
        write_part(directory / part_name(part), pa.table([ids, column], schema=EMBEDDED))


def naive_distance(embeddings):
    """Mean cosine distance to the 10 nearest others, from the whole matrix."""
    rows = embeddings.astype(np.float64)
    distance = 1 - unit(rows) @ unit(rows).T
    np.fill_diagonal(distance, np.inf)
    return np.sort(distance, axis=1)[:, :10].mean(axis=1)


def test_the_score_is_ds2s_formula_over_the_ten_nearest_others(tmp_path):
    embeddings = clusters(np.random.default_rng(0), 1000)
    embeddings[7] = embeddings[3]  # a pair of equal rows: each is the other's neighbour, and neither its own
    write(embeddings, tmp_path / "in")
    write_part(tmp_path / "in" / part_name(999), EMBEDDED.empty_table())
    facts = long_tail(tmp_path / "in", tmp_path / "out")
    table = read_table(tmp_path / "out")
    d = naive_distance(embeddings)
    assert table["id"].to_pylist() == [f"id{row}" for row in range(1000)]
    np.testing.assert_allclose(table["long_tail"].to_numpy(), 2 / (1 + np.exp(-d)) - 1, atol=2e-4)
    assert facts["exact"]
    assert facts["mean_long_tail"] == pytest.approx(table["long_tail"].to_numpy().mean())


def test_a_rare_pair_scores_above_a_common_one():
    assert score(np.array([0.0, 0.1, 1.0], dtype=np.float32)).tolist() == pytest.approx([0, 0.04996, 0.46212], abs=1e-5)


@pytest.mark.parametrize("rows", [0, 1, 2, 10])
def test_with_few_pairs_there_are_fewer_neighbours(tmp_path, rows):
    embeddings = clusters(np.random.default_rng(1), rows)
    write(embeddings, tmp_path / "in")
    long_tail(tmp_path / "in", tmp_path / "out")
    if rows == 0:
        assert parts(tmp_path / "out") == []
        return
    found = read_table(tmp_path / "out")["long_tail"].to_numpy()
    if rows == 1:
        assert found.tolist() == [0]
    if rows == 2:
        cosine = float(embeddings[0].astype(np.float64) @ embeddings[1].astype(np.float64))
        np.testing.assert_allclose(found, 2 / (1 + np.exp(cosine - 1)) - 1, atol=1e-3)


def test_the_index_for_many_rows_finds_nearly_all_neighbours(tmp_path, monkeypatch):
    embeddings = clusters(np.random.default_rng(2), 6000, centres=200)
    write(embeddings, tmp_path)
    write_part(tmp_path / part_name(999), EMBEDDED.empty_table())  # a part of which no pair was kept
    rows = embeddings.astype(np.float32)
    exact = build_index(parts(tmp_path))
    monkeypatch.setattr(module, "EXACT_ROWS", 1000)
    monkeypatch.setattr(module, "PROBES", 16)
    index = build_index(parts(tmp_path))
    truth, found = exact.search(rows, 11)[1], index.search(rows, 11)[1]
    recall = np.mean([len(set(one) & set(other)) / 11 for one, other in zip(truth, found, strict=True)])
    assert recall >= 0.97
    own = np.arange(6000)
    near, nearer = neighbour_distance(index, rows, own), neighbour_distance(exact, rows, own)
    assert np.corrcoef(near, nearer)[0, 1] > 0.99
    np.testing.assert_array_equal(near, neighbour_distance(build_index(parts(tmp_path)), rows, own))


@pytest.mark.parametrize("batch_tokens", [1, 64, 4096])
def test_an_embedding_is_the_mean_of_the_last_hidden_states_of_the_response(small_model, batch_tokens):
    model = load_model(str(small_model))
    rng = np.random.default_rng(0)
    rows = [rng.integers(3, 300, size=size) for size in (5, 40, 17, 40, 2)]
    starts = [2, 30, 1, 0, 1]
    found = mean_hidden(model, rows, starts, batch_tokens)
    for row, start, embedding in zip(rows, starts, found, strict=True):
        with torch.inference_mode():
            hidden = model(torch.from_numpy(row)[None], output_hidden_states=True).hidden_states[-1][0, start:]
        mean = hidden.mean(dim=0).numpy()
        np.testing.assert_allclose(embedding, mean / np.linalg.norm(mean), atol=1e-5)
