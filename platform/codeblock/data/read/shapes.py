"""The shapes that rows come in, brought into one: messages before the response, and the response.

Recognised: a column of turns in any spelling that `turns` reads, and an instruction column beside a response column under the
names that data sets use. Anything else is named by `pairs.columns`. In each row the columns that hold something decide its
shape. What belongs to the conversation (system message, history, tools, a thought) reaches the pair or the row is rejected.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import orjson

from codeblock.core.errors import RowError
from codeblock.core.schema import Reason
from codeblock.data.read.arrow import Unreadable
from codeblock.data.read.read import Wanted
from codeblock.data.read.tools import read_tools
from codeblock.data.read.turns import THOUGHT_KEYS, UNTRAINED, Message, as_list, as_text, holds, read_turns, with_thought

COLUMNS = {
    "messages": ("messages", "conversations", "conversation", "dialogue", "dialog", "turns", "contents", "chat"),
    "instruction": ("instruction", "prompt", "query", "question", "problem", "input", "inputs"),
    "input": ("input", "context"),
    "response": ("output", "response", "completion", "answer", "solution", "target", "targets"),
    "system": ("system", "system_prompt", "system_message", "systeminstruction"),
    "history": ("history",),
    "tools": ("tools", "functions"),
    "thought": (*THOUGHT_KEYS, "chain_of_thought", "cot", "complex_cot"),
    "images": ("images", "image", "videos", "audios"),
    "quality": ("quality", "average_test_score"),
}
"""What a part of a pair is called in data sets, in lower case: the first column that holds something is taken."""
CORE = ("messages", "instruction", "response")
UNREAD = ("documents", "chat_template_kwargs", "plugins")
"""Columns of a conversation that are told of and go nowhere: templates get messages and tools."""

OPTIONAL = {
    "input": "text",
    "system": "text",
    "history": "a list of turns",
    "tools": "a list of tools",
    "thought": "text",
    "quality": "a number",
}
"""The parts that need not be there, and what each has to hold."""
LARGEST = 3e38
"""Of a quality, which is stored in 32 bits."""
_NUMBER = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(?:(%)|(?:/|out of)\s*(\d+\.?\d*))?\s*")


@dataclass(frozen=True)
class Pair:
    """One instruction-response pair."""

    messages: list[Message]
    response: str
    quality: float | None
    tools: str | None = None
    """JSON of the tools that the conversation may call."""
    notes: tuple[str, ...] = field(default=(), compare=False)
    """What of the row was left unread, for the notes of the run."""

    @property
    def id(self) -> str:
        """Hash of the content: pairs that say the same have the same id, wherever they come from."""
        content = orjson.dumps([self.messages, self.response, *([self.tools] if self.tools else [])])
        return hashlib.blake2b(content, digest_size=12).hexdigest()


def wanted(columns: dict[str, str], split: str | None) -> Wanted:
    """What a reader of files has to look at, with the names that `pairs.columns` gives."""
    names = {part: {*known, *([columns[part].strip().lower()] if part in columns else [])} for part, known in COLUMNS.items()}
    core = frozenset().union(*(names[part] for part in CORE)) - frozenset(COLUMNS["input"])
    return Wanted(frozenset(UNREAD).union(*names.values()), core, split or "train")


def to_pair(row: dict[str, Any], columns: dict[str, str], system: str | None = None) -> Pair:
    """One row in any recognised shape as a pair. Raises RowError with the reason where it is not usable."""
    cells = _Cells(row, columns)
    _check_media(cells)
    turns, answer = _conversation(cells)
    response = _response(cells, answer)
    messages = _with_system(_with_history(turns, cells), cells, system)
    if not any(turn["role"] == "user" and turn["content"].strip() for turn in messages):
        raise RowError(Reason.EMPTY_INSTRUCTION, "no text before the response")
    if not response.strip():
        raise RowError(Reason.EMPTY_RESPONSE, "the response is empty")
    tools, quality = cells.optional("tools", read_tools), cells.optional("quality", _number)
    cells.note_unread()
    return Pair(messages, response, quality, as_text(tools, "tools") if tools else None, tuple(cells.notes))


class _Cells:
    """The cells of a row by the part of a pair that they are."""

    def __init__(self, row: dict[str, Any], columns: dict[str, str]) -> None:
        self.row, self.columns = row, columns
        self.notes: list[str] = []
        self._names = {name.strip().lower(): name for name in reversed(row) if isinstance(name, str)}

    def known(self, part: str) -> list[str]:
        """The columns of the row that may be a part, in the order in which they are tried."""
        if part in self.columns:
            return [self.columns[part]]
        return [self._names[name] for name in COLUMNS[part] if name in self._names]

    def column(self, part: str) -> str | None:
        """The column that `pairs.columns` names, else the first known one that holds something, else the first known one."""
        known = self.known(part)
        return next((name for name in known if holds(self.row.get(name))), known[0] if known else None)

    def text(self, column: str) -> str:
        """The text of a column; empty where it holds nothing."""
        if column not in self.row:
            raise RowError(Reason.MISSING_COLUMN, f"column {column} is missing; the row has {self.told}")
        value = self.row[column]
        return as_text(value, f"column {column}") if holds(value) else ""

    @property
    def told(self) -> str:
        """The names of all columns."""
        return ", ".join(map(str, self.row))

    def note_unread(self) -> None:
        """Tell of columns that belong to a conversation and that no template is given."""
        there = (self._names[name] for name in UNREAD if name in self._names)
        self.notes += [
            f"column {name} is not read: templates get messages and tools" for name in there if holds(self.row[name])
        ]

    def optional(self, part: str, read: Callable[[Any], Any]) -> Any:
        """What `read` makes of a part that need not be there, None where it is not.

        A column that is not what its name says is left unread with a note; one that `pairs.columns` names rejects the row,
        but for the quality, without which a pair is as good.
        """
        column, named = self.column(part), part in self.columns
        if not column:
            return None
        if named and column not in self.row:
            self.notes.append(f"column {column} (pairs.columns.{part}) is missing")
        if not holds(value := self.row.get(column)):
            return None
        found = read(value)
        if found is None:
            if named and part != "quality":
                raise RowError(Reason.WRONG_TYPE, f"column {column}: {OPTIONAL[part]} expected, {type(value).__name__} found")
            self.notes.append(f"column {column} is not read: it does not hold {OPTIONAL[part]}")
        return found


def _check_media(cells: _Cells) -> None:
    column = cells.column("images")
    if column and holds(cells.row.get(column)):
        told = 'only text is trained on; set pairs.columns.images to "" where it does not belong to the conversation'
        raise RowError(Reason.UNSUPPORTED_CONTENT, f"column {column}: {told}")


def _conversation(cells: _Cells) -> tuple[list[Message], Message]:
    """The turns before the response, and the response as a turn."""
    chat = next((name for name in cells.known("messages") if as_list(cells.row.get(name))), None)
    instruction, response = _instruction(cells), cells.column("response")
    if chat is None and (instruction is None or response is None or "messages" in cells.columns):
        chat = cells.column("messages")  # its value says best why the row cannot be used
    if chat is None or "response" in cells.columns:
        return _two_columns(cells, instruction, response)
    if cells.row.get(chat) is None:
        raise RowError(Reason.MISSING_COLUMN, f"column {chat} is missing or null; the row has {cells.told}")
    turns = read_turns(cells.row[chat], chat)
    if turns and turns[-1]["role"] != "assistant" and response not in (None, chat) and holds(cells.row.get(response)):
        return _two_columns(cells, chat, response)
    if not turns or turns[-1]["role"] != "assistant":
        raise RowError(Reason.LAST_TURN_NOT_ASSISTANT, f"column {chat}: the last turn has to be the assistant's")
    return turns[:-1], turns[-1]


def _instruction(cells: _Cells) -> str | None:
    """The column of the instruction; `input` is one where no other is there, or those are null."""
    column = cells.column("instruction")
    if column is not None and column.strip().lower() in COLUMNS["input"] and "instruction" not in cells.columns:
        return next((name for name in cells.known("instruction") if cells.row[name] == ""), column)
    return column


def _two_columns(cells: _Cells, instruction: str | None, response: str | None) -> tuple[list[Message], Message]:
    if instruction is None or response is None:
        what = "instruction" if instruction is None else "response"
        raise RowError(Reason.MISSING_COLUMN, f"no {what} among the columns {cells.told}; name it in pairs.columns")
    asked, answered = cells.row.get(instruction), cells.row.get(response)
    if not _is_chat(asked):
        return [_user(cells, instruction)], _assistant(cells.text(response))
    turns = read_turns(asked, instruction)
    if not _is_chat(answered):
        return turns, _assistant(cells.text(response))
    answer = read_turns(answered, response)
    if len(answer) != 1 or answer[0]["role"] != "assistant":
        raise RowError(Reason.WRONG_TYPE, f"column {response}: one assistant turn expected, {len(answer)} turns found")
    return turns, answer[0]


def _is_chat(value: Any) -> bool:
    """Whether a cell of an instruction or a response holds turns; text does where it is JSON of turns with roles."""
    turns = as_list(value)
    if not isinstance(value, str | bytes):
        return turns is not None
    return bool(turns) and all(isinstance(turn, dict) and turn.keys() & {"role", "from"} for turn in turns or [])


def _assistant(text: str) -> Message:
    return {"role": "assistant", "content": text}


def _user(cells: _Cells, instruction: str) -> Message:
    text = cells.text(instruction)
    given = None if cells.column("input") == instruction else cells.optional("input", _text_or_none)
    if given is not None and text.strip() and (context := as_text(given, "column of the input")).strip():
        text = f"{text}\n\n{context}"
    return {"role": "user", "content": text}


def _response(cells: _Cells, answer: Message) -> str:
    """The text of the answer, with the thought that stands beside it."""
    if "tool_calls" in answer:
        raise RowError(Reason.UNSUPPORTED_CONTENT, "the last turn calls a tool; only text is trained on")
    if UNTRAINED in answer:
        raise RowError(Reason.UNSUPPORTED_CONTENT, "the data marks the last turn as not to be trained on (weight 0)")
    thought = cells.optional("thought", _text_or_none)
    if thought is None or not answer["content"].strip():
        return answer["content"]
    return with_thought(as_text(thought, f"column {cells.column('thought')}"), answer["content"])


def _with_history(turns: list[Message], cells: _Cells) -> list[Message]:
    """The turns with those of an earlier conversation before them, behind a system message."""
    history = cells.optional("history", as_list)
    earlier = read_turns(history, str(cells.column("history"))) if history else []
    first = next((number for number, turn in enumerate(turns) if turn["role"] != "system"), len(turns))
    every = [*turns[:first], *earlier, *turns[first:]]
    return [{key: value for key, value in turn.items() if key != UNTRAINED} for turn in every]


def _with_system(messages: list[Message], cells: _Cells, default: str | None) -> list[Message]:
    """The messages with the system message of the row, its column's before its turn's, else with the config's."""
    given = cells.optional("system", _system_text)
    has_own = bool(messages) and messages[0]["role"] == "system"
    if given is None or not given.strip():
        return messages if has_own or default is None else [{"role": "system", "content": default}, *messages]
    if not has_own:
        return [{"role": "system", "content": given}, *messages]
    own = messages[0]["content"]
    content = own if given.strip() in own else f"{given}\n\n{own}" if own.strip() else given
    return [{**messages[0], "content": content}, *messages[1:]]


def _system_text(value: Any) -> str | None:
    if isinstance(value, str | bytes | Unreadable):
        return as_text(value, "system message")
    if as_list(value) is None:
        return None
    turns = read_turns(value, "system")
    return "\n\n".join(turn["content"] for turn in turns) if all(turn["role"] == "system" for turn in turns) else None


def _text_or_none(value: Any) -> Any:
    return value if isinstance(value, str | bytes | Unreadable) else None


def _number(value: Any) -> float | None:
    """A number, also in text: `4.5`, and `9/10`, `9 out of 10` and `90%` as shares; None for anything else."""
    if isinstance(value, str):
        match = _NUMBER.fullmatch(value)
        whole = float((match[3] or 1) if match else 0) * (100 if match and match[2] else 1)
        value = float(match[1]) / whole if match and whole else None
    if isinstance(value, int | float | Decimal):
        try:
            number = float(value)
        except OverflowError:
            return None
        return number if abs(number) < LARGEST else None  # NaN is not, either
    return None
