"""Near duplicates: what is found, what is kept, and that neither memory limits nor order change it."""

import random

import numpy as np
import pytest

from codeblock.data.filter import group as group_module
from codeblock.data.filter.group import SignatureStore, group
from codeblock.data.filter.minhash import PERMUTATIONS, band_hashes, bands_for, signatures
from codeblock.data.filter.words import pair_text, runs, words

THRESHOLD = 0.8


def jaccard(one, other):
    """Of the shingles themselves."""
    first, second = set(runs(one, 5)), set(runs(other, 5))
    return len(first & second) / len(first | second)


def store_of(signed, directory, block=100):
    bands = bands_for(THRESHOLD)
    store = SignatureStore(directory, bands.count)
    for start in range(0, len(signed), block):
        store.add(signed[start : start + block], band_hashes(signed[start : start + block], bands))
    return store


def edited(rng, text):
    """A copy with one word of 200, 60 or 10 changed, at least one, wherever they are."""
    copy = list(text)
    for place in rng.sample(range(len(copy)), max(1, len(copy) // rng.choice([200, 60, 10]))):
        copy[place] = "renamed"
    return copy


def related_signatures(rng, rows, families):
    """Signatures in families of different likeness, and unrelated ones: any threshold has rows just above and below it."""
    signed = rng.integers(0, 2**32, (rows, PERMUTATIONS), dtype=np.uint32)
    for row in rng.permutation(rows)[: rows // 2]:
        source = signed[rng.integers(0, families)]
        copied = rng.random(PERMUTATIONS) < rng.uniform(0.6, 1.0)
        signed[row] = np.where(copied, source, signed[row])
    return signed


def test_the_estimate_is_near_the_similarity_of_the_shingles():
    rng = random.Random(0)
    base = [str(rng.randrange(10**6)) for _ in range(400)]
    for changed in (0, 4, 20, 60):
        other = base[: 400 - changed] + [f"x{number}" for number in range(changed)]
        first, second = signatures([base, other])
        assert (first == second).mean() == pytest.approx(jaccard(base, other), abs=0.12)


def test_signatures_are_equal_from_run_to_run():
    (signature,) = signatures([words("def add(a, b): return a + b")])
    assert signature[:3].tolist() == [336908080, 1541767893, 2074637365]


def test_texts_without_a_word_are_alike_only_where_they_are_equal():
    one, same, other = signatures([words("+ - *"), words(" + - *"), words("??")])
    assert (one == same).all()
    assert (one == other).mean() < 0.1


def test_every_lost_row_is_a_near_duplicate_of_a_kept_row_before_it(tmp_path):
    signed = related_signatures(np.random.default_rng(0), 4000, 200)
    groups = group(store_of(signed, tmp_path), THRESHOLD)
    lost = np.flatnonzero(groups.owner != np.arange(4000))
    assert lost.size > 200
    owners = groups.owner[lost]
    assert (owners < lost).all()
    assert (groups.owner[owners] == owners).all()
    likeness = (signed[lost] == signed[owners]).mean(axis=1)
    np.testing.assert_allclose(groups.jaccard[lost], likeness)
    assert likeness.min() >= THRESHOLD


def test_almost_no_pair_of_near_duplicates_is_kept(tmp_path):
    signed = related_signatures(np.random.default_rng(1), 2000, 100)
    groups = group(store_of(signed, tmp_path), THRESHOLD)
    kept = np.flatnonzero(groups.owner == np.arange(2000))
    likeness = np.array([(signed[kept] == signed[row]).mean(axis=1) for row in kept])
    left = np.flatnonzero((np.triu(likeness, 1) >= THRESHOLD).any(axis=0)).size
    assert left <= 0.05 * (2000 - kept.size)


def test_a_chain_does_not_pull_in_what_is_unlike_its_first_row(tmp_path):
    rng = np.random.default_rng(2)
    first = rng.integers(0, 2**32, PERMUTATIONS, dtype=np.uint32)
    fresh = rng.integers(0, 2**32, (3, PERMUTATIONS), dtype=np.uint32)
    second, third, fourth = first.copy(), first.copy(), first.copy()
    second[112:] = fresh[0, 112:]  # 0.875 to the first
    third[96:] = np.append(fresh[1, 96:112], fresh[0, 112:])  # 0.875 to the second, 0.75 to the first
    fourth[:] = third
    fourth[96:98] = fresh[2, 96:98]  # 0.98 to the third
    groups = group(store_of(np.array([first, second, third, fourth]), tmp_path), THRESHOLD)
    assert groups.owner.tolist() == [0, 0, 2, 2]


@pytest.mark.parametrize("chunk", [7, 100])
def test_the_memory_limit_does_not_change_what_is_kept(tmp_path, monkeypatch, chunk):
    signed = related_signatures(np.random.default_rng(3), 1500, 300)
    whole = group(store_of(signed, tmp_path / "a"), THRESHOLD)
    monkeypatch.setattr(group_module, "CHUNK_ROWS", chunk)
    pieces = group(store_of(signed, tmp_path / "b", block=13), THRESHOLD)
    differing = np.count_nonzero((whole.owner == np.arange(1500)) != (pieces.owner == np.arange(1500)))
    assert differing <= (5 if chunk == 7 else 0)  # a bucket of more rows than a chunk is cut, and the other bands have to do


def test_a_bucket_of_many_equal_rows_keeps_the_first(tmp_path, monkeypatch):
    monkeypatch.setattr(group_module, "CHUNK_ROWS", 64)
    signed = np.repeat(related_signatures(np.random.default_rng(4), 1, 1), 1000, axis=0)
    assert set(group(store_of(signed, tmp_path), THRESHOLD).owner.tolist()) == {0}


@pytest.mark.parametrize("threshold", [0.01, 0.5, 0.7, 0.8, 0.9, 0.99, 1.0])
def test_bands_find_nearly_every_pair_just_above_any_threshold(threshold):
    bands = bands_for(threshold)
    assert bands.count * bands.width <= PERMUTATIONS
    assert 1 - (1 - min(1, threshold + 0.05) ** bands.width) ** bands.count > 0.98


def test_no_rows_and_one_row(tmp_path):
    for count in (0, 1):
        groups = group(store_of(related_signatures(np.random.default_rng(5), 1, 1)[:count], tmp_path / str(count)), THRESHOLD)
        assert groups.owner.tolist() == list(range(count))


def test_edited_copies_of_real_pairs_are_found(codealpaca, tmp_path):
    """Of 500 copies with small edits, those above the threshold are found: nearly all from 0.85 on."""
    rng = random.Random(0)
    texts = [words(pair_text(row["messages"], row["response"])) for row in codealpaca.slice(0, 6000).to_pylist()]
    texts = [text for text in texts if len(text) >= 40]
    sources = rng.sample(range(len(texts)), 500)
    copies = [edited(rng, texts[source]) for source in sources]
    exact = np.array([jaccard(texts[source], copy) for source, copy in zip(sources, copies, strict=True)])
    groups = group(store_of(signatures(texts + copies), tmp_path), THRESHOLD)
    found = groups.owner[len(texts) :] != np.arange(len(texts), len(texts) + len(copies))
    clear = exact >= 0.85
    assert clear.sum() > 150
    assert found[clear].mean() >= 0.97
    assert found[exact < 0.65].mean() <= 0.02
    originals = groups.owner[: len(texts)]
    assert np.count_nonzero(originals != np.arange(len(texts))) <= 5
