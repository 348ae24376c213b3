"""Whether a text ends inside a literal or a comment of several lines, in whatever language it is."""

from __future__ import annotations

import re

_OPENERS = ('"""', "'''", "/*", "<!--", "<<", 'R"', 'r#"', '@"', "=begin")
_OF_LINES = frozenset(("bash", "sh", "shell", "zsh", "php", "ruby", "rb", "rust", "rs", "r"))
"""Tags of languages whose plain strings may have several lines."""
_PIECES = r"""
    (?P<whole>
        \"\"\"(?:[^\\]|\\.)*?\"\"\" | '''(?:[^\\]|\\.)*?''' | /\*.*?\*/ | <!--.*?-->
        | <<[-~]?(?P<quote>['"]?)(?P<word>{word})(?P=quote)[^\n]*\n(?:[^\n]*\n)*?[ \t]*(?P=word)\b
        | R"(?P<bound>[^\s(]{{0,16}})\(.*?\)(?P=bound)" | r(?P<hashes>\#+)".*?"(?P=hashes) | @"[^"]*"
        | ^=begin\b.*?^=end\b
        | {strings}
        | (?:^|(?<=\s))(?:\#|//)[^\n]*
    )
    | (?P<held>\"\"\"|'''|/\*|<!--|<<[-~]?['"]?{word}['"]?[^\n]*\n|R"[^\s(]{{0,16}}\(|r\#+"|@"|^=begin\b{open})
"""
_IN_A_LINE = r""" (?!\"{3})"(?:[^"\\\n]|\\.)*" | (?!'{3})'(?:[^'\\\n]|\\.)*' """
_FLAGS = re.VERBOSE | re.DOTALL | re.MULTILINE
_USUAL = re.compile(_PIECES.format(strings=_IN_A_LINE, word="[A-Z_]{2,}", open=""), _FLAGS)
_OF_MANY = r""" (?!\"{3})"(?:[^"\\]|\\.)*" | (?!'{3})'(?:[^'\\]|\\.)*' """
_LONG = re.compile(_PIECES.format(strings=_OF_MANY, word=r"[A-Za-z_]\w*", open=r"""|["']"""), _FLAGS)


def ends_in_literal(text: str, tag: str | None) -> bool:
    """Whether the last literal or comment of a text that may have several lines is still open at its end."""
    of_lines = tag is not None and tag.lower() in _OF_LINES
    if not of_lines and not any(opener in text for opener in _OPENERS):
        return False
    return any(piece["held"] for piece in (_LONG if of_lines else _USUAL).finditer(text))
