"""Cells of notebooks: IPython's own lines do not make a cell broken."""

from __future__ import annotations

import pytest

from codeblock.segmentation import find_regions, segment_response
from codeblock.segmentation.notebooks import without_magics


def core(code: str, tag: str = "python") -> list[str]:
    response = f"```{tag}\n{code}\n```\n"
    result = segment_response(response)
    assert not result.has_error
    assert [(region.language, response[region.start : region.end]) for region in result.regions] == [("python", f"{code}\n")]
    return [response[a:b] for a, b in result.core]


@pytest.mark.parametrize(
    "magic",
    ["%matplotlib inline", "%%time", "!pip install x", "!!ls", "?f", "f??", "!pip install \\\n    x", "%load_ext autoreload"],
)
def test_a_line_of_ipython_is_a_comment(magic: str) -> None:
    assert core(f"{magic}\nx = 1") == ["x", "=", "1"]
    assert core(f"x = 1\n{magic}") == ["x", "=", "1"]


def test_what_is_assigned_is_a_name() -> None:
    assert core("if x:\n    !pip install y\nz = 1") == ["if", "x", "z", "=", "1"]
    assert core("z = !ls -l") == ["z", "=", "!ls -l"]


def test_python_that_only_looks_like_it_is_read_as_python() -> None:
    code = "x = (a\n% b)\ns = '''\n!x\n'''"
    assert core(code) == ["x", "=", "a", "%", "b", "s", "=", "'''\n!x\n'''"]


def test_the_text_stays_as_long_as_it_is() -> None:
    text = "if a:\n    %run é.py\nb = !ls 😀\nc?\n"
    assert without_magics(text) == "if a:\n    #run é.py\nb = _____\n#?\n"
    assert without_magics("a % b\n") == "a % b\n"


def test_an_untagged_cell_is_python_where_a_magic_is_beyond_doubt() -> None:
    assert find_regions("%matplotlib inline\nimport math\n!pip install x\nprint(math.pi)")[0].language == "python"
    assert find_regions("!dlrow olleH") == []


def test_a_cell_of_another_language() -> None:
    response = "```python\n%%bash\nls -la | grep x\n```"
    result = segment_response(response)
    assert [(region.language, response[region.start : region.end]) for region in result.regions] == [
        ("bash", "%%bash\nls -la | grep x\n")
    ]
    assert "grep" in [response[a:b] for a, b in result.core]
