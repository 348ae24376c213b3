"""Files that Git LFS has left behind in place of their content."""

from __future__ import annotations

LFS = b"version https://git-lfs"
"""What such a file begins with."""
REMEDY = "is a Git LFS pointer and holds no data; run `git lfs pull` where it was cloned"
