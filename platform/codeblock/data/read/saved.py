"""Folders that Hugging Face's `save_to_disk` wrote: which of their files hold the rows, in what order."""

from __future__ import annotations

import json
from typing import Any

from codeblock.core.errors import CodeBlockError

DESCRIPTIONS = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")
"""What `datasets` writes beside the rows."""


def saved_files(filesystem: Any, root: str, split: str, path: str) -> list[str] | None:
    """The Arrow files of a folder that `save_to_disk` wrote, in the order of their rows; None for any other folder.

    Raises CodeBlockError where it has no such split, and where a file is missing.
    """
    splits = _described(filesystem, f"{root}/dataset_dict.json", "splits")
    if splits is not None:
        if split not in splits and len(splits) > 1:
            raise CodeBlockError(f"pairs.path={path}: no split {split}; set pairs.split to one of {', '.join(splits)}")
        return saved_files(filesystem, f"{root}/{split if split in splits else splits[0]}", split, path)
    files = _described(filesystem, f"{root}/state.json", "_data_files")
    if files is None:
        return None
    names = [f"{root}/{file['filename']}" for file in files]
    missing = [name for name in names if not filesystem.exists(name)]
    if missing:
        raise CodeBlockError(f"pairs.path={path}: {missing[0]} is missing of this saved dataset; save it again")
    return names


def _described(filesystem: Any, path: str, key: str) -> list[Any] | None:
    """A list in one of the files by which `datasets` knows its folders again; None where it is not there."""
    if not filesystem.exists(path):
        return None
    try:
        described = json.loads(filesystem.cat_file(path))
    except ValueError:
        return None
    found = described.get(key) if isinstance(described, dict) else None
    return found if isinstance(found, list) and found else None


def without_descriptions(filesystem: Any, names: list[str], split: str, path: str) -> list[str]:
    """Data files alone: those of saved folders by the list that each keeps of them, and no description among the others.

    Raises CodeBlockError as `saved_files`.
    """
    plain = [name for name in names if name.rsplit("/", 1)[-1] not in DESCRIPTIONS]
    taken: dict[str, list[str]] = {}
    for description in ("dataset_dict.json", "state.json"):
        for folder in [name.rsplit("/", 1)[0] for name in names if name.endswith(f"/{description}")]:
            if not any(folder.startswith(f"{other}/") for other in taken):
                found = saved_files(filesystem, folder, split, path)
                taken |= {folder: found} if found is not None else {}
    rest = [name for name in plain if not any(name.startswith(f"{folder}/") for folder in taken)]
    return [*rest, *(name for found in taken.values() for name in found)]
