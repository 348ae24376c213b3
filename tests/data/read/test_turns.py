"""Turns in the spellings of data sets become one; what cannot is named with its place."""

import json

import pytest

from codeblock.core.errors import RowError
from codeblock.core.schema import Reason
from codeblock.data.read.shapes import to_pair
from codeblock.data.read.turns import read_turns, with_thought

USER, ASSISTANT = {"role": "user", "content": "Add."}, {"role": "assistant", "content": "x = 1"}
CALL = {"type": "function", "id": "c1", "function": {"name": "add", "arguments": {"a": 2, "b": [1, "ü"]}}}


@pytest.mark.parametrize(
    "turns",
    [
        [USER, ASSISTANT],
        [{"from": "human", "value": "Add."}, {"from": "gpt", "value": "x = 1"}],
        [{"role": "user", "text": "Add."}, {"role": "assistant", "text": "x = 1"}],
        [{"role": "user", "parts": [{"text": "Add."}]}, {"role": "model", "parts": [{"text": "x = 1"}]}],
        [{"speaker": "Human", "text": "Add."}, {"speaker": "AI", "text": "x = 1"}],
        [{"role": None, "from": "human", "content": None, "value": "Add."}, {"role": "gpt", "from": None, "content": "x = 1"}],
        [{"role": "user", "content": [{"type": "text", "text": "Add."}]}, {"role": "assistant", "content": ["x = 1"]}],
        [{"role": "user", "content": {"content_type": "text", "parts": ["Add."]}}, ASSISTANT],
        [{"role": "user", "content": [{"type": "input_text", "text": "Add."}]}, ASSISTANT],
        [{"role": "system", "content": None}, USER, ASSISTANT],
        [USER, ASSISTANT, {"role": None, "content": None}],
        [["user", "Add."], ["assistant", "x = 1"]],
        [["Add.", "x = 1"]],
        ["Add.", "x = 1"],
        [{"human": "Add.", "assistant": "x = 1"}],
        [{"input": "Add.", "output": "x = 1"}],
        [{"question": "Add.", "answer": "x = 1", "system": None}],
        {"from": ["human", "gpt"], "value": ["Add.", "x = 1"]},
        {"role": ["user", "assistant"], "content": ["Add.", "x = 1"], "name": None},
        json.dumps([USER, ASSISTANT]),
        json.dumps([USER, ASSISTANT]).encode(),
        str([USER, ASSISTANT]),
        json.dumps({"from": ["human", "gpt"], "value": ["Add.", "x = 1"]}),
    ],
    ids=lambda turns: json.dumps(turns, default=str)[:60],
)
def test_turns_are_the_same_in_every_spelling(turns):
    assert read_turns(turns, "c") == [USER, ASSISTANT]


@pytest.mark.parametrize(
    ("spelled", "role"),
    [
        *((name, "user") for name in ("user", "User", "HUMAN", "prompter", " human: ")),
        *(
            (name, "assistant")
            for name in ("GPT", "Assistant", "chatgpt", "ChatGPT", "bot", "model", "AI", "gpt-4", "gpt-3.5-turbo")
        ),
        *((name, "system") for name in ("system", "System", "developer", "SYS")),
        *((name, "tool") for name in ("tool", "function", "observation", "ipython", "function-response", "tool_response")),
    ],
)
def test_roles_are_known_in_any_case(spelled, role):
    assert read_turns([{"role": spelled, "content": "x"}], "c") == [{"role": role, "content": "x"}]


@pytest.mark.parametrize(
    ("turn", "reason", "says"),
    [
        ({"role": "narrator", "content": "x"}, Reason.UNKNOWN_ROLE, "turn 2: role 'narrator'"),
        ({"role": "user", "content": None}, Reason.WRONG_TYPE, r"turn 2 \(user\): its content is null"),
        ({"role": "assistant"}, Reason.WRONG_TYPE, "its content is null or missing"),
        ({"content": "x"}, Reason.WRONG_TYPE, "turn 2: no role; it has content"),
        ({"role": 3, "content": "x"}, Reason.WRONG_TYPE, "its role is int"),
        ({"role": "user", "content": 3}, Reason.WRONG_TYPE, "text expected, int found"),
        ("x", Reason.WRONG_TYPE, "a turn is an object, this is str"),
        (["a", "b", "c"], Reason.WRONG_TYPE, "two entries, this has 3"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {}}]}, Reason.UNSUPPORTED_CONTENT, "image_url"),
        (
            {"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "image"}]},
            Reason.UNSUPPORTED_CONTENT,
            "'image'",
        ),
        ({"role": "user", "content": "a\udcff"}, Reason.NOT_UTF8, "byte 0xff is no UTF-8"),
        ({"role": "function_call", "content": "run it"}, Reason.WRONG_TYPE, "calls of tools are JSON objects"),
        ({"role": "assistant", "tool_calls": [{"arguments": {}}]}, Reason.WRONG_TYPE, "has the name of a function"),
    ],
)
def test_a_turn_that_cannot_be_read_is_named(turn, reason, says):
    with pytest.raises(RowError, match=says) as error:
        read_turns([USER, turn], "c")
    assert error.value.reason == reason
    assert "column c" in str(error.value.detail)


@pytest.mark.parametrize("value", ["Add.", "[not json", 3, {"from": ["human"], "value": []}, {"a": 1}])
def test_what_is_no_list_of_turns_is_refused(value):
    with pytest.raises(RowError, match="column c: a list of turns expected"):
        read_turns(value, "c")


def test_parts_of_text_are_lines():
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert read_turns([{"role": "user", "content": parts}], "c")[0]["content"] == "a\nb"


@pytest.mark.parametrize(
    "turn",
    [
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "assistant", "tool_calls": json.dumps([CALL])},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{**CALL, "function": {"name": "add", "arguments": json.dumps(CALL["function"]["arguments"])}}],
        },
    ],
)
def test_calls_of_tools_are_kept_with_their_arguments_as_objects(turn):
    result = {"role": "tool", "content": "3", "tool_call_id": "c1", "name": "add"}
    calls, answer = read_turns([turn, result], "c")
    assert (calls["role"], calls["content"], json.loads(calls["tool_calls"])) == ("assistant", "", [CALL])
    assert answer == result


@pytest.mark.parametrize(
    "turn",
    [
        {"from": "function_call", "value": json.dumps(CALL["function"])},
        {"from": "function_call", "value": json.dumps([CALL["function"]])},
        {"role": "assistant", "content": None, "function_call": CALL["function"]},
        {"role": "assistant", "content": None, "function_call": {"name": "add", "arguments": '{"a": 2, "b": [1, "ü"]}'}},
        {"role": "tool_call", "content": [{"name": "add", "parameters": CALL["function"]["arguments"]}]},
    ],
)
def test_calls_are_known_as_llama_factory_and_the_first_api_wrote_them(turn):
    (call,) = read_turns([turn], "c")
    assert (call["role"], call["content"]) == ("assistant", "")
    assert json.loads(call["tool_calls"]) == [{"type": "function", "function": CALL["function"]}]


@pytest.mark.parametrize(("result", "text"), [({"sum": 3}, '{"sum": 3}'), ([1, 2], "[1, 2]"), (3, "3"), (None, ""), ("3", "3")])
def test_what_a_tool_returned_is_text(result, text):
    assert read_turns([{"role": "tool", "content": result}], "c") == [{"role": "tool", "content": text}]


@pytest.mark.parametrize(
    "answer",
    [
        {"reasoning_content": "Carry.", "content": "x = 1"},
        {"thinking": "Carry.", "content": "x = 1"},
        {"reasoning": "Carry.", "content": "\n\nx = 1"},
        {"content": [{"type": "thinking", "thinking": "Carry."}, {"type": "text", "text": "x = 1"}]},
        {"reasoning_content": "Carry.", "content": "<think>\nCarry.\n</think>\n\nx = 1"},
        {"reasoning_content": None, "content": "<think>\nCarry.\n</think>\n\nx = 1"},
    ],
)
def test_a_thought_beside_the_answer_is_part_of_it(answer):
    assert to_pair({"messages": [USER, {"role": "assistant", **answer}]}, {}).response == "<think>\nCarry.\n</think>\n\nx = 1"


def test_two_thoughts_are_one_too_many():
    with pytest.raises(RowError, match="a thought beside an answer that has another one"):
        with_thought("One.", "<think>Another.</think>x")
    assert with_thought(" ", "x") == "x"


def test_a_thought_that_is_a_turn_belongs_to_the_answer_behind_it():
    turns = [USER, {"role": "thought", "content": "Carry."}, ASSISTANT]
    assert read_turns(turns, "c")[1]["content"] == "<think>\nCarry.\n</think>\n\nx = 1"
    with pytest.raises(RowError, match="a thought with no turn of the assistant behind it"):
        read_turns([USER, {"role": "thinking", "content": "Carry."}, USER], "c")


def test_details_of_a_thought_are_read_where_the_thought_itself_is_missing():
    details = [{"type": "reasoning.text", "text": "Carry."}]
    for extra in ({}, {"reasoning": "Carry."}):
        turn = {**ASSISTANT, "reasoning_details": details, **extra}
        assert read_turns([turn], "c")[0]["content"] == "<think>\nCarry.\n</think>\n\nx = 1"
    with pytest.raises(RowError, match=r"a part of type 'reasoning\.encrypted'"):
        read_turns([{**ASSISTANT, "reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]}], "c")


def test_keys_of_a_turn_are_known_in_any_case_and_a_null_part_is_no_text():
    turns = [{"Role": "User", "Content": "Add."}, {"From": "GPT", "Value": "x = 1"}]
    assert read_turns(turns, "c") == [USER, ASSISTANT]
    parts = [{"type": "text", "text": None}, {"type": "text", "text": "Add."}]
    assert read_turns([{"role": "user", "content": parts}], "c") == [USER]


def test_a_turn_with_an_image_is_rejected():
    with pytest.raises(RowError, match="turn 1: images; only text is trained on"):
        read_turns([{**USER, "images": ["a.png"]}], "c")
