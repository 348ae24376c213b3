"""The one error that users are meant to see."""

from __future__ import annotations


class CodeBlockError(Exception):
    """Something the user can mend. The message is one line: the thing, the place, the remedy."""
