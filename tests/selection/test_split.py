"""Which pairs of a ranked pool are kept, and which are held out."""

import numpy as np
import pyarrow as pa
import pytest

from codeblock.core.errors import CodeBlockError
from codeblock.core.shares import Shares
from codeblock.core.storage.tables import write_part
from codeblock.selection.split import DEV, ROLES, TRAIN, Ranked, split_pairs

RANKED = Ranked.of([str(number) for number in range(40)], np.full(40, 3))


def of_pairs(ratio):
    return Shares(ratio / 2, 0.5, ratio, True)


def ids(names):
    return sorted(int(id_) for id_ in names)


def test_the_best_are_kept_in_the_order_of_their_rank(tmp_path):
    table = {
        "id": list("abcdef"),
        "tokens": pa.array([1, 2, 3, 4, 5, 6], pa.int32()),
        "rank": pa.array([5, 0, 3, 1, 4, 2], pa.int32()),
    }
    write_part(tmp_path / "part-000000.parquet", pa.table(table))
    ranked = Ranked.read(tmp_path)
    assert ranked.ids.to_pylist() == list("bdfcea")
    split = split_pairs(ranked, of_pairs(0.5), of_pairs(0.5), 0, seed=0)
    assert split.train == {"b", "d", "f"}
    assert (split.pool_pairs, split.pool_tokens, split.kept_tokens, split.reach) == (6, 21, 12, 3)


def test_held_out_pairs_are_drawn_among_those_that_would_be_kept():
    split = split_pairs(RANKED, of_pairs(0.25), of_pairs(0.25), 4, seed=0)
    assert len(split.dev) == 4
    assert max(ids(split.dev)) < 10 + 4
    assert len(split.train) == 9  # a quarter of the 36 that are not held out
    assert ids(split.train | split.dev) == list(range(13))
    assert split.reach == 13


def test_held_out_pairs_are_the_same_for_every_arm_and_at_most_a_tenth():
    splits = [split_pairs(RANKED, of_pairs(ratio), of_pairs(0.25), 100, seed=0) for ratio in (0.1, 0.25, 1.0)]
    assert len(splits[0].dev) == 4
    assert {split.dev for split in splits} == {splits[0].dev}
    assert split_pairs(RANKED, of_pairs(0.25), of_pairs(0.25), 100, seed=1).dev != splits[0].dev
    assert not splits[2].train & splits[2].dev


def test_a_ratio_of_tokens_counts_what_the_pairs_hold():
    ranked = Ranked.of(list("abcd"), np.array([10, 30, 10, 50]))
    split = split_pairs(ranked, Shares(0.2, 0.5, 0.4, False), of_pairs(1.0), 0, seed=0)
    assert (split.train, split.kept_tokens) == ({"a", "b"}, 40)


def test_equal_parts_of_the_kept_pairs_are_disjoint_and_complete():
    whole = split_pairs(RANKED, of_pairs(0.8), of_pairs(0.8), 4, 0)
    shares = [split_pairs(RANKED, of_pairs(0.8), of_pairs(0.8), 4, 0, (number, 3)) for number in range(3)]
    assert frozenset.union(*(share.train for share in shares)) == whole.train
    assert sum(len(share.train) for share in shares) == len(whole.train)
    assert all(share.dev == whole.dev for share in shares)
    assert {share.reach for share in shares} == {whole.reach}


def test_roles_of_a_part_are_found_by_its_ranks_and_end_with_the_kept_share():
    split = split_pairs(RANKED, of_pairs(0.25), of_pairs(0.25), 4, seed=0)  # reach 13
    parts = [pa.chunked_array([RANKED.ids.slice(start, 8)]) for start in (0, 8, 16)]
    roles = [ROLES[role] for start, part in zip((0, 8, 16), parts, strict=True) for role in split.roles(start, part).tolist()]
    named = dict(zip(RANKED.ids.to_pylist(), roles, strict=False))
    assert {id_ for id_, role in named.items() if role == TRAIN} == split.train
    assert {id_ for id_, role in named.items() if role == DEV} == split.dev
    assert roles[13:] == [""] * 11
    assert (split.count(TRAIN), split.count(DEV)) == (9, 4)
    with pytest.raises(CodeBlockError, match="from rank 0 on are not those of the ranking"):
        split.roles(0, parts[1])
