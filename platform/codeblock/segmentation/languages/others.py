"""Languages without a grammar here, known by how a text in them begins. Such a text is cut at blank lines."""

from __future__ import annotations

import re

_SQL = (
    r"SELECT\s|INSERT\s+INTO\b|UPDATE\s+[\w.`\"\[\]]+\s+SET\b|DELETE\s+FROM\b|(?:CREATE|ALTER|DROP|TRUNCATE)\s+"
    r"(?:OR\s+REPLACE\s+)?(?:TEMP(?:ORARY)?\s+|UNIQUE\s+)?(?:TABLE|DATABASE|VIEW|INDEX|PROCEDURE|FUNCTION|TRIGGER"
    r"|SCHEMA|USER)\b|"
    r"WITH\s+\w+\s+AS\s*\(|GRANT\s+\w|DECLARE\s+@"
)

OTHERS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("html", re.compile(r"\s*<(?:!DOCTYPE\s+html|!--|/?(?:html|head|body|div|span|p|a|h[1-6]|ul|ol|li|table|form"
        r"|input|button|img|"
                        r"script|style|link|meta|nav|header|footer|section|select|label|strong|em|b|i|br|title"
                        r"|textarea|video|svg|"
                        r"iframe|main|article|option|canvas|center|font|u|tr|td|th|dl)\b[^<]*>)", re.IGNORECASE)),
    ("xml", re.compile(r"\s*<(?:\?xml\b|[A-Za-z][\w.:-]*(?:\s[^<>]*)?>)")),
    ("sql", re.compile(rf"\s*(?:--[^\n]*\n\s*)*(?:{_SQL})", re.IGNORECASE)),
    ("json", re.compile(r"\s*(?:\{\s*\"[^\"\n]*\"\s*:|\[\s*\{\s*\"[^\"\n]*\"\s*:)")),
    ("css", re.compile(r"\s*(?:/\*[^*]*\*/\s*)?(?:@(?:media|import|font-face|keyframes)\b"
        r"|(?!(?:interface|type|class|enum|export|const|struct|object|query)\b)[.#:]?[A-Za-z*](?:[^{}();=]|:[\w-]+\([^()]*\)){0,200}\{\s*"
                       r"(?:/\*[^*]*\*/\s*)?[a-z-]+\s*:\s*[^;{}]{1,200}[;}])")),
    ("dockerfile", re.compile(r"\s*FROM[ \t]+[\w./:-]+(?:[ \t]+AS[ \t]+\w+)?[ \t]*\n\s*(?:RUN|WORKDIR|COPY|ENV"
        r"|MAINTAINER|ADD|LABEL|EXPOSE)\b")),
    ("perl", re.compile(r"\s*(?:#!.*\bperl\b|use[ \t]+strict\b)")),
    ("r", re.compile(r"\s*(?:library\(\w+\)|[\w.]+[ \t]*<-[ \t]*(?:function|c|data\.frame|read\.\w+|matrix)\b)")),
    ("swift", re.compile(r"\s*(?:import[ \t]+(?:UIKit|SwiftUI|Foundation)\b"
        r"|func[ \t]+\w+\((?:_[ \t]+)?\w*[ \t]*\w*:[^)]*\)[ \t]*(?:->|\{))")),
)  # fmt: skip
"""Name and the beginning of its texts; the first that matches is meant."""


_SWIFT = (
    re.compile(r"^[ \t]*(?:let|var|func|for|print)\b", re.MULTILINE),
    re.compile(
        r"\.\.<|\bas[!?][ \t]|[(,][ \t]*[a-z]\w*:[ \t]*[\w.\"{(\[$]|\$0\b|\bin[ \t]*$|\[[A-Z]\w*\]\("
        r"|\bfor[ \t]+\w+[ \t]+in[ \t]+[\w.]+[ \t]*\{",
        re.MULTILINE,
    ),
)
_NOT_SWIFT = re.compile(r";[ \t]*$|\bfunction\b|\bconst\b|=>|[{,][ \t]*\w+:[^,{}]*\}|^[ \t]*(?:begin|end)\b", re.MULTILINE)


def known_by_parts(text: str) -> str | None:
    """The name of the language without a grammar that a text is in which another language's grammar refused."""
    return "swift" if all(sign.search(text) for sign in _SWIFT) and not _NOT_SWIFT.search(text) else None


def known_by_looks(text: str) -> str | None:
    """The name of the language without a grammar whose texts begin like this one."""
    return next((name for name, beginning in OTHERS if beginning.match(text)), None)
