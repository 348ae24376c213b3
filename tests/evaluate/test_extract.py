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
        f"Here it is: ```python\n{CODE}\n```\nIt adds 1.",
        f"{CODE}\n```\n\nIt adds 1.",
        f"{CODE}```\n\nIt adds 1.",
        f"{CODE}\n```\nIt adds 1.\n```python\nprint(f(1))\n```",
        f"```python\n{CODE}```\nIt adds 1.",
        f"```python\n{CODE}\n    ```\nIt adds 1.",
        f"```python\n{CODE}\n``` It adds 1, as was asked.\nOutput:\n```\n2\n```",
        f"```python:f.py\n{CODE}\n```\nOutput:\n```\n2\n```",
        f"```{{.python .numberLines}}\n{CODE}\n```\nOutput:\n```\n2\n```",
        f"```\npython\nCopy code\n{CODE}\n```",
        f"python\nCopy code\n{CODE}",
        f"```\n```python\n{CODE}\n```\n```",
        f"```markdown\n# Solution\n```python\n{CODE}\n```\n```",
        f"```python {CODE}\n```",
        f"```python\n{CODE}\n``",
        f"```python\n{CODE}\n\nIt adds 1, which is what you wanted.",
        f"```python\n\ufeff{CODE}\n```",
        f"\u200b```python\n{CODE}\n\u200b```",
        f"```python\n{CODE.replace('    ', chr(0xA0) * 4)}\n```",
        f"```python\n{CODE}\n```<|im_end|>",
        "> ```python\n> " + CODE.replace("\n", "\n> ") + "\n> ```\n",
        "Sure:\n\n> " + CODE.replace("\n", "\n> ") + "\n\nIt adds 1.",
        ">>> def f(x):\n...     return x + 1\n>>> f(1)\n2".replace(">>> f(1)\n2", ""),
        f"<p>So:</p><pre><code>{CODE}\n</code></pre>",
        f"<answer>\n{CODE}\n</answer>",
        "    " + CODE.replace("\n", "\n    "),
        "Here it is:\n\n    " + CODE.replace("\n", "\n    ") + "\n\nIt adds 1.",
        f"Use it so:\n```python\nprint(f(1))\nprint(f(2))\nprint(f(3))\n```\nwith\n```python\n{CODE}\n```",
        f"```python\ndef f(x):\n    ...\n```\nand then\n```python\n{CODE}\n```",
        f'```python\ndef f(x):\n    """A.\n\n    B.\n    """\n    raise NotImplementedError()\n```\nso\n```python\n{CODE}\n```',
        f"[THINK]\ndef f(x):\n    a = 1\n    b = 2\n    return a\n[/THINK]\n{CODE}",
        f"```python\n{CODE}\n\nn = int(input())\nprint(f(n))\n```",
        f"```python\n{CODE}\n\nassert f(1) == 3\n```",
        f"```python\n{CODE}\n\nraise SystemExit\n```",
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


def test_a_draft_is_graded_only_where_there_is_nothing_else_as_evalplus_does() -> None:
    assert extract_code(f"<think>\n{CODE}\nBut", "f") == CODE
    assert extract_code(f"<think>\n{CODE}\n</think>\ndef f(x): return 0", "f") == "def f(x): return 0"


USES = "def f(x):\n    return ceil(x)"
CALLS = "def f(x):\n    return g(x)"
HELPER = "K = 1\ndef g(x):\n    return x + K"


@pytest.mark.parametrize(
    ("answer", "program"),
    [
        (f"```python\nfrom math import ceil\n```\n```python\n{USES}\n```", f"from math import ceil\n{USES}"),
        (f"from math import ceil\n\n```python\n{USES}\n```", f"from math import ceil\n{USES}"),
        (f"```python\n{CALLS}\n```\nwhere\n```python\n{HELPER}\n\nprint(g(1))\n```", f"{HELPER}\n{CALLS}"),
        ("```python\ndef f(x):\n    ...\n```\n```python\n    return x\n```", "def f(x):\n    ...\n    return x"),
        ("```python\ndef f(x):\n```\n```python\ny = x\nreturn y\n```", "def f(x):\n    y = x\n    return y"),
        ("Write `def f(x): return x + 1` for it.", "def f(x): return x + 1"),
        ("<pre>def f(x):\n    return x &lt; 1</pre>", "def f(x):\n    return x < 1"),
    ],
)
def test_the_pieces_of_a_solution_are_put_together(answer: str, program: str) -> None:
    assert extract_code(answer, "f") == program


def test_magics_of_notebooks_are_no_python() -> None:
    code = "%matplotlib inline\nimport math\n!pip install x\ndef f(x):\n    return math.ceil(x)"
    assert extract_code(f"```python\n{code}\n```", "f") == code.replace("%m", "#m").replace("!p", "#p")


def test_a_docstring_may_have_fences() -> None:
    code = 'def f(x):\n    """Add.\n\n    ```\n    f(1)\n    ```\n    """\n    return x + 1'
    assert extract_code(f"So:\n```python\n{code}\n```\nIt adds 1.", "f") == code


def test_of_several_solutions_the_longest_is_graded_as_by_evalplus() -> None:
    longer = "def f(x):\n    y = x + 1\n    return y"
    assert extract_code(f"```python\n{CODE}\n```\nor\n```python\n{longer}\n```", "f") == longer
    assert extract_code(f"```python\n{longer}\n```\nor\n```python\n{CODE}\n```", "f") == longer


def test_what_does_not_define_the_entry_point_on_the_top_level_is_not_made_to() -> None:
    method = "class Solution:\n    def f(self, x):\n        return x + 1"
    assert extract_code(f"```python\n{method}\n```", "f") == method
    assert extract_code(f"```python\n{CODE.replace('f(', 'g(')}\n```", "f") == CODE.replace("f(", "g(")


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
