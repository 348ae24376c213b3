"""The indentation that all lines of a text share. Imports nothing of this package."""

from __future__ import annotations

import re

INDENTED = re.compile(r"(?:[^\S\n]*\n)*([ \t]+)\S")


def margin_of(text: str) -> str:
    """The white space that begins every line that is not blank."""
    first = INDENTED.match(text)
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


def without_margin(text: str) -> str:
    """A text without its margin. `textwrap.dedent` empties blank lines too, inside of texts as well."""
    margin = margin_of(text)
    return "\n".join(line.removeprefix(margin) for line in text.split("\n")) if margin else text
