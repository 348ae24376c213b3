"""Reading a selected table, trimming tails, dropping pairs without a loss, and counting both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from codeblock.core import schema
from codeblock.core.errors import CodeBlockError
from codeblock.core.storage import tables
from codeblock.train.rows import read_pairs, trim, trim_all


def row(id_: str, weights: list[float], split: str = "train", **changes: Any) -> dict[str, Any]:
    count = len(weights)
    return {
        "id": id_,
        "split": split,
        "input_ids": list(range(10, 10 + count)),
        "token_class": [0, *[3] * (count - 1)],
        "weight": weights,
        **changes,
    }


def write(directory: Path, *parts: list[dict[str, Any]]) -> Path:
    for number, rows in enumerate(parts):
        table = pa.Table.from_pylist(rows, schema=schema.SELECTED)
        tables.write_part(directory / tables.part_name(number), table)
    return directory


def test_splits_are_read_apart_over_all_parts(tmp_path: Path) -> None:
    selected = write(tmp_path, [row("a", [0, 1]), row("b", [0, 0.5], "dev")], [row("c", [0, 0, 1])])
    assert [pair.id for pair in read_pairs(selected, "train")] == ["a", "c"]
    (dev,) = read_pairs(selected, "dev")
    assert (dev.id, dev.input_ids_T.tolist(), dev.weight_T.tolist()) == ("b", [10, 11], [0, 0.5])


def test_a_pair_is_cut_after_its_last_supervised_token(tmp_path: Path) -> None:
    (pair,) = read_pairs(write(tmp_path, [row("a", [0, 0, 0.5, 0, 1, 0, 0])]), "train")
    assert trim(pair).input_ids_T.tolist() == [10, 11, 12, 13, 14]
    assert (pair.inputs, trim(pair).inputs) == (6, 4)
    assert (trim(pair).supervised, trim(pair).weight) == (2, 1.5)


def test_every_input_is_kept_cut_or_dropped_and_counted(tmp_path: Path) -> None:
    rows = [row("a", [0, 1, 0, 0]), row("none", [0, 0, 0]), row("whole", [0, 1, 1])]
    pairs, saved = trim_all(read_pairs(write(tmp_path, rows), "train"))
    assert [pair.id for pair in pairs] == ["a", "whole"]
    assert (saved.pairs, saved.dropped_pairs) == (2, 1)
    assert (saved.kept_inputs, saved.tail_inputs, saved.dropped_inputs) == (1 + 2, 2, 2)


def test_a_weight_on_the_first_token_supervises_nothing_since_nothing_predicts_it(tmp_path: Path) -> None:
    pairs, saved = trim_all(read_pairs(write(tmp_path, [row("a", [1, 0, 0])]), "train"))
    assert (pairs, saved.dropped_pairs) == ([], 1)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"weight": [0, 1]}, "bad: 3 tokens, 3 classes, 2 weights"),
        ({"weight": [0, -1, 0]}, "bad: a weight is negative"),
        ({"weight": [0, float("nan"), 0]}, "bad: a weight is negative or not finite"),
        ({"weight": [], "input_ids": [], "token_class": []}, "bad: 0 tokens"),
    ],
)
def test_a_broken_row_is_named(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    selected = write(tmp_path, [row("good", [0, 1, 0]), row("bad", [0, 1, 0], **changes)])
    with pytest.raises(CodeBlockError, match=said):
        read_pairs(selected, "train")


def test_rows_of_a_sliced_table_are_the_right_ones(tmp_path: Path) -> None:
    table = pa.Table.from_pylist([row(str(number), [0.0] * number + [1.0]) for number in range(1, 6)], schema.SELECTED)
    tables.write_part(tmp_path / tables.part_name(0), table.slice(2, 2))
    pairs = read_pairs(tmp_path, "train")
    assert [(pair.id, pair.inputs, int(np.argmax(pair.weight_T))) for pair in pairs] == [("3", 3, 3), ("4", 4, 4)]
