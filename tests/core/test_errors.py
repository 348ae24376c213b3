"""What an error came from is found through Python's chain and through Ray's attribute."""

import errno
import os
import socket
import tempfile

import pytest

from codeblock.core.errors import CodeBlockError, causes, result_or_told, system_cause, system_error


class WorkerError(Exception):
    def __init__(self, cause: BaseException) -> None:
        super().__init__("a worker failed")
        self.cause = cause


def test_causes_are_told_from_the_last_to_the_first() -> None:
    root = CodeBlockError("no file a; name another")
    own = ValueError("part 3")
    own.__cause__ = root
    last = WorkerError(own)
    assert list(causes(last)) == [last, own, root]


def test_what_was_handled_meanwhile_is_no_cause() -> None:
    error = ValueError("its own")
    error.__context__ = KeyError("while this was handled")
    assert list(causes(error)) == [error]


@pytest.mark.parametrize(
    ("number", "file", "told"),
    [
        (errno.ENOSPC, "/runs/a", "No space left on device: /runs/a; free space there or name another storage=DIR"),
        (errno.EDQUOT, None, "Disk quota exceeded: storage; free space there or name another storage=DIR"),
        (
            errno.ENOSPC,
            "/disk/codeblock-stores/s3/bucket/part-000000.parquet",
            "No space left on device: /disk/codeblock-stores/s3/bucket/part-000000.parquet on "
            f"{socket.gethostname()}; free space there or set CODEBLOCK_SCRATCH to a directory on a larger disk",
        ),
        (
            errno.ENOSPC,
            tempfile.gettempdir(),
            f"No space left on device: {tempfile.gettempdir()} on {socket.gethostname()}; free space there or set TMPDIR to a "
            "directory on a larger disk",
        ),
        (errno.EACCES, "/runs", "Permission denied: /runs; let this user read and write it or name another storage=DIR"),
        (errno.ENOENT, "data/x", "No such file or directory: data/x; see that it is there and that this user may use it"),
        (errno.EMFILE, "a", "Too many open files: a; raise the number of files that may be open (`ulimit -n`)"),
        (errno.ECONNREFUSED, None, "Connection refused; check that the other side runs and that this machine reaches it"),
    ],
)
def test_what_the_system_refused_has_the_remedy_that_helps_against_it(number: int, file: str | None, told: str) -> None:
    assert system_error(OSError(number, os.strerror(number), file)) == told


def test_an_error_of_a_library_in_rust_is_what_the_system_refused() -> None:
    def write() -> str:
        raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")

    assert result_or_told(write, str) == "No space left on device: storage; free space there or name another storage=DIR"
    assert system_cause(RuntimeError("shapes differ")) is None
