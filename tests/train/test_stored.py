"""Pairs that are read from a file step by step are those that a list holds: the same pairs, batches and losses."""

from __future__ import annotations

import errno
import io
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from tests.train.test_driver import write_selected
from tests.train.test_loop import CPU, build, losses

from codeblock.core import schema
from codeblock.core.config import TrainConfig
from codeblock.core.storage import tables
from codeblock.train.loop import Session, plan_run
from codeblock.train.model import MaskedLM
from codeblock.train.rows import TokenPair, read_pairs, trim_all
from codeblock.train.stored import StoredPairs, store_pairs, supervised_of, survey


def same(one: TokenPair, other: TokenPair) -> bool:
    arrays = ("input_ids_T", "token_class_T", "weight_T", "selected_T")
    equal = all(np.array_equal(getattr(one, name), getattr(other, name)) for name in arrays)
    return equal and one.id == other.id and all(getattr(one, name).dtype == getattr(other, name).dtype for name in arrays)


def test_stored_pairs_are_those_of_the_naive_reading(tmp_path: Path) -> None:
    selected = write_selected(tmp_path)
    expected, saved = trim_all(read_pairs(selected, "train"))
    pairs, dev = store_pairs(selected)
    assert len(pairs) == len(expected) == saved.pairs == 40
    assert all(same(one, other) for one, other in zip(pairs, expected, strict=True))
    assert all(same(one, other) for one, other in zip(dev, read_pairs(selected, "dev"), strict=True))
    assert pairs.supervised_P.tolist() == supervised_of(expected).tolist() == [pair.supervised for pair in expected]
    assert pairs.largest_id == max(int(pair.input_ids_T.max()) for pair in expected)


def test_stored_pairs_are_counted_as_a_list_counts(tmp_path: Path) -> None:
    expected, _ = trim_all(read_pairs(write_selected(tmp_path), "train"))
    pairs = StoredPairs(expected)
    assert [pair.id for pair in pairs[1:7:2]] == [pair.id for pair in expected[1:7:2]]
    assert (pairs[-1].id, pairs[np.int64(3)].id) == (expected[-1].id, expected[3].id)
    with pytest.raises(IndexError):
        pairs[len(expected)]


def test_a_directory_for_temporary_files_without_room_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_selected(tmp_path)
    pairs = read_pairs(tmp_path, "train")

    class Full(io.BytesIO):
        def write(self, _: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", Full)
    with pytest.raises(OSError, match="No space left") as caught:
        StoredPairs(pairs)
    assert caught.value.filename == tempfile.gettempdir()


def test_a_held_out_pair_does_not_hold_its_part(tmp_path: Path) -> None:
    _, dev = store_pairs(write_selected(tmp_path))
    assert all(array.base is None for pair in dev for array in (pair.input_ids_T, pair.weight_T, pair.selected_T))


def test_the_survey_is_what_the_naive_reading_finds(tmp_path: Path) -> None:
    expected, saved = trim_all(read_pairs(write_selected(tmp_path), "train"))
    longest = max(expected, key=lambda pair: pair.inputs)
    found = survey(tmp_path)
    assert found.saved == saved
    assert (found.longest_id, found.longest) == (longest.id, longest.inputs)
    assert found.supervised_P.tolist() == [pair.supervised for pair in expected]


@pytest.mark.parametrize("batch", [{"batch_pairs": 7}, {"batch_supervised_tokens": 30}])
def test_the_plan_and_the_losses_are_those_of_pairs_in_memory(tmp_path: Path, batch: dict[str, int]) -> None:
    selected = write_selected(tmp_path, vocabulary=97)
    config = TrainConfig(steps=5, learning_rate=5e-3, dev_every=2, **batch)
    in_memory, _ = trim_all(read_pairs(selected, "train"))
    pairs, dev = store_pairs(selected)
    for one, other in zip(plan_run(supervised_of(in_memory), config, 3), plan_run(pairs.supervised_P, config, 3), strict=True):
        assert one.tolist() == other.tolist()

    def run(pairs: object, dev: object) -> Session:
        torch.manual_seed(0)
        session = Session(MaskedLM(build(torch.float64), config.dtype), pairs, dev, config, 3, CPU)  # type: ignore[arg-type]
        session.run()
        return session

    naive, stored = run(in_memory, read_pairs(selected, "dev")), run(pairs, dev)
    assert losses(stored) == losses(naive)
    assert stored.dev == naive.dev


def test_an_empty_selection_is_surveyed_as_such(tmp_path: Path) -> None:
    tables.write_part(tmp_path / tables.part_name(0), pa.Table.from_pylist([], schema=schema.SELECTED))
    found, (pairs, dev) = survey(tmp_path), store_pairs(tmp_path)
    assert (found.saved.pairs, found.supervised_P.size, found.longest, len(pairs), dev) == (0, 0, 0, 0, [])
