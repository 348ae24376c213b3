"""What may stand around code besides a fence: a thought before the answer, tags, HTML, quotes."""

from __future__ import annotations

import html
import re
from typing import NamedTuple

Span = tuple[int, int]

_THOUGHTS = (
    *(
        (f"<{name}>", f"</{name}>")
        for name in ("think", "thinking", "thought", "thoughts", "reasoning", "reflection", "scratchpad")
    ),
    ("[THINK]", "[/THINK]"),
    ("[THOUGHT]", "[/THOUGHT]"),
    ("<seed:think>", "</seed:think>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),
    ("◁think▷", "◁/think▷"),
)
_OPENERS = re.compile(
    r"^[ \t\ufeff]*(?:<\|?\w+\|?>[ \t]*)?(?P<mark>" + "|".join(re.escape(opener) for opener, _ in _THOUGHTS) + ")",
    re.MULTILINE | re.IGNORECASE,
)
_CLOSER_OF = {opener.lower(): re.compile(re.escape(closer), re.IGNORECASE) for opener, closer in _THOUGHTS}
_HEADLESS = re.compile(
    r"^[ \t]*(?:{0})|(?:{0})[ \t]*$".format("|".join(re.escape(closer) for _, closer in _THOUGHTS)),
    re.MULTILINE | re.IGNORECASE,
)
_SIGNS_OF_THOUGHT = re.compile(
    r"[<\[◁](?:[/|]?|seed:|/seed:)(?i:think|thought|reasoning|reflection|scratchpad|channel|begin_of|end_of)"
)
_ANSWER = re.compile(r"^[ \t]*(?:<(?:answer|solution)>|\[(?:ANSWER|PYTHON|SOLUTION)\])", re.MULTILINE | re.IGNORECASE)
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)", re.MULTILINE)

_SQUARE = re.compile(r"\[(?P<tag>PYTHON|CODE|ANSWER|SOLUTION)\](?P<code>.*?)(?:\[/(?P=tag)\]|\Z)", re.DOTALL)
_ANGLE = re.compile(
    r"^[ \t]*<(?P<tag>answer|solution|python|code|execute)>(?P<code>.*?)(?:</(?P=tag)>|\Z)",
    re.DOTALL | re.MULTILINE | re.IGNORECASE,
)
_PAGE = re.compile(r"<(?:!doctype|html|head|body|script|style|\?)", re.IGNORECASE)
_PRE = re.compile(
    r"<(?P<tag>pre|code)\b(?P<of>[^>]*)>\s*?(?:<code\b(?P<inner>[^>]*)>)?(?P<code>.*?)(?:</code>\s*)?</(?P=tag)>",
    re.DOTALL | re.IGNORECASE,
)
_CLASS = re.compile(
    r"\b(?:class|lang)=[\"']?(?:[\w -]*\b(?:language|lang|brush:?|highlight)[- ]*)?(?P<tag>[\w+#]+)", re.IGNORECASE
)
_SIGNS = re.compile(r"(?:&(?:\w+|#\d+|#x[\da-fA-F]+);|[-<>=&|!+*/:.%^~])++")
_QUOTE = r"^[ \t]{0,3}(?:>[ \t]?)"
_QUOTED = re.compile(rf"(?:{_QUOTE}[^\n]*(?:\n|\Z))+", re.MULTILINE)
_MAYBE_QUOTED = re.compile(r">[ \t]*(?:```|~~~)")
_QUOTED_FENCE = re.compile(rf"(?P<marks>{_QUOTE}+)[ \t]*(?:```|~~~)", re.MULTILINE)


class Tagged(NamedTuple):
    """Code between tags."""

    start: int
    end: int
    tag: str | None
    """The language that the tag names."""


def said_after_thoughts(text: str) -> list[Span]:
    """The parts of a text that are no thought: all of it where there is none, nothing where a thought never ends.

    A thought begins in a line of its own before any fence (code may well speak of such tags), or the chat template opened it
    and the text has its end alone. Drafts in it are not the answer, finished or not.
    """
    if _SIGNS_OF_THOUGHT.search(text) is None:
        return [(0, len(text))]
    spans: list[Span] = []
    at = 0
    while opener := _OPENERS.search(text, at):
        fence = _FENCE.search(text, at)
        if fence is not None and fence.start() < opener.start():
            break
        spans.append((at, opener.start()))
        closer = _CLOSER_OF[opener["mark"].lower()].search(text, opener.end())
        if closer is None and (answer := _ANSWER.search(text, opener.end())):
            at = answer.start()
            continue
        if closer is None:
            return [(a, b) for a, b in spans if text[a:b].strip()]
        at = closer.end()
    if not spans:
        ends = [found for found in _HEADLESS.finditer(text) if not _opened_before(text, found)]
        at = ends[-1].end() if ends else 0
    spans.append((at, len(text)))
    return spans if at == 0 else [(a, b) for a, b in spans if text[a:b].strip()]


def _opened_before(text: str, closer: re.Match[str]) -> bool:
    opener = next(opener for opener, end in _THOUGHTS if end.lower() == closer[0].strip().lower())
    return opener.lower() in text[: closer.start()].lower()


def tagged_blocks(text: str) -> list[Tagged]:
    """The code between `[PYTHON]` and `[/PYTHON]`, `<answer>` and `</answer>` and their like; the last may be left open."""
    if "<" not in text and "[" not in text:
        return []
    pattern = _SQUARE if _SQUARE.search(text) else _ANGLE
    return [
        Tagged(*found.span("code"), "python" if found["tag"].lower() == "python" else None)
        for found in pattern.finditer(text)
        if found["code"].strip()
    ]


def html_blocks(text: str) -> list[Tagged]:
    """The code in `<pre>` or in `<code>` of several lines, of a text that is no web page itself."""
    if _PAGE.search(text):
        return []
    found = [each for each in _PRE.finditer(text) if each["code"].strip()]
    return [
        Tagged(*each.span("code"), named["tag"] if (named := _CLASS.search(f"{each['inner'] or ''} {each['of']}")) else None)
        for each in found
        if each["tag"].lower() == "pre" or "\n" in each["code"].strip()
    ]


def decode_html(text: str) -> str:
    """A text with its entities decoded and as long as before: blanks follow each run of signs that had one."""

    def decoded(found: re.Match[str]) -> str:
        signs = html.unescape(found[0]).replace("\n", " ")
        return signs.ljust(len(found[0]))

    return _SIGNS.sub(decoded, text)


def unquote(text: str, *, fenced: bool = True) -> str:
    """A text whose quote marks (`> ` before each line) are blanks, in quotes that hold a fence; in all where not `fenced`."""
    if not (_MAYBE_QUOTED.search(text) if fenced else ">" in text):
        return text

    def blanked(quote: re.Match[str]) -> str:
        fence = _QUOTED_FENCE.search(quote[0])
        if fence is None and fenced:
            return quote[0]
        depth = fence["marks"].count(">") if fence else 1
        return re.sub(f"{_QUOTE}{{1,{depth}}}", lambda mark: " " * len(mark[0]), quote[0], flags=re.MULTILINE)

    return _QUOTED.sub(blanked, text)
