"""A benchmark's file is found by its path or on the hub, and verified."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from typing import Any

import pytest

from codeblock.core.errors import CodeBlockError
from codeblock.core.storage import places, store
from codeblock.evaluate import source
from codeblock.evaluate.benchmarks import load
from codeblock.evaluate.source import content_hash, provenance, resolve

LINE = '{"task_id": "t/0", "instruction": "Write f.", "entry_point": "f", "test": "assert f()", "reference": "f = print"}\n'


class Hub:
    """Stands at the boundary to the hub's library: the files of a dataset at a revision."""

    def __init__(self, directory: Path, *files: str) -> None:
        self.directory, self.files = directory, files
        self.asked: list[tuple[str, str, str]] = []

    def list_repo_files(self, name: str, *, revision: str, repo_type: str) -> list[str]:
        assert (name, repo_type) == ("owner/name", "dataset")
        assert revision in ("main", "abc123")
        return ["README.md", *self.files]

    def hf_hub_download(self, name: str, file: str, *, revision: str, repo_type: str) -> str:
        assert repo_type == "dataset"
        self.asked.append((name, file, revision))
        if file not in self.files:
            raise OSError(f"404 Client Error: {file}\nRequest ID: 1")
        path = self.directory / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(LINE)
        return str(path)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def stand_in(*files: str) -> Hub:
        hub = Hub(tmp_path / "cache", *files)
        monkeypatch.setattr(source, "_hub", lambda: hub)
        return hub

    return stand_in


def test_a_path_is_itself(tmp_path: Path) -> None:
    path = tmp_path / "a@b" / "t.jsonl"
    path.parent.mkdir()
    path.write_text(LINE)
    assert resolve(str(path)) == path
    assert resolve("nowhere/t.jsonl") == Path("nowhere/t.jsonl")  # its reader says that it is not there
    assert [task.task_id for task in load("tiny", str(path)).tasks] == ["t/0"]


def test_a_checksum_is_verified(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(LINE)
    digest = hashlib.sha256(LINE.encode()).hexdigest()
    assert resolve(f"{path}#sha256={digest.upper()}") == path
    with pytest.raises(CodeBlockError, match=f"its SHA-256 is {digest}, not 0000"):
        resolve(f"{path}#sha256={'0' * 64}")
    with pytest.raises(CodeBlockError, match="64 hexadecimal digits"):
        resolve(f"{path}#sha256=abc")
    with pytest.raises(CodeBlockError, match="not readable"):
        resolve(f"{tmp_path / 'none'}#sha256={digest}")


def test_a_file_of_a_hub_dataset_is_fetched_at_its_revision(hub: Any) -> None:
    stand_in = hub("data/test.jsonl", "data/other.jsonl")
    assert load("tiny", "owner/name@abc123:data/test.jsonl").tasks[0].entry_point == "f"
    assert stand_in.asked == [("owner/name", "data/test.jsonl", "abc123")]
    digest = hashlib.sha256(LINE.encode()).hexdigest()
    assert resolve(f"owner/name@abc123:data/test.jsonl#sha256={digest}").name == "test.jsonl"


def test_the_only_file_of_a_dataset_needs_no_name(hub: Any) -> None:
    hub("data/test.jsonl")
    assert resolve("owner/name@abc123").name == "test.jsonl"


@pytest.mark.parametrize(
    ("files", "place", "message"),
    [
        (["b.parquet", "a.jsonl"], "owner/name@main", r"holds a\.jsonl, b\.parquet; name one file as owner/name@main:FILE"),
        ([], "owner/name@main", "holds no file of the formats"),
        (["a.jsonl"], "owner/name@main:b.jsonl", r"cannot be fetched from the hub \(404 Client Error: b\.jsonl\); check name"),
        ([], "owner/name", "neither a path nor a pinned hub dataset; .* owner/name@COMMIT:FILE"),
    ],
)
def test_what_cannot_be_fetched_is_said_in_one_line(hub: Any, files: list[str], place: str, message: str) -> None:
    hub(*files)
    with pytest.raises(CodeBlockError, match=message) as caught:
        resolve(place)
    assert "\n" not in str(caught.value)


def test_the_hubs_library_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(CodeBlockError, match="pip install huggingface_hub"):
        resolve("owner/name@abc:t.jsonl")


def test_the_hubs_own_library_fails_in_one_line_without_a_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CodeBlockError, match="cannot be fetched from the hub") as caught:
        resolve("owner/name@0123456:t.jsonl")
    assert "\n" not in str(caught.value)


def test_content_counts_whatever_its_name_and_compression(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(LINE)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(LINE.encode()))
    (tmp_path / "c.jsonl").write_text(LINE.replace("print", "max"))
    assert content_hash(tmp_path / "a.jsonl") == content_hash(tmp_path / "b.jsonl.gz") != content_hash(tmp_path / "c.jsonl")


def test_a_changed_file_is_not_the_official_one(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text(LINE)
    assert provenance("humaneval", tmp_path / "t.jsonl") == "differs from the official humaneval file"
    assert provenance("tiny", tmp_path / "t.jsonl") == ""


@pytest.mark.parametrize("name", ["v1 [final]", "what?", "a%20b", "a#b", "ümlaut", "x@main", "a#sha256=b"])
def test_a_path_that_exists_is_a_path_whatever_its_name_holds(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("{}")
    assert resolve(str(tmp_path / name)) == tmp_path / name


def test_a_tilde_is_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "t.jsonl").write_text("{}")
    digest = hashlib.sha256(b"{}").hexdigest()
    assert resolve(f"~/t.jsonl#sha256={digest}") == tmp_path / "t.jsonl"


def test_a_file_in_an_object_store_is_fetched_and_one_that_is_not_there_is_one_line(bucket):
    place = places.place(f"{bucket}/tasks.jsonl")
    store.put_text(place, "{}\n")
    digest = hashlib.sha256(b"{}\n").hexdigest()
    assert resolve(f"{bucket}/tasks.jsonl#sha256={digest}").read_text() == "{}\n"
    store.put_text(place, "[]\n")
    assert resolve(f"{bucket}/tasks.jsonl").read_text() == "[]\n"
    with pytest.raises(CodeBlockError, match=rf"^{bucket}/none\.jsonl: no such object; give the path or URL"):
        resolve(f"{bucket}/none.jsonl")
