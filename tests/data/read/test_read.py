"""Rows of every layout that tools write are read; what cannot be read is named."""

import bz2
import gzip
import json
import lzma

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.local import LocalFileSystem

from codeblock.core.errors import CodeBlockError
from codeblock.core.schema import Reason
from codeblock.data.read.files import InputFile
from codeblock.data.read.read import SourceRow, read_rows
from codeblock.data.read.shapes import wanted

ROWS = [{"instruction": "Add.", "output": "x = 1"}, {"instruction": "Sübtract.", "output": "y = 1"}]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
LONG = [{"instruction": "Add. " + "z" * 70_000, "output": "x = 1"}, ROWS[1]]


def read(path, columns=None, split=None):
    file = InputFile(LocalFileSystem(), str(path))
    return [row.value if isinstance(row, SourceRow) else row.reason for row in read_rows(file, wanted(columns or {}, split))]


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.ndjson", "A.JSON"])
@pytest.mark.parametrize(
    "content",
    [
        LINES,
        LINES.rstrip("\n"),
        LINES.replace("\n", "\r\n"),
        LINES.replace("\n", "\n\n   \n"),
        LINES.replace("\n", "\r"),
        "\x1e".join(["", *LINES.splitlines(keepends=True)]),
        "\ufeff" + LINES,
        "\ufeff" + json.dumps(ROWS),
        json.dumps(ROWS),
        json.dumps(ROWS, indent=2),
        json.dumps(ROWS, indent="\t").replace("\n", "\r\n"),
        "\n\n" + json.dumps(ROWS),
        "".join(json.dumps(row, indent=2) for row in ROWS),
        "\n".join(json.dumps([row]) for row in ROWS),
        "\n".join(json.dumps([row], indent=1) for row in ROWS),
        json.dumps({"data": ROWS}),
        json.dumps({"version": "1", "info": {"a": 1}, "data": ROWS}, indent=2),
        json.dumps({"rows": ROWS, "features": [{"name": "a"}]}),
        json.dumps({"my_pairs": ROWS, "tags": ["a", "b"]}),
        json.dumps({"result": {"examples": ROWS}}),
        json.dumps({"train": ROWS, "test": [{"instruction": "No.", "output": "no"}]}),
        json.dumps({"features": [], "rows": [{"row_idx": n, "row": row, "truncated_cells": []} for n, row in enumerate(ROWS)]}),
        json.dumps({"instruction": {"0": "Add.", "1": "Sübtract."}, "output": {"0": "x = 1", "1": "y = 1"}}),
        json.dumps({"instruction": {"a": "Add.", "b": "Sübtract."}, "output": {"a": "x = 1", "b": "y = 1"}}),
        json.dumps({"instruction": ["Add.", "Sübtract."], "output": ["x = 1", "y = 1"]}),
        json.dumps({"columns": ["instruction", "output"], "index": [0, 1], "data": [list(row.values()) for row in ROWS]}),
        json.dumps({"schema": {"fields": []}, "data": ROWS}),
        json.dumps({"task/1": ROWS[0], "task/2": ROWS[1]}),
        LINES.encode("utf-16"),
        "\ufeff".encode("utf-16-be") + json.dumps(ROWS).encode("utf-16-be"),
        json.dumps(ROWS, indent=1).encode("utf-16-le"),
        LINES.encode("utf-32"),
    ],
)
def test_json_is_read_in_every_layout_and_under_every_name(tmp_path, name, content):
    assert read(write(tmp_path / name, content)) == ROWS


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_a_first_row_of_any_length_does_not_hide_that_these_are_json_lines(tmp_path, name):
    assert read(write(tmp_path / name, "".join(json.dumps(row) + "\n" for row in LONG))) == LONG
    assert read(write(tmp_path / name, "\n" * 9000 + json.dumps(LONG, indent=1))) == LONG


@pytest.mark.parametrize(
    ("ending", "pack"),
    [
        (".gz", gzip.compress),
        (".bz2", bz2.compress),
        (".xz", lzma.compress),
        (".zst", lambda data: pa.compress(data, codec="zstd", asbytes=True)),
    ],
)
def test_a_compressed_file_is_known_by_its_content_and_may_have_several_members(tmp_path, ending, pack):
    parts = [line.encode() for line in LINES.splitlines(keepends=True)]
    assert read(write(tmp_path / f"a.jsonl{ending}", pack(LINES.encode()))) == ROWS
    assert read(write(tmp_path / f"b.jsonl{ending}", b"".join(map(pack, parts)))) == ROWS
    assert read(write(tmp_path / f"c.json{ending}", pack(json.dumps(ROWS, indent=2).encode()))) == ROWS
    assert read(write(tmp_path / "packed.jsonl", pack(LINES.encode()))) == ROWS


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
        {"conversations": {"from": ["human", "gpt"], "value": ["a", "b"]}},
        {"conversations": [["user", "a"], ["assistant", "b"]]},
        {"prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "assistant", "content": "b"}]},
        {"instruction": "a", "output": "b", "tags": ["x"]},
    ],
)
def test_a_single_row_is_no_wrapper_of_rows(tmp_path, row):
    assert read(write(tmp_path / "a.json", json.dumps(row))) == [row]
    assert read(write(tmp_path / "b.json", json.dumps(row, indent=2))) == [row]


def test_a_table_by_columns_of_conversations_is_told_from_a_conversation(tmp_path):
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    content = json.dumps({"messages": [turns, turns], "id": [1, 2]})
    assert read(write(tmp_path / "a.json", content)) == [{"messages": turns, "id": 1}, {"messages": turns, "id": 2}]


def test_a_conversation_without_a_row_around_it_is_a_row(tmp_path):
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert read(write(tmp_path / "a.jsonl", f"{json.dumps(turns)}\n" * 2)) == [{"messages": turns}] * 2
    assert read(write(tmp_path / "b.json", json.dumps([turns, turns]))) == [{"messages": turns}] * 2
    assert read(write(tmp_path / "c.json", json.dumps(turns))) == [{"messages": turns}]


def test_named_columns_make_a_row_too(tmp_path):
    row = {"ask": "a", "data": [{"role": "user", "content": "a"}]}
    assert read(write(tmp_path / "a.json", json.dumps(row)), {"instruction": "ask"}) == [row]


def test_several_lists_of_rows_are_those_of_the_split_or_an_error(tmp_path):
    path = write(tmp_path / "a.json", json.dumps({"easy": ROWS[:1], "hard": ROWS[1:]}))
    assert read(path, split="hard") == ROWS[1:]
    with pytest.raises(CodeBlockError, match=r"a\.json: several lists of rows \(easy, hard\); name one as pairs.split"):
        read(path)


def test_a_row_that_the_viewer_has_cut_is_not_taken_for_whole(tmp_path):
    rows = [{"row_idx": 0, "row": ROWS[0], "truncated_cells": ["output"]}]
    assert read(write(tmp_path / "a.json", json.dumps({"rows": rows}))) == [Reason.INVALID_JSON]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1" + "0" * 40])
def test_numbers_beyond_the_standard_cost_no_row(tmp_path, number):
    line = f'{{"instruction": "Add.", "output": "x = 1", "score": {number}}}'
    for name, content in (("a.jsonl", f"{line}\n{line}\n"), ("a.json", f"[{line}, {line}]"), ("b.json", f"[\n{line}\n]")):
        rows = read(write(tmp_path / name, content))
        assert all((row["instruction"], row["output"]) == ("Add.", "x = 1") for row in rows)
        assert len(rows) in (1, 2)


def test_bytes_that_are_no_utf8_count_where_they_are_used_alone(tmp_path):
    line = b'{"instruction": "Add.", "output": "x", "note": "a\xff"}\n'
    (row,) = read(write(tmp_path / "a.jsonl", line))
    assert row["output"] == "x"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.json", '[{"a": 1},', "not valid JSON"),
        ("a.json", '[\n{"a": 1},\n{"b": 2}\n', "not valid JSON"),
        ("a.json", json.dumps({"data": ROWS}, indent=1)[:-9], "not valid JSON"),
        ("a.json.gz", gzip.compress(b"[1, 2]", mtime=0)[:-4], "cannot be read"),
        ("a.jsonl.xz", lzma.compress(LINES.encode())[:-9], "cannot be read"),
        ("a.jsonl.zst", b"not zstandard", "cannot be read"),
        ("a.jsonl.bz2", b"BZh91AY&SY" + b"x" * 20, "cannot be read"),
        ("a.jsonl", "\ufeff".encode("utf-16-le") + b"{\x00\x00\xd8\x00", "cannot be read"),
        ("a.arrow", b"ARROW1", "cannot be read"),
        ("a.arrow", b"nothing", "cannot be read"),
    ],
)
def test_a_file_that_is_damaged_is_one_line(tmp_path, name, content, says):
    with pytest.raises(CodeBlockError, match=says) as error:
        read(write(tmp_path / name, content))
    assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_a_broken_first_line_costs_one_row_whatever_the_name(tmp_path):
    for name in ("a.jsonl", "a.json"):
        assert read(write(tmp_path / name, '{"instruction": "Add", \n' + LINES)) == [Reason.INVALID_JSON, *ROWS]


def test_a_long_file_of_lines_is_not_held_in_memory_for_its_broken_first_line(tmp_path, monkeypatch):
    monkeypatch.setattr("codeblock.data.read.read.PROBED_BYTES", 30)
    assert read(write(tmp_path / "a.jsonl", "{\n" + LINES)) == [Reason.INVALID_JSON, *ROWS]


def test_nesting_without_end_costs_one_row(tmp_path):
    assert read(write(tmp_path / "a.jsonl", LINES + "[" * 100_000 + "\n")) == [*ROWS, Reason.INVALID_JSON]


def test_an_empty_file_has_no_rows(tmp_path):
    for name in ("a.jsonl", "a.json", "a.jsonl.gz"):
        assert read(write(tmp_path / name, b"")) == []
    assert read(write(tmp_path / "b.json", "[]")) == []
    assert read(write(tmp_path / "c.json", '{"data": []}')) == []


BAD = pa.Array.from_buffers(pa.string(), 2, [None, pa.py_buffer(np.array([0, 3, 5], np.int32)), pa.py_buffer(b"a\xff\xfeok")])
UNREAD = {
    "time": pa.array([1, 2**62], pa.timestamp("us")),
    "date": pa.array([1, 2**40], pa.date64()),
    "span": pa.array([1, 2**62], pa.duration("s")),
    "text": BAD,
    "nested": pa.StructArray.from_arrays([BAD], ["note"]),
}


@pytest.mark.parametrize("kind", UNREAD)
def test_columns_that_nobody_asked_for_are_not_looked_at(tmp_path, kind):
    columns = {name: [row[name] for row in ROWS] for name in ROWS[0]}
    pq.write_table(pa.table({"first": UNREAD[kind], **columns, "last": UNREAD[kind]}), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == [{"first": None, **row, "last": None} for row in ROWS]
    table = pa.table({"first": UNREAD[kind], **columns})
    for name, writer in (("b.arrow", pa.ipc.new_file), ("c.arrow", pa.ipc.new_stream)):
        with writer(str(tmp_path / name), table.schema) as out:
            out.write_table(table)
        assert read(tmp_path / name) == [{"first": None, **row} for row in ROWS]


def test_a_damaged_column_is_named_where_it_is_used_and_harmless_elsewhere(tmp_path):
    path = tmp_path / "a.parquet"
    text = {name: [f"{name} {n}" for n in range(2000)] for name in ("instruction", "output", "note")}
    pq.write_table(pa.table(text), path, compression="none", use_dictionary=False)
    whole = path.read_bytes()

    def damage(name):
        start = pq.ParquetFile(path).metadata.row_group(0).column(list(text).index(name)).data_page_offset
        return whole[:start] + b"\xff" * 64 + whole[start + 64 :]

    harmless, harmful = damage("note"), damage("output")
    assert len(read(write(path, harmless))) == 2000
    with pytest.raises(CodeBlockError, match=r"a\.parquet: column output cannot be read"):
        read(write(path, harmful))


def test_every_kind_of_text_in_a_table_is_text(tmp_path):
    for kind in (pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())):
        table = pa.table({"instruction": pa.array(["Add."]).cast(kind), "output": ["x"]})
        with pa.ipc.new_file(str(tmp_path / "a.arrow"), table.schema) as out:
            out.write_table(table)
        assert read(tmp_path / "a.arrow") == [{"instruction": "Add.", "output": "x"}]


def test_a_table_without_known_columns_still_says_which_it_has(tmp_path):
    pq.write_table(pa.table({"a": [1, 2], "b": ["x", "y"]}), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == [{"a": None, "b": None}] * 2
    assert read(tmp_path / "a.parquet", {"instruction": "b"}) == [{"a": None, "b": "x"}, {"a": None, "b": "y"}]


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet", "rows.json.gz"])
def test_a_pointer_of_git_lfs_is_called_one(tmp_path, name):
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0f\nsize 12\n")
    with pytest.raises(CodeBlockError, match=f"{name}: is a Git LFS pointer and holds no data; run `git lfs pull`"):
        list(read_rows(InputFile(LocalFileSystem(), str(tmp_path / name))))


def test_two_columns_of_one_name_are_refused(tmp_path):
    pq.write_table(pa.table([["a"], ["b"]], names=["output", "output"]), tmp_path / "rows.parquet")
    with pytest.raises(CodeBlockError, match=r"rows\.parquet: two columns are called output; rename or remove one"):
        list(read_rows(InputFile(LocalFileSystem(), str(tmp_path / "rows.parquet"))))
