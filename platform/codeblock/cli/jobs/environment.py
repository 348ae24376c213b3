"""The environment of a job. Whoever can ask the cluster about a job can read the values in it, so secrets go by name alone.

`NAME` is forwarded: it stays on the cluster, where each node's own value is taken. `NAME=VALUE` is sent.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

from codeblock.core.errors import CodeBlockError

NEEDED = "CODEBLOCK_NEEDS"
"""Variable of a job with the names that were forwarded; the job refuses to start where the cluster has no value."""
_SERVER = "MLFLOW_TRACKING_URI"
_SECRET = re.compile(
    r"TOKEN|SECRET|PASSW|CREDENTIAL|PRIVATE|(^|_)(API_?|ACCESS_?)?KEY(_|$)|(^|_)PAT$|(^|_)AUTH(_|$)", re.IGNORECASE
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_IN_URL = re.compile(r"://[^/@\s]*:[^/@\s]+@")


def job_environment(asked: Sequence[str], secret_values: bool = False) -> dict[str, str]:
    """The variables of a job from `NAME` and `NAME=VALUE`.

    Raises CodeBlockError for what is no name, and for a value that looks like a secret unless `secret_values` allows it.
    """
    variables: dict[str, str] = {}
    needed: list[str] = []
    for entry in asked:
        name, equals, value = entry.partition("=")
        if not _NAME.fullmatch(name):
            raise CodeBlockError(f"--env {entry}: write NAME, to forward the cluster's own value, or NAME=VALUE")
        if not equals:
            variables[name] = f"${{{name}}}"
            needed.append(name)
            continue
        if is_secret(name, value) and not secret_values:
            raise CodeBlockError(
                f"--env {name}=...: looks like a secret, and whoever can ask the cluster about the job can read it back; set "
                f"it in the environment of the cluster's nodes and forward it with --env {name}, or add --secret-values"
            )
        variables[name] = value
    if needed:
        variables[NEEDED] = ",".join(needed)
    return variables


def untracked(uri: str | None, sent: Mapping[str, str], here: Mapping[str, str] = os.environ) -> str | None:
    """What to say where runs of this machine are tracked at a server that the job is not told of; `uri`: the config's own."""
    if uri or _SERVER in sent or not here.get(_SERVER):
        return None
    return (
        f"note: {_SERVER} is set here but not sent; the job tracks where the cluster says, else in its storage. Set track.uri, "
        f"or send it with --env {_SERVER}=..."
    )


def is_secret(name: str, value: str = "") -> bool:
    """Whether a variable's name, or a password in a URL, looks like a secret."""
    return bool(_SECRET.search(name) or _IN_URL.search(value))


def check_forwarded(environment: Mapping[str, str] = os.environ) -> None:
    """In the job: raise CodeBlockError where a variable that was forwarded by name has no value on the cluster."""
    missing = [name for name in environment.get(NEEDED, "").split(",") if name and not environment.get(name)]
    if missing:
        raise CodeBlockError(
            f"the cluster has no value for {', '.join(missing)}, which --env forwards; set it in the environment of the nodes "
            "(on Kubernetes from a secret: infra/README.md)"
        )
