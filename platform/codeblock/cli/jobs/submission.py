"""One job: its id, its command, what is sent and what is written beside it."""

from __future__ import annotations

import getpass
import re
import shlex
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import codeblock
from codeblock.cli.jobs.address import one_line
from codeblock.cli.jobs.package import Parcel
from codeblock.core.config import Config
from codeblock.core.errors import CodeBlockError

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

START_SECONDS = 60.0
"""How long a head that has just started may take until it accepts jobs."""
ATTEMPTS = 9
"""Ids that are tried where several jobs of one config are submitted within a second."""


@dataclass(frozen=True)
class Driver:
    """Where the job's own process runs; by default on the head, which may have no CPU to lend."""

    cpus: float = 0.0
    resource: str | None = None
    """A custom resource, of which 0.001 is asked: it says on which nodes drivers belong."""

    def arguments(self) -> dict[str, Any]:
        """As `submit_job` takes them."""
        asked: dict[str, Any] = {}
        if self.cpus:
            asked["entrypoint_num_cpus"] = self.cpus
        if self.resource:
            asked["entrypoint_resources"] = {self.resource: 0.001}
        return asked


@dataclass(frozen=True)
class Submission:
    """What `submit_job` is called with."""

    id: str
    entrypoint: str
    runtime_env: dict[str, Any]
    metadata: dict[str, str]
    driver: Driver = field(default_factory=Driver)


def plan_submission(
    config: Config,
    command: Sequence[str],
    overrides: Sequence[str],
    parcel: Parcel,
    environment: dict[str, str],
    driver: Driver | None = None,
) -> Submission:
    """The submission of `codeblock COMMAND CONFIG [key=value ...]`; needs no cluster."""
    name, *options = command
    words = ["python", "-m", "codeblock", name, parcel.config, *overrides, *options]
    user = _user()
    return Submission(
        id=job_id(user, config.name, datetime.now(UTC)),
        entrypoint=shlex.join(words),
        runtime_env={
            "working_dir": str(parcel.work),
            "py_modules": [str(parcel.module)],
            **({"env_vars": environment} if environment else {}),
        },
        metadata={"user": user, "config": config.name, "command": name, "codeblock": _version(), "commit": commit()},
        driver=driver or Driver(),
    )


def job_id(user: str, name: str, when: datetime) -> str:
    """Such as `jane-quickstart-20261126-220514`, in UTC. Characters that a URL would change are left out."""
    clean = [re.sub(r"[^A-Za-z0-9_.-]+", "-", part).strip("-") for part in (user, name)]
    return f"{clean[0] or 'user'}-{clean[1] or 'run'}-{when:%Y%m%d-%H%M%S}"


def commit(directory: Path | None = None) -> str:
    """Commit of the package's repository, with `+changes` where files differ from it; `unknown` outside a repository."""
    place = directory or Path(next(iter(codeblock.__path__)))
    head = _git(place, "rev-parse", "HEAD")
    if not head:
        return "unknown"
    return head + ("+changes" if _git(place, "status", "--porcelain", "--", ".") else "")


def send(client: JobSubmissionClient, submission: Submission, where: str) -> str:
    """Submit it; its id on the cluster, which has a number at its end where another job of the same second took it.

    Waits up to START_SECONDS for a head that does not accept jobs yet. Raises CodeBlockError where the cluster refuses.
    """
    until = time.monotonic() + START_SECONDS
    number = 1
    while True:
        id_ = submission.id if number == 1 else f"{submission.id}-{number}"
        try:
            with one_line(where):
                told: str = client.submit_job(
                    entrypoint=submission.entrypoint,
                    runtime_env=submission.runtime_env,
                    metadata=submission.metadata,
                    submission_id=id_,
                    **submission.driver.arguments(),
                )
                return told
        except CodeBlockError as error:
            if "already exists" in str(error) and number < ATTEMPTS:
                number += 1
            elif "No available agent" in str(error) and time.monotonic() < until:
                time.sleep(1.0)
            else:
                raise


def _git(directory: Path, *arguments: str) -> str:
    try:
        told = subprocess.run(["git", "-C", str(directory), *arguments], capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return ""
    return told.stdout.strip()


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "user"


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("codeblock")
    except PackageNotFoundError:
        return "unknown"
