"""How a solution fails, as the checker sees it. Both are no `Exception`, so tests that catch errors do not catch them."""

from __future__ import annotations


class LostError(BaseException):
    """The solution's process ended."""


class SolutionError(BaseException):
    """The solution failed: it could not be loaded, or raised what the tests did not catch."""

    def __init__(self, verdict: str, text: str) -> None:
        super().__init__(text)
        self.verdict, self.text = verdict, text
