"""A conversation reaches the template whole, or the pair is rejected with what the template leaves out."""

import json

import pyarrow as pa
import pytest

from codeblock.annotate.prepare.conversation import Conversation, ConversationReader
from codeblock.annotate.prepare.render import Renderer
from codeblock.annotate.prepare.stage import prepare_batch
from codeblock.core.config import PrepareConfig
from codeblock.core.errors import RowError
from codeblock.core.models.load import load_tokenizer
from codeblock.core.schema import PAIRS, Reason
from codeblock.data.read.shapes import to_pair

TOOLS = json.dumps([{"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": {}}}])
CALLS = json.dumps([{"type": "function", "id": "c1", "function": {"name": "add", "arguments": {"a": 2}}}])
SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "Two and one?"}
ASSISTANT = {"role": "assistant", "content": "One moment."}
CALL = {"role": "assistant", "content": "", "tool_calls": CALLS, "name": None}
RESULT = {"role": "tool", "content": "3", "tool_call_id": "c1", "tool_calls": None}

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
WITH_TOOLS = (
    "{% if tools %}{% for t in tools %}{{ t | tojson }}{% endfor %}{% endif %}"
    "{% for m in messages %}"
    "{% if m.role in ['system', 'user', 'assistant'] %}{{ '<|im_start|>' + m.role + '\n' + m.content }}"
    "{% if m.tool_calls %}{% for c in m.tool_calls %}{{ c.function.name }}{{ ARGUMENTS }}{% endfor %}{% endif %}"
    "{{ '<|im_end|>\n' }}"
    "{% elif m.role == 'tool' %}{{ '<|im_start|>user\n' + (m.content | tojson) + '<|im_end|>\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
AS_OBJECTS = WITH_TOOLS.replace("{{ ARGUMENTS }}", "{{ c.function.arguments | tojson }}")
AS_TEXT = WITH_TOOLS.replace("{{ ARGUMENTS }}", "{{ ': ' + c.function.arguments }}")
NO_ARGUMENTS = WITH_TOOLS.replace("{{ ARGUMENTS }}", "")
AS_ASSISTANT = CHATML.replace("m.role", "(m.role if m.role in ['system', 'user'] else 'assistant')")
NO_SYSTEM = CHATML.replace("{% for m in messages %}", "{% for m in messages if m.role != 'system' %}")


@pytest.fixture
def reader(make_tokenizer_dir, tmp_path):
    return lambda template: ConversationReader(load_tokenizer(make_tokenizer_dir(tmp_path, template=template)))


@pytest.mark.parametrize(
    ("template", "messages", "tools", "leaves_out"),
    [
        (CHATML, [SYSTEM, USER, ASSISTANT, USER], None, None),
        (CHATML, [USER, RESULT], None, None),
        (CHATML, [USER], TOOLS, "the tools"),
        (CHATML, [USER, CALL, RESULT], None, "calls of tools"),
        (AS_OBJECTS, [SYSTEM, USER, CALL, RESULT, USER], TOOLS, None),
        (AS_TEXT, [USER, CALL, RESULT], TOOLS, None),
        (NO_ARGUMENTS, [USER, CALL, RESULT], None, "the arguments of calls"),
        (NO_SYSTEM, [SYSTEM, USER], None, "a turn of the role system"),
        (NO_SYSTEM, [USER], None, None),
        (AS_ASSISTANT, [USER, RESULT, USER], None, "that a turn is a tool's, and writes it like the assistant's"),
        (None, [SYSTEM, USER, ASSISTANT, USER], None, None),
        (None, [USER, CALL, USER], None, "calls of tools"),
        (None, [USER], TOOLS, "the tools"),
    ],
)
def test_what_a_template_leaves_out_is_named(reader, template, messages, tools, leaves_out):
    found = reader(template)(messages, tools)
    if leaves_out is None:
        assert isinstance(found, Conversation)
    else:
        assert isinstance(found, RowError)
        assert (found.reason, found.detail) == (Reason.TEMPLATE_ERROR, f"chat template: it leaves out {leaves_out}")


def test_the_template_gets_calls_and_tools_as_objects_and_no_nulls(reader):
    found = reader(AS_OBJECTS)([USER, CALL, RESULT], TOOLS)
    assert found.messages == [
        USER,
        {"role": "assistant", "content": "", "tool_calls": json.loads(CALLS)},
        {"role": "tool", "content": "3", "tool_call_id": "c1"},
    ]
    assert found.tools == json.loads(TOOLS)


def test_arguments_are_text_where_the_template_joins_them_with_text(reader):
    (_, call) = reader(AS_TEXT)([USER, CALL], None).messages
    assert call["tool_calls"][0]["function"]["arguments"] == '{"a": 2}'


def prepared(tokenizer, *rows):
    pairs = [to_pair(row, {}) for row in rows]
    columns = [
        {"id": str(n), "messages": pair.messages, "response": pair.response, "source": f"x:{n}", "tools": pair.tools}
        for n, pair in enumerate(pairs)
    ]
    config = PrepareConfig(require_code=False)
    return prepare_batch(pa.Table.from_pylist(columns, schema=PAIRS), Renderer(tokenizer), config, 4096)


def test_a_pair_with_tools_is_rendered_with_them_and_one_that_cannot_be_is_rejected(make_tokenizer_dir, tmp_path):
    with_tools = {
        "tools": TOOLS,
        "messages": [
            {"role": "user", "content": "Two and one?"},
            {"role": "assistant", "content": None, "tool_calls": json.loads(CALLS)},
            {"role": "tool", "content": "3"},
            {"role": "assistant", "content": "x = 3"},
        ],
    }
    plain = {"instruction": "Two and one?", "output": "x = 3"}
    knows = load_tokenizer(make_tokenizer_dir(tmp_path / "knows", template=AS_OBJECTS))
    kept, rejected = prepared(knows, with_tools, plain)
    assert (kept.num_rows, rejected.num_rows) == (2, 0)
    text = knows.decode(kept["input_ids"].to_pylist()[0])
    assert all(part in text for part in ('"description": "Adds."', 'add{"a": 2}', '"3"', "x = 3"))
    assert "Adds" not in knows.decode(kept["input_ids"].to_pylist()[1])
    kept, rejected = prepared(load_tokenizer(make_tokenizer_dir(tmp_path / "default", template=None)), with_tools, plain)
    assert kept["id"].to_pylist() == ["1"]
    assert rejected["reason"].to_pylist() == ["template_error"]


def test_our_own_template_refuses_roles_that_it_has_no_heading_for(make_tokenizer_dir, tmp_path):
    row = {"messages": [USER, {"role": "observation", "content": "3"}, {"role": "assistant", "content": "x = 3"}]}
    kept, rejected = prepared(load_tokenizer(make_tokenizer_dir(tmp_path, template=None)), row)
    assert kept.num_rows == 0
    assert rejected["detail"].to_pylist() == ["chat template: no heading for the role tool"]
