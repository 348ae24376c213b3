"""Fences of Markdown, read by what parses. The judge here is Python's own parser."""

from __future__ import annotations

import ast
import textwrap

import pytest

from codeblock.core.markdown import LANGUAGES, fenced_blocks, fences_of
from codeblock.core.markdown.literals import ends_in_literal

CODE = "def area(w, h):\n    return w * h\n"
DOC = 'def area(w, h):\n    """Area.\n\n    ```python\n    area(2, 3)\n    ```\n    """\n    return w * h\n'


class Judge:
    def __init__(self, text: str) -> None:
        self.text = text

    def known(self, tag: str) -> bool:
        return tag.lower() in LANGUAGES

    def parses(self, start: int, end: int, tag: str | None) -> bool | None:
        if tag not in (None, "python"):
            return None
        try:
            ast.parse(textwrap.dedent(self.text[start:end]))
        except SyntaxError:
            return False
        return True

    def is_code(self, start: int, end: int) -> bool:
        return self.parses(start, end, None) is True and "(" in self.text[start:end]


def found(text: str) -> list[tuple[str | None, str]]:
    return [(block.tag, text[block.start : block.end]) for block in fenced_blocks(text, Judge(text))]


@pytest.mark.parametrize(
    "text",
    [
        f"```python\n{CODE}```",
        f"Words.\n\n```python\n{CODE}```\nWords.",
        f"~~~python\n{CODE}~~~",
        f"`````python\n{CODE}`````\n",
        f"Here it is: ```python\n{CODE}```\nWords.",
        f"\u200b```python\n{CODE}\u200b```\nWords.",
        f"- ```python\n{CODE}```",
        f"2. ```python\n{CODE}```",
        f"```python\n{CODE}    ```\nWords behind it.",
        f"```python\n{CODE}``` These are words behind it.",
        f"```python\n{CODE}```Explanation\nThese are words.",
        f"```\n```python\n{CODE}```\n```\nWords.",
        f"````markdown\n# Title\n```python\n{CODE}```\n````\nWords.",
        f"```markdown\n# Title\n```python\n{CODE}```\nWords.\n```\nWords.",
        f"```python\n{CODE}``",
        f"```python\n{CODE}",
        f"```\npython\n{CODE}```",
        f"```\nPython\nCopy code\n{CODE}```".replace("Python", "python"),
    ],
)
def test_a_block_is_found_whatever_its_fences_look_like(text: str) -> None:
    assert found(text) == [("python", CODE)]


def test_the_closing_fence_may_stand_behind_the_last_line_of_code() -> None:
    assert found(f"```python\n{CODE.rstrip()}```\nWords.") == [("python", CODE.rstrip())]


def test_code_may_begin_in_the_line_of_the_fence() -> None:
    assert found(f"```python {CODE}```\nWords.") == [("python", CODE)]
    assert found(f"```{CODE}```\nWords.") == [(None, CODE)]
    assert found("```python print(1)```") == [("python", "print(1)")]


def test_a_fence_in_a_literal_closes_nothing_where_the_code_parses_with_it() -> None:
    assert found(f"```python\n{DOC}```\nWords.\n```\n6\n```\n") == [("python", DOC), (None, "6\n")]
    assert found(f"```\n{DOC}```\nWords.") == [(None, DOC)]
    assert found(f"```python\n{DOC}") == [("python", DOC)]


def test_where_nothing_parses_the_first_fence_closes_that_is_in_no_literal() -> None:
    broken = "def f(:\n"
    assert found(f"```python\n{broken}```\nWords.\n```\n3\n```\n") == [("python", broken), (None, "3\n")]
    literal = 'def f(:\n    """\n    ```\n    """\n'
    assert found(f"```python\n{literal}```\nWords.") == [("python", literal)]


def test_a_fence_with_a_tag_begins_the_next_block_where_the_last_one_was_not_closed() -> None:
    assert found(f"```python\n{CODE}\nWords.\n```python\nx = 1\n```") == [
        ("python", f"{CODE}\nWords.\n"),
        ("python", "x = 1\n"),
    ]


@pytest.mark.parametrize(
    "behind", ["Words behind it.", "Words:\n```python\nprint(area(1, 2))\n```", "Output:\n```\n0.5\n```\n"]
)
def test_a_lone_closing_fence_ends_the_code_before_it(behind: str) -> None:
    text = f"{CODE}```\n{behind}"
    block = fenced_blocks(text, Judge(text))[0]
    assert (block.start, text[: block.end], block.opened, block.closed) == (0, CODE, False, True)
    assert all("Words" not in code for _, code in found(text))


@pytest.mark.parametrize(
    "text", ["Use ```x``` here.", "Put it in ```\nand be happy.", "Use ``` to open\nand ``` to close.", "/~~~\\\n"]
)
def test_fences_in_running_text_are_no_blocks(text: str) -> None:
    assert found(text) == []


def test_a_fence_that_is_indented_deeper_closes_what_nobody_can_parse_only_where_no_other_does() -> None:
    assert found("```yaml\na: |\n      ```\n      x\nb: 1\n```\nWords.") == [("yaml", "a: |\n      ```\n      x\nb: 1\n")]
    assert found("```yaml\na: 1\n    ```\nWords.") == [("yaml", "a: 1\n")]


def test_a_shorter_fence_is_content() -> None:
    assert found("````yaml\n```\nx\n````") == [("yaml", "```\nx\n")]


def test_the_fences_of_a_block_without_the_words_around_them() -> None:
    text = "Here it is: ```python\nx = 1\n``` and words"
    assert fences_of(text, 22, 28) == ((12, 22), (28, 31))
    text = "```\npython\nx = 1\n```\n"
    assert fences_of(text, 11, 17) == ((0, 11), (17, 20))
    assert fences_of("Use ```x``` here:\nx = 1\n", 18, 24) is None
    assert fences_of("```py\nx\n```py\ny\n```", 6, 8) == ((0, 6), None)


@pytest.mark.parametrize(
    ("text", "tag", "held"),
    [
        ('x = """', None, True),
        ('x = """a""" + "b', None, False),
        ("# don't '''\nx = 1", "python", False),
        ("/* x", "c", True),
        ("/* x */ y // /*", "c", False),
        ("cat <<EOF\nx\n", "bash", True),
        ("cat <<EOF\nx\nEOF\n", "bash", False),
        ("mask = (1 << bits)\nx <<= one\ncout <<x\n", None, False),
        ('echo "a\n', "bash", True),
        ('echo "a\n', "python", False),
        ("<!-- x", "html", True),
    ],
)
def test_whether_a_text_ends_in_a_literal(text: str, tag: str | None, held: bool) -> None:
    assert ends_in_literal(text, tag) is held
