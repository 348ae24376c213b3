"""The library without Ray: the documentation's examples run as they stand, and rows that cannot be used are named."""

import contextlib
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

from codeblock.core.errors import CodeBlockError
from codeblock.core.models.load import load_model, load_tokenizer
from codeblock.library import iter_pairs, score_pairs
from codeblock.selection import select

DOCUMENT = Path(__file__).parents[1] / "docs" / "library.md"


def test_the_examples_of_the_documentation_run(small_model):
    names = {"MODEL": str(small_model)}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        for block in re.findall(r"```python\n(.*?)^```$", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE):
            exec(compile(block, str(DOCUMENT), "exec"), names)
    said = printed.getvalue()
    assert "[(0, 1), (0, 2), (1, 2)]" in said
    assert "return total / len(values)" in said
    assert names["weight"].sum() > 3
    assert 0 < float(said.split()[-1]) < 20


def test_rows_of_any_shape_are_scored_in_order(small_model):
    tokenizer, model = load_tokenizer(str(small_model)), load_model(str(small_model))
    rows = [
        {"prompt": "Add.", "completion": "```python\ndef add(a, b):\n    return a + b\n```"},
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "```python\nx = 1\ny = x + 1\n```"}]},
    ]
    table = score_pairs(rows, tokenizer, model)
    assert table["id"].to_pylist() == ["0", "1"]
    weights = select(iter_pairs(table), "full").weights
    for ids, start, weight in zip(*(table[name].to_pylist() for name in ("input_ids", "response_start")), weights, strict=True):
        assert weight.tolist() == [0.0] * start + [1.0] * (len(ids) - start)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"instruction": "Add.", "output": ""}, "row 0: empty_response"),
        ({"instruction": "Hi.", "output": "Hello, how are you today?"}, "row 0: no_code"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(small_model, row, message):
    with pytest.raises(CodeBlockError, match=message):
        score_pairs([row], load_tokenizer(str(small_model)), load_model(str(small_model)))


def test_it_imports_neither_ray_nor_mlflow():
    code = "import sys, codeblock.library, codeblock.report.export; assert not {'ray', 'mlflow'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)
