"""Brings results to safety in a few files of bounded size, each written whole."""

from __future__ import annotations

import json
import os
import platform
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from tests.proof.parts import MIB

LARGEST = 15 * MIB
FILES = 8
"""As many files come back, `machine.json` among them."""


def machine() -> dict[str, Any]:
    """What the work ran on."""
    cuda = torch.cuda.is_available()
    return {
        "device": torch.cuda.get_device_name() if cuda else platform.processor() or platform.machine(),
        "device_memory_mb": torch.cuda.get_device_properties(0).total_memory / MIB if cuda else None,
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def write_json(path: Path, values: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(values, indent=1), encoding="utf-8")
    temporary.replace(path)


def save_directories(work: Path, output: Path, leave: Sequence[str] = ("trained.pt",)) -> list[str]:
    """Write `output/results-0.tar`, ... of all directories in `work`; the files that found no room.

    A file is in the first archive that has room; those that are the most telling come first: facts and curves, then answers.
    """
    files = [path for path in work.glob("*/**/*") if path.is_file() and path.name not in leave and path.name[0] != "."]
    files.sort(key=lambda path: (path.parent.name == "answers", path.relative_to(work).as_posix()))
    groups: list[list[Path]] = [[]]
    sizes = [0]
    left_out = []
    for path in files:
        size = 2 * tarfile.BLOCKSIZE + path.stat().st_size
        if sizes[-1] + size > LARGEST and len(groups) < FILES - 1:
            groups.append([])
            sizes.append(0)
        if sizes[-1] + size > LARGEST:
            left_out.append(path.relative_to(work).as_posix())
            continue
        groups[-1].append(path)
        sizes[-1] += size
    output.mkdir(parents=True, exist_ok=True)
    for number, group in enumerate(groups):
        _archive(output / f"results-{number}.tar", work, group)
    return left_out


def _archive(path: Path, work: Path, files: Iterable[Path]) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    with tarfile.open(temporary, "w") as archive:
        for file in files:
            archive.add(file, file.relative_to(work).as_posix())
    temporary.replace(path)
