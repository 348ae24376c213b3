"""What an error came from is found through Python's chain and through Ray's attribute."""

from codeblock.core.errors import CodeBlockError, causes


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
