"""Where the code of a response is, and in which language."""

from __future__ import annotations

import pytest

from codeblock.segmentation import find_regions, segment_response
from codeblock.segmentation.languages import find_rules
from codeblock.segmentation.recognise import _impossible, parse


def found(response: str) -> list[tuple[str, str | None, bool]]:
    return [(response[r.start : r.end], r.language, r.tagged) for r in find_regions(response)]


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ("a\n```python\nx = 1\n```\nb", [("x = 1\n", "python", True)]),
        ("```Python3 title='a.py' {1,2}\nx = 1\n```", [("x = 1\n", "python", True)]),
        ("```{.python .numberLines}\nx = 1\n```", [("x = 1\n", "python", True)]),
        ("```py:main.py\nx = 1\n```", [("x = 1\n", "python", True)]),
        ("~~~py\n```\nx\n~~~\n", [("```\nx\n", "python", True)]),
        ("````py\n```\nx\n````\n", [("```\nx\n", "python", True)]),
        ("```c++\nint x;\n```", [("int x;\n", "cpp", True)]),
        ("- item\n    ```js\n    let x;\n    ```\n", [("    let x;\n", "javascript", True)]),
        ("```python\nx = 1", [("x = 1", "python", True)]),
        ("```\nx = f(1)\n```", [("x = f(1)\n", "python", False)]),
        ("```\nlet x = 1\n```", [("let x = 1\n", "javascript", False)]),
        ("```py\r\nx = 1\r\n```\r\n", [("x = 1\r\n", "python", True)]),
        ("```python\na\n```\nand\n```js\nb\n```", [("a\n", "python", True), ("b\n", "javascript", True)]),
        ('```python title="a b.py"\nx = 1\n```', [("x = 1\n", "python", True)]),
        ("```language-sql\nx\n```", [("x\n", "sql", True)]),
        ("```{r, echo=FALSE}\nx\n```", [("x\n", "r", True)]),
        ("```python\n\n```", []),
        ("use ```x``` here", []),
    ],
)
def test_fenced_blocks(response: str, expected: list[tuple[str, str | None, bool]]) -> None:
    assert found(response) == expected


AREA = "def area(w, h):\n    total = w * h\n    return total\n"
BEHIND = "This returns the area of a rectangle."


def quoted(text: str) -> str:
    return "".join(f"> {line}\n" for line in text.splitlines())


@pytest.mark.parametrize(
    "response",
    [
        f"Here it is: ```python\n{AREA}```\n{BEHIND}",
        f"Here it is: ```\n{AREA}```\n{BEHIND}",
        f"{AREA}```\n\n{BEHIND}",
        f"{AREA.rstrip()}```\n\n{BEHIND}",
        f"Here is what you want for that:\n\n{AREA}```\n{BEHIND}",
        f"```python\n{AREA}    ```\n{BEHIND}",
        f"```python\n{AREA.rstrip()}```\n{BEHIND}",
        f"```python\n{AREA}``` {BEHIND}",
        f"```python\n{AREA}\n{BEHIND}",
        f"```\n```python\n{AREA}```\n```\n{BEHIND}",
        f"```markdown\n# Title\n```python\n{AREA}```\n{BEHIND}\n```\n{BEHIND}",
        f"python\nCopy code\n{AREA}",
        f"[PYTHON]\n{AREA}[/PYTHON]\n{BEHIND}",
        f"<p>{BEHIND}</p>\n<pre><code>{AREA}</code></pre>\n<p>{BEHIND}</p>",
        f"<think>\nMaybe\n```python\ndef area(w:\n```\n</think>\n```python\n{AREA}```\n{BEHIND}",
        f"Maybe {BEHIND}\n</think>\n{AREA}",
    ],
)
def test_the_code_is_the_region_and_never_the_prose(response: str) -> None:
    (region,) = find_regions(response)
    assert (response[region.start : region.end].strip(), region.language) == (AREA.strip(), "python")
    assert len(segment_response(response).core) == 10


def test_a_fence_in_a_docstring_or_a_comment_is_code() -> None:
    documented = AREA.replace("    total", '    """Area.\n\n    ```\n    area(2, 3)\n    ```\n    """\n    total')
    for fence in ("```python", "```"):
        assert [code for code, *_ in found(f"Use this:\n\n{fence}\n{documented}```\n{BEHIND}")] == [documented]
    script = "/*\n```\nf(1)\n```\n*/\nfunction f(a) {\n  return a;\n}\n"
    assert found(f"```js\n{script}```\n{BEHIND}") == [(script, "javascript", True)]


def test_each_line_of_a_quote_is_a_region() -> None:
    response = f"Use this:\n\n{quoted(f'```python{chr(10)}{AREA}```')}\n{BEHIND}"
    assert [code for code, *_ in found(response)] == [line.strip() for line in AREA.splitlines()]
    result = segment_response(response)
    assert [response[a:b] for a, b in result.core] == ["area", "w", "h", "total", "=", "w", "*", "h", "return", "total"]
    assert not result.has_error


def test_what_is_parsed_of_html_is_decoded_and_its_spans_are_those_of_the_response() -> None:
    code = "def less(w, h):\n    return w &lt; h\n"
    response = f"<p>{BEHIND}</p>\n<pre><code>{code}</code></pre>"
    result = segment_response(response)
    assert [response[a:b] for item in result.items for a, b in item.spans] == [code.strip()]
    assert [response[a:b] for a, b in result.core] == ["less", "w", "h", "return", "w", "&", "h"]


def test_a_web_page_is_no_wrapping_of_its_code() -> None:
    assert found("<html><body><pre><code>x = f(1)\n</code></pre></body></html>")[0][1] == "html"


def test_code_beside_a_fenced_output_is_a_region_too() -> None:
    assert found("x = f(1)\nprint(x)\n```\n3 4\n```\n") == [("x = f(1)\nprint(x)\n", "python", False), ("3 4\n", None, False)]


def test_a_thought_that_never_ends_has_no_region() -> None:
    assert found(f"<think>\n```python\n{AREA}```\n") == []


@pytest.mark.parametrize("response", [f"Put it in ```\n{BEHIND}", f"{BEHIND}\n```\n{BEHIND}", f"Use ``` for it.\n{BEHIND}"])
def test_a_fence_before_nothing_but_prose_opens_nothing(response: str) -> None:
    assert found(response) == []


def test_code_that_nobody_closed_and_that_is_cut_off_is_broken() -> None:
    result = segment_response(f"{BEHIND}\n```python\n{AREA}\ndef g(x):\n    return (x")
    assert result.has_error
    assert result.language == "python"


@pytest.mark.parametrize(
    "code",
    [
        "print('x')",
        "x = 1",
        "def f(x):\n    return x",
        "import os",
        "[x for x in y]",
        "for i in x:\n  pass",
        "a[::-1]",
        "    return x",
    ],
)
def test_bare_python(code: str) -> None:
    assert found(code) == [(code, "python", False)]


@pytest.mark.parametrize(
    ("code", "language"),
    [
        ("SELECT name FROM users\nWHERE age > 3;", "sql"),
        ("CREATE TABLE t (\n  id int(11) NOT NULL,\n  name varchar(50),\n  PRIMARY KEY (id)\n);", "sql"),
        ("<html>\n  <body>\n    Text\n  </body>\n</html>", "html"),
        ("public class A {\n  int x = 1;\n}", "java"),
        ("x = 1;\ny = f(x);", "javascript"),
        ("#!/bin/bash\necho hi", "bash"),
        ('{\n  "name": "x",\n  "age": 3\n}', "json"),
        (".a {\n  color: red;\n}", "css"),
        ("class A\n  def f(x)\n    puts x\n  end\nend", "ruby"),
        ("Dim x As Integer\nx = f(1)\nEnd Sub", None),
    ],
)
def test_bare_code_of_other_languages(code: str, language: str | None) -> None:
    assert found(code) == [(code, language, False)]


@pytest.mark.parametrize(
    "prose",
    [
        "",
        "  \n ",
        "True",
        "madam",
        "42",
        "Paris, Rome",
        "Answer: B",
        "Hello World!",
        "'a string'",
        "[1, 2, 3]",
        "The pattern that finds it is: \\d{3}",
        "Use a loop that repeats the body until the condition fails;",
        "1. First do this\n2. Then do that",
        "# Heading\n\nSome words about it.",
    ],
)
def test_prose_has_no_region(prose: str) -> None:
    assert found(prose) == []


def test_broken_python_without_a_tag_is_python_with_an_error() -> None:
    result = segment_response("def f(x):\n    return x +\n\nprint(f(1))")
    assert result.has_error
    assert result.language == "python"


def test_broken_code_with_a_tag_is_an_error_where_there_is_a_grammar() -> None:
    assert segment_response("```python\nx = (\n```").has_error
    assert segment_response("```rust\nx = (\n```").has_error
    assert not segment_response("```haskell\nx = (\n```").has_error
    assert not segment_response("```\nx = (\n```").has_error


def test_how_the_language_was_found_is_kept() -> None:
    response = "```js\nf()\n```\n```\nx = f(1)\n```\n```\n(((\n```\n"
    assert [region.decided for region in find_regions(response)] == ["tag", "recognised", "unknown"]


def test_regions_of_a_response_share_offsets_but_no_edges() -> None:
    response = "Fïrst:\n```python\nx = 1\ny = x\n```\nThen 😀:\n```python\ny = 2\nprint(x, y)\n```\n"
    result = segment_response(response)
    assert [response[a:b] for item in result.items for a, b in item.spans] == ["x = 1", "y = x", "y = 2", "print(x, y)"]
    assert result.edges == [(0, 1), (2, 3)]
    assert [response[a:b] for a, b in result.core] == ["x", "=", "1", "y", "=", "x", "y", "=", "2", "print", "x", "y"]


def test_reach_and_bridge_are_those_of_each_region() -> None:
    chain = "```python\na = 1\nb = a\nc = b\n```\n"
    result = segment_response(chain + "```python\nprint(1)\n```\n" + chain)
    assert result.reach.tolist() == [1.0, 0.5, 0.0, 0.0, 1.0, 0.5, 0.0]
    assert result.bridge.tolist() == [0.0, 0.5, 0.0, 0.0, 0.0, 0.5, 0.0]


def test_the_language_is_that_of_the_largest_region() -> None:
    assert segment_response("```python\nx\n```\n```haskell\nlet x = 1;\n```").language == "text"
    assert segment_response("```python\nx = 1 + 2 + 3\n```\n```rust\nlet\n```").language == "python"
    assert segment_response("just words").language == "text"


def test_what_is_called_impossible_never_parses_on_real_data(codealpaca: list[str]) -> None:
    rules = find_rules("python")
    assert rules is not None
    impossible = [text for text in codealpaca[::5] if _impossible(text, rules)]
    assert len(impossible) > 1000
    assert all(parse(text, rules).has_error for text in impossible)


def test_real_unfenced_data_is_mostly_decided_as_code_in_a_language(codealpaca: list[str]) -> None:
    results = [find_regions(text) for text in codealpaca[::5]]
    python = sum(bool(r) and r[0].language == "python" for r in results) / len(results)
    unknown = sum(bool(r) and r[0].language is None for r in results) / len(results)
    code = sum(map(bool, results)) / len(results)
    assert 0.35 < python < 0.5
    assert 0.75 < code < 0.95
    assert unknown < 0.05
