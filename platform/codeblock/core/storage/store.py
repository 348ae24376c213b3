"""One way to files on this machine and to objects in a store: whole objects, a mirror on local disk, no rename.

Code that reads and writes files works on local ones. Where a path is the mirror of an object (places.py), what was written is
put as one object, and what is read is fetched first; plain paths are left as they are.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from codeblock.core.errors import CodeBlockError, naming
from codeblock.core.storage.places import MIRRORED, SCRATCH, ObjectPath, is_there_already, remote_of, show, told

_PROBES = ("one", "another")
_AT_ONCE = 8
_TAGS = ("ETag", "etag", "md5Hash", "content_md5")
"""What stores call the tag of an object's content."""
_looked: dict[ObjectPath, dict[str, Any] | None] | None = None
"""What was found in `one_look`; None outside of one."""


# What is there


@contextmanager
def one_look() -> Iterator[None]:
    """Ask a store once for each object within the block, which looks at a storage and neither writes nor waits for others."""
    global _looked
    before, _looked = _looked, {}
    try:
        yield
    finally:
        _looked = before


def exists(path: Path) -> bool:
    """Whether there is such a file or object."""
    remote = remote_of(str(path))
    return path.exists() if remote is None else _info(remote) is not None


def sizes(directory: Path) -> dict[str, int]:
    """Bytes of all files below a directory by their names with slashes; hidden ones are left out."""
    remote = remote_of(str(directory))
    if remote is not None:
        return {name: int(info["size"]) for name, info in _objects(remote).items()}
    found = {}
    for name in _local_files(directory):
        with suppress(FileNotFoundError):
            found[name] = (directory / name).stat().st_size
    return found


def children(directory: Path) -> list[Path]:
    """Files and directories in a directory, sorted; none where it does not exist."""
    remote = remote_of(str(directory))
    if remote is None:
        return sorted(directory.iterdir()) if directory.is_dir() else []
    with told(remote.url):
        try:
            names = remote.filesystem.ls(remote.key, detail=False, refresh=True)
        except FileNotFoundError:
            return []
    return sorted(directory / name.rstrip("/").rpartition("/")[2] for name in names if name.rstrip("/") != remote.key)


def by_age(directory: Path, pattern: str) -> list[Path]:
    """Files below a directory that match a pattern of names, the oldest first."""
    remote = remote_of(str(directory))
    if remote is None:
        return sorted(directory.glob(pattern), key=lambda path: path.stat().st_mtime)
    with told(remote.url):
        try:
            found = remote.filesystem.glob(f"{remote.key}/{pattern}", detail=True, refresh=True)
        except FileNotFoundError:  # not even the bucket
            return []
    return [
        directory / name.removeprefix(remote.key + "/")
        for name, _ in sorted(found.items(), key=lambda item: str(item[1].get("LastModified")))
    ]


# Reading


def fetch(path: Path, source: Path | None = None, trust: bool = True) -> Path:
    """The path, once it holds what the store has: of a file that no longer is there, nothing.

    `source`: the mirror of another object, where not the path's own is meant; `trust`: take a file that looks like it.
    """
    remote = remote_of(str(source or path))
    if remote is None:
        return path
    if not trust:
        _tag_file(path).unlink(missing_ok=True)
    info = _info(remote)
    if info is None:
        _forget(path)
    elif not _is_current(path, info):
        _get(remote, path, info)
    return path


def fetch_tree(directory: Path, but: tuple[str, ...] = ()) -> Path:
    """`fetch` for all objects below a prefix, but those whose names end in one of `but`; others that lie there are removed."""
    remote = remote_of(str(directory))
    if remote is None:
        return directory
    objects = _objects(remote)
    wanted = [name for name, info in objects.items() if not name.endswith(but) and not _is_current(directory / name, info)]
    _at_once(lambda name: _get(ObjectPath(remote.scheme, f"{remote.key}/{name}"), directory / name, objects[name]), wanted)
    for name in _local_files(directory):
        if name not in objects:
            _forget(directory / name)
    return directory


def read_text(path: Path) -> str:
    """The text of a file. Raises FileNotFoundError."""
    remote = remote_of(str(path))
    if remote is None:
        return path.read_text(encoding="utf-8")
    with told(remote.url):
        return bytes(remote.filesystem.cat_file(remote.key)).decode()


# Writing


def make_parent(path: Path) -> None:
    """Make the directory of a file; others on this machine may not look into that of all mirrors."""
    mirrored = MIRRORED.fullmatch(str(path))
    if mirrored is not None:
        scratch = Path(mirrored[1])
        scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        if scratch.stat().st_uid != os.getuid():
            raise CodeBlockError(f"{scratch}: belongs to another user; set {SCRATCH} to a directory of your own on this disk")
    path.parent.mkdir(parents=True, exist_ok=True)


def put(path: Path) -> None:
    """Put a file that was written as one object, whole or not at all."""
    remote = remote_of(str(path))
    if remote is None:
        return
    with told(remote.url, writes=True):
        remote.filesystem.put_file(str(path), remote.key)
    info = _info(remote)
    if info is not None:
        _note_tag(path, info)


def put_tree(directory: Path) -> None:
    """Put the files below a directory that the store does not have as they are."""
    remote = remote_of(str(directory))
    if remote is None:
        return
    objects = _objects(remote)
    for name in _local_files(directory):
        if name not in objects or not _is_current(directory / name, objects[name]):
            put(directory / name)


def prune(directory: Path) -> None:
    """Remove the local files below the mirror of a prefix that the store does not have as they are."""
    remote = remote_of(str(directory))
    if remote is not None:
        objects = _objects(remote)
        for name in _local_files(directory):
            if name not in objects or not _is_current(directory / name, objects[name]):
                _forget(directory / name)


def put_if_absent(path: Path, text: str) -> bool:
    """Create an object with one conditional request; False where there is another one. Only for paths of an object store.

    One of the same text is this one: a client whose request was answered too late, or by an error, sends it again, and is then
    told that the object is there. So the text has to be one that no other process writes.
    """
    remote = remote_of(str(path))
    assert remote is not None
    with told(remote.url, writes=True):
        try:
            remote.filesystem.pipe_file(remote.key, text.encode(), mode="create")
        except OSError as error:
            if not isinstance(error, FileExistsError) and not is_there_already(error):
                raise
        else:
            return True
    with suppress(FileNotFoundError):
        return read_text(path) == text
    return False


def put_text(path: Path, text: str) -> None:
    """Put a text as one object. Only for paths of an object store."""
    remote = remote_of(str(path))
    assert remote is not None
    with told(remote.url, writes=True):
        remote.filesystem.pipe_file(remote.key, text.encode())


def copy_tree(source: Path, target: Path) -> None:
    """Copy all objects below a prefix within the store. Only for paths of an object store."""
    one, other = remote_of(str(source)), remote_of(str(target))
    assert one is not None
    assert other is not None
    with told(one.url):
        _at_once(lambda name: one.filesystem.cp_file(f"{one.key}/{name}", f"{other.key}/{name}"), list(_objects(one)))


def remove(path: Path) -> None:
    """Remove a file, if it is there."""
    remote = remote_of(str(path))
    if remote is not None:
        with told(remote.url), suppress(FileNotFoundError):
            remote.filesystem.rm_file(remote.key)
        _tag_file(path).unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def remove_tree(directory: Path) -> None:
    """Remove a directory with all that is in it, as far as it is there."""
    remote = remote_of(str(directory))
    if remote is not None and (objects := _objects(remote)):
        with told(remote.url):
            remote.filesystem.rm([f"{remote.key}/{name}" for name in objects])
    shutil.rmtree(directory, ignore_errors=True)


def check_writable(directory: Path) -> None:
    """Raise CodeBlockError where a store cannot be written, or creates an object a second time. Only for object stores."""
    probe = directory / f".probe-{secrets.token_hex(4)}"
    created = [put_if_absent(probe, text) for text in _PROBES]
    remove(probe)
    if created != [True, False]:
        raise CodeBlockError(
            f"storage={show(directory.parent)}: the store takes a second conditional put (If-None-Match) of one object, so "
            "runs could not tell who works on a step; name a store that knows it"
        )


def arrow(directory: Path) -> tuple[Any, str]:
    """File system and path of a directory for libraries that write through pyarrow; None and the path for a local one."""
    remote = remote_of(str(directory))
    if remote is None:
        return None, str(directory)
    from pyarrow.fs import FSSpecHandler, PyFileSystem

    return PyFileSystem(FSSpecHandler(remote.filesystem)), remote.key


# Inner things


def version_of(filesystem: Any, place: str) -> str:
    """What differs where a remote file was written again: the tag that its store keeps of the content, if it does."""
    info = filesystem.info(place)
    return _tag(info) if any(info.get(name) for name in _TAGS) else str(filesystem.ukey(place))


def _tag(info: dict[str, Any]) -> str:
    """What differs where an object was written again."""
    version = next((info[name] for name in _TAGS if info.get(name)), None)
    return json.dumps([info["size"], str(version or info.get("LastModified") or info.get("mtime"))])


def _info(remote: ObjectPath) -> dict[str, Any] | None:
    if _looked is None:
        return _ask(remote)
    if remote not in _looked:
        _looked[remote] = _ask(remote)
    return _looked[remote]


def _ask(remote: ObjectPath) -> dict[str, Any] | None:
    with told(remote.url):
        try:
            info = remote.filesystem.info(remote.key)
        except FileNotFoundError:
            return None
    return None if info.get("type") == "directory" else dict(info)


def _objects(remote: ObjectPath) -> dict[str, dict[str, Any]]:
    """Facts of all objects below a prefix, by the rest of their names; hidden ones are left out."""
    with told(remote.url):
        try:
            found = remote.filesystem.find(remote.key, detail=True, refresh=True)
        except FileNotFoundError:
            return {}
    names = {name.removeprefix(remote.key + "/"): info for name, info in found.items() if name.startswith(remote.key + "/")}
    return {name: info for name, info in names.items() if name and not f"/{name}".count("/.") and info["type"] != "directory"}


def _at_once(work: Callable[[str], None], names: Sequence[str]) -> None:
    """Do several requests at the same time, each of which waits for the store most of its time."""
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        for _ in threads.map(work, names):
            pass


def _tag_file(path: Path) -> Path:
    return path.with_name(f".{path.name}.tag")


def _note_tag(path: Path, info: dict[str, Any]) -> None:
    """Note which object a file is, and since when: one that is written over is another."""
    _tag_file(path).write_text(f"{path.stat().st_mtime_ns} {_tag(info)}")


def _is_current(path: Path, info: dict[str, Any]) -> bool:
    try:
        facts = path.stat()
        return facts.st_size == info["size"] and _tag_file(path).read_text() == f"{facts.st_mtime_ns} {_tag(info)}"
    except FileNotFoundError:
        return False


def _get(remote: ObjectPath, path: Path, info: dict[str, Any]) -> None:
    """Fetch an object; of several processes of a node that need it one does."""
    from filelock import FileLock

    make_parent(path)
    with FileLock(path.with_name(f".{path.name}.lock")):
        if _is_current(path, info):
            return
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
        try:
            with told(remote.url):
                remote.filesystem.get_file(remote.key, str(temporary))
            temporary.replace(path)
            _note_tag(path, info)
        except FileNotFoundError:  # removed since it was seen
            _forget(path)
        except OSError as error:
            raise naming(error, path) from error
        finally:
            temporary.unlink(missing_ok=True)


def _forget(path: Path) -> None:
    path.unlink(missing_ok=True)
    _tag_file(path).unlink(missing_ok=True)


def _local_files(directory: Path) -> list[str]:
    found = []
    for above, below, names in os.walk(directory):
        below[:] = [name for name in below if not name.startswith(".")]
        found += [(Path(above) / name).relative_to(directory).as_posix() for name in names if not name.startswith(".")]
    return sorted(found)
