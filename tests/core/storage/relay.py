"""A run in a process of its own that halts where a stage has done its work and nothing of it is published yet.

It does what `pipeline.run` does, without a cluster: the process is its own worker, as that of a sweep's trial is.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from codeblock.core.config.file import load_config
from codeblock.core.own_process import as_worker
from codeblock.core.storage.claims import open_work, publish, remove_dead
from codeblock.experiment import cache
from codeblock.experiment.plan import make_plan
from codeblock.experiment.watch import Watch
from codeblock.pipeline import measure_reference_nll, run_arm, run_data


def run_until(stage: str | None, config: str, storage: str, log: str) -> None:
    """Take a config to its end, or halt (SIGSTOP) in a stage. What is printed, and what each claim finds, goes to `log`."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)

    def halting(own: Path, directory: Path, facts: dict[str, Any]) -> bool:
        if directory.name.partition("-")[0] == stage:
            os.kill(os.getpid(), signal.SIGSTOP)
        return publish(own, directory, facts)

    def told(directory: Path, *, resume: bool, grows: bool) -> Path:
        own = open_work(directory, resume=resume, grows=grows)
        found = sum(1 for path in own.rglob("*") if path.is_file())
        print(f"claimed {directory.name.partition('-')[0]} found {found}", flush=True)
        return own

    cache.publish, cache.open_work = halting, told  # type: ignore[attr-defined]
    plan_and_run(config, storage)


def plan_and_run(path: str, storage: str) -> None:
    config = load_config(path, [f"storage={storage}"])
    there = cache.check_storage(config.storage)
    remove_dead(there)
    plan = make_plan(config, there)
    with as_worker():
        comparison = run_data(plan, "evaluate")
        comparison.arms += [run_arm(plan, arm, "evaluate", Watch()) for arm in plan.arms]
        measure_reference_nll(plan, comparison)
