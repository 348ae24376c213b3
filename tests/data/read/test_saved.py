"""Folders that `save_to_disk` wrote are data sets: their rows in order, their descriptions none of them."""

import json

import pytest

from codeblock.core.config.pairs import PairsConfig
from codeblock.core.errors import CodeBlockError
from codeblock.core.storage.tables import read_table
from codeblock.data.read.files import data_sets, find_files
from codeblock.data.read.stage import read_pairs

datasets = pytest.importorskip("datasets")

ROWS = [{"instruction": f"Task {n}", "output": f"x = {n}"} for n in range(5)]


def responses(path, output, **settings):
    config = PairsConfig(path=str(path), **settings)
    assert read_pairs(data_sets(config), config, output)["reasons"] == {}
    return read_table(output)["response"].to_pylist()


def test_a_saved_dataset_is_read_in_the_order_of_its_rows(tmp_path):
    datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path / "saved", num_shards=3)
    (tmp_path / "saved" / "cache-1234.arrow").write_bytes(b"left by a map")
    assert responses(tmp_path / "saved", tmp_path / "out") == [row["output"] for row in ROWS]


def test_a_saved_dictionary_of_splits_gives_the_one_that_is_asked_for(tmp_path):
    splits = {"train": datasets.Dataset.from_list(ROWS[:3]), "test": datasets.Dataset.from_list(ROWS[3:])}
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "saved")
    assert responses(tmp_path / "saved", tmp_path / "1") == ["x = 0", "x = 1", "x = 2"]
    assert responses(tmp_path / "saved", tmp_path / "2", split="test") == ["x = 3", "x = 4"]
    with pytest.raises(CodeBlockError, match=r"no split dev; set pairs.split to one of train, test"):
        find_files(str(tmp_path / "saved"), "dev")
    datasets.DatasetDict({"all": splits["test"]}).save_to_disk(tmp_path / "one")
    assert responses(tmp_path / "one", tmp_path / "3") == ["x = 3", "x = 4"]


def test_saved_datasets_below_a_directory_stand_beside_other_files(tmp_path):
    datasets.Dataset.from_list(ROWS[:2]).save_to_disk(tmp_path / "data" / "saved")
    datasets.DatasetDict({"train": datasets.Dataset.from_list(ROWS[2:4])}).save_to_disk(tmp_path / "data" / "splits")
    (tmp_path / "data" / "more.jsonl").write_text(json.dumps(ROWS[4]))
    assert sorted(responses(tmp_path / "data", tmp_path / "out")) == [row["output"] for row in ROWS]


def test_a_part_that_is_missing_stops_the_run_in_one_line(tmp_path):
    datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path / "saved", num_shards=2)
    (tmp_path / "saved" / "data-00001-of-00002.arrow").unlink()
    with pytest.raises(CodeBlockError, match=r"data-00001-of-00002.arrow is missing of this saved dataset"):
        find_files(str(tmp_path / "saved"))


def test_conversations_survive_the_way_through_arrow(tmp_path):
    turns = [
        {"role": "user", "content": "Two and one?"},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "c1", "function": {"name": "add", "arguments": {"a": 2}}}]},
        {"role": "tool", "content": "3", "tool_call_id": "c1"},
        {"role": "assistant", "content": "x = 3"},
    ]
    rows = [{"messages": turns}, {"messages": [turns[0], {"role": "assistant", "content": "x = 1"}]}]
    datasets.Dataset.from_list(rows).save_to_disk(tmp_path / "saved")
    assert responses(tmp_path / "saved", tmp_path / "out") == ["x = 3", "x = 1"]
    first, second = read_table(tmp_path / "out")["messages"].to_pylist()
    assert [turn["tool_call_id"] for turn in first] == [None, None, "c1"]
    assert json.loads(first[1]["tool_calls"]) == [
        {"type": "function", "id": "c1", "function": {"name": "add", "arguments": {"a": 2}}}
    ]
    assert second == [{"role": "user", "content": "Two and one?", "name": None, "tool_calls": None, "tool_call_id": None}]


def test_a_dataset_in_memory_of_the_hub_client_is_read_as_a_table(tmp_path, monkeypatch):
    made = datasets.Dataset.from_list([{**row, "when": 2**40} for row in ROWS])
    made = made.cast_column("when", datasets.Value("date64"))
    monkeypatch.setattr("codeblock.data.read.stage.load_hub_dataset", lambda *_: made)
    assert responses("owner/name", tmp_path) == [row["output"] for row in ROWS]
