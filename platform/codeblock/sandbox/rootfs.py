"""The file system that programs see: what Python needs, read-only; a small scratch, fresh for each; nothing else."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from codeblock.sandbox import kernel
from codeblock.sandbox.paths import DEVICES, is_link, links, scratch_base

SCRATCH_BYTES = 256 << 20
SCRATCH_FILES = 20_000


def enter_root(paths: Sequence[str], own_processes: bool) -> None:
    """Make a new root of read-only binds of these paths, and leave the old one. For the first process of its namespaces.

    Raises OSError where the kernel refuses; the old root is then still there.
    """
    kernel.mount("", "/", None, kernel.MS_REC | kernel.MS_SLAVE)
    above = {str(parent) for path in paths for parent in (Path(path), *Path(path).parents)}
    root = next(base for base in ("/sys", "/mnt", "/srv", "/tmp") if Path(base).is_dir() and base not in above)
    # The sources are opened before the new root lies on top of one of them.
    sources = {path: os.open(path, os.O_PATH) for path in (*paths, *DEVICES) if not is_link(path)}
    try:
        kernel.mount("tmpfs", root, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=755,size=1m")
        for path in filter(is_link, paths):
            Path(root + path).symlink_to(Path(path).readlink())
        for path, source in sources.items():
            bind(source, Path(root + path), read_only=path not in DEVICES)
        for name in (scratch_base(paths), "/tmp", "/proc", "/var"):
            Path(root + name).mkdir(exist_ok=True)
        for name, target in links(paths).items():
            Path(root + name).symlink_to(target)
        if own_processes:  # another namespace's /proc would show all processes
            mount_proc(f"{root}/proc")
        kernel.pivot_root(root)
        kernel.make_read_only("/", recursive=False)
    finally:
        for descriptor in sources.values():
            os.close(descriptor)


def bind(source: int, target: Path, read_only: bool) -> None:
    """Show an open file or directory at another place."""
    path = f"/proc/self/fd/{source}"
    target.parent.mkdir(parents=True, exist_ok=True)
    if Path(path).is_dir():
        target.mkdir()
    else:
        target.touch()
    kernel.mount(path, str(target), None, kernel.MS_BIND | kernel.MS_REC)
    if read_only:
        kernel.make_read_only(str(target), recursive=True)


def mount_proc(target: str) -> None:
    """A view of this process namespace alone. Containers often refuse it: programs then have no /proc, which few need."""
    flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
    with contextlib.suppress(OSError):
        kernel.mount("proc", target, "proc", flags)
        kernel.make_read_only(target, recursive=False)


class Scratch:
    """The only place where a program can write."""

    def __init__(self, base: Path, own_mounts: bool) -> None:
        """base: a directory to hold the programs' own; with `own_mounts` a file system of limited size is put on it."""
        self.base = base
        self.mounted = False
        self._untouched: tuple[int, ...] = ()
        self._number = 0
        if own_mounts:
            with contextlib.suppress(OSError):
                self._mount()
                self.mounted = True

    def used_kb(self) -> int:
        """KiB of all files here; 0 where this is no file system of its own."""
        if not self.mounted:
            return 0
        found = os.statvfs(self.base)
        return (found.f_blocks - found.f_bfree) * found.f_frsize >> 10

    def new(self, owner: int | None) -> Path:
        """An empty private directory for one program, which runs as the user `owner` (None: as this one)."""
        self._number += 1
        self._untouched = self._state()
        path = self.base / (f"work{self._number}" if self.mounted else f"run-{os.urandom(8).hex()}")
        path.mkdir(mode=0o700, parents=True)
        path.chmod(0o700)
        if owner is not None:
            os.chown(path, owner, owner)
        return path

    def clean(self, path: Path) -> None:
        """Remove all that a program wrote here, whatever it did to permissions, or to the directory; its processes are dead."""
        if not self.mounted:
            remove(path)
            return
        with contextlib.suppress(OSError):  # the program may have removed it
            path.rmdir()
        if any(self.base.iterdir()) or self._state() != self._untouched:
            kernel.unmount(str(self.base))
            self._mount()

    def _state(self) -> tuple[int, ...]:
        """What is left of the file system, and the rights over its root. Most programs write nothing."""
        if not self.mounted:
            return ()
        left, root = os.statvfs(self.base), self.base.stat()
        return (left.f_ffree, left.f_bfree, root.st_mode)

    def _mount(self) -> None:
        options = f"mode=1777,size={SCRATCH_BYTES},nr_inodes={SCRATCH_FILES}"
        kernel.mount("tmpfs", str(self.base), "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, options)


def remove(directory: Path) -> None:
    """Remove a directory, also where the program took permissions away, or put a link in its place."""
    if directory.is_symlink():
        directory.unlink()
        return
    try:
        shutil.rmtree(directory)
    except FileNotFoundError:
        return
    except OSError:
        directory.chmod(0o700)
        for parent, names, _ in os.walk(directory):
            for path in (Path(parent, name) for name in names):
                if not path.is_symlink():
                    path.chmod(0o700)
        shutil.rmtree(directory, ignore_errors=True)
