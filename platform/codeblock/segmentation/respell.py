"""A second reading of text that a grammar refuses: valid code whose spelling, or whose place, the grammar does not know.

What a grammar is given then is as long as the text, byte by byte, so that all offsets stay those of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from codeblock.segmentation.languages.rules import LanguageRules

JOINED = None
"""Stand-in for a group that is to be one name: `_`, then its letters, with `_` for all else."""

MAX_BYTES, MAX_ENCLOSED = 65_536, 16_384
"""Of a text that is read again, and with something around it: a parser's way through errors can take the square of that."""

_REPEATS = 16
TO_COME, HERE, PAST = range(3)
_BRACKETS = ((b"(", b")"), (b"[", b"]"), (b"{", b"}"))
_NO_LETTER = re.compile(rb"[^0-9A-Za-z_]")
_NO_BREAK = re.compile(rb"[^\r\n]")
_DIRECTIVE = re.compile(
    rb"^[ \t]*#[ \t]*(if|ifdef|ifndef|elif|elifdef|elifndef|else|endif)\b([^\n\\]|\\\r?\n|\\)*", re.MULTILINE
)
_NEVER_TRUE = re.compile(rb"[ \t]*#[ \t]*if[ \t]+(?:0|false)\b")


class Respelling(NamedTuple):
    """Stand-ins for the groups of a pattern, one each, filled up with blanks; `JOINED` makes one name of a group."""

    pattern: re.Pattern[bytes]
    stand_ins: tuple[bytes | None, ...] = (b"",)


def respelling(pattern: str, *stand_ins: str | None) -> Respelling:
    """A respelling from text; `^` and `$` match at every line. Without a stand-in the only group becomes blank."""
    given = tuple(None if each is None else each.encode() for each in stand_ins)
    return Respelling(re.compile(pattern.encode(), re.MULTILINE), given or (b"",))


def respell(data: bytes, spellings: tuple[Respelling, ...]) -> bytes:
    """The bytes with each spelling replaced by its stand-in; as long as before."""
    for pattern, stand_ins in spellings:

        def stand_in(found: re.Match[bytes], stand_ins: tuple[bytes | None, ...] = stand_ins) -> bytes:
            return _filled(found, stand_ins)

        for _ in range(_REPEATS):  # a match may begin inside the one before it
            before = data
            data = pattern.sub(stand_in, before)
            if data == before:
                break
    return data


def _filled(found: re.Match[bytes], stand_ins: tuple[bytes | None, ...]) -> bytes:
    text = bytearray(found[0])
    for group, stand_in in enumerate(stand_ins, 1):
        start, end = found.span(group)
        if start < 0:
            continue
        old = found[group]
        new = b"_" + _NO_LETTER.sub(b"_", old[1:]) if stand_in is None else stand_in + _blank(old[len(stand_in) :])
        text[start - found.start() : end - found.start()] = new[: len(old)]
    return bytes(text)


def _blank(data: bytes) -> bytes:
    return _NO_BREAK.sub(b" ", data)


def first_branches(data: bytes) -> bytes:
    """C without its conditional directives: of each `#if` the first branch stays, but of `#if 0` the second one."""
    kept = bytearray(data)
    levels: list[int] = []  # of each `#if` around a line: whether its branch comes, is here, or was
    at = 0
    for line in _DIRECTIVE.finditer(data):
        if any(level != HERE for level in levels):
            kept[at : line.start()] = _blank(data[at : line.start()])
        kept[line.start() : line.end()] = _blank(line[0])
        at = line.end()
        word = line[1]
        if word.startswith(b"if"):
            levels.append(TO_COME if _NEVER_TRUE.match(line[0]) else HERE)
        elif not levels:
            return data
        elif word == b"endif":
            levels.pop()
        else:
            levels[-1] = HERE if levels[-1] == TO_COME else PAST
    return data if levels else bytes(kept)


def other_readings(data: bytes, rules: LanguageRules) -> Iterator[tuple[int, bytes]]:
    """What a grammar is given next when it refuses the bytes of a text, and how many bytes of it stand before the text."""
    if len(data) > MAX_BYTES:
        return
    spelt = respell(data, rules.respelled)
    if spelt != data:
        yield 0, spelt
    if rules.preprocessed and (branches := first_branches(spelt)) != spelt:
        yield 0, branches
        spelt = branches
    if len(data) > MAX_ENCLOSED or any(spelt.count(opening) != spelt.count(closing) for opening, closing in _BRACKETS):
        return
    for opening, closing in rules.enclosures:
        yield len(opening), opening + spelt + closing
