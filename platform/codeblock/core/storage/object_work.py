"""Unfinished work and results in an object store, where nothing can be renamed.

    cache/NAME/_complete.json         the marker, created by one conditional put when all else is there; says which objects
    cache/objects/NAME.TOKEN/         what one holder of the step NAME has put; the result, where the marker says TOKEN
    cache/objects/NAME.TOKEN.json     who works there; removed when it is a result, so objects with neither are waste

The local mirror of cache/NAME holds a result's files, that of cache/objects/NAME.TOKEN those that this node has written.
"""

from __future__ import annotations

import json
import secrets
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from codeblock.core.errors import CodeBlockError
from codeblock.core.storage import store
from codeblock.core.storage.leases import check_held, holder_note, leased
from codeblock.core.storage.manifest import AT, MARKER, OBJECTS, completed, describe, marker_text

LOCKS = ".locks"


def lease_of(directory: Path) -> Path:
    """Where the lease on a step lies."""
    return directory.parent / LOCKS / directory.name


def open_work(directory: Path, *, resume: bool, grows: bool) -> Path:
    """As `claims.open_work`; what is taken over is copied within the store to the name of this holder."""
    home, marker = directory.parent / OBJECTS, completed(directory)
    own = home / f"{directory.name}.{secrets.token_hex(4)}"
    from_ = marker[AT] if marker else None
    store.put_text(_note_file(own), json.dumps({**holder_note(), "keep": resume or grows, "from": from_}))
    if marker is None:
        shutil.rmtree(directory, ignore_errors=True)  # the mirror of a result that was removed
    finished = home / from_ if from_ else None
    left = sorted((path for path in unfinished(directory) if path != own), key=lambda path: len(store.sizes(path)))
    if resume and left:
        store.copy_tree(left[-1], own)
        with suppress(FileNotFoundError):
            left[-1].rename(own)
            store.prune(own)
    own.mkdir(exist_ok=True, parents=True)
    if finished:
        store.copy_tree(finished, own)
    for path in _all_of(directory):
        if path not in (own, finished):
            _remove(path)
    return own


def unfinished(directory: Path) -> list[Path]:
    """What runs that are going on or have died have made of a step, as far as it can be gone on from."""
    notes = (path for path in store.children(directory.parent / OBJECTS) if path.suffix == ".json")
    found = [path.with_suffix("") for path in notes if path.name.startswith(f"{directory.name}.")]
    return [own for own in found if not _is_result(own)]


def discard(own: Path) -> None:
    """Remove unfinished work; what has become a result stays."""
    if _is_result(own):
        store.remove(_note_file(own))  # where its process died before it could
    else:
        _remove(own)


def publish(own: Path, directory: Path, facts: dict[str, Any]) -> bool:
    """Make finished work the result by its marker. False where another process had finished the step: its result counts.

    Raises CodeBlockError where another process has taken over the step.
    """
    for path in own.rglob(".*.tmp"):
        path.unlink(missing_ok=True)
    store.put_tree(own)
    store.fetch_tree(own)
    files = describe(own)
    try:
        check_held(lease_of(directory))
    except CodeBlockError:
        if not _note(_note_file(own)):  # the other one has a copy of what it took over, and what was put since nobody looks at
            _remove(own)
        raise
    before = completed(directory)
    text = marker_text({AT: own.name, **facts}, files)
    grows = before is not None and before[AT] == _note(_note_file(own)).get("from")
    if grows:
        store.put_text(directory / MARKER, text)
    elif not store.put_if_absent(directory / MARKER, text):
        _remove(own)
        return False
    store.remove(_note_file(own))
    for name in files:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (own / name).replace(directory / name)
    shutil.rmtree(own, ignore_errors=True)
    if grows and before is not None:
        store.remove_tree(own.parent / before[AT])
    return True


def remove_result(directory: Path) -> None:
    """Take a finished step out of the store, its marker first: what has none is not read."""
    marker = completed(directory)
    store.remove(directory / MARKER)
    if marker is not None:
        _remove(directory.parent / OBJECTS / marker[AT])
    shutil.rmtree(directory, ignore_errors=True)


def remove_dead(cache: Path) -> None:
    """As `claims.remove_dead`."""
    for note in store.children(cache / OBJECTS):
        if note.suffix != ".json" or _note(note).get("keep", True):
            continue
        own = note.with_suffix("")
        with suppress(CodeBlockError), leased(lease_of(_step_of(own)), None) as held:
            if held:
                discard(own)


def _all_of(directory: Path) -> set[Path]:
    """All that was ever put of a step, results too."""
    named = (path for path in store.children(directory.parent / OBJECTS) if path.name.startswith(f"{directory.name}."))
    return {path.with_suffix("") if path.suffix == ".json" else path for path in named}


def _step_of(own: Path) -> Path:
    return own.parent.parent / own.name.rpartition(".")[0]


def _is_result(own: Path) -> bool:
    return (completed(_step_of(own)) or {}).get(AT) == own.name


def _remove(own: Path) -> None:
    store.remove_tree(own)
    store.remove(_note_file(own))


def _note_file(own: Path) -> Path:
    return own.with_name(f"{own.name}.json")


def _note(file: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(store.read_text(file)))
    except (FileNotFoundError, ValueError):
        return {}
