"""Rows in the shapes that data sets come in become one shape, or a reason."""

import json

import pytest

from codeblock.core.errors import RowError
from codeblock.core.schema import Reason
from codeblock.data.read.arrow import Unreadable
from codeblock.data.read.shapes import to_pair

USER = [{"role": "user", "content": "Add."}]


@pytest.mark.parametrize(
    "row",
    [
        {"instruction": "Add.", "input": "", "output": "a + b"},
        {"instruction": "Add.", "response": "a + b"},
        {"prompt": "Add.", "completion": "a + b"},
        {"query": "Add.", "response": "a + b"},
        {"question": "Add.", "answer": "a + b"},
        {"prompt": USER, "completion": [{"role": "assistant", "content": "a + b"}]},
        {"messages": [*USER, {"role": "assistant", "content": "a + b"}]},
        {"conversations": [{"from": "human", "value": "Add."}, {"from": "gpt", "value": "a + b"}]},
    ],
    ids=lambda row: "/".join(row),
)
def test_every_known_shape_gives_the_same_pair(row):
    pair = to_pair(row, {})
    assert (pair.messages, pair.response) == (USER, "a + b")


def test_the_input_column_follows_the_instruction():
    pair = to_pair({"instruction": "Add.", "input": "1 2", "output": "3"}, {})
    assert pair.messages[0]["content"] == "Add.\n\n1 2"


def test_columns_with_other_names_are_mapped():
    columns = {"instruction": "task", "response": "code", "quality": "stars"}
    pair = to_pair({"task": "Add.", "code": "a + b", "stars": "4"}, columns)
    assert (pair.messages, pair.response, pair.quality) == (USER, "a + b", 4.0)


def test_a_system_message_is_put_first_where_there_is_none():
    row = {"messages": [*USER, {"role": "assistant", "content": "x"}]}
    assert to_pair(row, {}, system="Be brief.").messages[0] == {"role": "system", "content": "Be brief."}
    row["messages"].insert(0, {"role": "system", "content": "Own."})
    assert to_pair(row, {}, system="Be brief.").messages[0]["content"] == "Own."


def test_earlier_turns_are_context_and_the_last_answer_is_the_response():
    turns = [*USER, {"role": "assistant", "content": "a"}, *USER, {"role": "assistant", "content": "b"}]
    pair = to_pair({"messages": turns}, {})
    assert (len(pair.messages), pair.response) == (3, "b")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"instruction": "Add."}, Reason.MISSING_COLUMN),
        ({"text": "Add."}, Reason.MISSING_COLUMN),
        ({"instruction": 3, "output": "x"}, Reason.WRONG_TYPE),
        ({"instruction": "Add.", "output": ["x"]}, Reason.WRONG_TYPE),
        ({"messages": "Add."}, Reason.WRONG_TYPE),
        ({"messages": [{"role": "user", "content": None}]}, Reason.WRONG_TYPE),
        ({"messages": USER}, Reason.LAST_TURN_NOT_ASSISTANT),
        ({"messages": []}, Reason.LAST_TURN_NOT_ASSISTANT),
        ({"instruction": "", "input": "x", "output": "x"}, Reason.EMPTY_INSTRUCTION),
        ({"instruction": "Add.", "output": " \n"}, Reason.EMPTY_RESPONSE),
        ({"instruction": "Add.", "output": None}, Reason.EMPTY_RESPONSE),
        ({"instruction": "Add.", "output": "\ud800"}, Reason.NOT_UTF8),
    ],
)
def test_an_unusable_row_has_a_reason(row, reason):
    with pytest.raises(RowError) as error:
        to_pair(row, {})
    assert error.value.reason == reason


def test_ids_depend_on_content_only():
    one = to_pair({"instruction": "Add.", "output": "x"}, {})
    assert one.id == to_pair({"query": "Add.", "response": "x", "quality": 5}, {}).id
    assert one.id != to_pair({"instruction": "Add.", "output": "y"}, {}).id


def test_the_columns_that_hold_something_decide_the_shape_of_each_row():
    turns = [*USER, {"role": "assistant", "content": "a + b"}]
    empty = {"instruction": None, "input": "", "output": float("nan"), "messages": [], "prompt": None, "completion": None}
    for row in (
        {"instruction": "Add.", "output": "a + b"},
        {"prompt": "Add.", "completion": "a + b"},
        {"messages": turns},
        {"conversations": turns},
        {"instruction": "Add.", "completion": "a + b"},
        {"input": "Add.", "output": "a + b"},
        {"Question": "Add.", " Answer ": "a + b"},
    ):
        pair = to_pair({**empty, **row}, {})
        assert (pair.messages, pair.response, pair.notes) == (USER, "a + b", ())


def test_text_beside_the_instruction_follows_it_under_both_of_its_names():
    for name in ("input", "context"):
        assert to_pair({"instruction": "Add.", name: "1 2", "output": "3"}, {}).messages[0]["content"] == "Add.\n\n1 2"


@pytest.mark.parametrize("name", ["system", "system_prompt", "System"])
def test_a_system_column_is_the_first_message(name):
    turns = [*USER, {"role": "assistant", "content": "x"}]
    for row in ({"messages": turns}, {"instruction": "Add.", "output": "x"}):
        assert to_pair({name: "Be brief.", **row}, {}).messages == [{"role": "system", "content": "Be brief."}, *USER]
        assert to_pair({name: None, **row}, {}, system="Else.").messages[0]["content"] == "Else."
        assert to_pair({name: "Be brief.", **row}, {}, system="Else.").messages[0]["content"] == "Be brief."


def test_a_system_column_stands_before_the_system_turn_of_the_row():
    turns = [{"role": "system", "content": "Own."}, *USER, {"role": "assistant", "content": "x"}]
    assert to_pair({"system": "Given.", "messages": turns}, {}).messages[0]["content"] == "Given.\n\nOwn."
    assert to_pair({"system": "Own.", "messages": turns}, {}).messages[0]["content"] == "Own."


@pytest.mark.parametrize(
    "history",
    [
        [["Hi.", "Hello."]],
        '[["Hi.", "Hello."]]',
        ["Hi.", "Hello."],
        [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}],
    ],
)
def test_a_history_comes_before_the_instruction_and_behind_the_system_message(history):
    before = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]
    pair = to_pair({"instruction": "Add.", "output": "x", "history": history, "system": "S."}, {})
    assert pair.messages == [{"role": "system", "content": "S."}, *before, *USER]
    turns = [{"role": "system", "content": "S."}, *USER, {"role": "assistant", "content": "x"}]
    assert to_pair({"messages": turns, "history": history}, {}).messages == pair.messages


TOOL = {"name": "add", "description": "Adds.", "parameters": {"type": "object", "properties": {}}}


@pytest.mark.parametrize(
    "tools",
    [[TOOL], json.dumps([TOOL]), [json.dumps(TOOL)], TOOL, [{"type": "function", "function": TOOL}]],
)
def test_tools_are_kept_in_the_form_that_templates_read(tools):
    pair = to_pair({"instruction": "Add.", "output": "x", "tools": tools}, {})
    assert json.loads(pair.tools) == [{"type": "function", "function": TOOL}]
    assert pair.id != to_pair({"instruction": "Add.", "output": "x"}, {}).id


@pytest.mark.parametrize("tools", [None, [], "[]", ""])
def test_no_tools_are_none(tools):
    pair = to_pair({"instruction": "Add.", "output": "x", "tools": tools}, {})
    assert (pair.tools, pair.notes) == (None, ())
    assert pair.id == to_pair({"instruction": "Add.", "output": "x"}, {}).id


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ({"content": "", "tool_calls": [{"function": {"name": "add", "arguments": {}}}]}, "the last turn calls a tool"),
        ({"content": "x", "weight": 0}, "weight 0"),
    ],
)
def test_an_answer_that_is_not_to_be_trained_on_is_rejected(answer, says):
    with pytest.raises(RowError, match=says) as error:
        to_pair({"messages": [*USER, {"role": "assistant", **answer}]}, {})
    assert error.value.reason == Reason.UNSUPPORTED_CONTENT


def test_a_thought_in_a_column_is_part_of_the_answer():
    row = {"question": "Add.", "reasoning": "Carry.", "answer": "x"}
    assert to_pair(row, {}).response == "<think>\nCarry.\n</think>\n\nx"
    assert to_pair(row, {"thought": ""}).response == "x"


@pytest.mark.parametrize(
    ("value", "quality"),
    [(4, 4.0), ("4.5", 4.5), (" 8/10 ", 0.8), ("9 out of 10", 0.9), ("85%", 0.85), ("1e2", 100.0), (True, 1.0), (None, None)],
)
def test_a_quality_is_a_number_also_in_text(value, quality):
    pair = to_pair({"instruction": "Add.", "output": "x", "quality": value}, {})
    assert (pair.quality, pair.notes) == (quality, ())


@pytest.mark.parametrize("value", ["good", "N/A", "4 or 5", "1/0", {"score": 4}, [4], float("inf"), 10**400])
@pytest.mark.parametrize("columns", [{}, {"quality": "quality"}])
def test_a_quality_that_is_no_number_costs_a_note_and_not_the_row(value, columns):
    pair = to_pair({"instruction": "Add.", "output": "x", "quality": value}, columns)
    assert (pair.quality, pair.notes) == (None, ("column quality is not read: it does not hold a number",))


@pytest.mark.parametrize(
    ("part", "value"), [("history", "ancient"), ("tools", "hammer, saw"), ("tools", ["hammer"]), ("system", 3)]
)
def test_a_column_that_is_not_what_its_name_says_is_noted_and_one_that_was_named_rejects_the_row(part, value):
    row = {"instruction": "Add.", "output": "x", part: value}
    (note,) = to_pair(row, {}).notes
    assert note.startswith(f"column {part} is not read")
    with pytest.raises(RowError, match=f"column {part}: .* expected"):
        to_pair(row, {part: part})


def test_a_named_column_that_is_missing_is_noted():
    pair = to_pair({"instruction": "Add.", "output": "x"}, {"system": "sys"})
    assert pair.notes == ("column sys (pairs.columns.system) is missing",)


def test_a_cell_that_python_cannot_hold_rejects_the_row_that_uses_it():
    with pytest.raises(RowError, match="column output: date value out of range"):
        to_pair({"instruction": "Add.", "output": Unreadable("date value out of range")}, {})
    assert to_pair({"instruction": "Add.", "output": "x", "quality": Unreadable("date")}, {}).quality is None


def test_bytes_are_text_where_they_are_utf8():
    assert to_pair({"instruction": b"Add.", "output": "ü".encode()}, {}).response == "ü"
    with pytest.raises(RowError, match="column output: byte 0xff is no UTF-8"):
        to_pair({"instruction": "Add.", "output": b"a\xff"}, {})


def test_images_beside_the_text_reject_the_row_unless_they_are_said_not_to_belong_to_it():
    row = {"instruction": "Add.", "output": "x", "images": ["a.png"]}
    with pytest.raises(RowError, match="column images: only text is trained on") as error:
        to_pair(row, {})
    assert error.value.reason == Reason.UNSUPPORTED_CONTENT
    assert to_pair(row, {"images": ""}).response == "x"
    assert to_pair({**row, "images": []}, {}).response == "x"


@pytest.mark.parametrize("name", ["documents", "chat_template_kwargs"])
def test_what_templates_are_not_given_is_noted(name):
    row = {"instruction": "Add.", "output": "x", name: [{"a": 1}]}
    assert to_pair(row, {}).notes == (f"column {name} is not read: templates get messages and tools",)


def test_turns_that_end_with_the_question_have_their_answer_in_a_column_beside():
    for answer in ("x", [{"role": "assistant", "content": "x"}]):
        pair = to_pair({"messages": USER, "response": answer}, {})
        assert (pair.messages, pair.response) == (USER, "x")


@pytest.mark.parametrize("mark", [{"weight": 0}, {"train": False}, {"training": False}, {"loss": False}])
def test_a_turn_that_the_data_marks_as_not_to_be_learnt_is_context_and_no_response(mark):
    turns = [*USER, {"role": "assistant", "content": "a", **mark}, *USER, {"role": "assistant", "content": "b"}]
    assert to_pair({"messages": turns}, {}).messages == [*USER, {"role": "assistant", "content": "a"}, *USER]
    with pytest.raises(RowError, match="not to be trained on"):
        to_pair({"messages": turns[:2]}, {})
