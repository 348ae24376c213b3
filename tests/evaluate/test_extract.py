"""Code comes out of an answer whatever surrounds it."""

from __future__ import annotations

import pytest

from codeblock.evaluate.extract import as_body, defines, extract_code, fenced_code, parses

CODE = "def f(x):\n    return x + 1"
PROMPT = 'from typing import List\n\n\ndef f(x: int) -> int:\n    """Add one."""\n'


@pytest.mark.parametrize(
    "answer",
    [
        CODE,
        f"```python\n{CODE}\n```",
        f"Here it is:\n\n```python\n{CODE}\n```\n\nIt adds 1. Call `f(1)`.",
        f"```py\n{CODE}\n```",
        f"```\n{CODE}\n```",
        f"~~~python\n{CODE}\n~~~",
        f"````python\n{CODE}\n````",
        f"Sure!\n```python\n{CODE}\n",
        f"Sure!\n```python\n{CODE}",
        f"```python\r\n{CODE}\r\n```".replace("\n", "\r\n").replace("\r\r", "\r"),
        f'```python title="f.py"\n{CODE}\n```',
        f"Install:\n```bash\npip install x\n```\nThen:\n```python\n{CODE}\n```",
        f"```python\n{CODE}\n```\nUsage:\n```python\nprint(f(1))\n```",
        f"First the idea:\n```python\nx + 1\n```\nSolution:\n```python\n{CODE}\n```",
        f"Broken:\n```python\ndef f(x:\n```\nFixed:\n```python\n{CODE}\n```",
        f"1. Solution:\n   ```python\n   {CODE.replace(chr(10), chr(10) + '   ')}\n   ```\n",
        f"Here is the function you asked for:\n\n{CODE}\n\nIt adds 1 to its argument.",
        f"Example output:\n```json\n{{}}\n```\n```python\n{CODE}\n```",
        f"<think>\nMaybe\n```python\ndef f(x): return 0\n```\n</think>\n```python\n{CODE}\n```",
        f"def f(x): return 0, or so I think.\n</think>\n\n{CODE}",  # the chat template opened the thought
        f"Assistant: {CODE}",
        f"<|assistant|>assistant:\n```python\n{CODE}\n```",
        f"[ANSWER]\n{CODE}\n[/ANSWER]\nIt adds 1.",
        f"[PYTHON]\n{CODE}\n[/PYTHON]",
        f"The answer is\n[ANSWER]\n```python\n{CODE}\n```",
        f"```python\n{CODE}\n\nif __name__ == '__main__':\n    print(f(",
        f"```python\n{CODE}\n\nprint('never closed)\n```",
    ],
)
def test_the_solution_is_found(answer: str) -> None:
    assert extract_code(answer, "f") == CODE


def test_a_block_of_another_language_is_taken_where_there_is_no_other() -> None:
    assert fenced_code("```javascript\nlet x\n```") == ["let x"]


def test_the_broken_code_of_an_answer_comes_back_so_that_its_error_is_seen() -> None:
    assert extract_code("Well:\ndef f(x:\n    return", "f").startswith("def f(x:")
    assert extract_code("```python\ndef f(x:\n```", "f") == "def f(x:"


def test_an_answer_without_code_is_no_valid_program() -> None:
    assert extract_code("", "f") == ""
    assert not parses(extract_code("I am sorry, but I cannot do that.", "f"))


def test_a_thought_that_never_ends_holds_no_answer() -> None:
    assert extract_code(f"<think>\n{CODE}\nBut", "f") == ""


def test_a_main_block_that_parses_stays() -> None:
    whole = f"{CODE}\n\nif __name__ == '__main__':\n    print(f(1))"
    assert extract_code(f"```python\n{whole}\n```", "f") == whole


def test_body_keeps_its_indentation() -> None:
    assert extract_code("    y = x\n    return y\n", "f") == "    y = x\n    return y"
    assert extract_code("```python\n    return x\n```", "f") == "    return x"


@pytest.mark.parametrize(
    "body", ["    y = x + 1\n    return y", "y = x + 1\nreturn y", "y = x + 1\n    return y", "\n\n  y = x + 1\n  return y"]
)
def test_body_goes_on_from_the_prompt(body: str) -> None:
    scope: dict[str, object] = {}
    exec(PROMPT + as_body(body, PROMPT), scope)
    assert scope["f"](1) == 2  # type: ignore[operator]


def test_definitions_are_found_on_the_top_level_only() -> None:
    assert defines("import x\nasync def f():\n    pass", "f")
    assert defines("class f:\n    pass", "f")
    assert defines("f = lambda x: x", "f")
    assert not defines("f == 1", "f")
    assert not defines("def g():\n    def f():\n        pass", "f")
    assert not defines("def ff(): pass", "f")


def test_hostile_text_is_not_parsed_and_does_not_raise() -> None:
    assert not parses("(" * 10_000)
    assert not parses("\x00")
    assert not parses("x = " + "9" * 10_000 + " +")
