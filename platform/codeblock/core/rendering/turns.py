"""Where an answer stands in what a chat template wrote: pure functions on texts.

Templates trim answers, space their thoughts anew, leave thoughts out, or open a thought in the generation prompt. What is
rendered always begins with the generation prompt, for that is what a model sees before it answers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

THOUGHTS = {
    "<think>": "</think>",
    "[THINK]": "[/THINK]",
    "<thought>": "</thought>",
    "<thinking>": "</thinking>",
    "<reasoning>": "</reasoning>",
    "<seed:think>": "</seed:think>",
    "<|begin_of_thought|>": "<|end_of_thought|>",
    "<|START_THINKING|>": "<|END_THINKING|>",
    "\u25c1think\u25b7": "\u25c1/think\u25b7",
}
"""What opens and closes a thought."""
TAGS = frozenset(THOUGHTS) | frozenset(THOUGHTS.values())
_TAG = "(" + "|".join(map(re.escape, THOUGHTS)) + ")"
_OPENS = re.compile(rf"\s*{_TAG}")
_LONGEST_TAG = 64
_OPENED = re.compile(rf"{_TAG}(\s*)\Z")


@dataclass(frozen=True)
class Turn:
    """A conversation and its answer as text."""

    prompt: str
    """What the model sees: the template's generation prompt."""
    before: str
    """What it has to write before the answer."""
    answer: str
    """The answer as the template writes it."""
    after: str
    """What the template puts behind it."""
    marked: bool = False
    """Whether special tokens in it are marked as quoted (`tokens.Control`)."""


@dataclass(frozen=True)
class Frame:
    """What the template writes around an answer. `before`: None where it does not go on from its own generation prompt."""

    before: str | None
    after: str


def exact(prompt: str, full: str, answer: str, frame: Frame) -> Turn | None:
    """The turn where the template writes the answer as it is, or trimmed, in this frame."""
    if frame.before is None or not full.startswith(prompt):
        return None
    body = full[len(prompt) :]
    for before, text in ((frame.before, answer), ("", _wanted(prompt, answer))):
        for variant in (text, text.strip(), text.rstrip(), text.lstrip()):
            if body == before + variant + frame.after:
                return Turn(prompt, before, variant, frame.after)
    return None


def fitted(prompt: str, full: str, answer: str, frame: Frame, before: str | None) -> Turn | None:
    """The turn where the template writes the answer in its own way; None where the answer is not in its text.

    `before`: what stands between prompt and answer where the frame does not say; None where nobody knows.
    """
    if not full.endswith(frame.after):
        return None
    core = full[: len(full) - len(frame.after)]
    wanted = _wanted(prompt, answer)
    if full.startswith(prompt) and (place := _ends_with(core[len(prompt) :], wanted)) is not None:
        return Turn(prompt, core[len(prompt) :][:place], core[len(prompt) :][place:], frame.after)
    thought, said = _parted(prompt, wanted)
    if (place := _ends_with(core, said)) is None:
        return None
    if thought:  # the template leaves the thought out, or spaces it unlike its own prompt
        return Turn(prompt, "", wanted, frame.after)
    opened = _opened(prompt)
    if opened is not None:  # an answer without a thought has to close the one that the prompt opens
        closed = ("" if opened[2] else "\n") + f"\n{THOUGHTS[opened[1]]}\n\n"
        return Turn(prompt, closed, core[place:], frame.after)
    return None if before is None else Turn(prompt, before, core[place:], frame.after)


def spared(answer: str) -> tuple[int, ...]:
    """Where the tags of an answer's own thought stand in it: at its beginning, or its end alone where the prompt opens it."""
    if (opens := _OPENS.match(answer)) is not None:
        return opens.start(1), answer.find(THOUGHTS[opens[1]], opens.end())
    ends = [(place, opened) for opened, closes in THOUGHTS.items() if (place := answer.find(closes)) >= 0]
    return tuple(place for place, opened in ends if opened not in answer[:place])


def lead_of(answer: str, response: str) -> int | None:
    """Where the answer stands in the response; None where it is not a part of it as it is."""
    place = len(response) - len(answer) if response.endswith(answer) else response.find(answer)
    return place if place >= 0 else None


def places(answer: str, response: str) -> NDArray[np.int32]:
    """For each character of the answer, and its end, the character of the response that it is; int32[len(answer) + 1].

    The answer is the response, or its end, but for white space.
    """
    seen = [at for at, character in enumerate(response) if not character.isspace()]
    inked = [at for at, character in enumerate(answer) if not character.isspace()]
    target = dict(zip(inked, seen[len(seen) - len(inked) :], strict=True))
    found = np.empty(len(answer) + 1, dtype=np.int32)
    found[-1] = behind = len(response)
    for at in reversed(range(len(answer))):
        behind = target.get(at, behind)
        found[at] = behind  # a blank stands with the character behind it
    for at in range(1, len(answer)):
        if at not in target:
            found[at] = min(found[at], found[at - 1] + 1)
    return found


def _opened(prompt: str) -> re.Match[str] | None:
    """The tag that opens a thought at the end of a prompt, and the white space behind it."""
    return _OPENED.search(prompt[-_LONGEST_TAG:])


def _wanted(prompt: str, answer: str) -> str:
    """What is left of the answer to write where the prompt opens its thought."""
    opened = _opened(prompt)
    if opened is None or not (stripped := answer.lstrip()).startswith(opened[1]):
        return answer
    return stripped.removeprefix(opened[1]).removeprefix(opened[2])


def _parted(prompt: str, wanted: str) -> tuple[str, str]:
    """The thought of an answer, with what ends it, and what is said behind it; no thought where there is none."""
    opened = _opened(prompt) or _OPENS.match(wanted)
    if opened is None:
        return "", wanted
    thought, closes, said = wanted.rpartition(THOUGHTS[opened[1]])
    return thought + closes, said


def _ends_with(text: str, end: str) -> int | None:
    """Where `end` begins in a text that ends with it but for white space; None where it does not."""
    if text.endswith(end):
        return len(text) - len(end)
    inked = "".join(end.split())
    if not inked or not "".join(text.split()).endswith(inked):
        return None
    left, place = len(inked), len(text)
    while left:
        place -= 1
        left -= not text[place].isspace()
    return place
