"""A large file as parts in folders of their own, for a machine that takes only so much at a time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from codeblock.core.errors import CodeBlockError

MANIFEST = "part.json"
MIB = 2**20


def split_file(file: Path, output: Path, most_bytes: int) -> list[Path]:
    """Folders `output/part-0`, `output/part-1`, ..., each with a piece of at most `most_bytes` and a manifest of the whole."""
    size = file.stat().st_size
    count = max(1, -(-size // most_bytes))
    each = -(-size // count)
    whole = {"name": file.name, "bytes": size, "sha256": _digest(file), "parts": count}
    folders = []
    with file.open("rb") as stream:
        for number in range(count):
            folder = output / f"part-{number}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{file.name}.{number}").write_bytes(stream.read(each))
            (folder / MANIFEST).write_text(json.dumps({**whole, "part": number}), encoding="utf-8")
            folders.append(folder)
    return folders


def join_parts(folders: Sequence[Path], output: Path) -> Path:
    """The file whose parts lie in the folders, in any order. A file that is there and right is left.

    Raises CodeBlockError where parts are missing or of several files, and where the file differs from the one that was split.
    """
    found: dict[int, tuple[Path, dict[str, Any]]] = {}
    for folder in folders:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        found[manifest["part"]] = folder, manifest
    if not found:
        raise CodeBlockError("join: no part; name the folders part-0, part-1, ...")
    whole = next(iter(found.values()))[1]
    missing = sorted(set(range(whole["parts"])) - set(found))
    if missing or len({manifest["sha256"] for _, manifest in found.values()}) > 1:
        raise CodeBlockError(f"join {whole['name']}: parts {missing} are missing, or the folders hold several files")
    file = output / whole["name"]
    if not (file.exists() and _digest(file) == whole["sha256"]):
        output.mkdir(parents=True, exist_ok=True)
        with file.open("wb") as stream:
            for number in range(whole["parts"]):
                stream.write((found[number][0] / f"{whole['name']}.{number}").read_bytes())
        if _digest(file) != whole["sha256"]:
            raise CodeBlockError(f"join {file}: its SHA-256 differs from the one that was split; carry the parts again")
    return file


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
