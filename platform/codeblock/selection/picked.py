"""What was picked: the response tokens of the kept pairs, and the selected ones among them, by what they do in the code [ours].

The role of an item is its kind, which the segmenter gives in every language; three more are told by its text: prints,
initialisations (a name and a literal), and whole definitions apart from their headers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codeblock.core.quality import SCALE, factor_to_scale
from codeblock.core.records import RoleCounts
from codeblock.core.schema import ItemKind, TokenClass


class Role(StrEnum):
    """What a response token belongs to."""

    CONTROL = "control flow"
    RETURN = "return"
    CALL = "call"
    INITIALISATION = "initialisation"
    DEFINITION = "other definition"
    HEADER = "header"
    WHOLE = "whole function or class"
    IMPORT = "import"
    PRINT = "print"
    COMMENT = "comment"
    OTHER = "other code"
    WORD = "word"
    TEXT = "other text"
    STOP = "stop"


ROLES = tuple(Role)
_PLACE = {role: place for place, role in enumerate(ROLES)}
_OF_KIND = {
    ItemKind.CONTROL: Role.CONTROL,
    ItemKind.RETURN: Role.RETURN,
    ItemKind.CALL: Role.CALL,
    ItemKind.DEFINITION: Role.DEFINITION,
    ItemKind.FUNCTION: Role.HEADER,
    ItemKind.CLASS: Role.HEADER,
    ItemKind.IMPORT: Role.IMPORT,
    ItemKind.COMMENT: Role.COMMENT,
    ItemKind.OTHER: Role.OTHER,
}
_PRINT = re.compile(
    r"(?:std::)?(?:print\w*!?|echo|puts|p|cout|console\.\w+|System\.(?:out|err)\.\w+|Console\.Write\w*|fmt\.F?[Pp]rint\w*"
    r"|logg?(?:er|ing)\.\w+|f?printf)\b"
)
LONGEST_INITIALISATION = 200
"""Characters of an initialisation."""
_LITERAL = re.compile(
    r"""(?:[^=()]*[^=()<>!+*/%|&^-]=\s*)+                                         # names, and what they are
    (?:[-+]?[\d.][\w.]*|(['"])(?:(?!\1).)*\1|\[\s*\]|\{\s*\}|\(\s*\)             # a number, a string, an empty bracket
    |[Tt]rue|[Ff]alse|[Nn]one|null(?:ptr)?|nil|undefined
    |(?:new\s+)?[\w.<>:]+\s*(?:\(\s*\)|\{\s*\})                                   # an empty container: set(), new Map()
    |\[\s*[-+]?\w*\s*\]\s*\*\s*[\w()+ .-]+)                                       # [0] * n
    \s*;?\s*(?:(?:\#|//).*)?""",
    re.VERBOSE,
)


def roles_of_items(kinds: Sequence[str], spans: Sequence[Sequence[int]], response: str) -> NDArray[np.int64]:
    """Place in ROLES of each item, int64[I]. `spans`: flat start, end, start, end ... characters of the response."""
    return np.array([_PLACE[_role(kind, each, response)] for kind, each in zip(kinds, spans, strict=True)], dtype=np.int64)


def _role(kind: str, spans: Sequence[int], response: str) -> Role:
    role = _OF_KIND[ItemKind(kind)]
    text = response[spans[0] : spans[1]].strip() if len(spans) else ""
    if role is Role.CALL and _PRINT.match(text):
        return Role.PRINT
    if role is Role.DEFINITION and len(text) <= LONGEST_INITIALISATION and _LITERAL.fullmatch(text):
        return Role.INITIALISATION
    if role is Role.HEADER and len(spans) == 2 and not text.endswith((":", "{", ";")):
        return Role.WHOLE  # a header ends where its body begins, and has its closing bracket in a second span
    return role


def roles_of_tokens(
    class_T: NDArray[np.uint8], item_T: NDArray[np.int32], word_T: NDArray[np.int32], role_I: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Place in ROLES of each token, int64[T]; -1 in the prompt."""
    role_T = np.where(word_T >= 0, _PLACE[Role.WORD], _PLACE[Role.TEXT])
    inside = item_T >= 0
    role_T[inside] = role_I[item_T[inside]]
    role_T[class_T == TokenClass.STOP] = _PLACE[Role.STOP]
    role_T[class_T == TokenClass.PROMPT] = -1
    return role_T


@dataclass
class Picked:
    """Token counts by role, of all kept training pairs and of what was selected; and those of poor pairs among them."""

    pool: list[int] = field(default_factory=lambda: [0] * len(ROLES))
    selected: list[int] = field(default_factory=lambda: [0] * len(ROLES))
    poor_pool: int = 0
    poor_selected: int = 0

    def look(self, row: dict[str, Any], selected_T: NDArray[np.bool_], poor: bool) -> None:
        """Count one pair. `row`: its columns token_class, token_item, token_word, item_kind, item_spans, response."""
        role_I = roles_of_items(row["item_kind"], row["item_spans"], row["response"])
        role_T = roles_of_tokens(row["token_class"], row["token_item"], row["token_word"], role_I)
        response = role_T >= 0
        pool = np.bincount(role_T[response], minlength=len(ROLES))
        selected = np.bincount(role_T[response & selected_T], minlength=len(ROLES))
        self._add(pool.tolist(), selected.tolist())
        if poor:
            self.poor_pool += int(pool.sum())
            self.poor_selected += int(selected.sum())

    def merge(self, other: Picked) -> None:
        """Add what was seen in another part."""
        self._add(other.pool, other.selected)
        self.poor_pool += other.poor_pool
        self.poor_selected += other.poor_selected

    def _add(self, pool: list[int], selected: list[int]) -> None:
        self.pool = [a + b for a, b in zip(self.pool, pool, strict=True)]
        self.selected = [a + b for a, b in zip(self.selected, selected, strict=True)]

    def facts(self, rated: bool) -> RoleCounts:
        """Tokens by role, roles without a token left out; and those in poor pairs where some pairs are rated."""
        found = {
            str(role): {"pool": pool, "selected": selected}
            for role, pool, selected in zip(ROLES, self.pool, self.selected, strict=True)
            if pool
        }
        return {**found, **({POOR: {"pool": self.poor_pool, "selected": self.poor_selected}} if rated else {})}


POOR = "in poor pairs"
"""The row of tokens, of whatever role, in pairs whose quality is below half of its scale."""


def poor_below(best: float | None) -> float | None:
    """The quality below which a pair is poor: half of the scale that the best quality of the data tells (core.quality)."""
    return None if best is None else SCALE / 2 / factor_to_scale(best)
