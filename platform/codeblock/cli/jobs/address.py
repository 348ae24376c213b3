"""Which cluster is meant and why, and a client of it whose errors are one line."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from codeblock.core.errors import CodeBlockError

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

OVERRIDING = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
"""Variables that Ray's client obeys before any address that it is given, the first before the second."""
NOISY = ("ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk", "ray._private.runtime_env.packaging")
LOCAL = "http://127.0.0.1:8265"


def address_and_why(given: str | None) -> tuple[str, str]:
    """The address that Ray's client will use, and a sentence that says where it comes from."""
    for name in OVERRIDING:
        if found := os.environ.get(name):
            beside = f" and overrides --address {given}" if given not in (None, found) else ""
            return found, f"{found} ({name} says so{beside})"
    if given:
        return given, f"{given} (--address)"
    return LOCAL, f"{LOCAL} (neither --address nor {' nor '.join(OVERRIDING)} is set)"


def told_dashboard() -> str | None:
    """The dashboard that the environment names, if it names one: an address of HTTP, where nothing else can be meant."""
    return next((found for name in OVERRIDING if (found := os.environ.get(name, "")).startswith(("http://", "https://"))), None)


def connect(given: str | None) -> JobSubmissionClient:
    """A client of the cluster that `address_and_why` names.

    Raises CodeBlockError where nothing answers there, the token is missing or wrong, or it is no Ray dashboard.
    """
    address, why = address_and_why(given)
    with one_line(why):
        from ray.job_submission import JobSubmissionClient

        for logger in NOISY:  # they tell of each archive; we say once what is sent
            logging.getLogger(logger).setLevel(logging.WARNING)
        return JobSubmissionClient(address)


@contextmanager
def one_line(where: str) -> Iterator[None]:
    """Errors of Ray's client within the block become CodeBlockErrors that say what to set."""
    from ray.exceptions import AuthenticationError
    from requests.exceptions import RequestException

    try:
        yield
    except AuthenticationError as error:
        raise CodeBlockError(f"cluster {where}: {_of_token(error.message)}") from error
    except (ConnectionError, RequestException) as error:
        raise CodeBlockError(
            f"cluster {where}: no Ray dashboard answers there; give --address http://HEAD:8265, the address of the head's "
            "dashboard"
        ) from error
    except (RuntimeError, ValueError) as error:
        told = last_line(error)
        remedy = "; give --address http://HEAD:8265, the address of the head's dashboard" if "address" in told.lower() else ""
        raise CodeBlockError(f"cluster {where}: {told}{remedy}") from error


def _of_token(said: str) -> str:
    kind = "asks for its token" if "required" in said.partition(":")[0] else "refuses the token that is set here"
    return (
        f"{kind}; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN to the token of the cluster (on its head: `ray get-auth-token`), "
        "or put it into ~/.ray/auth_token"
    )


def last_line(error: Exception) -> str:
    """What a server says after its traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:300]
