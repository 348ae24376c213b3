"""Prepared pairs with just the columns that a ranking reads."""

import pyarrow as pa
import pytest

from codeblock.core.schema import MESSAGES_TYPE
from codeblock.core.storage.tables import part_name, write_part
from codeblock.data.rank.pool import RankPool
from codeblock.sandbox.pool import Settings

WALLS = Settings(processes=1, allow_missing_layers=True)


def pair(instruction="", response="", quality=None, tokens=3):
    return {"instruction": instruction, "response": response, "quality": quality, "tokens": tokens}


def write_prepared(directory, rows, block=3):
    """Pairs with ids id0, id1 ... in parts of `block`; 2 tokens of prompt each."""
    for part, start in enumerate(range(0, len(rows), block)):
        some = rows[start : start + block]
        columns = {
            "dataset": pa.array([None] * len(some), pa.string()),
            "id": pa.array([f"id{start + row}" for row in range(len(some))]),
            "messages": pa.array([[{"role": "user", "content": row["instruction"]}] for row in some], MESSAGES_TYPE),
            "response": pa.array([row["response"] for row in some]),
            "quality": pa.array([row["quality"] for row in some], pa.float32()),
            "input_ids": pa.array([list(range(row["tokens"] + 2)) for row in some], pa.list_(pa.int32())),
            "response_start": pa.array([2] * len(some), pa.int32()),
        }
        write_part(directory / part_name(part), pa.table(columns))
    return directory


@pytest.fixture
def make_pool(tmp_path):
    """Makes a pool of pairs."""

    def make(rows, block=3, seed=0, **more):
        return RankPool(write_prepared(tmp_path / "prepared", rows, block), seed, tmp_path / "work", WALLS, **more)

    return make
