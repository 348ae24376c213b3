"""The long-tail score against the plain formula, the index against brute force, the embeddings against one pair at a time."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from codeblock.core.errors import CodeBlockError
from codeblock.core.models.load import load_model
from codeblock.core.schema import EMBEDDED
from codeblock.core.storage.tables import part_name, parts, write_part
from codeblock.data.rank import neighbours as module
from codeblock.data.rank.embed import keep_layers, mean_hidden
from codeblock.data.rank.neighbours import build_index, distances_to_others, nearest_distances, score


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


def naive_distances(embeddings):
    """Cosine distances to the 10 nearest others, from the whole matrix."""
    rows = embeddings.astype(np.float64)
    distance = 1 - unit(rows) @ unit(rows).T
    np.fill_diagonal(distance, np.inf)
    return np.sort(distance, axis=1)[:, :10]


def test_the_score_is_ds2s_formula_over_the_ten_nearest_others(tmp_path):
    embeddings = clusters(np.random.default_rng(0), 1000)
    embeddings[7] = embeddings[3]  # a pair of equal rows: each is the other's neighbour, and neither its own
    write(embeddings, tmp_path)
    write_part(tmp_path / part_name(999), EMBEDDED.empty_table())
    found, naive = nearest_distances(tmp_path), naive_distances(embeddings)
    np.testing.assert_allclose(found, naive, atol=1e-3)
    assert found[7, 0] == pytest.approx(0, abs=1e-3)
    np.testing.assert_allclose(score(found), 2 / (1 + np.exp(-naive.mean(axis=1))) - 1, atol=2e-4)


def test_a_rare_pair_scores_above_a_common_one():
    rows = np.array([[0, 0], [0.1, 0.1], [0.5, 1.5], [0.1, np.nan], [np.nan, np.nan]], dtype=np.float32)
    assert score(rows).tolist() == pytest.approx([0, 0.04996, 0.46212, 0.04996, 0], abs=1e-5)


@pytest.mark.parametrize("rows", [0, 1, 2, 10])
def test_with_few_pairs_there_are_fewer_neighbours(tmp_path, rows):
    embeddings = clusters(np.random.default_rng(1), rows)
    write(embeddings, tmp_path)
    found = nearest_distances(tmp_path)
    assert found.shape == (rows, 10)
    assert np.isfinite(found).sum(axis=1).tolist() == [max(rows - 1, 0)] * rows
    if rows == 2:
        cosine = float(embeddings[0].astype(np.float64) @ embeddings[1].astype(np.float64))
        np.testing.assert_allclose(found[:, 0], 1 - cosine, atol=1e-3)


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
    near, nearer = score(distances_to_others(index, rows, own)), score(distances_to_others(exact, rows, own))
    assert np.corrcoef(near, nearer)[0, 1] > 0.99
    np.testing.assert_array_equal(near, score(distances_to_others(build_index(parts(tmp_path)), rows, own)))


def test_the_index_for_many_rows_does_not_depend_on_the_borders_of_the_parts(tmp_path, monkeypatch):
    embeddings = clusters(np.random.default_rng(3), 2000)
    write(embeddings, tmp_path / "one", block=300)
    write(embeddings, tmp_path / "other", block=77)
    monkeypatch.setattr(module, "EXACT_ROWS", 1000)
    monkeypatch.setattr(module, "TRAIN_ROWS_PER_CELL", 8)  # so that cells are made from some rows
    np.testing.assert_array_equal(nearest_distances(tmp_path / "one"), nearest_distances(tmp_path / "other"))


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


def test_the_first_layers_alone_give_their_own_hidden_states(small_model):
    """The decoder's last norm follows its first layer where the second one is taken out."""
    whole, first = load_model(str(small_model)), load_model(str(small_model))
    keep_layers(first, 1)
    row = np.arange(3, 20)
    with torch.inference_mode():
        hidden = whole(torch.from_numpy(row)[None], output_hidden_states=True).hidden_states[1]
        mean = whole.get_decoder().norm(hidden)[0].mean(dim=0).numpy()
    np.testing.assert_allclose(mean_hidden(first, [row], [0], 64)[0], mean / np.linalg.norm(mean), atol=1e-5)


def test_a_model_without_a_list_of_layers_is_an_error_of_one_line(small_model):
    model = load_model(str(small_model))
    model.get_decoder().layers = torch.nn.Sequential()
    with pytest.raises(CodeBlockError, match=r"rank\.embedding=layers: LlamaModel keeps no list of layers; use words"):
        keep_layers(model, 1)
