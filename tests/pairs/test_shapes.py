"""Rows in the shapes that data sets come in become one shape, or a reason."""

import pytest

from codeblock.errors import RowError
from codeblock.pairs.shapes import to_pair
from codeblock.schema import Reason

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
