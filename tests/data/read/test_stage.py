"""Reading pairs: every row of the input is kept or in the table of rejections."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from codeblock.core.config.pairs import PairsConfig, PairsSource
from codeblock.core.errors import CodeBlockError
from codeblock.core.schema import Reason
from codeblock.core.storage.tables import read_table
from codeblock.data.read.files import DataSet, data_sets, find_files, fingerprint, sources_of
from codeblock.data.read.stage import read_pairs

ROWS = [{"instruction": f"Task {i}", "output": f"x = {i}"} for i in range(5)]


def read(path, output, **settings):
    config = PairsConfig(path=str(path), **settings)
    return read_pairs(data_sets(config), config, output)


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_all_formats_hold_the_same_rows(tmp_path):
    lines = write_jsonl(tmp_path / "a.jsonl", ROWS)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(lines.read_bytes()))
    (tmp_path / "c.json").write_text(json.dumps(ROWS))
    (tmp_path / "d.json").write_text(json.dumps({"version": 1, "data": ROWS}, indent=2))
    (tmp_path / "e.json").write_bytes(lines.read_bytes())
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "f.parquet")
    for name in ("a.jsonl", "b.jsonl.gz", "c.json", "d.json", "e.json", "f.parquet"):
        output = tmp_path / f"out_{name}"
        assert read(tmp_path / name, output)["kept"] == 5, name
        assert read_table(output)["response"].to_pylist() == [row["output"] for row in ROWS], name


def test_a_directory_a_glob_and_a_uri_are_read(tmp_path):
    data = tmp_path / "data"
    (data / "deep").mkdir(parents=True)
    write_jsonl(data / "a.jsonl", ROWS[:2])
    write_jsonl(data / "deep" / "b.jsonl", ROWS[2:])
    (data / "notes.txt").write_text("not data")
    assert read(data, tmp_path / "1")["kept"] == 5
    assert read(data / "*.jsonl", tmp_path / "2")["kept"] == 2
    assert read(f"file://{data}/a.jsonl", tmp_path / "3")["kept"] == 2


def test_a_memory_file_system_is_read(tmp_path):
    import fsspec

    with fsspec.open("memory://pairs/a.jsonl", "wb") as file:
        file.write(b'{"instruction": "Add.", "output": "x"}\n')
    assert read("memory://pairs", tmp_path)["kept"] == 1


def test_bad_lines_are_rejected_with_their_place_and_the_rest_goes_on(tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_bytes(
        b'{"instruction": "Add.", "output": "x"}\n'
        b'{"instruction": "Add.", "output": \n'
        b'{"instruction": "Add.", "output": "\xff"}\n'
        b"[1, 2]\n"
        b'{"instruction": "Add."}\n'
        b'{"instruction": "Add.", "output": "x"}\n'
        b'{"instruction": "Add.", "output": "' + b"y" * 5_000_000 + b'"}\n'
    )
    facts = read(path, tmp_path / "out")
    rejected = {row["source"]: row["reason"] for row in read_table(tmp_path / "out" / "rejected").to_pylist()}
    assert rejected == {
        "bad.jsonl:2": Reason.INVALID_JSON,
        "bad.jsonl:3": Reason.NOT_UTF8,
        "bad.jsonl:4": Reason.NOT_AN_OBJECT,
        "bad.jsonl:5": Reason.MISSING_COLUMN,
        "bad.jsonl:6": Reason.DUPLICATE,
        "bad.jsonl:7": Reason.RESPONSE_TOO_LARGE,
    }
    assert facts["read"] == facts["kept"] + sum(facts["reasons"].values()) == 7


def test_limit_counts_rows_over_all_files(tmp_path):
    write_jsonl(tmp_path / "a.jsonl", ROWS[:3])
    write_jsonl(tmp_path / "b.jsonl", ROWS[3:])
    assert read(tmp_path, tmp_path / "out", limit=4)["read"] == 4


def test_joined_data_sets_have_their_own_columns_and_each_pair_knows_its_own(tmp_path):
    write_jsonl(tmp_path / "one.jsonl", ROWS)
    (tmp_path / "two").mkdir()
    asked = [{"task": "Task 1", "code": "x = 1"}, {"task": "Task 9", "code": "x = 9"}, {"task": "Task 10", "code": ""}]
    write_jsonl(tmp_path / "two" / "rows.jsonl", asked)
    config = PairsConfig(
        path=[
            str(tmp_path / "one.jsonl"),
            {"path": str(tmp_path / "two"), "columns": {"instruction": "task", "response": "code"}},
        ]
    )
    facts = read_pairs(data_sets(config), config, tmp_path / "out")
    assert facts == {
        "read": 8,
        "kept": 6,
        "datasets": {"one": {"read": 5, "kept": 5}, "two": {"read": 3, "kept": 1}},
        "reasons": {"duplicate": 1, "empty_response": 1},
    }
    rows = read_table(tmp_path / "out").to_pylist()
    assert [(row["dataset"], row["source"], row["response"]) for row in rows[4:]] == [
        ("one", "one/one.jsonl:5", "x = 4"),
        ("two", "two/rows.jsonl:2", "x = 9"),
    ]
    rejected = [(row["source"], row["reason"]) for row in read_table(tmp_path / "out" / "rejected").to_pylist()]
    assert rejected == [("two/rows.jsonl:1", Reason.DUPLICATE), ("two/rows.jsonl:3", Reason.EMPTY_RESPONSE)]


def test_the_files_of_the_only_data_set_are_read_as_it(tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text('{"instruction": "Add.", "output": "x = 1"}\n')
    config = PairsConfig(path=str(tmp_path / "pairs.jsonl"))
    facts = read_pairs(find_files(config.path), config, tmp_path / "out")
    assert facts["datasets"] == {"pairs": {"read": 1, "kept": 1}}


def test_a_data_set_without_columns_has_those_of_the_section(tmp_path):
    paths = [str(write_jsonl(tmp_path / f"{name}.jsonl", [{"q": name, "a": "x = 1"}])) for name in "ab"]
    config = PairsConfig(path=paths, columns={"instruction": "q", "response": "a"})
    assert read_pairs(data_sets(config), config, tmp_path / "out")["kept"] == 2


def test_the_limit_is_that_of_all_data_sets_together(tmp_path):
    paths = [str(write_jsonl(tmp_path / "a.jsonl", ROWS[:3])), str(write_jsonl(tmp_path / "b.jsonl", ROWS[3:]))]
    config = PairsConfig(path=paths, limit=4)
    facts = read_pairs(data_sets(config), config, tmp_path / "out")
    assert facts["datasets"] == {"a": {"read": 3, "kept": 3}, "b": {"read": 1, "kept": 1}}


def test_data_sets_are_named_by_the_last_part_of_their_path_and_told_apart():
    paths = ["tiny", "data/a.jsonl.gz", "s3://bucket/a.json", "data/many/*.jsonl", "owner/Name-20K", "./data/v1.5/", "*.jsonl"]
    config = PairsConfig(path=[*paths, {"path": "other/a.parquet", "name": "mine"}, {"path": "x", "name": "a-2"}])
    names = [source.name for source in sources_of(config)]
    assert names == ["tiny", "a", "a-3", "many", "Name-20K", "v1.5", "pairs", "mine", "a-2"]


def test_a_single_path_is_a_data_set_with_the_settings_of_the_section():
    config = PairsConfig(path="owner/pairs", columns={"response": "code"}, split="test", revision="abc")
    assert sources_of(config) == [
        PairsSource(path="owner/pairs", name="pairs", columns={"response": "code"}, split="test", revision="abc")
    ]
    assert DataSet(sources_of(config)[0], []).fingerprint() == "owner/pairs@test@abc"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", b"x", "unknown ending"),
        ("a.json", b'[{"a": 1},', "not valid JSON"),
        ("a.parquet", b"PAR1", "cannot be read"),
        ("a.jsonl.gz", b"not gzip", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line_that_names_it(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CodeBlockError, match=says) as error:
        read(tmp_path / name, tmp_path / "out")
    assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_paths_and_empty_directories_are_named(tmp_path):
    with pytest.raises(CodeBlockError, match="no such file"):
        find_files(str(tmp_path / "nothing.jsonl"))
    with pytest.raises(CodeBlockError, match="matches no file"):
        find_files(str(tmp_path / "*.jsonl"))
    (tmp_path / "readme.txt").write_text("x")
    with pytest.raises(CodeBlockError, match=r"no data file there \(seen: readme.txt\)"):
        find_files(str(tmp_path))


def test_a_hub_name_is_not_mistaken_for_a_path():
    assert find_files("nvidia/OpenCodeInstruct") == []


def test_the_fingerprint_knows_every_file_and_its_content(tmp_path):
    write_jsonl(tmp_path / "a.jsonl", ROWS)
    one = fingerprint(find_files(str(tmp_path)))
    assert one == fingerprint(find_files(str(tmp_path / "a.jsonl")))
    write_jsonl(tmp_path / "b.jsonl", ROWS)
    two = fingerprint(find_files(str(tmp_path)))
    write_jsonl(tmp_path / "b.jsonl", ROWS[1:])
    assert len({one, two, fingerprint(find_files(str(tmp_path)))}) == 3


ODD = ["v1 [final]", "what?", "a*b", "a%20b", "a#b", "ümlaut", "two words", "a&b=c;d", "~", "it's"]


@pytest.mark.parametrize("name", ODD)
def test_what_exists_is_never_taken_for_a_pattern(tmp_path, name):
    (tmp_path / name).mkdir()
    write_jsonl(tmp_path / name / "pairs.jsonl", ROWS[:2])
    write_jsonl(tmp_path / name / f"{name}.jsonl", ROWS[2:])
    path = str(tmp_path / name)
    assert read(path, tmp_path / "1")["kept"] == 5
    assert read(f"{path}/{name}.jsonl", tmp_path / "2")["kept"] == 3
    assert read(f"{path}/*.jsonl", tmp_path / "3")["kept"] == 5
    assert read(f"{path}/p*.jsonl", tmp_path / "4")["kept"] == 2
    assert [source.name for source in sources_of(PairsConfig(path=path))] == [name]


def test_a_coded_uri_and_the_home_directory_are_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "two words").mkdir()
    write_jsonl(tmp_path / "two words" / "a.jsonl", ROWS)
    assert read(f"file://{tmp_path}/two%20words/a.jsonl", tmp_path / "1")["kept"] == 5
    assert read("~/two words/a.jsonl", tmp_path / "2")["kept"] == 5
    assert read("~/two words/*.jsonl", tmp_path / "3")["kept"] == 5


def test_a_quality_of_words_is_noted_and_one_that_was_named_is_refused(tmp_path):
    rows = [{**row, "quality": word} for row, word in zip(ROWS, ["good", "poor", None, "4.5", {"a": 1}], strict=True)]
    path = write_jsonl(tmp_path / "a.jsonl", rows)
    facts = read(path, tmp_path / "1")
    assert facts["kept"] == 5
    assert facts["notes"] == {"a": {"column quality is not read: it does not hold a number": 3}}
    assert read_table(tmp_path / "1")["quality"].to_pylist() == [None, None, None, 4.5, None]
    assert read(path, tmp_path / "2", columns={"quality": "quality"})["kept"] == 5
    write_jsonl(path, [row for row in rows if row["quality"] != "4.5"])
    with pytest.raises(CodeBlockError, match=r"pairs.columns.quality=quality: no row of a has a number there"):
        read(path, tmp_path / "3", columns={"quality": "quality"})


def test_what_belongs_to_a_conversation_is_kept_in_the_table(tmp_path):
    row = {
        "system": "Be brief.",
        "tools": [{"name": "add", "parameters": {}}],
        "messages": [
            {"role": "user", "content": "Two and one?", "name": "ann"},
            {"role": "assistant", "tool_calls": [{"function": {"name": "add", "arguments": "{}"}}]},
            {"role": "function", "name": "add", "content": "3"},
            {"role": "assistant", "content": "x = 3", "reasoning_content": "Easy."},
        ],
    }
    assert read(write_jsonl(tmp_path / "a.jsonl", [row]), tmp_path / "out")["kept"] == 1
    (kept,) = read_table(tmp_path / "out").to_pylist()
    assert [(turn["role"], turn["name"]) for turn in kept["messages"]] == [
        ("system", None),
        ("user", "ann"),
        ("assistant", None),
        ("tool", "add"),
    ]
    assert json.loads(kept["messages"][2]["tool_calls"])[0]["function"] == {"name": "add", "arguments": {}}
    assert json.loads(kept["tools"])[0]["function"]["name"] == "add"
    assert kept["response"] == "<think>\nEasy.\n</think>\n\nx = 3"
