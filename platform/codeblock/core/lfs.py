"""Files that Git LFS has left behind in place of their content."""

from __future__ import annotations

from typing import IO

LFS = b"version https://git-lfs"
"""What such a file begins with."""
REMEDY = "is a Git LFS pointer and holds no data; run `git lfs pull` where it was cloned"


def is_pointer(file: IO[bytes]) -> bool:
    """Whether a file, read from its beginning, is such a pointer."""
    return file.read(len(LFS)) == LFS
