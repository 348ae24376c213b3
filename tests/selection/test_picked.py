"""What was picked: tokens by the role of what they belong to."""

import numpy as np
import pyarrow as pa
import pytest

from codeblock.annotate.prepare.render import Renderer
from codeblock.annotate.prepare.stage import prepare_batch
from codeblock.core.config import PrepareConfig
from codeblock.core.schema import PAIRS
from codeblock.segmentation import segment_response
from codeblock.selection.picked import POOR, ROLES, Picked, Role, poor_below, roles_of_items


def roles(code, language="python", max_item_tokens=6):
    response = f"```{language}\n{code}\n```"
    found = segment_response(response, max_item_tokens=max_item_tokens)
    spans = [[edge for span in item.spans for edge in span] for item in found.items]
    places = roles_of_items([item.kind for item in found.items], spans, response)
    return {
        response[s[0] : s[1]].strip().splitlines()[0]: ROLES[place] for s, place in zip(spans, places.tolist(), strict=True)
    }


def test_roles_of_python():
    code = (
        "import os\n# a note\ndef total(values):\n    result = 0\n    for value in values:\n        result += value\n"
        "    return result\n\nprint(total([1, 2]))\nos.remove('x')\nmean = total(a) / len(a)\n"
    )
    assert roles(code) == {
        "import os": Role.IMPORT,
        "# a note": Role.COMMENT,
        "def total(values):": Role.HEADER,
        "result = 0": Role.INITIALISATION,
        "for value in values:": Role.CONTROL,
        "result += value": Role.DEFINITION,
        "return result": Role.RETURN,
        "print(total([1, 2]))": Role.PRINT,
        "os.remove('x')": Role.CALL,
        "mean = total(a) / len(a)": Role.DEFINITION,
    }


def test_a_function_that_is_one_item_is_no_header():
    assert roles("def f(a):\n    return a + 1", max_item_tokens=64) == {"def f(a):": Role.WHOLE}


def test_roles_of_other_languages():
    java = "int f(int[] a) {\n  int s = 0;\n  for (int x : a) {\n    s += x;\n  }\n  System.out.println(s);\n  return s;\n}"
    found = roles(java, "java")
    assert found["int s = 0;"] is Role.INITIALISATION
    assert found["System.out.println(s);"] is Role.PRINT
    assert found["int f(int[] a) {"] is Role.HEADER
    script = "let out = [];\nconst n = f(3);\nconsole.log(out);"
    assert list(roles(script, "javascript").values()) == [Role.INITIALISATION, Role.DEFINITION, Role.PRINT]


@pytest.mark.parametrize(
    "text",
    [
        "x = 0",
        "x: int = -1",
        "s = 'a = b'",
        "found = {}",
        "seen = set()",
        "ok = True",
        "t = 1.5e3;",
        "dp = [0] * (n + 1)",
        "a = b = 0",
    ],
)
def test_a_name_and_a_literal_is_an_initialisation(text):
    assert ROLES[roles_of_items(["definition"], [[0, len(text)]], text)[0]] is Role.INITIALISATION


@pytest.mark.parametrize("text", ["x = y", "x += 1", "x = f(3)", "x = 0 if y else 1", "x = [1, 2]", "x = a == 0", "f = x <= 0"])
def test_anything_else_is_another_definition(text):
    assert ROLES[roles_of_items(["definition"], [[0, len(text)]], text)[0]] is Role.DEFINITION


@pytest.fixture
def row(tokenizer):
    pair = {
        "id": "a",
        "messages": [{"role": "user", "content": "Add."}],
        "response": "Certainly, the summation:\n```python\ntotal = 0\nreturn total\n```",
        "source": "",
        "quality": None,
    }
    config = PrepareConfig(max_item_tokens=4, require_syntax=False)
    table, _ = prepare_batch(pa.Table.from_pylist([pair], PAIRS), Renderer(tokenizer), config, 512)
    found = table.to_pylist()[0]
    return {key: np.array(value) if key.startswith("token_") else value for key, value in found.items()}


def test_every_response_token_has_one_role_and_selected_ones_are_counted_apart(row):
    picked = Picked()
    weight = np.where(row["token_item"] == 0, 1.0, 0.25).astype(np.float32)
    picked.look(row, weight, poor=True)
    picked.look(row, weight, poor=False)
    facts = picked.facts(rated=True)
    poor = facts.pop(POOR)
    assert set(facts) == {"initialisation", "return", "word", "other text", "stop"}
    size = len(row["input_ids"]) - row["response_start"]
    assert sum(each["pool"] for each in facts.values()) == 2 * size
    selected = int((row["token_item"] == 0).sum())
    assert {role: each["selected"] for role, each in facts.items() if each["selected"]} == {"initialisation": 2 * selected}
    assert poor == {"pool": size, "selected": selected}
    assert POOR not in picked.facts(rated=False)


def test_parts_add_up(row):
    weight = np.ones(row["token_class"].size, np.float32)
    one, two = Picked(), Picked()
    one.look(row, weight, poor=False)
    two.merge(one)
    two.merge(one)
    assert two.pool == [2 * count for count in one.pool]
    assert two.selected == two.pool


@pytest.mark.parametrize(("best", "below"), [(1.0, 0.5), (5.0, 2.5), (10.0, 5.0), (None, None)])
def test_poor_is_below_half_of_the_scale(best, below):
    assert poor_below(best) == below
