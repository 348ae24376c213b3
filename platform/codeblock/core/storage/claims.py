"""One process computes a step, others wait for it: locks, the directories of unfinished work, and how they become results.

    cache/.locks/NAME.lock      held by the process that computes the step NAME (flock: it ends with its process)
    cache/.work/NAME.TOKEN      unfinished work; each holder has a token of its own, and NAME.TOKEN.json says who it is
    cache/NAME                  the result, renamed to here when it is whole

In an object store the same is said with conditional puts (leases.py, object_work.py).

Whoever holds the lock may take over or remove what earlier holders left, for they are dead. Their workers may live some
seconds longer: what they still write goes to the name of their own holder, which is read no more.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from codeblock.core.errors import CodeBlockError
from codeblock.core.storage import object_work, places
from codeblock.core.storage.leases import holder_note, holder_text, leased
from codeblock.core.storage.manifest import GROWING, MARKER, completed, describe, files_of, footer_rows, marker_text
from codeblock.core.storage.tables import temporary_beside, write_text

LOCKS, WORK = ".locks", ".work"
TELL_SECONDS = 30.0
"""Between two lines of a process that waits."""
POLL_SECONDS = 0.25


@contextmanager
def locked(directory: Path, waiting: Callable[[str], None] | None) -> Iterator[bool]:
    """Hold the lock of a step's directory; False where another process has it and `waiting` is None.

    `waiting` hears of whom is waited for, at once and every TELL_SECONDS. Raises CodeBlockError on a file system without locks.
    """
    if places.is_remote(directory):
        with leased(object_work.lease_of(directory), waiting) as taken:
            yield taken
        return
    file = directory.parent / LOCKS / f"{directory.name}.lock"
    lock = FileLock(file)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        held = _acquire(lock, 0.0)
        while not held and waiting is not None:
            waiting(_holder(directory))
            held = _acquire(lock, TELL_SECONDS)
    except (OSError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CodeBlockError(
            f"{file}: cannot be locked ({reason}); name a storage=DIR that you may write, on a file system with flock"
        ) from error
    try:
        yield held
    finally:
        if held:
            lock.release()


def _acquire(lock: FileLock, seconds: float) -> bool:
    try:
        lock.acquire(timeout=seconds, poll_interval=POLL_SECONDS)
    except Timeout:
        return False
    return True


def open_work(directory: Path, *, resume: bool, grows: bool) -> Path:
    """A directory for the work on a step whose lock is held.

    With `resume` it has what an earlier holder had finished, and the parts of the result where there is one; anything else that
    was left of the step is removed.
    """
    if places.is_remote(directory):
        return object_work.open_work(directory, resume=resume, grows=grows)
    work = directory.parent / WORK
    work.mkdir(parents=True, exist_ok=True)
    own = work / f"{directory.name}.{secrets.token_hex(4)}"
    if directory.exists() and completed(directory) is None:  # its marker was removed
        directory.rename(work / f"{directory.name}.{secrets.token_hex(4)}")
        resume = False
    left = sorted(unfinished(directory), key=lambda path: sum(1 for _ in path.rglob("*")))
    if resume and left:
        left[-1].rename(own)
        _drop_broken(own)
    else:
        own.mkdir()
    for path in left:
        discard(path)
    for name in files_of(directory) or {}:
        _put(directory / name, own / name)
    write_text(_note_file(own), json.dumps({**holder_note(), "keep": resume or grows}))
    return own


def unfinished(directory: Path) -> list[Path]:
    """What runs that are going on or have died have made of a step."""
    if places.is_remote(directory):
        return object_work.unfinished(directory)
    return [path for path in (directory.parent / WORK).glob(f"{directory.name}.*") if path.is_dir()]


def discard(own: Path) -> None:
    """Remove unfinished work, as far as it is there."""
    if places.is_remote(own):
        object_work.discard(own)
        return
    shutil.rmtree(own, ignore_errors=True)
    _note_file(own).unlink(missing_ok=True)


def publish(own: Path, directory: Path, facts: dict[str, Any]) -> bool:
    """Make finished work the result, whole: by one rename, or part by part beside those that are there, the marker last.

    False where another process has finished the step meanwhile, and its result counts.
    """
    if places.is_remote(directory):
        return object_work.publish(own, directory, facts)
    for path in own.rglob(".*.tmp"):
        path.unlink(missing_ok=True)
    files = describe(own)
    text = marker_text(facts, files)
    before = files_of(directory)
    if before is None:
        write_text(own / MARKER, text)
        own.rename(directory)
        discard(own)
        return True
    write_text(directory / GROWING, text)
    for name, entry in files.items():
        if before.get(name) != entry:
            _put(own / name, directory / name)
    (directory / GROWING).replace(directory / MARKER)
    discard(own)
    return True


def remove_result(directory: Path) -> None:
    """Take a finished step out of the cache, whole, where it is there; its lock is held."""
    if places.is_remote(directory):
        object_work.remove_result(directory)
    elif directory.exists():
        gone = directory.parent / WORK / f"{directory.name}.{secrets.token_hex(4)}"
        gone.parent.mkdir(exist_ok=True)
        directory.rename(gone)  # at once, so that no reader finds half of it
        shutil.rmtree(gone, ignore_errors=True)


def remove_dead(cache: Path) -> None:
    """Remove the work of dead runs that nobody will go on from; what another process has in hand stays."""
    if places.is_remote(cache):
        object_work.remove_dead(cache)
        return
    for own in {path.with_suffix("") if path.suffix == ".json" else path for path in (cache / WORK).glob("*.*")}:
        directory = cache / own.name.rpartition(".")[0]
        with suppress(OSError, CodeBlockError), locked(directory, None) as held:
            if held and not (own.is_dir() and _note(own).get("keep", False)):
                discard(own)


def _put(source: Path, target: Path) -> None:
    """The same file under a second name: a hard link, or a copy where there are none."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(target)
    try:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copy2(source, temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _drop_broken(own: Path) -> None:
    """Remove the parts that a crash of the machine has cut; parts are renamed whole, but the disk may not have had them yet."""
    (own / MARKER).unlink(missing_ok=True)  # of a process that died before it could rename the directory
    for path in [*own.rglob(".*.tmp"), *own.rglob("part-*")]:
        if path.is_file() and not _is_whole(path):
            path.unlink()


def _is_whole(path: Path) -> bool:
    try:
        if path.suffix == ".parquet":
            footer_rows(path)
        elif path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        return path.suffix != ".tmp"
    except (CodeBlockError, ValueError):
        return False


def _note_file(own: Path) -> Path:
    return own.with_name(f"{own.name}.json")


def _note(own: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(_note_file(own).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def _holder(directory: Path) -> str:
    """Who works on a step, as far as it has said so."""
    notes = sorted((_note(own) for own in unfinished(directory)), key=lambda note: str(note.get("since", "")))
    return holder_text(notes[-1] if notes else {})
