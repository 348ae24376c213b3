"""What each of Ray's worker processes does first. Imports hardly anything, for it runs in all of them."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import Any

from codeblock.core.collecting import collect_later

SENT = "codeblock_sent_modules"
"""Name of the directory in which modules of the user's own are sent to the nodes."""


def without_exits(unraisable: Any) -> None:
    """`sys.unraisablehook` of a worker. Ray ends it by an exception; while an object is freed, it would be a trace."""
    if not isinstance(unraisable.exc_value, SystemExit):
        sys.__unraisablehook__(unraisable)


def find_sent_modules() -> None:
    """Let modules that were sent be imported by their own names, before others of these names that a node may have."""
    spec = find_spec(SENT)
    if spec is not None:
        sys.path[:0] = spec.submodule_search_locations or []


def begin_worker() -> None:
    """Get ready for imports, of modules that were sent too, and for work that asks for its own cluster."""
    sys.unraisablehook = without_exits
    collect_later()
    name_own_cluster()
    find_sent_modules()


def name_own_cluster() -> None:
    """Set RAY_ADDRESS to the cluster of this process.

    Ray Train's helper that looks after placement groups asks for the state of its controller by whatever address it finds. On
    a machine with two clusters it finds none, with pages of traceback, or the other one: then it takes a controller that lives
    for a dead one.
    """
    import ray

    os.environ["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address
