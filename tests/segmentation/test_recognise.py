"""Code whose language nobody names is recognised; of sessions the code alone is taken; a missing grammar is said."""

from __future__ import annotations

import logging
import re

import pytest
from segment_checks import check_invariants, texts

from codeblock.segmentation import Decided, find_regions, segment, segment_response, tree
from codeblock.segmentation.languages import ALL

BARE = {
    "javascript": "const add = (a, b) => a + b;\nconsole.log(add(1, 2));",
    "typescript": "interface A {\n  x: number;\n}\nfunction f(a: string): number {\n  return a.length;\n}",
    "java": 'public class A {\n  public static void main(String[] args) {\n    System.out.println("x");\n  }\n}',
    "c": '#include <stdio.h>\nint main() {\n  printf("x");\n  return 0;\n}',
    "cpp": "#include <iostream>\nint main() {\n  std::cout << 1;\n}",
    "go": 'package main\n\nimport "fmt"\n\nfunc main() {\n\tfmt.Println("x")\n}',
    "rust": 'fn main() {\n    let mut x = 1;\n    println!("{}", x);\n}',
    "csharp": 'using System;\nclass A {\n  static void Main() {\n    Console.WriteLine("x");\n  }\n}',
    "ruby": "def f(x)\n  puts x\nend",
    "php": '<?php\necho "x";\n?>',
    "bash": '#!/bin/bash\nfor f in *; do\n  echo "$f"\ndone',
    "kotlin": 'fun main() {\n    val x = 1\n    println("$x")\n}',
    "tsx": "const A = ({ x }: { x: number }) => <div>{x}</div>;",
    "sql": "SELECT name FROM users WHERE age > 3;",
    "html": "<div>\n  <p>x</p>\n</div>",
    "css": ".a {\n  color: red;\n}",
    "json": '{\n  "name": "x"\n}',
}


@pytest.mark.parametrize("language", BARE)
def test_untagged_code_is_recognised(language: str) -> None:
    (region,) = find_regions(BARE[language])
    assert (region.language, region.tagged, region.decided) == (language, False, "recognised")
    assert find_regions(f"Text.\n```\n{BARE[language]}\n```\n")[0].language == language


@pytest.mark.parametrize("directive", ["#include <stdio.h>", '#include "a.h"', "#ifdef X\n#endif", "#define N 3", "#undef N"])
def test_blanks_at_the_end_of_a_directive_are_no_error(directive: str) -> None:
    source = directive.replace("\n", " \t\n") + " \t\nint x;\n"
    for language in ("c", "cpp"):
        result = segment(source, language)
        assert not result.has_error
        assert texts(source, result)[-1] == "int x;"
        check_invariants(source, result)


def test_php_without_its_opening_tag_is_php() -> None:
    source = "function f($x) {\n  $y = strlen($x);\n  echo $y;\n}"
    assert find_regions(source)[0].language == "php"
    assert [item.kind for item in segment(source, "php", max_item_tokens=1).items] == ["function", "definition", "call"]


def test_a_missing_grammar_is_said_once_and_its_code_is_cut_at_blank_lines(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing(rules: object) -> None:
        raise ImportError

    monkeypatch.setattr(tree, "_GRAMMARS", {})
    monkeypatch.setattr(tree, "_SAID", [])
    monkeypatch.setattr(tree, "Grammar", missing)
    with caplog.at_level(logging.WARNING):
        response = f"```java\n{BARE['java']}\n\nclass B {{}}\n```\n```go\npackage a\n```\n"
        result = segment_response(response)
    assert [region.decided for region in result.regions] == [Decided.NOT_INSTALLED] * 2
    assert [region.language for region in result.regions] == ["java", "go"]
    assert (len(result.items), result.language, result.has_error) == (3, "text", False)
    assert len(caplog.messages) == 1
    assert "pip install 'codeblock[languages]'" in caplog.messages[0]


@pytest.mark.parametrize(
    ("session", "expected", "language"),
    [
        (
            ">>> for x in y:\n...     f(x)\n...\n1\n2\n>>> z = 3\n>>> z\n3",
            ["for x in y:|f(x)", "z = 3", "z"],
            "python",
        ),
        ("In [1]: x = 1\n\nIn [2]: x\nOut[2]: 1", ["x = 1", "x"], "python"),
        ("$ ls -l\na b\n$ cat a | \\\n  wc\n3", ["ls -l", "cat a | \\|wc"], "bash"),
        ("user@host:~/a$ cd b\n(venv) user@host:~$ ls", ["cd b", "ls"], "bash"),
    ],
)
def test_of_a_session_at_a_prompt_the_code_alone_is_in_items(session: str, expected: list[str], language: str) -> None:
    for response in (session, f"So 😀:\n```\n{session}\n```\n", f"```{language}\n{session}\n```"):
        result = segment_response(response)
        assert ["|".join(response[a:b] for a, b in item.spans) for item in result.items] == expected
        assert {region.language for region in result.regions} == {language}
        check_invariants(response, result)


def test_data_flows_from_line_to_line_of_a_session() -> None:
    assert segment_response(">>> x = 1\n>>> x\n1\n").edges == [(0, 1)]


def test_a_docstring_with_a_session_is_no_session() -> None:
    source = 'def f():\n    """\n    >>> f()\n    1\n    """\n    return 1'
    assert len(segment_response(source).regions) == 1


def test_the_words_and_signs_of_a_language_are_matched_as_they_are_written() -> None:
    for rules in ALL:
        assert all(re.fullmatch(r"[A-Za-z_]\w*", word) for word in rules.words), rules.name
