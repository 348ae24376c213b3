"""Source text as tree-sitter wants it, and the way back from its byte offsets to characters."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

_INDENTED = re.compile(r"(?:[^\S\n]*\n)*([ \t]+)\S")
_BEYOND = re.compile(rb"[\xf0-\xf4][\x80-\xbf]{3}")
LETTERS, SIGNS = "éé".encode(), "¤¤".encode()


@dataclass(frozen=True, slots=True)
class Source:
    """Bytes to parse. `to_char[b]` is the character at byte b of `data`; None where the two are the same."""

    data: bytes
    to_char: list[int] | None


def encode(text: str) -> Source:
    """UTF-8 of a text, without the indentation that all its lines share; a lone surrogate becomes `?`."""
    margin = _margin(text) if text[:1] in " \t\r\n" else ""
    if not margin:
        if text.isascii():
            return Source(text.encode("ascii"), None)
        return Source(text.encode("utf-8", "replace"), _byte_to_char(text))
    kept: list[str] = []
    chars: list[int] = []
    at = 0
    for line in text.split("\n"):
        skip = len(margin) if line.startswith(margin) else 0
        kept.append(line[skip:])
        chars.extend(range(at + skip, at + len(line) + 1))
        at += len(line) + 1
    inner = "\n".join(kept)
    chars.append(at)
    data = inner.encode("utf-8", "replace")
    if inner.isascii():
        return Source(data, chars)
    return Source(data, [chars[c] for c in _byte_to_char(inner)])


def parseable(data: bytes) -> bytes:
    """The bytes that a grammar gets: each character of four bytes is two of two, a letter's letters and a sign's signs.

    tree-sitter's parsers now and then crash on broken code with characters beyond U+FFFF. All offsets stay what they are.
    """
    return _BEYOND.sub(_stand_in, data)


def _stand_in(found: re.Match[bytes]) -> bytes:
    return LETTERS if found[0].decode("utf-8").isalnum() else SIGNS


def _margin(text: str) -> str:
    """The white space that begins every line that is not blank."""
    first = _INDENTED.match(text)
    if first is None:
        return ""
    margin = first[1]
    for line in text.split("\n"):
        if line.startswith(margin) or not line.strip():
            continue
        while not line.startswith(margin):
            margin = margin[:-1]
        if not margin:
            break
    return margin


def _byte_to_char(text: str) -> list[int]:
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    surrogate = (points >= 0xD800) & (points < 0xE000)
    width = 1 + (points >= 0x80) + ((points >= 0x800) & ~surrogate) + (points >= 0x10000) - surrogate
    table = np.repeat(np.arange(len(points) + 1), np.append(width, 1))
    return list(map(int, table.tolist()))
