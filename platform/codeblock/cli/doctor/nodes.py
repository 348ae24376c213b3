"""What each node of a cluster finds of itself: versions, GPUs, and whether it reads and writes the storage."""

from __future__ import annotations

import importlib.metadata
import platform
import secrets
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsspec.core import url_to_fs

from codeblock.core import nodes

VERSIONS = ("ray", "torch", "transformers", "mlflow", "pyarrow")
"""Packages that have to be the same wherever one run computes."""


@dataclass(frozen=True)
class NodeReport:
    """What one node told."""

    name: str
    versions: dict[str, str]
    gpus_mib: list[int]
    """Memory of each GPU."""
    memory_mib: int
    storage: str
    """Empty where the storage can be read and written there, else what is wrong."""


def versions() -> dict[str, str]:
    """Python and the packages of `VERSIONS`; empty for one that is missing."""
    found = {"python": platform.python_version()}
    for name in VERSIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = ""
    return found


def ask_nodes(storage: str) -> list[NodeReport]:
    """Ask every living node of the cluster that this process is connected to, the head first.

    `storage` is there: a file that this process writes into it shows whether a node looks at the same one. A node that does not
    answer is reported as such.
    """
    files, mark = url_to_fs(f"{storage}/.doctor-{secrets.token_hex(4)}")
    files.pipe_file(mark, b"x")
    try:
        living = nodes.living_nodes()
        found = nodes.ask_nodes(living, _look, f"{storage}/{Path(mark).name}")
        return [_told(node.name, each) for node, each in zip(living, found, strict=True)]
    finally:
        files.rm_file(mark)


def _told(name: str, found: nodes.NodeAnswer[dict[str, Any]]) -> NodeReport:
    return NodeReport(name, {}, [], 0, found.problem) if found.answer is None else NodeReport(name, **found.answer)


def _look(mark: str) -> dict[str, Any]:
    import psutil

    return {
        "versions": versions(),
        "gpus_mib": gpus_mib(),
        "memory_mib": psutil.virtual_memory().total // 2**20,
        "storage": _storage(mark),
    }


def _storage(mark: str) -> str:
    try:
        files, path = url_to_fs(mark)
        if not files.exists(path):
            return "what another node has written there is not seen here: it is no shared directory"
        probe = f"{path}-{secrets.token_hex(4)}"
        files.pipe_file(probe, b"x" * 65536)
        came_back = files.cat_file(probe) == b"x" * 65536
        files.rm_file(probe)
    except Exception as error:  # of whatever keeps the storage
        return (
            f"cannot be written ({getattr(error, 'strerror', None) or (str(error).splitlines() or [type(error).__name__])[0]})"
        )
    return "" if came_back else "what is written there does not come back"


def gpus_mib() -> list[int]:
    """Memory of this machine's GPUs, whether or not this process was given one."""
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [int(line) for line in told.split("\n") if line.strip().isdigit()]
