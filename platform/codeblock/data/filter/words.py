"""Words and runs of words: what near duplicates and contamination are measured in."""

from __future__ import annotations

import re

Messages = list[dict[str, str]]

_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """Lower-case runs of letters, digits and underscores; punctuation and layout do not count.

    A text without any is one word, so that two such texts are alike only where they are equal.
    """
    return _WORD.findall(text.lower()) or [text.strip()]


def runs(sequence: list[str], length: int) -> list[str]:
    """Every run of `length` words, joined by blanks; none where the sequence is shorter."""
    return [" ".join(sequence[start : start + length]) for start in range(len(sequence) - length + 1)]


def pair_text(messages: Messages, response: str) -> str:
    """All turns and the response. The system message is left out: it is the same in every pair."""
    return "\n".join([*(turn["content"] for turn in messages if turn["role"] != "system"), response])


def last_request(messages: Messages) -> str:
    """The last turn of the user; empty where there is none."""
    return next((turn["content"] for turn in reversed(messages) if turn["role"] == "user"), "")
