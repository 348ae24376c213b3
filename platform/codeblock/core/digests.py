"""Hashes of values and of files by SHA-256: one way to make each. Short ones have 64 bits, enough to tell steps apart."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from pathlib import Path
from typing import Any

SHORT, WHOLE = 16, 64
"""Hexadecimal digits of a short digest, and of a whole one."""


def value_digest(value: Any, digits: int = SHORT) -> str:
    """Digest of a value as JSON, its keys in order; what JSON does not know counts as its text."""
    return text_digest(json.dumps(value, sort_keys=True, default=str), digits)


def text_digest(text: str | bytes, digits: int = SHORT) -> str:
    """Digest of a text."""
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()[:digits]


def file_digest(file: Path | io.BufferedReader | gzip.GzipFile | io.BytesIO) -> str:
    """The whole SHA-256 of a file's content, as published checksums give it. Raises OSError."""
    if isinstance(file, Path):
        with file.open("rb") as stream:
            return file_digest(stream)
    return hashlib.file_digest(file, "sha256").hexdigest()
