"""Keeping: the pool's best pairs in the order of their rank, as many as are needed and no part twice."""

import numpy as np
import pyarrow as pa
import pytest

from codeblock.core.storage.tables import parts, read_table, write_part
from codeblock.data.rank import keep as module
from codeblock.data.rank.keep import keep, pool_sizes


@pytest.fixture
def pool(tmp_path, monkeypatch):
    """25 pairs in parts of 7, their ranks a permutation; kept parts have 4 rows."""
    monkeypatch.setattr(module, "PART_ROWS", 4)
    monkeypatch.setattr(module, "WINDOW_PARTS", 2)
    ranks = np.random.default_rng(0).permutation(25)
    for number, start in enumerate(range(0, 25, 7)):
        rows = list(range(start, min(25, start + 7)))
        name = f"part-{number:06d}.parquet"
        write_part(
            tmp_path / "prepared" / name, pa.table({"id": [str(row) for row in rows], "response": ["é" * row for row in rows]})
        )
        write_part(
            tmp_path / "ranked" / name, pa.table({"id": [str(row) for row in rows], "rank": pa.array(ranks[rows], pa.int32())})
        )
    return tmp_path, [str(row) for row in np.argsort(ranks)]


def kept_ids(home):
    return read_table(home / "kept")["id"].to_pylist()


def test_the_best_pairs_are_written_in_order(pool):
    home, best_first = pool
    assert keep(home / "prepared", home / "ranked", home / "kept", 10) == {"kept": 12, "pool_pairs": 25}
    assert kept_ids(home) == best_first[:12]


def test_a_run_that_needs_more_adds_parts_to_those_that_are_there(pool):
    home, best_first = pool
    keep(home / "prepared", home / "ranked", home / "kept", 5)
    before = {path.name: path.stat().st_mtime_ns for path in parts(home / "kept")}
    keep(home / "prepared", home / "ranked", home / "kept", 1000)
    assert kept_ids(home) == best_first
    assert {path.name: path.stat().st_mtime_ns for path in parts(home / "kept")[:2]} == before


def test_the_pool_is_measured_before_and_after_the_filters(pool):
    home, _ = pool
    assert pool_sizes(home / "prepared", home / "prepared")["response_bytes"] == 2 * sum(range(25))
