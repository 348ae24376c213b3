"""The shapes that rows come in, brought into one: messages before the response, and the response.

Recognised: `messages` (role, content), ShareGPT `conversations` (from, value), and an instruction column beside a
response column under the names that data sets use. Anything else is named by `pairs.columns`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import orjson

from codeblock.errors import RowError
from codeblock.schema import Reason

CHAT_COLUMNS = ("messages", "conversations", "conversation")
INSTRUCTION_COLUMNS = ("instruction", "prompt", "query", "question", "problem")
RESPONSE_COLUMNS = ("output", "response", "completion", "answer", "solution")
QUALITY_COLUMNS = ("quality", "average_test_score")
ROLES = {"human": "user", "gpt": "assistant", "bot": "assistant", "model": "assistant"}

Message = dict[str, str]


@dataclass(frozen=True)
class Pair:
    """One instruction-response pair."""

    messages: list[Message]
    response: str
    quality: float | None

    @property
    def id(self) -> str:
        """Hash of the content: pairs that say the same have the same id, wherever they come from."""
        content = orjson.dumps([self.messages, self.response])
        return hashlib.blake2b(content, digest_size=12).hexdigest()


def to_pair(row: dict[str, Any], columns: dict[str, str], system: str | None = None) -> Pair:
    """One row in any recognised shape as a pair. Raises RowError with the reason where it is not usable."""
    chat = columns.get("messages") or _first(row, CHAT_COLUMNS)
    if chat is not None and "response" not in columns:
        turns = _turns(row, chat)
        if not turns or turns[-1]["role"] != "assistant":
            raise RowError(Reason.LAST_TURN_NOT_ASSISTANT, f"column {chat}: the last turn has to be the assistant's")
        messages, response = turns[:-1], turns[-1]["content"]
    else:
        messages, response = _two_columns(row, columns)
    if not any(turn["role"] == "user" and turn["content"].strip() for turn in messages):
        raise RowError(Reason.EMPTY_INSTRUCTION, "no text before the response")
    if not response.strip():
        raise RowError(Reason.EMPTY_RESPONSE, "the response is empty")
    if system is not None and messages[0]["role"] != "system":
        messages = [{"role": "system", "content": system}, *messages]
    return Pair(messages, _valid(response), _quality(row, columns.get("quality")))


def _two_columns(row: dict[str, Any], columns: dict[str, str]) -> tuple[list[Message], str]:
    instruction = columns.get("instruction") or _first(row, INSTRUCTION_COLUMNS)
    response = columns.get("response") or _first(row, RESPONSE_COLUMNS)
    if instruction is None or response is None:
        what = "instruction" if instruction is None else "response"
        raise RowError(Reason.MISSING_COLUMN, f"no {what} among the columns {', '.join(row)}; name it in pairs.columns")
    prompt = row.get(instruction)
    messages = _turns(row, instruction) if isinstance(prompt, list) else _user(row, instruction, columns.get("input"))
    answer = row.get(response)
    if isinstance(answer, list):
        turns = _turns(row, response)
        if len(turns) != 1:
            raise RowError(Reason.WRONG_TYPE, f"column {response}: one assistant turn expected, {len(turns)} found")
        return messages, turns[0]["content"]
    return messages, _text(row, response)


def _user(row: dict[str, Any], instruction: str, extra: str | None) -> list[Message]:
    text = _text(row, instruction)
    extra = extra or ("input" if isinstance(row.get("input"), str) and instruction != "input" else None)
    context = _text(row, extra) if extra and row.get(extra) is not None else ""
    if text.strip() and context.strip():
        text = f"{text}\n\n{context}"
    return [{"role": "user", "content": text}]


def _turns(row: dict[str, Any], column: str) -> list[Message]:
    value = row.get(column)
    if value is None:
        raise RowError(Reason.MISSING_COLUMN, f"column {column} is missing; the row has {', '.join(row)}")
    if not isinstance(value, list):
        raise RowError(Reason.WRONG_TYPE, f"column {column}: a list of turns expected, {type(value).__name__} found")
    return [_turn(turn, column) for turn in value]


def _turn(turn: Any, column: str) -> Message:
    if not isinstance(turn, dict):
        raise RowError(Reason.WRONG_TYPE, f"column {column}: a turn is an object, this is {type(turn).__name__}")
    role = turn.get("role", turn.get("from"))
    content = turn.get("content", turn.get("value"))
    if not isinstance(role, str) or not isinstance(content, str):
        raise RowError(Reason.WRONG_TYPE, f"column {column}: a turn needs a role and a content, both text")
    return {"role": ROLES.get(role, role), "content": _valid(content)}


def _text(row: dict[str, Any], column: str) -> str:
    value = row.get(column)
    if column not in row:
        raise RowError(Reason.MISSING_COLUMN, f"column {column} is missing; the row has {', '.join(row)}")
    if value is None:
        return ""
    if not isinstance(value, str):
        raise RowError(Reason.WRONG_TYPE, f"column {column}: text expected, {type(value).__name__} found")
    return _valid(value)


def _valid(text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise RowError(Reason.NOT_UTF8, f"a lone surrogate at character {error.start}") from error
    return text


def _quality(row: dict[str, Any], column: str | None) -> float | None:
    column = column or _first(row, QUALITY_COLUMNS)
    value = row.get(column) if column else None
    if value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise RowError(Reason.WRONG_TYPE, f"column {column}: a number expected, {value!r:.40} found") from error


def _first(row: dict[str, Any], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in row), None)
