"""What a program may see of the file system: the directories of an interpreter and of an ordinary Linux.

Run as a script, it prints the paths that the interpreter running it needs, one a line. Standard library alone, and nothing
of this package: the interpreter may be another one than the grader's.
"""

from __future__ import annotations

import os
import site
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

LINKED = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
"""Symbolic links into /usr on most systems, directories on others."""
SYSTEM = (
    "/usr",
    *LINKED,
    *("/nix/store", "/gnu/store"),
    *(
        "/etc/ld.so.cache",
        "/etc/ld.so.conf",
        "/etc/ld.so.conf.d",
        "/etc/alternatives",
        "/etc/localtime",
        "/etc/hosts",
        "/etc/nsswitch.conf",
        "/etc/timezone",
    ),
    *("/etc/mime.types", "/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/fonts", "/etc/magic"),
)
"""What interpreters and their libraries read of an ordinary Linux, where it is there. No list of users, no host's name."""
OF_A_PREFIX = ("bin", "lib", "lib32", "lib64", "libexec", "share", "ssl", "pyvenv.cfg")
"""What belongs to Python below its prefix, which may be a directory with other things in it."""
DEVICES = tuple(f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom") if Path("/dev", name).exists())


def python_paths() -> list[str]:
    """Where this interpreter lies: its executable, standard library and installed packages.

    Not what PYTHONPATH or a .pth file adds: such directories hold somebody's work.
    """
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
    real = Path(sys.executable).resolve()
    # The libraries that an executable is linked to lie beside its real place.
    prefixes |= {os.path.realpath(prefix) for prefix in prefixes} | {str(real.parent.parent)}
    found = {f"{prefix.rstrip('/')}/{name}" for prefix in prefixes for name in OF_A_PREFIX}
    found |= {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    found |= {*site.getsitepackages(), str(real)}
    executable = Path(sys.executable)
    while executable.is_symlink():
        found.add(str(executable))
        executable = executable.parent / executable.readlink()
    return sorted(path for path in found if Path(path).exists())


def visible_paths(paths: Iterable[str]) -> list[str]:
    """SYSTEM and these paths, parents before children, without those that do not exist or lie in another."""
    kept: list[str] = []
    for path in sorted({str(Path(path).absolute()) for path in (*SYSTEM, *paths) if Path(path).exists()}):
        if not any(path.startswith(f"{parent}/") for parent in kept):
            kept.append(path)
    return kept


def is_link(path: str) -> bool:
    """Made anew as a link, instead of being bound as what it points to."""
    return path in LINKED and Path(path).is_symlink()


def scratch_base(paths: Iterable[str]) -> str:
    """Where the scratch is mounted: /tmp, unless it would hide one of these paths (a virtual environment below /tmp)."""
    return "/scratch" if any(path.startswith("/tmp/") for path in paths) else "/tmp"


def links(paths: Iterable[str]) -> dict[str, str]:
    """Symbolic links of the new root: name and target.

    All places for temporary files are one, so that one size limits them and one act empties them.
    """
    base = scratch_base(paths)
    streams = {"fd": "fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
    found = {f"/dev/{name}": f"/proc/self/{target}" for name, target in streams.items()}
    for place in ("/dev/shm", "/var/tmp"):
        if not any(path.startswith(f"{place}/") for path in paths):
            found[place] = base
    return found


if __name__ == "__main__":
    print("\n".join(python_paths()))
