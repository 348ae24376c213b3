"""HumanEval-X in JavaScript (Zheng et al. 2023, arXiv 2303.17568), from humaneval_js.jsonl.gz of the CodeGeeX repository.

Its program is `prompt + completion + "\\n" + test`, which passes where node writes nothing, as in that repository's
`execution.py`; here it has to reach its end as well. A benchmark in another language differs in `COMMAND` and in how a
solution is found in an answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

from codeblock.core.errors import CodeBlockError
from codeblock.core.markdown import LANGUAGES, fenced_blocks, said_after_thoughts
from codeblock.evaluate.benchmarks.base import Task, text_field
from codeblock.evaluate.benchmarks.humaneval import HumanEval
from codeblock.sandbox.oracles import Command, Limits

COMMAND = ("node", "--max-old-space-size=1024", "test.js")
SAYS = "process.stdout.write('{word}');"
VERSION = ("node", "--version")
TAGS = frozenset(("javascript", "js", "node", "jsx", "mjs"))
REQUEST = (
    "Complete the following JavaScript function. Answer with a self-contained solution, the whole function, "
    "in one markdown code block.\n\n```javascript\n{prompt}\n```"
)
DEFINITION = re.compile(r"^(?:const|let|var|(?:async\s+)?function\*?|class)\s+([\w$]+)", re.MULTILINE)


@dataclass(frozen=True)
class HumanEvalXJavaScript(HumanEval):
    """A completion goes on from the prompt, which ends in an open function below its comment; a samples file has `solution`."""

    name: ClassVar[str] = "humanevalx_js"
    fence: ClassVar[str] = "```javascript\n"
    stops: ClassVar[tuple[str, ...]] = ("\nfunction ", "\nconst ", "\nlet ", "\nvar ", "\n/*", "\n//", "\nconsole.", "\n```")
    sample_field = "solution"
    request = REQUEST
    tasks: list[Task]

    @classmethod
    def task(cls, row: dict[str, Any], place: str) -> Task:
        prompt = text_field(row, "prompt", place)
        defined = DEFINITION.findall(prompt)
        if not defined:
            raise CodeBlockError(f"{place}: the prompt defines no function; is this the benchmark's file?")
        return Task(
            task_id=text_field(row, "task_id", place),
            prompt=prompt,
            entry_point=defined[-1],
            reference=text_field(row, "canonical_solution", place),
            oracle=Command(COMMAND, "test.js", text_field(row, "test", place), SAYS, VERSION, silent=True),
            limits=Limits(timeout_seconds=3.0, memory_mb=4096),  # of the latter most is address space that node sets aside
        )

    def completion(self, task: Task, answer: str, *, base: bool = False) -> str:
        if base:
            return task.prompt + _closed(answer)
        code = _longest_definition(answer, task.entry_point)
        if task.entry_point not in DEFINITION.findall(code):
            return task.prompt + _closed(code) if code.strip() else ""
        return "".join(helper for name, helper in _helpers(task) if name not in DEFINITION.findall(code)) + code


def _closed(body: str) -> str:
    """A body up to its last brace. [`cleanup_code` of the repository]"""
    return body[: body.rfind("}") + 1] or body


def _helpers(task: Task) -> list[tuple[str, str]]:
    """Names and text of what the prompt defines before the function that is asked for."""
    found = list(DEFINITION.finditer(task.prompt))
    return [(each[1], task.prompt[each.start() : after.start()].rsplit("/*", 1)[0]) for each, after in pairwise(found)]


def _longest_definition(answer: str, entry_point: str) -> str:
    """The longest block in JavaScript, or without a tag, that defines a name; else the longest, else the answer."""
    said = "\n".join(answer[start:end].strip("\n") for start, end in said_after_thoughts(answer))
    blocks = [block for block in fenced_blocks(said, _TagJudge()) if block.tag is None or block.tag.lower() in TAGS]
    codes = [said[block.start : block.end].rstrip() for block in blocks] or [said]
    return max(codes, key=lambda code: (entry_point in DEFINITION.findall(code), len(code)))


class _TagJudge:
    """Where a text can be read in two ways, CommonMark decides: no JavaScript is parsed here."""

    def known(self, tag: str) -> bool:
        return tag.lower() in LANGUAGES

    def parses(self, start: int, end: int, tag: str | None) -> bool | None:  # noqa: ARG002
        return None

    def is_code(self, start: int, end: int) -> bool:  # noqa: ARG002
        return False
