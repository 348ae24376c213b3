"""Digests are what the standard tools say of the same bytes."""

import hashlib
import io
from pathlib import Path

from codeblock.core.digests import WHOLE, file_digest, text_digest, value_digest


def test_a_value_counts_by_its_content_and_not_by_the_order_of_its_keys() -> None:
    assert value_digest({"a": 1, "b": [2, None]}) == value_digest({"b": [2, None], "a": 1})
    assert value_digest({"a": 1}) == hashlib.sha256(b'{"a": 1}').hexdigest()[:16]
    assert value_digest([Path("x")], WHOLE) == hashlib.sha256(b'["x"]').hexdigest()
    assert value_digest(["1"]) != value_digest([1])


def test_a_text_and_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"ab\x00")
    assert text_digest("ä") == text_digest("ä".encode()) == hashlib.sha256("ä".encode()).hexdigest()[:16]
    assert file_digest(tmp_path / "file") == file_digest(io.BytesIO(b"ab\x00")) == hashlib.sha256(b"ab\x00").hexdigest()
