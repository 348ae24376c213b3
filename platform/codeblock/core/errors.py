"""The error that users are meant to see, and the one that costs a single row."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from codeblock.core.schema import Reason


Result = TypeVar("Result")
_SPACE = "free space there or name another storage=DIR"
_PERMIT = "make it writable or name another directory"
_REMEDIES = {errno.ENOSPC: _SPACE, errno.EDQUOT: _SPACE, errno.EROFS: _PERMIT, errno.EACCES: _PERMIT, errno.EPERM: _PERMIT}


class CodeBlockError(Exception):
    """Something the user can mend. The message is one line: the thing, the place, the remedy."""


class ClusterLostError(CodeBlockError):
    """The cluster is gone, or can do its work no more, so that the process has to end."""


class WorkersDiedError(CodeBlockError):
    """The processes of a step died again and again; the cluster may be the cause."""


def storage_error(error: OSError) -> str:
    """One line for a file that could not be written, or read."""
    said = os.strerror(error.errno) if error.errno else error.strerror  # libraries have words of their own
    remedy = _REMEDIES.get(error.errno or errno.ENOSPC, "see that it is there and that this user may use it")
    return f"{said}: {error.filename or 'storage'}; {remedy}"


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what it came from, the last first; Ray keeps the error of a worker in an attribute of its own."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = getattr(seen, "cause", None) or seen.__cause__


def result_or_told(work: Callable[[], Result], told: Callable[[str], Result]) -> Result:
    """The result of a worker's work, or `told` of the line for what the user can mend.

    An error that Ray carries has lost its cause and comes with pages of traces, so a line travels as a result.
    """
    try:
        return work()
    except CodeBlockError as error:
        return told(str(error))
    except OSError as error:
        if error.errno is None:
            raise
        return told(storage_error(error))


class RowError(Exception):
    """A row that cannot be used: its reason and one line of detail. The run goes on without it."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
