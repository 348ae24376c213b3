"""Code among prose, without fences."""

from __future__ import annotations

import time
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from segment_checks import check_invariants

from codeblock.segmentation import find_regions, segment_response
from codeblock.segmentation.among_prose import code_runs

PROSE = "You can use a loop that runs over the values of the list. For example:"
BEHIND = "This will print each value of the list."
LOOP = "for value in values:\n    print(value)  # the value that it is at\n\n    total += value"


def found(response: str) -> list[tuple[str, str | None, str]]:
    return [(response[r.start : r.end], r.language, r.decided) for r in find_regions(response)]


@pytest.mark.parametrize(
    ("response", "code"),
    [
        (f"{PROSE}\n\n{LOOP}\n\n{BEHIND}", [LOOP]),
        (f"{PROSE}\n{LOOP}", [LOOP]),
        (f"{LOOP}\n{BEHIND}\n", [LOOP]),
        (f"{PROSE}\n\n{LOOP}\n\nOr, with the index of each value:\n\nprint(values[0])", [LOOP, "print(values[0])"]),
        (f"1. Open the file.\n2. Then run over it:\n\n{LOOP}\n\n- It is `fast`.", [LOOP]),
        (f"Example:\n{LOOP}\n\nOutput:\n\n1 2\n{{'a': f(x)}}\n\n{BEHIND}", [LOOP]),
        (f"{LOOP}\n// Output: 1 2\nx = f(3)", [LOOP]),
        (f"{PROSE}\n\n    {LOOP.replace(chr(10), chr(10) + '    ')}\n", [f"    {LOOP.replace(chr(10), chr(10) + '    ')}"]),
        (f'{PROSE}\n\ndef f():\n    """\n    The words of a docstring are not prose that parts.\n    """\n    return 1', None),
        (f"{PROSE}\r\n\r\nx = f(1)\r\n\r\n{BEHIND}", ["x = f(1)\r"]),
    ],
)
def test_the_lines_of_code_are_regions(response: str, code: list[str] | None) -> None:
    expected = code or [response[len(PROSE) + 2 :]]
    assert found(response) == [(each, "python", "among_prose") for each in expected]
    check_invariants(response, segment_response(response))


@pytest.mark.parametrize(
    ("code", "language"),
    [
        ("let x = values.map((v) => {\n  // The value that is shown to the user\n  return v + 1;\n});", "javascript"),
        ("SELECT a, b\nFROM t\nWHERE a > 1;", "sql"),
        ("/*\nThe words of a comment are the words of the code.\n*/\nint[] xs = {1};\nSystem.out.println(xs);", "java"),
        ("#!/bin/bash\necho hi", "bash"),
        ("p {\n  color: red;\n}", "css"),
    ],
)
def test_other_languages_are_found_too(code: str, language: str) -> None:
    response = f"The corrected code should be:\n\n{code}\n\n{BEHIND}"
    assert found(response) == [(code, language, "among_prose")]


def test_a_session_at_a_prompt_among_prose_is_one() -> None:
    assert found(f"{PROSE}\n\n>>> x = f(1)\n>>> x\n3\n\n{BEHIND}") == [
        ("x = f(1)", "python", "among_prose"),
        ("x", "python", "among_prose"),
    ]


def test_where_lines_of_code_are_in_no_language_none_of_them_is() -> None:
    response = f"{PROSE}\n\nx = f(1)\n\n{BEHIND}\n\nif (x == {{1, 2}};\nreturn x;\n"
    assert found(response) == [("x = f(1)", None, "unknown"), ("if (x == {1, 2};\nreturn x;", None, "unknown")]


@pytest.mark.parametrize(
    "prose",
    [
        "The answer is:\n\nParis, Rome",
        "To do this:\n\n- Open the file\n- Read the text (all of it)\n- Close the file",
        "It is one of these:\n\n[1, 2, 3]\n\nand nothing else.",
    ],
)
def test_prose_stays_prose(prose: str) -> None:
    assert found(prose) == []


def test_a_program_is_not_parted_by_what_it_says() -> None:
    program = (
        f"{LOOP}\ntext = '''\nThis is the text that is shown to the user.\n'''\n# Output: the text that it has\nprint(text)"
    )
    assert found(program) == [(program, "python", "recognised")]


@pytest.mark.parametrize("line", ["/*\n", "The words of a sentence.\nx = f(1)\n", '"""\n', "/* */ '\n"])
def test_a_megabyte_of_odd_lines_is_read_within_seconds(line: str) -> None:
    text = PROSE + "\n" + line * (1_000_000 // len(line))
    started = time.process_time()
    code_runs(text)
    assert time.process_time() - started < 10


LINES = st.sampled_from(
    [PROSE, BEHIND, "", "x = f(1)", "    y = x", "def f(a):", "Output:", "3", "/*", '"""', "}", "- a (b)", "é 😀"]
)


@given(st.lists(LINES, max_size=12).map("\n".join))
@settings(max_examples=300)
def test_of_any_mixture_the_regions_are_disjoint_and_covered(text: str) -> None:
    result = segment_response(text)
    check_invariants(text, result)
    regions = [(region.start, region.end) for region in result.regions]
    assert regions == sorted(regions)
    assert all(a < b <= c for (a, b), (c, _) in pairwise(regions))


def test_real_prose_with_code_has_its_code_found(codealpaca: list[str]) -> None:
    """Read by eye: of 40 responses that were drawn, every region was code, and none lacked more than a command."""
    decided = Counter(regions[0].decided for text in codealpaca[::5] if (regions := find_regions(text)))
    assert 40 <= decided["among_prose"] <= 60
