"""Turns of a conversation in the spellings that data sets have, brought into one: role, content, and what tools need.

A turn comes out as a dictionary of text: `role` (system, user, assistant, tool), `content`, and where they are there `name`,
`tool_call_id` and `tool_calls` (JSON, see `tools`). A thought that stands beside its answer is put before it as
`<think>...</think>`, the form in which models write it and chat templates read it.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from itertools import chain, cycle
from typing import Any

from codeblock.core.errors import RowError
from codeblock.core.schema import Reason
from codeblock.data.read.arrow import Unreadable
from codeblock.data.read.tools import read_calls

Message = dict[str, str]

ROLE_KEYS = ("role", "from", "speaker")
CONTENT_KEYS = ("content", "value", "text", "parts", "message")
THOUGHT_KEYS = ("reasoning_content", "reasoning", "thinking", "thought")
MEDIA = ("images", "image", "videos", "video", "audios", "audio")
UNTRAINED = "untrained"
"""Key of a turn that the data marks as not to be learnt: OpenAI's `weight: 0`, other trainers' `train: false`."""
CALL_KEYS = ("tool_calls", "function_call")
NAMES = {
    "system": ("system", "developer", "sys", "system_prompt"),
    "user": ("user", "human", "prompter", "usr"),
    "assistant": ("assistant", "gpt", "chatgpt", "bot", "chatbot", "model", "ai", "llm", "claude", "bard", "bing"),
    "tool": (
        *("tool", "function", "observation", "ipython", "function_response", "function_result"),
        *("tool_response", "tool_result", "tool_results"),
    ),
    "call": ("function_call", "tool_call", "function_calls", "tool_calls"),
    "thought": ("thought", "thinking", "reasoning"),
}
ROLES = {name: role for role, names in NAMES.items() for name in names}
"""Every role that is known, in lower case, and what it is here. A `call` is an assistant's turn that calls a tool, a `thought`
belongs to the assistant's turn behind it."""
EXCHANGE = {
    "system": NAMES["system"],
    "user": (*NAMES["user"], "input", "question", "query", "prompt", "instruction"),
    "assistant": (*NAMES["assistant"], "output", "answer", "response"),
}
"""Keys of an object that holds a question with its answer in place of one turn."""
_GPT = re.compile(r"(chat)?gpt[-_. 0-9].*")
_THOUGHT_END = "</think>"


def holds(value: Any) -> bool:
    """Whether a cell holds something: no null, no NaN, no empty text or list. Merged data sets fill up with these."""
    if value is None or (isinstance(value, float) and value != value):
        return False
    return not (isinstance(value, str | bytes | list | dict) and not value)


def as_text(value: Any, where: str) -> str:
    """Text out of a cell; bytes are UTF-8. Raises RowError where it is something else or no valid text."""
    if isinstance(value, Unreadable):
        raise RowError(Reason.NOT_UTF8 if "utf" in value.why.lower() else Reason.WRONG_TYPE, f"{where}: {value.why}")
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if not isinstance(value, str):
        raise RowError(Reason.WRONG_TYPE, f"{where}: text expected, {type(value).__name__} found")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        code = ord(value[error.start])
        what = f"byte {code - 0xDC00:#x} is no UTF-8" if 0xDC80 <= code <= 0xDCFF else "a lone surrogate"
        raise RowError(Reason.NOT_UTF8, f"{where}: {what}, at character {error.start}") from error
    return value


def as_list(value: Any) -> list[Any] | None:
    """The list that a cell of turns holds: itself, in JSON (or Python's) text, a struct of lists, or one turn; else None."""
    if isinstance(value, str | bytes):
        value = _from_text(value)
    if isinstance(value, dict):
        lists = {key: each for key, each in value.items() if isinstance(each, list)}
        if len(lists) == len([each for each in value.values() if each is not None]) and any(key in lists for key in ROLE_KEYS):
            lengths = {len(each) for each in lists.values()}
            return (
                [dict(zip(lists, cells, strict=True)) for cells in zip(*lists.values(), strict=True)]
                if len(lengths) == 1
                else None
            )
        return [value] if any(key in value for key in ROLE_KEYS) or _exchange(value) else None
    return value if isinstance(value, list) else None


def read_turns(value: Any, column: str) -> list[Message]:
    """The turns of one conversation. Raises RowError with the place and the reason where one cannot be read."""
    if isinstance(value, Unreadable):
        raise RowError(Reason.WRONG_TYPE, f"column {column}: {value.why}")
    turns = as_list(value)
    if turns is None:
        found = "text" if isinstance(value, str | bytes) else type(value).__name__
        raise RowError(Reason.WRONG_TYPE, f"column {column}: a list of turns expected, {found} found")
    if turns and all(isinstance(turn, str) for turn in turns):
        turns = [{"role": role, "content": text} for role, text in zip(cycle(("user", "assistant")), turns, strict=False)]
    named = (_named(turn, f"column {column}, turn {number}") for number, turn in enumerate(turns, start=1))
    return _joined(list(chain.from_iterable(named)), column)


def _joined(turns: list[Message], column: str) -> list[Message]:
    """The turns, those that are thoughts joined with the answers that they led to."""
    found: list[Message] = []
    thought: list[str] = []
    for turn in turns:
        if turn["role"] == "thought":
            thought.append(turn["content"])
            continue
        if thought and turn["role"] != "assistant":
            raise RowError(Reason.UNSUPPORTED_CONTENT, f"column {column}: a thought with no turn of the assistant behind it")
        found.append({**turn, "content": with_thought("\n".join(thought), turn["content"])} if thought else turn)
        thought = []
    return found


def with_thought(thought: str, answer: str) -> str:
    """An answer with the thought that led to it. Raises RowError where the answer brings another one."""
    thought = thought.strip()
    if not thought or thought in answer:
        return answer
    if _THOUGHT_END in answer:
        raise RowError(Reason.UNSUPPORTED_CONTENT, "a thought beside an answer that has another one")
    answer = answer.lstrip("\n")
    return f"<think>\n{thought}\n{_THOUGHT_END}\n\n{answer}"


def _from_text(value: str | bytes) -> Any:
    text = value.strip()
    if not text.startswith(("[", "{") if isinstance(text, str) else (b"[", b"{")):  # type: ignore[arg-type]
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text.decode() if isinstance(text, bytes) else text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None


def _named(turn: Any, where: str) -> Iterator[Message]:
    """The turns that one entry of the list stands for."""
    if isinstance(turn, list):
        yield from _listed(turn, where)
        return
    if not isinstance(turn, dict):
        raise RowError(Reason.WRONG_TYPE, f"{where}: a turn is an object, this is {type(turn).__name__}")
    if not any(turn.get(key) is not None for key in ROLE_KEYS):
        turn = {str(key).strip().lower(): value for key, value in turn.items()}
    spelled = next((turn[key] for key in ROLE_KEYS if turn.get(key) is not None), None)
    if spelled is not None:
        message = _message(turn, spelled, where)
        if message is not None:
            yield message
        return
    exchange = _exchange(turn)
    if not exchange and any(holds(each) for each in turn.values()):
        raise RowError(Reason.WRONG_TYPE, f"{where}: no role; it has {', '.join(map(str, turn))}")
    yield from ({"role": role, "content": as_text(text, where)} for role, text in exchange)


def _listed(turn: list[Any], where: str) -> Iterator[Message]:
    """A turn as a list: a role and its text, or a question and its answer."""
    if len(turn) != 2:
        raise RowError(Reason.WRONG_TYPE, f"{where}: a turn that is a list has two entries, this has {len(turn)}")
    if isinstance(turn[0], str) and _role(turn[0]) is not None:
        message = _message({"content": turn[1]}, turn[0], where)
        if message is not None:
            yield message
        return
    for role, text in zip(("user", "assistant"), turn, strict=True):
        yield {"role": role, "content": as_text(text, where)}


def _exchange(turn: dict[str, Any]) -> list[tuple[str, Any]]:
    """Roles with their texts, of an object such as `{"human": ..., "assistant": ...}`."""
    keys = {str(key).strip().lower(): key for key, value in turn.items() if holds(value)}
    found = ((role, next((keys[name] for name in names if name in keys), None)) for role, names in EXCHANGE.items())
    return [(role, turn[key]) for role, key in found if key is not None]


def _role(spelled: str) -> str | None:
    name = spelled.strip().rstrip(":").lower()
    return ROLES.get(name.replace("-", "_").replace(" ", "_")) or ("assistant" if _GPT.fullmatch(name) else None)


def _message(turn: dict[str, Any], spelled: Any, where: str) -> Message | None:
    """One turn; None where it holds nothing: a system turn, or a tool's, that is null."""
    if not isinstance(spelled, str):
        raise RowError(Reason.WRONG_TYPE, f"{where}: its role is {type(spelled).__name__}, not text")
    role = _role(spelled)
    if role is None:
        raise RowError(
            Reason.UNKNOWN_ROLE, f"{where}: role {spelled!r:.40}; known are {', '.join(NAMES)} in their usual spellings"
        )
    key = next((key for key in CONTENT_KEYS if turn.get(key) is not None), None)
    if role == "tool":
        content, thought = "" if key is None else _result(turn[key], where), ""
    elif role == "call":
        content, thought = "", ""
    else:
        content, thought = ("", "") if key is None else _content(turn[key], where)
    calls = next((turn[name] for name in CALL_KEYS if holds(turn.get(name))), None)
    if role == "call":
        role, calls = "assistant", None if key is None else turn[key]
    if key is None and calls is None:
        if role == "system":
            return None
        if role != "tool":
            raise RowError(Reason.WRONG_TYPE, f"{where} ({role}): its content is null or missing")
    thought = next((as_text(turn[name], where) for name in THOUGHT_KEYS if holds(turn.get(name))), thought)
    if not thought and holds(turn.get("reasoning_details")):
        thought = _content(turn["reasoning_details"], where)[1]
    if media := [str(name) for name in MEDIA if holds(turn.get(name))]:
        raise RowError(Reason.UNSUPPORTED_CONTENT, f"{where}: {', '.join(media)}; only text is trained on")
    message = {"role": role, "content": with_thought(thought, content) if role == "assistant" else content}
    if calls is not None:
        message["tool_calls"] = as_text(read_calls(calls, where), where)
    for name in ("name", "tool_call_id"):
        if isinstance(turn.get(name), str) and turn[name]:
            message[name] = as_text(turn[name], where)
    if turn.get("weight") == 0 or any(turn.get(mark) is False for mark in ("train", "training", "loss")):
        message[UNTRAINED] = "yes"
    return message


def _content(value: Any, where: str) -> tuple[str, str]:
    """Text of a turn, and the thought that stands among its parts."""
    if isinstance(value, dict):
        value = value["parts"] if isinstance(value.get("parts"), list) else [value]
    if not isinstance(value, list):
        return as_text(value, where), ""
    texts: list[str] = []
    thoughts: list[str] = []
    for part in value:
        kind = (part.get("type") or "text") if isinstance(part, dict) else "text"
        if kind in ("thinking", "reasoning", "reasoning.text"):
            thoughts.append(as_text(part.get(kind, part.get("text")), where))
        elif kind in ("text", "input_text", "output_text"):
            text = part.get("text") if isinstance(part, dict) else part
            texts += [] if text is None else [as_text(text, where)]
        else:
            raise RowError(Reason.UNSUPPORTED_CONTENT, f"{where}: a part of type {kind!r:.30}; only text is trained on")
    return "\n".join(texts), "\n".join(thoughts)


def _result(value: Any, where: str) -> str:
    """What a tool returned as text: JSON where it is no text."""
    if isinstance(value, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in value):
        return _content(value, where)[0]
    return as_text(value if isinstance(value, str | bytes | Unreadable) else json.dumps(value, ensure_ascii=False), where)
