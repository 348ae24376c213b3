"""What a finished directory holds: its marker lists each file with bytes, rows and digest, and readers hold them against it.

Presence and sizes are looked at whenever a directory is read, and a file's digest at its first read in each process, so that
a part that is missing, cut, added or from another run ends the run and never reaches a table.
"""

from __future__ import annotations

import copy
import json
import os
import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from codeblock.core.errors import CodeBlockError
from codeblock.core.storage import places, store

MARKER = "_complete.json"
GROWING = "_growing.json"
"""The next marker of a directory that gets more parts: there while they are put into it, so that readers know them."""
FORMAT = 2
"""Of the marker and of the cache's directories. Raised, all steps have other names: those of before are not read."""
STEP_NAME = re.compile(r"[a-z_]+-[0-9a-f]{16}")
"""Names of finished directories: one of these without its marker is not read."""
OBJECTS, AT = "objects", "at"
"""In an object store: the directory beside the steps that holds their files, and the marker's field that names a step's own."""
LEVELS = 3
"""How far above a file its marker can be."""

_CHUNK = 1 << 20


SHARE = "on a cluster, name a storage that all nodes share, or an object store (docs/storage.md)"
"""The remedy for a node that does not see what another has written."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file as the step left it."""

    bytes: int
    xxh3: str
    """XXH3, 128 bits: against accidents, not against malice."""
    rows: int | None = None
    """Of a Parquet file."""


Files = dict[str, Entry]
"""By path below the directory, with slashes."""


def describe(directory: Path) -> Files:
    """The files of a directory; hidden ones are not part of a result."""
    found: Files = {}
    for path in _files(directory):
        rows = footer_rows(path) if path.suffix == ".parquet" else None
        found[path.relative_to(directory).as_posix()] = Entry(path.stat().st_size, _digest(path), rows)
    return found


def marker_text(facts: dict[str, Any], files: Files) -> str:
    """The marker of a directory with these files."""
    return json.dumps({"format": FORMAT, **facts, "files": {name: asdict(entry) for name, entry in files.items()}}, indent=1)


def completed(directory: Path) -> dict[str, Any] | None:
    """The marker of a finished directory without its files, or None where it is not finished."""
    marker = _marker(directory / MARKER)
    return None if marker is None else {key: copy.deepcopy(value) for key, value in marker.items() if key != "files"}


def files_of(directory: Path) -> Files | None:
    """The files that the marker of a directory lists; None where there is no marker."""
    marker = _marker(directory / MARKER)
    return None if marker is None else marker["files"]


def home_of(path: Path) -> Path | None:
    """The finished directory that a file or directory belongs to; None where it is of no step.

    Raises CodeBlockError for a step's directory that has no marker, and on a node that does not see the storage.
    """
    for above in [path, *path.parents][: LEVELS + 1]:
        named = STEP_NAME.fullmatch(above.name) is not None
        if (named or not places.is_remote(above)) and store.fetch(above / MARKER).exists():
            return above
        if named and not places.is_remote(above) and not above.parent.is_dir():
            raise CodeBlockError(f"{above.parent}: no such directory on {socket.gethostname()}; {SHARE}")
        if named:
            raise CodeBlockError(f"{above.name}: not finished, or removed while it was read; run the same command again")
    return None


def check(directory: Path) -> Files:
    """The files of a finished directory, after a look at which there are and how large they are.

    Raises CodeBlockError for a file that is missing, of another size, or a part that the step did not write.
    """
    listed = files_of(directory) or {}
    while problem := _problem(directory, listed):
        fresh = files_of(directory) or {}
        if fresh == listed:
            raise CodeBlockError(f"{directory.name}: {problem}")
        listed = fresh  # another process has added parts since
    return listed


def check_file(path: Path) -> Path:
    """The path itself, of a file that is about to be read; nothing is known of one that is of no step.

    Raises CodeBlockError where it is not what its step wrote, by size at each call and by digest once in each process.
    """
    home = home_of(path.parent)
    if home is None:
        return store.fetch(path)
    name = path.relative_to(home).as_posix()
    entry = (files_of(home) or {}).get(name) or _growing(home).get(name) or (files_of(home) or {}).get(name)
    if entry is None:
        if not path.exists() or path.name.startswith("part-"):
            raise CodeBlockError(f"{home.name}: {name} is no file that this step wrote; {_remedy(home)}")
        return path
    if places.is_remote(path) and not _is_as_written(path, entry):
        source = _files_home(home) / name
        if _is_as_written(source, entry):  # this node has put it
            store.make_parent(path)
            with suppress(FileNotFoundError):  # another process here was faster
                source.replace(path)
        else:
            store.fetch(path, source, trust=False)
    try:
        facts = path.stat()
    except FileNotFoundError:
        check(home)
        raise CodeBlockError(f"{home.name}: {name} is missing; {_remedy(home)}") from None
    if facts.st_size != entry.bytes:
        raise CodeBlockError(f"{home.name}: {_other_size(name, facts.st_size, entry, home)}")
    _check_digest(path, (facts.st_ino, facts.st_size, facts.st_mtime_ns), entry, home)
    return path


def check_tree(directory: Path, but: tuple[str, ...] = ()) -> None:
    """`check_file` for all files that a step wrote into `directory`, but those whose names end in one of `but`."""
    home = home_of(directory)
    if home is None:
        store.fetch_tree(directory, but)
        return
    for name in check(home):
        path = home / name
        if path.is_relative_to(directory) and not name.endswith(but):
            check_file(path)


def footer_rows(path: Path) -> int:
    """Rows of a Parquet file by its footer. Raises CodeBlockError where it has none."""
    try:
        return int(pq.read_metadata(path).num_rows)
    except (OSError, pa.ArrowException) as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception) -> CodeBlockError:
    """One line for a part that is cut or damaged, with what to remove."""
    reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")[:200]
    home = next((above for above in [*path.parents][:LEVELS] if (above / MARKER).exists()), None)
    remedy = "write it again, or remove it" if home is None else _remedy(home)
    return CodeBlockError(f"{path}: not a whole {path.suffix.lstrip('.')} file ({reason}); {remedy}")


def _files_home(directory: Path) -> Path:
    """Where the files of a finished directory lie in the store."""
    return directory.parent / OBJECTS / str((completed(directory) or {}).get(AT)) if places.is_remote(directory) else directory


def _is_as_written(path: Path, entry: Entry) -> bool:
    try:
        facts = path.stat()
    except FileNotFoundError:
        return False
    state = (facts.st_ino, facts.st_size, facts.st_mtime_ns)
    return (path, state, entry.xxh3) in _VERIFIED or (facts.st_size == entry.bytes and _digest(path) == entry.xxh3)


def _marker(path: Path) -> dict[str, Any] | None:
    try:
        facts = store.fetch(path).stat()
        return _parsed(path, (facts.st_ino, facts.st_size, facts.st_mtime_ns))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CodeBlockError(f"{path.parent.name}: its marker {path.name} is damaged; {_remedy(path.parent)}") from error


@lru_cache(maxsize=512)
def _parsed(path: Path, _state: tuple[int, int, int]) -> dict[str, Any]:
    marker: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if marker.get("format") != FORMAT:
        raise CodeBlockError(f"{path.parent.name}: made by another version of codeblock; {_remedy(path.parent)}")
    return {**marker, "files": {name: Entry(**entry) for name, entry in marker["files"].items()}}


def _growing(directory: Path) -> Files:
    marker = _marker(directory / GROWING)
    return {} if marker is None else marker["files"]


def _problem(directory: Path, listed: Files) -> str | None:
    there = {}
    found = store.sizes(_files_home(directory))
    for name, entry in listed.items():
        if name not in found:
            continue
        if found[name] != entry.bytes:
            return _other_size(name, found[name], entry, directory)
        there[name] = entry
    if missing := [name for name in listed if name not in there]:
        return _missing(missing, there, listed, directory)
    extra = sorted(name for name in found if Path(name).name.startswith("part-") and name not in listed)
    if not extra or not set(extra).difference(_growing(directory)):
        return None
    return f"{extra[0]} is no part that this step wrote (it wrote {_count(listed)}); remove it, or {_remedy(directory)}"


def _missing(missing: list[str], there: Files, listed: Files, directory: Path) -> str:
    parts = [name for name in listed if name.startswith("part-")]
    told = "" if len(missing) == 1 else f" and {len(missing) - 1} more"
    if missing[0] not in parts:
        return f"{missing[0]}{told} {'is' if not told else 'are'} missing; {_remedy(directory)}"
    left = [name for name in parts if name in there]
    rows, total = (sum(listed[name].rows or 0 for name in names) for names in (left, parts))
    counts = f"{len(left)} of {len(parts)} parts are there" + (f", {rows:,} of {total:,} rows" if total else "")
    return f"{missing[0]}{told} {'is' if not told else 'are'} missing ({counts}); {_remedy(directory)}"


def _count(listed: Files) -> str:
    parts = sum(Path(name).name.startswith("part-") for name in listed)
    return f"{parts} part{'' if parts == 1 else 's'}"


def _other_size(name: str, size: int, entry: Entry, directory: Path) -> str:
    what = "is cut" if size < entry.bytes else "is not the one that this step wrote"
    return f"{name} {what} ({size:,} bytes, {entry.bytes:,} were written); {_remedy(directory)}"


def _remedy(directory: Path) -> str:
    return f"remove {places.show(directory)} to compute it again"


_VERIFIED: set[tuple[Path, tuple[int, int, int], str]] = set()


def _check_digest(path: Path, state: tuple[int, int, int], entry: Entry, home: Path) -> None:
    key = (path, state, entry.xxh3)
    if key in _VERIFIED:
        return
    if _digest(path) != entry.xxh3:
        name = path.relative_to(home).as_posix()
        raise CodeBlockError(
            f"{home.name}: {name} is not the one that this step wrote (other content, of the same size); {_remedy(home)}"
        )
    _VERIFIED.add(key)


def _digest(path: Path) -> str:
    found = xxhash.xxh3_128()
    with path.open("rb", buffering=0) as stream:
        while chunk := stream.read(_CHUNK):
            found.update(chunk)
    return found.hexdigest()


def _files(directory: Path) -> Iterator[Path]:
    for above, below, names in os.walk(directory):
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and name not in (MARKER, GROWING):
                yield Path(above) / name
