"""The error that users are meant to see, and the one that costs a single row."""

from __future__ import annotations

import errno
import os
import re
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from codeblock.core.schema import Reason


Result = TypeVar("Result")


class CodeBlockError(Exception):
    """Something the user can mend. The message is one line: the thing, the place, the remedy."""


class ClusterLostError(CodeBlockError):
    """The cluster is gone, or can do its work no more, so that the process has to end."""


class WorkersDiedError(CodeBlockError):
    """The processes of a step died again and again; the cluster may be the cause."""


_FULL = (errno.ENOSPC, errno.EDQUOT)
_SPACE = "free space there or name another storage=DIR"
_LARGER = "free space there or set {} to a directory on a larger disk"
_RIGHTS = "let this user read and write it or name another storage=DIR"
_USE = "see that it is there and that this user may use it"
_FILES = "raise the number of files that may be open (`ulimit -n`)"
_REMEDIES = {
    **dict.fromkeys(_FULL, _SPACE),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), _RIGHTS),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), _FILES),
}
_OF_A_CONNECTION = (
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.ECONNABORTED,
    errno.EPIPE,
    errno.ETIMEDOUT,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
)


_OF_RUST = re.compile(r"\(os error (\d+)\)")


def system_cause(error: BaseException) -> OSError | None:
    """What the operating system refused, where an error says that: safetensors and tokenizers, which are written in Rust, raise
    errors of their own for it."""
    if isinstance(error, OSError):
        return error if error.errno is not None else None
    told = _OF_RUST.search(str(error))
    return OSError(int(told[1]), os.strerror(int(told[1]))) if told else None


def system_error(error: OSError) -> str:
    """One line for what the operating system refused: what it said, of which file, and what helps against that."""
    said = os.strerror(error.errno) if error.errno else error.strerror  # libraries have words of their own
    if error.errno in _OF_A_CONNECTION:
        return f"{said}; check that the other side runs and that this machine reaches it"
    if (variable := _own_disk(error)) is not None:
        return f"{said}: {error.filename} on {socket.gethostname()}; {_LARGER.format(variable)}"
    return f"{said}: {error.filename or 'storage'}; {_REMEDIES.get(error.errno or 0, _USE)}"


def is_full(error: BaseException) -> bool:
    """Whether a disk of this machine has no room."""
    return isinstance(error, OSError) and error.errno in _FULL


def naming(error: OSError, path: object) -> OSError:
    """The error with the file that it is about, where a library has not said it."""
    return error if error.errno is None or error.filename else OSError(error.errno, error.strerror, str(path))


def _own_disk(error: OSError) -> str | None:
    """The variable that moves what a full disk of this node alone holds; None for any other error."""
    from codeblock.core.storage.places import SCRATCH, is_remote

    name = str(error.filename or "")
    if not is_full(error):
        return None
    return SCRATCH if is_remote(Path(name)) else "TMPDIR" if name == tempfile.gettempdir() else None


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
    except Exception as error:
        if (refused := system_cause(error)) is None:
            raise
        return told(system_error(refused))


class RowError(Exception):
    """A row that cannot be used: its reason and one line of detail. The run goes on without it."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
