"""A finished directory is read only as its step left it: each part there, whole, its own, and no other beside it."""

import json
import shutil
import socket

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from codeblock.core.errors import CodeBlockError
from codeblock.core.models.load import load_model, load_tokenizer
from codeblock.core.storage.manifest import FORMAT, MARKER, check_tree, completed, files_of
from codeblock.core.storage.tables import (
    count_rows,
    iter_rows,
    mark_complete,
    part_name,
    part_rows,
    parts,
    parts_like,
    read_json,
    read_part,
    read_table,
    write_part,
    write_text,
)
from codeblock.experiment.cache import Step


def rows(start, count=10):
    return pa.table({"id": [f"{n:04}" for n in range(start, start + count)]})


def finish(cache, **identity):
    def work(output):
        for number in range(3):
            write_part(output / part_name(number), rows(10 * number))
        write_part(output / "rejected" / part_name(0), rows(90, 2))
        write_text(output / "answers" / "part-aa.json", '[{"text": "x"}]')
        write_text(output / "model" / "config.json", "{}")
        write_text(output / "notes.txt", "whatever")
        return {"kept": 30}

    step = Step("scored", "score", identity, cache)
    step.run(work)
    return step


@pytest.fixture
def step(tmp_path):
    return finish(tmp_path / "cache")


def message_of(read):
    with pytest.raises(CodeBlockError) as caught:
        read()
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_the_marker_lists_each_file_with_bytes_rows_and_digest(step):
    files = json.loads((step.directory / MARKER).read_text())["files"]
    assert sorted(files) == [
        "answers/part-aa.json",
        "model/config.json",
        "notes.txt",
        "part-000000.parquet",
        "part-000001.parquet",
        "part-000002.parquet",
        "rejected/part-000000.parquet",
    ]
    part = files["part-000001.parquet"]
    assert (part["rows"], part["bytes"]) == (10, (step.directory / part_name(1)).stat().st_size)
    # The digest is XXH3 of 128 bits: "{}" has this one on every machine.
    assert files["model/config.json"] == {"bytes": 2, "xxh3": "dc7048f8f8747f561349cde127705c16", "rows": None}


def test_a_whole_directory_is_read_part_by_part_and_below(step):
    assert read_table(step.directory)["id"].to_pylist() == [f"{n:04}" for n in range(30)]
    assert (count_rows(step.directory), part_rows(step.directory / part_name(2))) == (30, 10)
    assert [row["id"] for row in iter_rows(step.directory / "rejected")] == ["0090", "0091"]
    (answers,) = parts_like(step.directory / "answers", ".json")
    assert read_json(answers) == [{"text": "x"}]
    assert step.facts["kept"] == 30


def test_a_part_that_is_missing_is_named_with_what_is_left(step):
    (step.directory / part_name(1)).unlink()
    told = (
        f"{step.directory.name}: part-000001.parquet is missing (2 of 3 parts are there, 20 of 30 rows); "
        f"remove {step.directory} to compute it again"
    )
    for read in (lambda: parts(step.directory), lambda: step.facts, lambda: read_part(step.directory / part_name(1))):
        assert message_of(read) == told
    shutil.rmtree(step.directory)
    assert finish(step.cache).facts["kept"] == 30


def test_several_parts_that_are_missing_are_counted(step):
    for number in (0, 2):
        (step.directory / part_name(number)).unlink()
    assert "part-000000.parquet and 1 more are missing (1 of 3 parts are there, 10 of 30 rows)" in message_of(
        lambda: list(iter_rows(step.directory))
    )


def test_a_part_that_was_cut_is_named_before_it_is_parsed(step):
    part = step.directory / part_name(2)
    part.write_bytes(part.read_bytes()[:100])
    for read in (lambda: count_rows(step.directory), lambda: read_part(part), lambda: step.facts):
        assert "part-000002.parquet is cut (100 bytes, " in message_of(read)


def test_a_part_of_another_run_is_not_taken_though_it_has_the_same_size(step, tmp_path):
    write_part(tmp_path / "other.parquet", rows(70))
    part = step.directory / part_name(1)
    assert (tmp_path / "other.parquet").stat().st_size == part.stat().st_size
    read_table(step.directory)  # what was held against its digest once is so again where the file has changed
    shutil.copy2(tmp_path / "other.parquet", part)
    for read in (lambda: read_part(part), lambda: read_table(step.directory), step.check):
        assert "part-000001.parquet is not the one that this step wrote" in message_of(read)


def test_parts_of_a_step_that_were_swapped_are_not_taken(step):
    first, second = step.directory / part_name(0), step.directory / part_name(1)
    first.rename(step.directory / "x")
    second.rename(first)
    (step.directory / "x").rename(second)
    assert "is not the one that this step wrote" in message_of(lambda: read_table(step.directory))


def test_a_byte_that_flipped_is_seen(step):
    part = step.directory / part_name(0)
    content = bytearray(part.read_bytes())
    content[10] ^= 1
    part.write_bytes(content)
    assert "part-000000.parquet is not the one" in message_of(lambda: read_part(part))


def test_a_part_that_the_step_did_not_write_is_named(step):
    shutil.copy(step.directory / part_name(0), step.directory / part_name(7))
    assert message_of(lambda: read_table(step.directory)) == (
        f"{step.directory.name}: part-000007.parquet is no part that this step wrote (it wrote 5 parts); "
        f"remove it, or remove {step.directory} to compute it again"
    )
    assert "part-000007.parquet is no file that this step wrote" in message_of(lambda: read_part(step.directory / part_name(7)))


def test_parts_below_are_held_against_the_marker_too(step):
    (step.directory / "answers" / "part-bb.json").write_text("[]")
    assert "answers/part-bb.json is no part" in message_of(lambda: parts_like(step.directory / "answers", ".json"))
    (step.directory / "answers" / "part-bb.json").unlink()
    (step.directory / "answers" / "part-aa.json").write_text('[{"text": "y"}]')
    assert "answers/part-aa.json is not the one" in message_of(lambda: read_json(step.directory / "answers" / "part-aa.json"))


def test_what_people_and_systems_put_beside_a_result_harms_nothing(step):
    for name in ("README.md", ".DS_Store", ".nfs0001", "model/.cache"):
        (step.directory / name).write_text("x")
    assert read_table(step.directory).num_rows == 30


@pytest.mark.parametrize("content", ["", "{", "[]", f'{{"format": {FORMAT}}}', "\x00" * 50])
def test_a_damaged_marker_is_one_line(step, content):
    (step.directory / MARKER).write_text(content)
    for read in (lambda: step.facts, lambda: parts(step.directory)):
        assert message_of(read) == (
            f"{step.directory.name}: its marker _complete.json is damaged; remove {step.directory} to compute it again"
        )


def test_a_marker_of_another_version_is_said(step):
    marker = json.loads((step.directory / MARKER).read_text())
    (step.directory / MARKER).write_text(json.dumps({**marker, "format": FORMAT - 1}))
    assert "made by another version of codeblock; remove " in message_of(lambda: step.facts)


def test_a_step_without_its_marker_is_not_read(step):
    (step.directory / MARKER).unlink()
    assert step.facts is None
    for read in (lambda: parts(step.directory), lambda: read_part(step.directory / part_name(0))):
        assert message_of(read) == (
            f"{step.directory.name}: not finished, or removed while it was read; run the same command again"
        )
    facts = finish(step.cache).facts
    assert (facts["kept"], count_rows(step.directory)) == (30, 30)


def test_a_node_that_does_not_see_the_storage_says_so(step):
    step.cache.rename(step.cache.with_name("on another disk"))
    for read in (lambda: parts(step.directory), lambda: read_part(step.directory / part_name(0))):
        assert message_of(read) == (
            f"{step.cache}: no such directory on {socket.gethostname()}; on a cluster, name a storage that all nodes share, "
            "or an object store (docs/storage.md)"
        )


def test_a_directory_that_is_of_no_step_is_read_as_it_is(tmp_path):
    write_part(tmp_path / "mine" / part_name(0), rows(0))
    assert read_table(tmp_path / "mine").num_rows == 10
    assert completed(tmp_path / "mine") is None
    assert files_of(tmp_path / "mine") is None
    mark_complete(tmp_path / "mine", {"facts": {}})
    (tmp_path / "mine" / part_name(0)).unlink()
    assert "is missing" in message_of(lambda: read_table(tmp_path / "mine"))


@pytest.mark.parametrize("keep", [0, 3, 60, 150])
def test_a_parquet_file_of_ones_own_that_is_cut_is_one_line(tmp_path, keep):
    path = tmp_path / "mine.parquet"
    pq.write_table(rows(0, 500), path)
    path.write_bytes(path.read_bytes()[:keep])
    for read in (lambda: read_part(path), lambda: part_rows(path)):
        message = message_of(read)
        assert message.startswith(f"{path}: not a whole parquet file (")
        assert message.endswith("; write it again, or remove it")


def test_a_parquet_file_damaged_in_the_middle_is_one_line(tmp_path):
    path = tmp_path / "mine.parquet"
    pq.write_table(rows(0, 5000), path, compression="zstd")
    content = bytearray(path.read_bytes())
    content[200:3000] = bytes(2800)
    path.write_bytes(content)
    assert "not a whole parquet file" in message_of(lambda: read_part(path))
    assert "no such file" in message_of(lambda: read_part(tmp_path / "none.parquet"))


def test_a_model_that_a_step_wrote_is_loaded_whole_or_not_at_all(tmp_path, small_model):
    def work(output):
        shutil.copytree(small_model, output / "model")
        return {}

    step = Step("trained", "train[x]", {}, tmp_path)
    step.run(work)
    path = str(step.directory / "model")
    load_tokenizer(path)
    load_model(path)
    weights = step.directory / "model" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    load_tokenizer(path)
    assert "model/model.safetensors is not the one" in message_of(lambda: load_model(path))
    weights.unlink()
    assert "model/model.safetensors is missing; remove " in message_of(lambda: load_model(path))
    assert message_of(lambda: check_tree(step.directory)) == message_of(lambda: step.facts)
