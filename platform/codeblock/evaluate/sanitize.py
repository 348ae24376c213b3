"""The solution in an answer, found the way EvalPlus and BigCodeBench find it, whose scores depend on it.

The text is cut to the longest run of lines that Python parses, and of its top level only the imports stay and the definitions
that the function under test reaches by name. What that drops is dropped here too: decorated definitions, statements that are
neither import, definition nor assignment, and (EvalPlus) functions that never return.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections import defaultdict
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tree_sitter import Language, Node

PARSED_LINES = 400_000
"""Lines that are parsed for one answer at most, some 5 s: enough to try every run of 130 lines. The public tools have no
bound and take hours on degenerate text of 1,000 lines."""

MAX_LINES = 400
"""Lines on either side of a definition in which the rest of its code is looked for."""

IMPORTS = ("import_statement", "import_from_statement")
OPENERS = frozenset("([{\"'\\:@\r\f")
"""A line with none of these holds a whole statement, whatever follows it."""
FINAL_ERRORS = re.compile(
    "invalid syntax$|unexpected indent$|unindent does not match|unterminated string literal|unmatched |invalid character"
    "|invalid non-printable|invalid decimal literal|unexpected character after line continuation"
)
"""Errors of Python that lie at the token where it could not go on: nothing that follows can mend them."""


def sanitize(text: str, entry_point: str) -> str:
    """What EvalPlus grades in place of `text`. [EvalPlus 0.3.1, evalplus.sanitize]"""
    kept = _reachable(longest_code(text), entry_point, must_return=True)
    return kept or longest_code(text)


def sanitize_calibrated(text: str, entry_point: str) -> str:
    """What BigCodeBench grades in place of `text`. [BigCodeBench 0.2.5, bigcodebench.sanitize]

    Functions need no return; lines at the end that are not indented are cut from the first that names the entry point.
    """
    kept = _reachable(longest_code(text.strip()), entry_point, must_return=False)
    lines = kept.splitlines()
    tail = len(lines) - next((n for n, line in enumerate(reversed(lines)) if line.startswith(" ")), len(lines))
    cut = next((n for n in range(tail, len(lines)) if entry_point in lines[n]), None)
    return (kept if cut is None else "\n".join(lines[:cut])).strip() or longest_code(text)


@lru_cache(maxsize=8)
def longest_code(text: str) -> str:
    """The run of two or more lines that parses and has the most lines that are not blank, the first of several.

    The first line alone where no run parses, or none of the first `PARSED_LINES` lines of runs.
    """
    lines = text.split("\n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start, end = next((run for run in _runs(lines) if run is not None), (0, 0))
    return "\n".join(lines[start : end + 1])


def defining_run(text: str, name: str) -> str | None:
    """The longest run of lines around a definition of a name that parses; None where none does. [ours]

    Of several definitions the one with the longest run. It may lack what comes before lines that are no Python.
    """
    lines = text.split("\n")
    begins = re.compile(rf"(?:async\s+def|def|class)\s+{re.escape(name)}\b|{re.escape(name)}\s*(?::[^=]+)?=(?!=)")
    found: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for place, line in enumerate(lines[:MAX_LINES]):
            if begins.match(line) and (end := _end_of_run(lines, place)) is not None:
                found.append("\n".join(lines[_start_of_run(lines, place, end) : end]))
    return max(found, key=len, default=None)


def _end_of_run(lines: list[str], start: int) -> int | None:
    end = min(len(lines), start + MAX_LINES)
    while end > start:
        broken = _first_broken_line(lines[start:end])
        if broken is None:
            return end
        end = min(end - 1, start + broken)
    return None


def _start_of_run(lines: list[str], place: int, end: int) -> int:
    """The first line from which on all up to `end` parses, going back to the last one that is no Python in itself."""
    first = place
    while first > 0 and place - first < MAX_LINES and _last_end(lines, first - 1) >= place:
        first -= 1
    starts = (start for start in range(first, place) if lines[start].strip() and not lines[start].startswith((" ", "\t")))
    return next((start for start in starts if _parse_error("\n".join(lines[start:end])) is None), place)


def _runs(lines: list[str]) -> Iterator[tuple[int, int] | None]:
    """Runs of lines (first and last) by falling number of lines that are not blank: those that parse, None for the others."""
    filled = [0]
    for line in lines:
        filled.append(filled[-1] + bool(line.strip()))
    ends: dict[int, list[int]] = defaultdict(list)
    for end in range(1, len(lines)):
        ends[filled[end + 1]].append(end)
    last = [_last_end(lines, start) for start in range(len(lines))]
    parsed = 0
    for count in range(filled[-1], 0, -1):
        for start in range(len(lines)):
            for end in ends.get(filled[start] + count, ()):
                if not start < end <= last[start]:
                    continue
                parsed += end - start + 1
                if parsed > PARSED_LINES:
                    return
                broken = _first_broken_line(lines[start : end + 1])
                yield (start, end) if broken is None else None
                last[start] = min(last[start], start + (broken or len(lines)) - 1)


def _last_end(lines: list[str], start: int) -> int:
    """The last line that a run from this line may reach: the one before its first statement where that can never parse."""
    code = (n for n in range(start, len(lines)) if lines[n].strip(" \t") and not lines[n].lstrip(" \t").startswith("#"))
    first = next(code, None)
    if first is None:
        return len(lines) - 1
    line = lines[first]
    if OPENERS.isdisjoint(line):
        hopeless = _parse_error(line) is not None
    else:
        hopeless = line.startswith((" ", "\t")) and "\r" not in line and "\f" not in line
    return first - 1 if hopeless else len(lines) - 1


def _first_broken_line(lines: list[str]) -> int | None:
    """None where the lines parse; else the number (from 0) of the first line that no run from the same start can reach.

    That is `len(lines)` where lines that follow could mend the error.
    """
    error = _parse_error("\n".join(lines))
    if error is None:
        return None
    code = [n for n, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#")]
    where = error.lineno - 1 if isinstance(error, SyntaxError) and error.lineno else len(lines)
    final = isinstance(error, SyntaxError) and FINAL_ERRORS.match(error.msg) and code and where < code[-1]
    return where if final and "\r" not in "".join(lines) else len(lines)


def _parse_error(code: str) -> Exception | None:
    try:
        ast.parse(code)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        return error
    return None


@cache
def _python() -> Language:
    # Imported here: what generates answers makes prompts of a benchmark, on machines that may have no grammar.
    import tree_sitter_python
    from tree_sitter import Language

    return Language(tree_sitter_python.language())


def _reachable(code: str, entry_point: str, *, must_return: bool) -> str:
    """The imports of a module, then the definitions that the entry point reaches, each from its start to its end."""
    from tree_sitter import Parser

    source = code.encode("utf-8", "replace")
    imports: list[Node] = []
    definitions: dict[str | None, Node] = {}
    for node in Parser(_python()).parse(source).root_node.children:
        if node.type in IMPORTS:
            imports.append(node)
            continue
        definition = _definition(node, must_return=must_return)
        if definition is not None:
            definitions.setdefault(_name(definition), definition)
    reached = _names_reached(entry_point, definitions)
    kept = [*imports, *(node for name, node in definitions.items() if name in reached)]
    return "\n".join(source[node.start_byte : node.end_byte].decode("utf-8", "replace") for node in kept).strip()


def _definition(node: Node, *, must_return: bool) -> Node | None:
    """The class, function or assignment that a statement is."""
    if node.type == "class_definition":
        return node
    if node.type == "function_definition":
        return node if not must_return or _has(node, "return_statement") else None
    if node.type == "expression_statement" and node.children[0].type == "assignment":
        return node.children[0]
    return None


def _name(node: Node) -> str | None:
    return next((_text(child) for child in node.children if child.type == "identifier"), None)


def _names_reached(entry_point: str, definitions: dict[str | None, Node]) -> set[str]:
    reached, waiting = {entry_point}, [entry_point]
    while waiting:
        node = definitions.get(waiting.pop())
        new = (_identifiers(node) if node is not None else set()) - reached
        reached |= new
        waiting += new
    return reached


def _identifiers(node: Node) -> set[str]:
    return {_text(each) for each in _walk(node) if each.type == "identifier"}


def _has(node: Node, kind: str) -> bool:
    return any(each.type == kind for each in _walk(node))


def _walk(node: Node) -> Iterator[Node]:
    waiting = [node]
    while waiting:
        each = waiting.pop()
        yield each
        waiting += each.children


def _text(node: Node) -> str:
    return (node.text or b"").decode("utf-8", "replace")
