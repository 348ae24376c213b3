"""From `pairs.path` to a list of readable files."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

import fsspec

from codeblock.errors import CodeBlockError

SUFFIXES = (".jsonl", ".jsonl.gz", ".ndjson", ".json", ".json.gz", ".parquet")
_HUB_NAME = re.compile(r"^[\w.-]+(/[\w.-]+)?$")


@dataclass(frozen=True)
class InputFile:
    """One file of rows on any file system that fsspec knows."""

    filesystem: Any
    path: str

    def fingerprint(self) -> str:
        """Hash of the content, or the version tag that a remote store keeps of it."""
        if "file" in _protocols(self.filesystem) or "memory" in _protocols(self.filesystem):
            with self.filesystem.open(self.path, "rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()
        return str(self.filesystem.ukey(self.path))


def find_files(path: str) -> list[InputFile]:
    """The data files that a path, directory, glob or URI names, sorted.

    Returns an empty list where the path does not exist and could be the name of a Hugging Face dataset.
    Raises CodeBlockError where nothing readable is there.
    """
    try:
        filesystem, root = fsspec.core.url_to_fs(path)
    except (ValueError, ImportError) as error:
        raise CodeBlockError(f"pairs.path={path}: {error}") from error
    if any(char in path for char in "*?["):
        names = sorted(filesystem.glob(root))
        if not names:
            raise CodeBlockError(f"pairs.path={path}: the pattern matches no file")
        return _readable(filesystem, names, path)
    if filesystem.isdir(root):
        return _readable(filesystem, sorted(filesystem.find(root)), path)
    if filesystem.exists(root):
        if not root.endswith(SUFFIXES):
            raise CodeBlockError(f"pairs.path={path}: unknown ending; readable are {', '.join(SUFFIXES)}")
        return [InputFile(filesystem, root)]
    if _HUB_NAME.match(path) and not path.endswith(SUFFIXES):
        return []
    raise CodeBlockError(f"pairs.path={path}: no such file or directory; give a file, directory, glob, URI or hub name")


def fingerprint(files: list[InputFile]) -> str:
    """One hash over names and contents: a file that is added, renamed or edited changes it."""
    facts = [(file.path.rsplit("/", 1)[-1], file.fingerprint()) for file in files]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def load_hub_dataset(name: str, split: str, revision: str | None) -> Any:
    """A Hugging Face dataset by its hub name. Raises CodeBlockError where it cannot be had."""
    try:
        import datasets
    except ImportError as error:
        raise CodeBlockError(
            f"pairs.path={name}: no such file; to read it as a Hugging Face dataset run `pip install 'codeblock[hub]'`"
        ) from error
    try:
        return datasets.load_dataset(name, split=split, revision=revision)
    except Exception as error:  # the hub client raises many kinds; each means the same to the user
        first_line = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise CodeBlockError(
            f"pairs.path={name}: neither a file here nor a Hugging Face dataset that can be reached ({first_line})"
        ) from error


def _readable(filesystem: Any, names: list[str], path: str) -> list[InputFile]:
    visible = [name for name in names if not name.rsplit("/", 1)[-1].startswith((".", "_"))]
    files = [InputFile(filesystem, name) for name in visible if name.endswith(SUFFIXES)]
    if not files:
        seen = ", ".join(name.rsplit("/", 1)[-1] for name in visible[:3]) or "nothing"
        raise CodeBlockError(f"pairs.path={path}: no data file there (seen: {seen}); readable are {', '.join(SUFFIXES)}")
    return files


def _protocols(filesystem: Any) -> tuple[str, ...]:
    protocol = filesystem.protocol
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)
