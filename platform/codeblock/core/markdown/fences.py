"""The fenced blocks of a Markdown text, as people and models write them.

CommonMark decides what is plain; where a text can be read in two ways, that reading is taken in which the code parses:

- a fence inside a docstring or a comment closes nothing if the code parses with it;
- a closing fence may be indented, stand behind the last line of code, or have words behind it;
- a fence may open behind words (`Here it is: ```python`), and code may begin in its line;
- a lone fence behind code without a fence closes that code; behind prose it is no block;
- a fence with a tag inside an open block begins the next block, and in a block of Markdown one that is nested.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from codeblock.core.markdown.info import Known, is_tag, tag_of, tag_on_own_line
from codeblock.core.markdown.literals import ends_in_literal

MAX_TRIES = 16
"""Fences that are tried as the end of one block."""

MAX_AHEAD = 4000
"""Fences among which the end of a block is looked for."""

MAX_INSIDE = 400
"""Fences inside of one block of Markdown."""

MAX_ASKED = 8
"""How often a text is parsed in all; what is left of a text with more doubtful fences is read as CommonMark reads it."""

MARKDOWN = frozenset(("markdown", "md", "mdx", "rmd", "qmd", "rst"))
"""Tags of blocks that may hold fences of their own."""

_MARK = re.compile(r"`{3,}|~{3,}")
_LEAD = re.compile(r"[\s\u200b\u200c\u200d\u2060\ufeff]*(?:(?:[-*+\u2022]|\d+[.)])[ \t]+)?")
_CUT_OFF = re.compile(r"\n[ \t]*`{1,2}\s*\Z")
"""A closing fence that was cut off."""
_ONE_LINE = re.compile(r"(?P<mark>`{3,})(?P<code>[^`\n]+)(?P=mark)[ \t]*$")

_OPENING = re.compile(r"[^\n`]*?(?P<mark>`{3,}|~{3,})[^\n`]*\n?")
_CLOSING = re.compile(r"[ \t]*\n?[ \t>\u200b\ufeff]*(?:`{3,}|~{3,})(?![`~\w{.])")
_OWN = re.compile(r"[ \t>]*(?:[\w+#.-]+:?|Copy code)?[ \t]*\s?")
_CODE = re.compile(
    r"(?:(?:async|def|class|import|from|for|while|if|with|return|function|const|let|var|public|package) |print\b|@|#include)"
    r"|.*[({;:]$|[\w.]+\(.*\)|[\w.]+ [-+*/]?= \S"
)
"""What begins in the line of a fence is code, not attributes."""


class Fenced(NamedTuple):
    """A block. Offsets are characters of the text."""

    start: int
    end: int
    tag: str | None
    """The language that the block names."""
    opened: bool = True
    """Whether a fence opens it. What only has a closing fence may have prose before its code."""
    closed: bool = True
    """Whether a fence closes it; else it reaches to the end of the text or to the next fence that opens a block."""


class Judge(Protocol):
    """What a reader knows of code; spans are of the text that is read."""

    def known(self, tag: str) -> bool:
        """Whether a word names a language."""
        ...

    def parses(self, start: int, end: int, tag: str | None) -> bool | None:
        """Whether a span parses in the language of a tag, or in one that it is recognised as; None where nobody can tell."""
        ...

    def is_code(self, start: int, end: int) -> bool:
        """Whether there surely is code in a span without a fence."""
        ...


def fenced_blocks(text: str, judge: Judge) -> list[Fenced]:
    """The blocks of a text in order, those without content left out."""
    reader = _Reader(text, _marks(text, judge.known), judge)
    return [block for block in reader.read() if text[block.start : block.end].strip()]


def fences_of(text: str, start: int, end: int) -> tuple[tuple[int, int], tuple[int, int] | None] | None:
    """The spans of the fence that opens a block, up to its code, and of the one that closes it; None where nothing opens it.

    What is before a fence in its line (words, the mark of a list) and what is behind a closing one does not belong to it.
    """
    at = start
    for _ in range(3):  # the tag may have a line of its own, and what was a button another one
        line = text.rfind("\n", 0, max(at - 1, 0)) + 1
        if opening := _OPENING.fullmatch(text, line, at):
            blank = not text[line : opening.start("mark")].strip(" \t")
            closing = _CLOSING.match(text, end)
            return (line if blank else opening.start("mark"), start), (end, closing.end()) if closing else None
        if line == 0 or not _OWN.fullmatch(text, line, at):
            return None
        at = line
    return None


class _Mark(NamedTuple):
    """A line with a fence in it."""

    line: int
    at: int
    end: int
    """Of the line, before its line break."""
    mark: str
    info: str
    behind: bool
    """Whether there are words or code before the fence."""
    indent: int
    opens: bool
    """Whether it has a tag, as a fence that opens a block has."""


def _places(text: str) -> list[int]:
    """Where fences may be, in order; a regular expression would look at every character."""
    places: list[int] = []
    for sign in ("```", "~~~"):
        at = text.find(sign)
        while at >= 0:
            places.append(at)
            at = text.find("\n", at)
            at = text.find(sign, at) if at >= 0 else -1
    return sorted(places)


def _marks(text: str, known: Known) -> list[_Mark]:
    marks: list[_Mark] = []
    done = 0
    for at in _places(text):
        if at < done:
            continue
        found = _MARK.match(text, at)
        assert found is not None
        line = text.rfind("\n", 0, at) + 1
        end = text.find("\n", at)
        done = end = len(text) if end < 0 else end
        lead, info = text[line:at], text[found.end() : end].strip()
        behind = _LEAD.fullmatch(lead) is None
        inline = found[0][0] == "`" and ("`" in info or "`" in lead)
        if (inline and (behind or not _ONE_LINE.match(text, at, end))) or (behind and found[0][0] == "~"):
            continue  # code in running text, or a picture
        marks.append(_Mark(line, at, end, found[0], info, behind, len(lead), is_tag(info, known)))
    return marks


@dataclass(frozen=True)
class _Closing:
    """Where a block ends."""

    end: int
    next: int
    """Index of the first mark behind it."""
    closed: bool = True
    parses: bool | None = None


class _Reader:
    def __init__(self, text: str, marks: list[_Mark], judge: Judge) -> None:
        self.text, self.marks, self.judge = text, marks, judge
        self.budget = MAX_ASKED * len(text) + 100_000  # characters that the judge may still be asked about
        self.at = 0  # end of the last block
        self.blocks: list[Fenced] = []
        self.outer: set[int] = set()  # marks that close blocks whose own blocks are read
        self.left_open: list[tuple[bool, bool]] = []  # whether a block is left open by the last 0, 1, ... marks
        self.doubled = 0  # fences that opened nothing but a fence

    def _affords(self, characters: int) -> bool:
        self.budget -= characters
        return self.budget > 0

    def _parses(self, start: int, end: int, tag: str | None) -> bool | None:
        return self.judge.parses(start, end, tag) if self._affords(end - start) else None

    def _is_code(self, start: int, end: int) -> bool:
        return self._affords(end - start) and self.judge.is_code(start, end)

    def _held(self, start: int, end: int, tag: str | None) -> bool:
        return self._affords(end - start) and ends_in_literal(self.text[start:end], tag)

    def read(self) -> list[Fenced]:
        index = 0
        while index < len(self.marks):
            mark = self.marks[index]
            if index in self.outer:
                index += 1
            elif self.doubled and not mark.info and not self.text[self.at : mark.at].strip():
                self.doubled -= 1
                self.at = mark.end
                index += 1
            elif "`" in mark.info:
                index = self._one_line(index, mark)
            elif not self._may_open(mark):
                index = self._stray(index, mark)
            elif mark.opens:
                index = self._tagged(index, mark)
            else:
                index = self._untagged(index, mark)
        return self.blocks

    def _take(self, start: int, closing: _Closing, tag: str | None, *, opened: bool = True) -> int:
        end = closing.end
        if not closing.closed and (cut := _CUT_OFF.search(self.text, start, end)):
            end = cut.start() + 1
        if tag is None and (named := tag_on_own_line(self.text[start:end], self.judge.known)):
            tag, skipped = named
            start += skipped
        self.blocks.append(Fenced(start, end, tag, opened, closing.closed))
        self.at = self.marks[closing.next - 1].end if closing.closed else end
        return closing.next

    def _one_line(self, index: int, mark: _Mark) -> int:
        """A block in one line; what does not parse is code in running text."""
        start, end = mark.at + len(mark.mark), self.text.index(mark.mark, mark.at + len(mark.mark))
        word = self.text[start:end].split(maxsplit=1)
        tag = None
        if len(word) == 2 and self.judge.known(word[0]):
            tag, start = word[0], self.text.index(word[0], start) + len(word[0]) + 1
        if len(word) < 2 or not self._parses(start, end, tag):
            return index + 1
        return self._take(start, _Closing(end, index + 1), tag)

    def _may_open(self, mark: _Mark) -> bool:
        """Whether a fence can open a block; one behind words has a language or nothing behind it."""
        if not mark.behind:
            return True
        if not mark.info:
            return not self._is_code(self.at, mark.at)
        tag = tag_of(mark.info, self.judge.known)
        return tag is not None and self.judge.known(tag)

    def _stray(self, index: int, mark: _Mark) -> int:
        """A fence that opens nothing: it may close code that no fence opened."""
        if not mark.info and self._is_code(self.at, mark.at):
            return self._take(self.at, _Closing(mark.at, index + 1), None, opened=False)
        return index + 1

    def _tagged(self, index: int, mark: _Mark) -> int:
        tag = tag_of(mark.info, self.judge.known)
        start = min(mark.end + 1, len(self.text))
        closing = self._closing(index, start, tag)
        if (begun := self._code_in_line(mark)) is not None:
            other = self._closing(index, begun[0], begun[1])
            if other.parses:
                return self._take(begun[0], other, begun[1])
        surely = closing.closed or self._holds_code(closing, start)
        if not surely and (mark.behind or tag is None or not self.judge.known(tag)):
            return index + 1  # words about a fence, or a word behind one
        if not self._nested(index, closing, tag):
            return self._take(start, closing, tag)
        self.outer.update([closing.next - 1] if closing.closed else [])
        self.at = mark.end
        return index + 1

    def _nested(self, index: int, closing: _Closing, tag: str | None) -> bool:
        """Whether a block of Markdown holds blocks, which are then read in its place."""
        inside = self.marks[index + 1 : closing.next]
        return tag is not None and tag.lower() in MARKDOWN and any(each.opens for each in inside)

    def _code_in_line(self, mark: _Mark) -> tuple[int, str | None] | None:
        """Where code begins in the line of the fence itself, and the tag before it."""
        first = mark.at + len(mark.mark)
        words = mark.info.split(maxsplit=1)
        tag = words[0] if len(words) == 2 and self.judge.known(words[0]) else None
        if not _CODE.match(mark.info if tag is None else words[1]):
            return None
        return (first if tag is None else self.text.index(words[1], first + len(tag))), tag

    def _untagged(self, index: int, mark: _Mark) -> int:
        """A fence without a tag: it opens a block, or closes code that no fence opened, or does nothing."""
        start = min(mark.end + 1, len(self.text))
        closing = self._closing(index, start, None)
        if (begun := self._code_in_line(mark)) is not None:
            other = self._closing(index, *begun)
            if other.parses:
                return self._take(begun[0], other, begun[1])
        end = closing.end
        following = self.marks[closing.next - 1] if closing.closed else None
        if following is None and closing.next < len(self.marks) and not self.text[start:end].strip():
            self.doubled += 1  # a block in a block, each with a fence
            self.at = mark.end
            return index + 1
        doubtful = not closing.closed or not self._balanced(closing.next)
        if doubtful and not self._holds_code(closing, start):
            if self.text[self.at : mark.at].strip() and self._is_code(self.at, mark.at):
                return self._take(self.at, _Closing(mark.at, index + 1), None, opened=False)
            if not closing.closed:
                return index + 1
        return self._take(start, closing, None)

    def _holds_code(self, closing: _Closing, start: int) -> bool:
        return closing.parses is True or self._is_code(start, closing.end)

    def _balanced(self, index: int) -> bool:
        """Whether the fences from here on are pairs."""
        if not self.left_open:
            self.left_open = [(False, True)]  # with no block open, and with one
            for mark in reversed(self.marks):
                closed, opened = self.left_open[-1]
                tagged = mark.opens
                self.left_open.append((closed, opened) if mark.behind else (opened, opened if tagged else closed))
        return not self.left_open[len(self.marks) - index][0]

    def _closing(self, index: int, start: int, tag: str | None) -> _Closing:
        """Where the block that a fence opens ends: at the first fence where its code parses, else where Markdown says."""
        opener = self.marks[index]
        if tag is not None and tag.lower() in MARKDOWN:
            return self._closing_of_nested(index)
        fallback: _Closing | None = None
        behind: _Closing | None = None
        opening: _Closing | None = None
        tries = 0
        for at in range(index + 1, min(len(self.marks), index + MAX_AHEAD)):
            mark = self.marks[at]
            if tries == MAX_TRIES:
                break
            if mark.mark[0] != opener.mark[0] or "`" in mark.info:
                continue
            if mark.opens and not mark.behind:
                if not self._held(start, mark.line, tag):
                    opening = _Closing(mark.line, at, closed=False)
                    break
                tries += 1
                continue
            if len(mark.mark) < len(opener.mark) or (mark.behind and mark.info):
                continue
            found = _Closing(mark.at if mark.behind else mark.line, at + 1)
            tries += 1
            parses = self._parses(start, found.end, tag)
            if parses:
                return _Closing(found.end, at + 1, parses=True)
            if self._held(start, mark.line, tag):
                continue
            if mark.behind:
                behind = behind or found
            elif mark.indent <= opener.indent + 3 or opener.behind:
                return found if parses is None or fallback is None else fallback
            else:
                fallback = fallback or found
        last = fallback or behind or opening or _Closing(len(self.text), len(self.marks), closed=False)
        return last if last.closed else replace(last, parses=self._parses(start, last.end, tag))

    def _closing_of_nested(self, index: int) -> _Closing:
        """The end of a block of Markdown, in which fences with a tag open blocks."""
        opener, depth = self.marks[index], 1
        last: _Closing | None = None
        for at in range(index + 1, min(len(self.marks), index + MAX_INSIDE)):
            mark = self.marks[at]
            if not self._affords(1):
                break
            if mark.behind or mark.mark[0] != opener.mark[0] or "`" in mark.info:
                continue
            if mark.opens:
                depth += len(mark.mark) >= len(opener.mark)
            elif len(mark.mark) >= len(opener.mark):
                depth -= 1
                last = _Closing(mark.line, at + 1)
                if depth == 0:
                    return last
        return last or _Closing(len(self.text), len(self.marks), closed=False)
