"""Code out of a chat model's answer: fenced blocks, bare code, code among prose, a function's body alone.

[ours] Where several blocks are fenced, the first that parses and defines what the tests call is the solution. One that does not
parse, such as an answer that was cut off in its `if __name__` block, is cut to its longest run of lines that does.
"""

from __future__ import annotations

import re
import textwrap
import warnings

MAX_LINES = 400
"""Bare answers are searched for code up to this many lines: the search is quadratic."""

FENCE = re.compile(
    r"^(?P<indent>[ \t]*)(?P<fence>`{3,}|~{3,})[ \t]*(?P<tag>[^\s`]*)[^\n`]*\n"
    r"(?P<code>.*?)(?:^[ \t]*(?P=fence)[`~]*[ \t]*$|\Z)",
    re.MULTILINE | re.DOTALL,
)
PYTHON_TAGS = {"", "python", "python3", "py", "py3"}
THOUGHT = re.compile(r"\A(?:\s*<think>(?:(?!</think>).)*\Z|.*</think>)", re.DOTALL)
"""Thinking before the answer, which the chat template may have opened; all of the text where it never ends."""
SPEAKER = re.compile(r"\A\s*(?:<\|\w+\|>)?\s*(?:assistant|answer|response)\s*:[ \t]*\n?", re.IGNORECASE)
ANSWER_TAG = re.compile(r"\[(?P<tag>ANSWER|PYTHON)\](?P<answer>.*?)(?:\[/(?P=tag)\]|\Z)", re.DOTALL)
CODE_START = re.compile(r"(?:async def|def|class|import|from|@\w)")


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
    """The code of an answer: the best fenced block, else the best stretch of bare code, else the answer as it is.

    A body-only completion comes back with its indentation; an empty answer is empty.
    """
    answer = without_chat(answer.replace("\r\n", "\n"))
    blocks = fenced_blocks(answer)
    if blocks:
        defining = [block for block in blocks if defines(block, entry_point)]
        whole = next((block for block in defining if parses(block)), None)
        return whole or (bare_code(defining[0], entry_point) if defining else blocks[0])
    if parses(answer) or not re.search(rf"\b(?:def|class)\s+{re.escape(entry_point)}\b", answer):
        return answer.rstrip()
    return bare_code(answer, entry_point)


def without_chat(answer: str) -> str:
    """An answer without the thinking before it, the name of its speaker and the tags `[ANSWER]` or `[PYTHON]` around it."""
    answer = SPEAKER.sub("", THOUGHT.sub("", answer, count=1), count=1)
    tagged = [match["answer"] for match in ANSWER_TAG.finditer(answer)]
    return next((text for text in reversed(tagged) if text.strip()), answer).strip("\n")


def fenced_blocks(answer: str) -> list[str]:
    """Contents of the fenced blocks tagged as Python or not at all, of all blocks where there is none such.

    A fence that is never closed reaches to the end. Blocks inside a list lose the list's indentation.
    """
    found = [
        (match["tag"].lower(), textwrap.dedent(match["code"]) if match["indent"] else match["code"])
        for match in FENCE.finditer(answer)
    ]
    found = [(tag, code.rstrip()) for tag, code in found if code.strip()]
    return [code for tag, code in found if tag in PYTHON_TAGS] or [code for _, code in found]


def bare_code(answer: str, entry_point: str) -> str:
    """The longest run of lines from a line that starts code, which parses and defines the entry point.

    Where none parses, all from the first such line on, so that the grader sees the syntax error.
    """
    lines = answer.splitlines()[:MAX_LINES]
    starts = [index for index, line in enumerate(lines) if CODE_START.match(line)]
    for start in starts:
        for end in range(len(lines), start, -1):
            code = "\n".join(lines[start:end])
            if defines(code, entry_point) and parses(code):
                return code.rstrip()
    return "\n".join(lines[starts[0] :]).rstrip() if starts else answer.rstrip()


def as_body(code: str, prompt: str) -> str:
    """A completion that goes on from `prompt` (an open function): the code as it is or indented, whichever parses."""
    code = code.strip("\n")
    shapes = [code, textwrap.indent(textwrap.dedent(code), "    "), "    " + code.lstrip()]
    return next((shape for shape in shapes if parses(prompt + shape)), shapes[0])
