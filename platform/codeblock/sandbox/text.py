"""Texts that a solution had a hand in, made fit to be seen: one short line of printable characters.

Standard library alone: the solution's process uses it too, to send little; what counts is that the grader uses it on all that
it gets.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

MAX_TEXT = 300
MAX_REPORT = 400
"""The text of an error with where it came from."""
CUT = "..."
ESCAPE_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]{0,200}(?:\x07|\x1b\\)|[@-Z\\-_])|\x9b[0-?]*[ -/]*[@-~]")
"""What moves a terminal's cursor, colours it or sets its title (ECMA-48)."""
HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode's categories of controls, formats (bidirectional ones, zero widths, tags), surrogates, and what is no character."""
NAME_OF: Callable[[type], str] = type.__dict__["__name__"].__get__
"""A class's name, whatever its metaclass says."""
MARKS = frozenset({"Mn", "Me"})
MOST_MARKS = 3


def clean(text: object, limit: int = MAX_TEXT) -> str:
    """One line of at most `limit` characters that can be encoded, stored and printed anywhere.

    Escape sequences of terminals go; blanks of any kind become one space; every other character that does not show is spelled
    as Python does (`\\x00`, `\\ud800`). What is no text gives its type's name.
    """
    if not isinstance(text, str):
        return f"({type(text).__name__})"
    cut = len(text) > limit
    found = ESCAPE_SEQUENCE.sub("", text[: 4 * limit])
    found = " ".join(found.split())
    if not (found.isascii() and found.isprintable()):
        found = "".join(_visible(found[: 2 * limit]))
    cut = cut or len(found) > limit
    return found if not cut else found[: limit - len(CUT)].rstrip() + CUT


def _visible(text: str) -> list[str]:
    shown, marks = [], 0
    for character in text:
        category = unicodedata.category(character)
        marks = marks + 1 if category in MARKS else 0
        if marks > MOST_MARKS:  # piled up, they cover the lines above
            continue
        shown.append(character.encode("unicode_escape").decode() if category in HIDDEN else character)
    return shown


def described(error: BaseException) -> str:
    """Type and text of an error, short and clean. Raises MemoryError."""
    try:
        text = str(error)
    except MemoryError:
        raise
    except BaseException:
        text = "(its text raised an error)"
    name = NAME_OF(type(error))
    return clean(f"{name}: {text}" if text else name)


def describe(error: BaseException, file: str) -> str:
    """Type, text and last line in `file` of an error, short and clean. Raises MemoryError."""
    return described(error) + place_of(error, file)


def place_of(error: BaseException, file: str) -> str:
    """` (line N)`, the last line in `file` that an error came through; empty where it is none."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            line = trace.tb_lineno
        trace = trace.tb_next
    return "" if line is None else f" (line {line})"
