"""The solution in a chat model's answer: fenced blocks, bare code, code among prose, a function's body alone.

[ours] Fences are read as in training data (`core.markdown`). The solution is the longest piece of the answer that Python
reads and that defines what the tests call, as EvalPlus takes the longest: but no signature without a body, and no draft of a
thought where there is something besides. It becomes a program as `codeblock.evaluate.program` says, with the imports and
helpers that other pieces define. Whatever EvalPlus finds a solution in, a solution is found in here.
"""

from __future__ import annotations

import html
import re
import textwrap
import warnings
from collections.abc import Iterator

from codeblock.core.markdown import (
    LANGUAGES,
    PYTHON,
    fenced_blocks,
    html_blocks,
    said_after_thoughts,
    tag_on_own_line,
    tagged_blocks,
    unquote,
    without_margin,
)
from codeblock.evaluate.program import parsed, program, solves
from codeblock.evaluate.sanitize import defining_run, longest_code, sanitize

SPEAKER = re.compile(r"\A\s*(?:<\|\w+\|>)?\s*(?:assistant|answer|response)\s*:[ \t]*\n?", re.IGNORECASE)
CODE_LINE = re.compile(r"^[ \t]*(?:async def|def|class|import|from|return|@\w)\b.*", re.MULTILINE)
MAGIC = re.compile(r"^([ \t]*)[%!](?=\w)", re.MULTILINE)
INVISIBLE = re.compile("[\ufeff\u200b\u200c\u200d\u2060]")
SPECIAL = re.compile(r"<\|\w+\|>|</?s>\s*\Z")
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
IMPORT = re.compile(r"^(?:from [\w.]+ import [\w, *]+|import [\w., ]+)$", re.MULTILINE)
PROMPT = re.compile(r"^[ \t]*(?:>>> |In \[\d+\]: )", re.MULTILINE)
PROMPTED = re.compile(r"^[ \t]*(?:>>>|\.\.\.:?|In \[\d+\]:)(?: (?P<code>.*)|)$", re.MULTILINE)

FEW_LINES = 200
"""Lines in which code is looked for, run by run, in a piece that is not the solution."""


def parses(code: str) -> bool:
    """Whether Python compiles the text."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(code, "<answer>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return False
    return True


def defines(code: str, name: str) -> bool:
    """Whether a function or class of this name is defined on the top level, or the name assigned there."""
    name = re.escape(name)
    pattern = rf"^(?:(?:async\s+)?def\s+{name}\b|class\s+{name}\b|{name}\s*(?::[^=\n]+)?=(?!=))"
    return re.search(pattern, code, re.MULTILINE) is not None


def extract_code(answer: str, entry_point: str) -> str:
    """The program in an answer; where it has no solution, its first block of code, else the answer as it is.

    A body-only completion comes back with its indentation; an empty answer is empty.
    """
    answer = answer.replace("\r\n", "\n").replace("\r", "\n")
    said = _said(answer)
    found = _found(said, entry_point)
    if (plain := _plain(said)) != said and (other := _found(plain, entry_point)) and _size(other) > _size(found or ""):
        found = other  # no Python, or less, with the characters that are gone
    if found is not None:
        return found
    official = sanitize(answer.replace("\t", "    "), entry_point) if entry_point in answer else ""
    return official if solves(official, entry_point) else _without_solution(said, entry_point)


def _found(text: str, entry_point: str) -> str | None:
    return next((found for view in _views(text, entry_point) if (found := _solution(view, entry_point)) is not None), None)


def _size(code: str) -> int:
    """Lines that are not blank."""
    return sum(bool(line.strip()) for line in code.split("\n"))


def _said(answer: str) -> str:
    """An answer without the thought before it and the name of its speaker."""
    said = "\n".join(answer[start:end].strip("\n") for start, end in said_after_thoughts(answer))
    return SPEAKER.sub("", said, count=1).strip("\n")


def _plain(text: str) -> str:
    """A text without special tokens and characters that nobody sees, and with blanks for other white space."""
    return INVISIBLE.sub("", SPECIAL.sub("", text)).replace("\u00a0", " ").replace("\u3000", "  ").replace("\t", "    ")


def _views(text: str, entry_point: str) -> Iterator[str]:
    """The text as it may be meant: what is between tags, as it is, without indentation, quote marks, HTML, prompts or prose."""
    yield from (text[start:end].strip("\n") for start, end, _ in reversed(tagged_blocks(text)))
    yield text
    if (margin := _margin(text, entry_point)) is not None:
        yield "\n".join(line.removeprefix(margin) for line in text.split("\n"))
    if (quoted := unquote(text, fenced=False)) != text:
        yield "\n".join(textwrap.dedent(part) for part in quoted.split("\n\n"))
    for start, end, _ in html_blocks(text) if "</" in text else ():
        yield html.unescape(text[start:end])
    if PROMPT.search(text):
        yield _script(text)
    if inline := INLINE.findall(text):
        yield "\n".join(inline)


def _margin(text: str, entry_point: str) -> str | None:
    """The indentation of the entry point's definition where it is that of a whole program, not of a class."""
    found = re.search(rf"^([ \t]+)(?:async def|def|class)\s+{re.escape(entry_point)}\b", text, re.MULTILINE)
    if found is None:
        return None
    before = [line for line in text[: found.start()].split("\n") if line.strip()]
    outer = next((line for line in reversed(before) if not line.startswith(found[1])), "")
    return None if re.match(r"\s*(?:class|def|async def|if|try|else|with|for)\b.*:\s*$", outer) else found[1]


class _PythonJudge:
    """What Python says of an answer's pieces."""

    def __init__(self, text: str) -> None:
        self.text = text

    def known(self, tag: str) -> bool:
        return tag.lower() in LANGUAGES

    def parses(self, start: int, end: int, tag: str | None) -> bool | None:
        if tag is not None and tag.lower() not in PYTHON:
            return None
        return parsed(_script(textwrap.dedent(self.text[start:end]))) is not None

    def is_code(self, start: int, end: int) -> bool:
        code = self.text[start:end]
        return CODE_LINE.search(code) is not None and parsed(_longest(code)) is not None


def _longest(code: str) -> str:
    return longest_code("\n".join(code.split("\n", FEW_LINES)[:FEW_LINES]))


def _script(code: str) -> str:
    """Code without what is no Python in notebooks and sessions: lines of magics, prompts and output."""
    if not (PROMPT.search(code) or MAGIC.search(code)) or parsed(code) is not None:
        return code
    if PROMPT.search(code):
        return "\n".join(found["code"] or "" for found in PROMPTED.finditer(code))
    return MAGIC.sub(r"\1#", code)


def blocks_of(text: str) -> list[tuple[str | None, str]]:
    """Tag and content of the fenced blocks, without the indentation that their lines share in a list or a quote."""
    text = unquote(text)
    blocks = []
    for block in fenced_blocks(text, _PythonJudge(text)):
        code = text[block.start : block.end].rstrip()
        margin = text.rfind("\n", 0, block.start) + 1 < block.start or not _is_body(code)
        blocks.append((block.tag, without_margin(code) if margin else code))
    return blocks


def _is_body(code: str) -> bool:
    """Whether indented code is the body of a function, whose indentation is its own."""
    return (
        code[:1] in " \t"
        and parsed(f"def _():\n{code}") is not None
        and re.search(r"^\s*(?:async )?def |^\s*class ", code) is None
    )


def fenced_code(text: str) -> list[str]:
    """Contents of the fenced blocks tagged as Python or not at all, of all blocks where there is none such."""
    blocks = blocks_of(text)
    return [code for tag, code in blocks if tag is None or tag.lower() in PYTHON] or [code for _, code in blocks]


def _solution(text: str, entry_point: str) -> str | None:
    """The program of a text that defines the entry point; None where none does."""
    if entry_point not in text:
        return None
    if (named := tag_on_own_line(text, lambda word: word.lower() in PYTHON)) is not None:
        text = text[named[1] :]
    blocks = [_script(code) for code in fenced_code(text)]
    pieces = [each for code in blocks if (each := _solving(code, entry_point)) is not None]
    if not pieces or len(_definitions(entry_point).findall(text)) > 1:
        pieces = _with_the_longest(text, pieces, entry_point)
    if not pieces:
        joined = _joined(blocks, entry_point)
        pieces = [joined] if joined is not None else []
    if not pieces:
        return None
    best = max(pieces, key=_size)
    others = [code if parsed(code) else _longest(code) for code in blocks if code != best]
    made = program(best, [*others, *IMPORT.findall(text)], entry_point)
    return (made if parses(made) else best).strip("\n")


def _definitions(entry_point: str) -> re.Pattern[str]:
    name = re.escape(entry_point)
    return re.compile(rf"(?:\b(?:def|class)\s+{name}\b|^\s*{name}\s*(?::[^=\n]+)?=(?!=))", re.MULTILINE)


def _solving(code: str, entry_point: str) -> str | None:
    """The code, or its longest run of lines, that defines the entry point."""
    if solves(code, entry_point):
        return code
    run = defining_run(code, entry_point)
    return run if run is not None and solves(run, entry_point) else None


def _with_the_longest(text: str, pieces: list[str], entry_point: str) -> list[str]:
    """The pieces, or the run of lines that EvalPlus takes where that is a solution."""
    longest = longest_code(text)
    if solves(sanitize(text, entry_point), entry_point) and solves(longest, entry_point):
        return [longest]
    run = _solving(text, entry_point) if not pieces else None
    return pieces if run is None else [run]


def _joined(blocks: list[str], entry_point: str) -> str | None:
    """A signature in one block and the body in one behind it."""
    for place, code in enumerate(blocks):
        head = defining_run(code, entry_point)
        if head is None and re.search(rf"^def {re.escape(entry_point)}\b.*:[ \t]*$", code, re.MULTILINE):
            head = code
        for body in blocks[place + 1 :] if head is not None else ():
            whole = f"{head}\n{textwrap.indent(textwrap.dedent(body), '    ')}"
            if solves(whole, entry_point):
                return whole
    return None


def _without_solution(text: str, entry_point: str) -> str:
    """What is graded of an answer in which nothing defines the entry point: a body, else whatever shows the error."""
    blocks = fenced_code(text)
    if blocks:
        named = [code for code in blocks if defines(code, entry_point)]
        bodies = [code for code in blocks if _returns(code)]
        return (named or bodies or blocks)[0]
    if parsed(text) is not None or _returns(text):
        return text.rstrip()
    start = re.search(rf"^[ \t]*(?:def|class)\s+{re.escape(entry_point)}\b", text, re.MULTILINE)
    return text[start.start() :].rstrip() if start else _body_among_prose(text).rstrip()


def _returns(code: str) -> bool:
    tree = parsed("def _():\n" + textwrap.indent(textwrap.dedent(code), "    "))
    return tree is not None and re.search(r"^[ \t]*(?:return|yield)\b|[:;] *return\b", code, re.MULTILINE) is not None


def _body_among_prose(text: str) -> str:
    """The first run of indented lines that is a body, which prose follows or a lone fence ends; else the text."""
    text_lines = text.split("\n")
    for end in range(len(text_lines), 0, -1):
        code = "\n".join(text_lines[:end])
        if text_lines[end - 1].strip() and text_lines[0][:1] in " \t" and _returns(code):
            return code
    return text


def as_body(code: str, prompt: str) -> str:
    """A completion that goes on from `prompt` (an open function): the code as it is or indented, whichever parses."""
    code = code.strip("\n")
    shapes = [code, textwrap.indent(textwrap.dedent(code), "    "), "    " + code.lstrip()]
    return next((shape for shape in shapes if parses(prompt + shape)), shapes[0])
