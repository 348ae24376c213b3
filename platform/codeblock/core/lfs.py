"""Files that Git LFS has left behind in place of their content."""

from __future__ import annotations

from io import BufferedReader
from typing import Any

from codeblock.core.errors import CodeBlockError

LFS = b"version https://git-lfs"
"""What such a file begins with."""


def check_content(file: BufferedReader[Any], named: str) -> bytes:
    """What a file that stands at its beginning begins with; nothing of it is taken, so a stream that cannot go back will do.

    Raises CodeBlockError for such a pointer; `named` says in it which file it is.
    """
    head = file.peek(len(LFS))
    if head.startswith(LFS):
        raise CodeBlockError(f"{named} is a Git LFS pointer and holds no data; run `git lfs pull` where it was cloned")
    return head
