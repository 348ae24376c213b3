"""Which process runs which tests, and in what order, where several processes run them (pytest-xdist)."""

from __future__ import annotations

from typing import Any

LONGEST = (
    "tests/faults/test_own_disks.py",
    "tests/faults/",  # one cluster for all of them
    "tests/train/test_driver.py",
    "tests/infra/test_image.py",
    "tests/evaluate/test_references.py",
    "tests/test_pipeline.py",
    "tests/sweep/test_lost_cluster.py",
    "tests/core/storage/test_two_runs.py",
    "tests/core/storage/test_object_storage.py",
    "tests/cli/jobs/",  # one cluster for all of them
    "tests/sweep/test_sweep.py",
    "tests/evaluate/test_driver.py",
    "tests/test_pipeline_ends.py",
    "tests/sandbox/test_limits.py",
    "tests/core/storage/test_storage.py",
    "tests/core/test_ray_data.py",
    "tests/sweep/test_stored_sweep.py",
    "tests/cli/test_smollm2.py",
    "tests/infra/test_tracking_server.py",
)
"""Files and directories that take a minute or more, the longest first: what is begun last should end soon. A directory is one
where a test is of none before."""


def scope(nodeid: str) -> str:
    """What a test stays in one process with: what LONGEST names, or its file, which share fixtures."""
    return next((each for each in LONGEST if nodeid.startswith(each)), nodeid.partition("::")[0])


def rank(nodeid: str) -> int:
    """Where a test belongs in the order: those of LONGEST first."""
    own = scope(nodeid)
    return LONGEST.index(own) if own in LONGEST else len(LONGEST)


def scheduler(config: Any, log: Any) -> Any:
    """Keeps in one process the tests that share fixtures, and begins with the longest."""
    from xdist.scheduler import LoadScopeScheduling

    class ByScope(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return scope(nodeid)

    config.option.loadscopereorder = False
    return ByScope(config, log)
