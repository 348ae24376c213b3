"""What an instruction asks for by name: functions and classes to define, and the language of the answer. [ours]

Read off the words of the instruction, without its fenced code: an instruction that names nothing asks for nothing.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from codeblock.data.rank.code import CodeFacts, parses_as

LANGUAGES = {
    "python": ("python",),
    "javascript": ("javascript", "typescript", "tsx", "html"),
    "js": ("javascript", "typescript", "tsx", "html"),
    "typescript": ("typescript", "tsx"),
    "java": ("java",),
    "kotlin": ("kotlin",),
    "c": ("c", "cpp"),
    "c++": ("cpp", "c"),
    "c#": ("csharp",),
    "php": ("php", "html"),
    "golang": ("go",),
    "go": ("go",),
    "rust": ("rust",),
    "ruby": ("ruby",),
    "bash": ("bash",),
    "shell": ("bash",),
    "sql": ("sql",),
    "html": ("html", "xml"),
    "css": ("css", "html", "scss"),
    "perl": ("perl",),
    "swift": ("swift",),
    "r": ("r",),
}
"""What instructions call a language, with the languages of answers that may be meant: those close to it, or that hold it."""

_FENCED = re.compile(r"^[ \t]*(`{3,}|~{3,}).*?(?:^[ \t]*\1|\Z)", re.MULTILINE | re.DOTALL)
_KIND = r"(?:function|method|class|procedure|subroutine|struct|interface)"
_NAME = r"[A-Za-z_$][\w$]*"
_QUOTE = "[`'\"]"
_CALLED = re.compile(rf"\b{_KIND}s?\b(?:\s+[\w+#]+){{0,4}}?\s+(?:named|called)\s+{_QUOTE}?({_NAME})")
_AFTER_KIND = re.compile(rf"\b{_KIND}\s+{_QUOTE}({_NAME})(?:\([^)`\n]*\))?{_QUOTE}")
_BARE = re.compile(
    r"\b(?:function|method|procedure|class|struct|interface)\s+([A-Za-z]+_\w+|[a-z]+[A-Z]\w*)\b(?!\s*(?:\([^)]*\)\s*)?[{:])"
)
"""Not one that code in the instruction defines."""
_BARE_CLASS = re.compile(r"\bclass\s+([A-Z][a-z]\w*)(?=\s+(?:that|which|with|to|has|for|in|and)\b|[.,])")
_BEFORE_KIND = re.compile(rf"(?:^|[\s`])({_NAME})`?(?::|, an?|\s+is an?)\s*(?:an?\s+)?(?:[A-Z][\w+#]*\s+)?{_KIND}\b")
_TICKED = re.compile(rf"(?<!`)`({_NAME})(?:\([^)`\n]*\))?`(?!`)")
_ASKED = "|".join(re.escape(name) for name in sorted(LANGUAGES, key=len, reverse=True) if name not in ("c", "r", "go"))
_LANGUAGE = re.compile(
    rf"\b(?:in|using|to|into)\s+(?P<after>{_ASKED})(?![\w+#])"
    rf"|(?<![\w.])(?P<before>{_ASKED})(?![\w+#])\s+(?:function|program|script|code|class|method|query|statement|application)",
    re.IGNORECASE,
)
_ANY = re.compile(rf"(?<![\w.])(?:{_ASKED})(?![\w+#])", re.IGNORECASE)
_SHORT = re.compile(
    r"\b(?:in|using|to|into)\s+(?P<after>C|R|Go)(?![\w+#'])|(?<![\w.])(?P<before>C|R|Go)(?![\w+#'])\s+(?:function|program|code)"
)


_DEFINING = (
    "def|class|function|func|fn|fun|sub|struct|interface|enum|trait|type|module|procedure|object|table|view|const|let|var|val"
)
"""Words that stand before a name that is defined, in some language."""


_MARKUP = re.compile(r"\b(?:html|css)\b|</?[a-z]\w*[ >]", re.IGNORECASE)


class Requirements(NamedTuple):
    """What an instruction names."""

    defined: frozenset[str]
    """Functions, classes and their like that the answer has to define."""
    named: frozenset[str]
    """Other names in backticks, which the answer has to use."""
    languages: tuple[str, ...] | None
    """Languages that the answer may be in; None where none is asked for, or several are."""


def asked(instruction: str) -> Requirements:
    """What an instruction asks for."""
    text = _FENCED.sub("", instruction)
    found = [pattern.findall(text) for pattern in (_CALLED, _AFTER_KIND, _BARE, _BARE_CLASS, _BEFORE_KIND)]
    if _MARKUP.search(text):
        found = []  # its classes are no definitions
    defined = frozenset(name for names in found for name in names if not _is_a_word(name, text))
    names = {(match["after"] or match["before"]).lower() for pattern in (_LANGUAGE, _SHORT) for match in pattern.finditer(text)}
    groups = {LANGUAGES[name] for name in names | {name.lower() for name in _ANY.findall(text)}} if names else set()
    return Requirements(defined, frozenset(_TICKED.findall(text)) - defined, groups.pop() if len(groups) == 1 else None)


def share_answered(response: str, wanted: Requirements, facts: CodeFacts) -> float:
    """How much of what is asked for a response gives, 0..1; NaN where nothing is asked for.

    The lesser of the share of names that it defines (or uses, where no definition is asked for) and of the language being the
    one. `facts`: of its code; a language that cannot be told decides nothing.
    """
    shares = []
    names = wanted.defined | wanted.named
    if names:
        given = [defines(response, name) for name in wanted.defined] + [uses(response, name) for name in wanted.named]
        shares.append(sum(given) / len(names))
    if wanted.languages and (spoken := _speaks(response, wanted.languages, facts)) is not None:
        shares.append(float(spoken))
    return min(shares, default=float("nan"))


def _speaks(response: str, languages: tuple[str, ...], facts: CodeFacts) -> bool | None:
    """Whether some code is in one of some languages. What the response says is believed; what was recognised may be another
    language that looks the same."""
    if not facts.languages or any(name in facts.languages for name in languages):
        return True if facts.languages else None
    return False if facts.tagged else parses_as(response, languages)


def defines(response: str, name: str) -> bool:
    """Whether a response has a definition of a name, in any language: a function, class or table of that name, a typed
    declaration with parameters, or an assignment."""
    return _definition(name).search(response) is not None


def uses(response: str, name: str) -> bool:
    """Whether a name occurs in a response as a whole word."""
    return re.search(rf"(?<![\w$]){re.escape(name)}(?![\w$])", response) is not None


@cache
def _definition(name: str) -> re.Pattern[str]:
    name = rf"(?<![\w$]){re.escape(name)}(?![\w$])"
    return re.compile(
        rf"\b(?:{_DEFINING})\*?\s+(?:if not exists\s+)?(?:\([^)\n]*\)\s*)?{name}"
        rf"|{name}\s*(?::[^=\n]+)?=(?![=])"
        rf"|{name}\s*\([^()\n]*\)\s*(?:const\s*)?(?:throws\s[\w, ]+)?\{{"
        rf"|^[ \t]*(?!(?:return|await|new|else|yield|raise|throw|print|echo|not)\b)"
        rf"[\w<>\[\],:*&?]+\s+[*&]?{name}\s*\([^()]*\)\s*\{{",
        re.MULTILINE | re.IGNORECASE,
    )


def _is_a_word(name: str, text: str) -> bool:
    """Whether a name after "called" or before "is a function" is a language or plain English: not quoted, no identifier."""
    if name.lower() in LANGUAGES:
        return True
    plain = name.islower() and name.isalpha()
    return plain and re.search(rf"[`'\"]{name}\b|\b(?:named|called)\s+{name}\b|\b{name}\(", text) is None
