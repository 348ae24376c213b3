"""From `pairs.path` to a list of readable files."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from fsspec.implementations.local import LocalFileSystem

from codeblock.core.config.pairs import PairsConfig, PairsSource
from codeblock.core.digests import WHOLE, file_digest, value_digest
from codeblock.core.errors import CodeBlockError
from codeblock.core.storage import places, store
from codeblock.data.read.saved import saved_files, without_descriptions

TABLES = (".parquet", ".arrow")
TEXTS = (".jsonl", ".ndjson", ".json")
PACKED = ("", ".gz", ".bz2", ".xz", ".zst")
SUFFIXES = (*TABLES, *(text + packed for text in TEXTS for packed in PACKED))
READABLE = f"{', '.join((*TEXTS, *TABLES))}, the first three also with {', '.join(PACKED[1:])}"
WILD = "*?["
"""Signs of a pattern."""
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
                return file_digest(stream)
        with places.told(f"{_protocols(self.filesystem)[0]}://{self.path}"):
            return store.version_of(self.filesystem, self.path)


@dataclass(frozen=True)
class DataSet:
    """One data set with its files; none for a Hugging Face dataset."""

    source: PairsSource
    files: list[InputFile]

    @property
    def name(self) -> str:
        """What its pairs are counted under."""
        return str(self.source.name)

    def fingerprint(self) -> str:
        """Hash of its files, or what the hub is asked for."""
        return fingerprint(self.files) if self.files else f"{self.source.path}@{self.source.split}@{self.source.revision}"


def sources_of(config: PairsConfig) -> list[PairsSource]:
    """The data sets of a config in their order, each with its name, and with the section's columns where it has none."""
    given = [PairsSource(path=config.path)] if isinstance(config.path, str) else config.path
    taken = {source.name for source in given if source.name is not None}
    sources: list[PairsSource] = []
    for source in given:
        name = source.name or _free_name(source.path, taken)
        taken.add(name)
        sources.append(
            PairsSource(
                path=source.path,
                name=name,
                columns=config.columns if source.columns is None else source.columns,
                split=source.split or config.split,
                revision=source.revision or config.revision,
            )
        )
    return sources


def data_sets(config: PairsConfig) -> list[DataSet]:
    """The data sets of a config with their files. Raises CodeBlockError as `find_files`."""
    return [DataSet(source, find_files(source.path, source.split)) for source in sources_of(config)]


def _free_name(path: str, taken: set[str]) -> str:
    """The last part of a path that is no pattern, without its ending; numbered where it is taken."""
    exists = Path(path).expanduser().exists()
    plain = [part for part in path.split("/") if part.strip(".") and (exists or not any(char in part for char in WILD))]
    last = plain[-1] if plain else "pairs"
    ending = max((suffix for suffix in SUFFIXES if last.lower().endswith(suffix)), key=len, default="")
    name = last[: len(last) - len(ending)] or last
    return next(free for free in chain([name], (f"{name}-{number}" for number in count(2))) if free not in taken)


def find_files(path: str, split: str | None = None) -> list[InputFile]:
    """The data files that a path, directory, glob or URI names, sorted; of a saved dataset those of `split` (default: train).

    What exists is never taken for a pattern. Returns an empty list where the path does not exist and could be the name of a
    Hugging Face dataset. Raises CodeBlockError where nothing readable is there.
    """
    filesystem, root = _place(path)
    with places.told(path):
        return _found(filesystem, root, path, split)


def _found(filesystem: Any, root: str, path: str, split: str | None) -> list[InputFile]:
    if filesystem.isdir(root):
        names = saved_files(filesystem, root, split or "train", path)
        if names is not None:
            return [InputFile(filesystem, name) for name in names]
        return _readable(filesystem, sorted(filesystem.find(root)), path, split)
    if filesystem.exists(root):
        if not root.lower().endswith(SUFFIXES):
            raise CodeBlockError(f"pairs.path={path}: unknown ending; readable are {READABLE}")
        return [InputFile(filesystem, root)]
    if any(char in path for char in WILD):
        names = sorted(_matching(filesystem, root))
        if not names:
            raise CodeBlockError(f"pairs.path={path}: the pattern matches no file")
        return _readable(filesystem, names, path, split)
    if _HUB_NAME.match(path) and not path.endswith(SUFFIXES):
        return []
    raise CodeBlockError(f"pairs.path={path}: no such file or directory; give a file, directory, glob, URI or hub name")


def _place(path: str) -> tuple[Any, str]:
    """File system and place of a path; a local path that exists is one, whatever signs its name holds."""
    here = Path(path).expanduser()
    if here.exists():
        return LocalFileSystem(), here.absolute().as_posix()
    try:
        filesystem, root = places.open_url(path)
    except (ValueError, ImportError) as error:
        raise CodeBlockError(f"pairs.path={path}: {error}") from error
    if path.startswith("file:") and not Path(root).exists() and Path(unquote(root)).exists():
        root = unquote(root)
    return filesystem, root


def _matching(filesystem: Any, pattern: str) -> list[str]:
    """Files that match a pattern; local directories that exist under its first parts' very names are no pattern."""
    if not isinstance(filesystem, LocalFileSystem):
        return list(filesystem.glob(pattern))
    home = Path(pattern)
    while not home.is_dir():
        home = home.parent
    return [found.as_posix() for found in home.glob(str(Path(pattern).relative_to(home)))]


def fingerprint(files: list[InputFile]) -> str:
    """One hash over names and contents: a file that is added, renamed or edited changes it."""
    facts = [(file.path.rsplit("/", 1)[-1], file.fingerprint()) for file in files]
    return value_digest(facts, WHOLE)


def load_hub_dataset(name: str, split: str, revision: str | None) -> Any:
    """A Hugging Face dataset by its hub name. Raises CodeBlockError where it cannot be had."""
    return _of_hub(name, lambda datasets: datasets.load_dataset(name, split=split, revision=revision))


def check_hub_dataset(name: str, revision: str | None) -> None:
    """Raise CodeBlockError where a dataset of the hub cannot be had; none of its rows is fetched."""

    def look(datasets: Any) -> None:
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # a line for each of half a minute's retries
        datasets.load_dataset_builder(name, revision=revision)

    _of_hub(name, look)


def _of_hub(name: str, get: Callable[[Any], Any]) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise CodeBlockError(
            f"pairs.path={name}: no such file; to read it as a Hugging Face dataset run `pip install 'codeblock[hub]'`"
        ) from error
    try:
        return get(datasets)
    except Exception as error:  # the hub client raises many kinds; each means the same to the user
        first_line = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise CodeBlockError(
            f"pairs.path={name}: neither a file here nor a Hugging Face dataset that can be reached ({first_line})"
        ) from error


def _readable(filesystem: Any, names: list[str], path: str, split: str | None) -> list[InputFile]:
    visible = [name for name in names if not name.rsplit("/", 1)[-1].startswith((".", "_"))]
    readable = [name for name in visible if name.lower().endswith(SUFFIXES)]
    files = without_descriptions(filesystem, readable, split or "train", path)
    if not files:
        seen = ", ".join(name.rsplit("/", 1)[-1] for name in visible[:3]) or "nothing"
        raise CodeBlockError(f"pairs.path={path}: no data file there (seen: {seen}); readable are {READABLE}")
    return [InputFile(filesystem, name) for name in files]


def _protocols(filesystem: Any) -> tuple[str, ...]:
    protocol = filesystem.protocol
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)
