"""What goes to the cluster: this package, the config, and what the user names beside them; never more than it takes.

Ray sends a directory as an uncompressed archive and its head takes no more than 100 MiB in one, so the bytes of the files
are what counts, and they are counted before anything is sent.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import codeblock
from codeblock.core.errors import CodeBlockError

MOST_MIB = 100.0
"""What Ray's dashboard takes in one request; above it answers with the bare status 413."""
OFFENDERS = 5
"""Files that are named where there is too much."""
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", ".git", ".venv", ".DS_Store")


@dataclass(frozen=True)
class Parcel:
    """The two directories that are sent, each as an archive of its own."""

    module: Path
    """The package, on the path of every process of the job before what is installed there."""
    work: Path
    """The directory that the job starts in: the config, and what was included."""
    config: str
    """Name of the config in it."""

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of each directory, by what the user calls it."""
        return {"codeblock": _bytes_of(self.module), "config and included files": _bytes_of(self.work)}


def pack(config: Path, include: Sequence[Path], scratch: Path, root: Path | None = None) -> Parcel:
    """Copy what is sent into `scratch`. Included files keep their place below `root` (default: the current directory).

    Raises CodeBlockError for an included path that is not there or lies outside `root`, and where one of the two directories
    is larger than MOST_MIB; that error names the largest files.
    """
    root = root or Path.cwd()
    sources = [(path, _place(path, root)) for path in include]
    own = Path(next(iter(codeblock.__path__)))
    check_size([own])
    check_size([config, *(path for path, _ in sources)])
    module, work = scratch / "package" / "codeblock", scratch / "work"
    shutil.copytree(own, module, ignore=LEFT_OUT)
    work.mkdir(parents=True)
    for path, place in sources:
        (work / place).parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, work / place, ignore=LEFT_OUT, dirs_exist_ok=True)
        else:
            shutil.copyfile(path, work / place)
    shutil.copyfile(config, work / config.name)
    return Parcel(module, work, config.name)


def check_size(paths: Sequence[Path]) -> None:
    """Raise CodeBlockError where the files at `paths` together are more than MOST_MIB, with the largest of them."""
    sizes = {file: file.stat().st_size for path in paths for file in files_below(path)}
    total = sum(sizes.values()) / 2**20
    if total > MOST_MIB:
        largest = sorted(sizes, key=lambda file: -sizes[file])[:OFFENDERS]
        named = ", ".join(f"{file} {sizes[file] / 2**20:.1f} MiB" for file in largest)
        raise CodeBlockError(
            f"submit: {total:.1f} MiB to send, a cluster takes {MOST_MIB:g} MiB; the largest files: {named}; put them where "
            "all nodes can read them and name that place in the config"
        )


def files_below(path: Path) -> list[Path]:
    """The file, or the files in a directory that would be sent, in order."""
    if not path.is_dir():
        return [path]
    found: list[Path] = []
    entries = sorted(path.iterdir())
    skipped = LEFT_OUT(str(path), [entry.name for entry in entries])
    for entry in entries:
        if entry.name not in skipped:
            found += files_below(entry)
    return found


def _place(path: Path, root: Path) -> Path:
    if not path.exists():
        raise CodeBlockError(f"--include {path}: there is no such file or directory")
    absolute = Path(os.path.normpath(Path.cwd() / path))  # a link in the directory is sent as what it leads to
    if not absolute.is_relative_to(root):
        raise CodeBlockError(f"--include {path}: lies outside {root}; start the command in a directory above it")
    return absolute.relative_to(root)


def _bytes_of(directory: Path) -> int:
    return sum(file.stat().st_size for file in files_below(directory))
