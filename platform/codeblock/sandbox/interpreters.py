"""What programs run with: the modules, packages and versions of an interpreter, and of other languages."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from codeblock.core.digests import text_digest
from codeblock.core.errors import CodeBlockError
from codeblock.core.installed import installed
from codeblock.sandbox.launch import version_told

USED = ("numpy",)
"""Packages beside Python that decide verdicts of solutions that run with this interpreter."""

FIND = "import importlib.util, json, sys; print(json.dumps([m for m in sys.argv[1:] if importlib.util.find_spec(m)]))"


def importable(python: str, modules: Iterable[str]) -> set[str]:
    """Those of the top-level modules that an interpreter finds, without importing them. Raises CodeBlockError."""
    found = output_of([python, "-I", "-c", FIND, *sorted(set(modules))], python)
    return set(json.loads(found))


def interpreter(python: str | None) -> dict[str, str]:
    """What solutions are run with: of this interpreter (None) its version, of another one the packages that it has."""
    if python is None:
        return {"python": platform.python_version(), **installed(USED)}
    root = Path(python).absolute().parents[1]
    found = sorted(path.relative_to(root).as_posix() for path in root.glob("lib/python*/site-packages/*.dist-info"))
    return {"packages": text_digest("\n".join(found).encode())}


def languages(commands: Iterable[tuple[str, ...]], python: str | None) -> dict[str, str]:
    """What these commands say of the versions of other languages than Python; `python`: the interpreter of the sandbox."""
    return {" ".join(command): version_told(command, python or sys.executable) for command in commands}


def output_of(command: Sequence[str], what: str) -> str:
    """What an interpreter prints. Raises CodeBlockError, named by `what`, where it does not run."""
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.strip()
    except (OSError, subprocess.SubprocessError) as error:
        raise CodeBlockError(f"{what}: does not run as a Python interpreter ({error}); name another one") from error
