"""Which process runs which tests, and in what order, where several processes run them (pytest-xdist)."""

from __future__ import annotations

from typing import Any

CLUSTERS = ("tests/core/storage", "tests/faults", "tests/sweep", "tests/cli/jobs")
"""Tests that start clusters of their own, the longest first: side by side, they would wait for each other's starts."""


def rank(nodeid: str) -> int:
    """Where a test belongs in the order: those of CLUSTERS first."""
    return next((at for at, room in enumerate(CLUSTERS) if nodeid.startswith(f"{room}/")), len(CLUSTERS))


def scheduler(config: Any, log: Any) -> Any:
    """Keeps the tests of a file in one process, which share fixtures, and those of CLUSTERS in one."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return "clusters" if rank(nodeid) < len(CLUSTERS) else nodeid.partition("::")[0]

    config.option.loadscopereorder = False
    return ByFile(config, log)
