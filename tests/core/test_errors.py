"""What an error came from is found through Python's chain and through Ray's attribute."""

from codeblock.core.errors import CodeBlockError, causes


class OfAWorker(Exception):
    def __init__(self, cause: BaseException) -> None:
        super().__init__("a worker failed")
        self.cause = cause


def test_causes_are_told_from_the_last_to_the_first() -> None:
    root = CodeBlockError("no file a; name another")
    own = ValueError("part 3")
    own.__cause__ = root
    last = OfAWorker(own)
    assert list(causes(last)) == [last, own, root]


def test_an_error_by_itself_has_no_other_cause() -> None:
    try:
        try:
            raise KeyError("while this was handled")
        except KeyError:
            raise ValueError("its own") from None
    except ValueError as error:
        assert list(causes(error)) == [error]
