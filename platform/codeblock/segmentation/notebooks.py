"""Cells of notebooks: lines of Python code that are IPython's own (`%matplotlib inline`, `!pip install x`, `x = !ls`, `f?`)."""

from __future__ import annotations

import re

_LINE = re.compile(
    r"^[ \t]*(?:%{1,2}[A-Za-z]\w*(?:[ \t][^\n]*)?|!{1,2}[^\s=](?:[^\n]*\\\n)*[^\n]*|\?{1,2}[\w.]+|[\w.]+\?{1,2})[ \t\r]*$",
    re.MULTILINE,
)
_ASSIGNED = re.compile(r"^(?P<before>[ \t]*[\w., \t]+=[ \t]*)(?P<magic>!?[%!][A-Za-z][^\n]*)", re.MULTILINE)
_FIRST = re.compile(r"^([ \t]*)\S", re.MULTILINE)
_SURE = re.compile(
    r"^[ \t]*(?:%{1,2}(?:matplotlib|pip|conda|time(?:it)?|(?:re)?load_ext|autoreload|run|cd|config|env|pylab|capture|writefile"
    r"|tensorflow_version|sql|prun|debug|pwd|ls|mkdir|who)\b"
    r"|![ \t]*(?:sudo[ \t]+)?(?:pip3?|python3?|apt(?:-get)?|wget|curl|git|conda|ls|cd|mkdir|unzip|cat|rm|cp|mv|nvidia-smi|npm"
    r"|kaggle|gdown|tar|jupyter|brew)\b)",
    re.MULTILINE,
)
_CELL = re.compile(r"\s*%%(?:script[ \t]+(?:--\S+[ \t]+)*)?(?P<name>\w+)(?P<rest>[^\n]*)\n")
_CELLS = {
    "bash": "bash",
    "sh": "bash",
    "html": "html",
    "javascript": "javascript",
    "js": "javascript",
    "sql": "sql",
    "R": "r",
    "ruby": "ruby",
    "perl": "perl",
    "latex": "latex",
    "markdown": "markdown",
    "svg": "svg",
    "cython": "cython",
}


def without_magics(text: str) -> str:
    """The text, as long as it is, with IPython's own lines as comments and what they are assigned as names."""
    plain = _ASSIGNED.sub(lambda found: found["before"] + "_" * len(found["magic"]), text)
    return _LINE.sub(lambda found: _FIRST.sub(r"\1#", found[0]), plain)


def surely_has_magics(text: str) -> bool:
    """Whether an untagged text has a line that is IPython's own beyond doubt."""
    return ("%" in text or "!" in text) and _SURE.search(text) is not None


def cell_language(text: str) -> tuple[str, int] | None:
    """The language of a cell that its first line puts into another one (`%%bash`), and where the line behind it starts."""
    found = _CELL.match(text)
    if found is None or (language := _CELLS.get(found["name"])) is None:
        return None
    return language, found.end()
