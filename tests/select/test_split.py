"""Which pairs are kept: by quality, and by rarity within a bin of quality."""

import numpy as np
import pyarrow as pa
import pytest

from codeblock.schema import LONG_TAIL
from codeblock.select.split import split_pairs
from codeblock.tables import part_name, write_part


@pytest.fixture
def scored(tmp_path):
    """Writes pairs of 3 response tokens with given qualities, in parts of 4; ids are their numbers."""

    def write(qualities):
        for part, start in enumerate(range(0, len(qualities), 4)):
            some = qualities[start : start + 4]
            columns = {
                "id": [str(start + row) for row in range(len(some))],
                "quality": pa.array(some, pa.float32()),
                "input_ids": [[1, 2, 3, 4, 5]] * len(some),
                "response_start": [2] * len(some),
            }
            write_part(tmp_path / "scored" / part_name(part), pa.table(columns))
        return tmp_path / "scored"

    return write


@pytest.fixture
def rarity(tmp_path):
    """Writes long-tail scores of the same pairs."""

    def write(scores):
        for part, start in enumerate(range(0, len(scores), 4)):
            some = scores[start : start + 4]
            ids = [str(start + row) for row in range(len(some))]
            table = pa.table([ids, pa.array(some, pa.float32())], schema=LONG_TAIL)
            write_part(tmp_path / "long_tail" / part_name(part), table)
        return tmp_path / "long_tail"

    return write


def kept(split):
    return sorted(int(id_) for id_ in split.train)


def test_the_best_quality_is_kept_and_pairs_without_one_come_last(scored):
    split = split_pairs(scored([0.2, None, 0.9, 0.5, float("nan"), 0.91]), 0.5, 0, seed=0)
    assert kept(split) == [2, 3, 5]
    assert (split.pool_pairs, split.pool_tokens) == (6, 18)


def test_with_a_long_tail_the_rarest_of_a_bin_are_kept(scored, rarity):
    """Shares: 0.81 and 0.95 are one bin, 1.0 is above it, 0.79 below."""
    qualities, scores = [0.95, 0.81, 1.0, 0.79, None, 0.9], [0.1, 0.3, 0.0, 0.9, 0.9, 0.2]
    assert kept(split_pairs(scored(qualities), 0.5, 0, 0, rarity(scores))) == [1, 2, 5]
    assert kept(split_pairs(scored(qualities), 0.5, 0, 0)) == [0, 2, 5]


def test_a_column_from_zero_to_five_is_binned_as_it_is(scored, rarity):
    """The largest value tells the scale: above 1 it is no share."""
    assert kept(split_pairs(scored([4.2, 4.9, 1.0, 0.5]), 0.25, 0, 0, rarity([0.5, 0.1, 0.9, 0.9]))) == [0]


def test_without_any_quality_rarity_alone_ranks(scored, rarity):
    scores = np.random.default_rng(0).random(20)
    split = split_pairs(scored([None] * 20), 0.25, 0, 0, rarity(scores))
    assert kept(split) == sorted(np.argsort(-scores)[:5].tolist())


def test_held_out_pairs_do_not_depend_on_the_ranking(scored, rarity):
    qualities, scores = np.linspace(0, 1, 40).tolist(), np.linspace(1, 0, 40)
    plain = split_pairs(scored(qualities), 0.5, 4, 0)
    assert len(plain.dev) == 4
    assert split_pairs(scored(qualities), 0.3, 4, 0, rarity(scores)).dev == plain.dev
