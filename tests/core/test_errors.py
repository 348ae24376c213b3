"""What an error came from is found through Python's chain and through Ray's attribute; one of a file names its own remedy."""

import errno

import pytest

from codeblock.core.errors import CodeBlockError, causes, storage_error


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
    ("number", "line"),
    [
        (errno.ENOSPC, "No space left on device: /runs/a; free space there or name another storage=DIR"),
        (errno.EROFS, "Read-only file system: /runs/a; make it writable or name another directory"),
        (errno.ENOENT, "No such file or directory: /runs/a; see that it is there and that this user may use it"),
    ],
)
def test_an_error_of_a_file_is_one_line_with_what_mends_it(number: int, line: str) -> None:
    assert storage_error(OSError(number, "in a library's words", "/runs/a")) == line
