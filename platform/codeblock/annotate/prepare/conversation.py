"""Conversations as a chat template takes them, and whether it reads all of them.

Templates leave out what they do not know without a word: Qwen's a turn of an unknown role, most of them the calls of tools.
Such a pair would be rendered wrong. So each kind of conversation is rendered once with words of our own in place of its texts,
and each of them has to occur in what comes out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from codeblock.core.errors import RowError
from codeblock.core.schema import Reason

TemplateMessage = dict[str, Any]
Kind = tuple[tuple[str, bool, int], ...]
"""Of each turn: its role, whether it has text, how many calls of tools."""


@dataclass(frozen=True)
class Conversation:
    """What `apply_chat_template` is given."""

    messages: list[TemplateMessage]
    tools: list[Any] | None


class ConversationReader:
    """Conversations for one tokenizer with a chat template."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._found: dict[tuple[Kind, bool], tuple[str | None, bool]] = {}

    def __call__(self, messages: Sequence[TemplateMessage], tools: str | None) -> Conversation | RowError:
        """The turns of a pair (schema PAIRS) and its tools; a RowError where the template does not read all of them."""
        turns = [{key: value for key, value in turn.items() if value is not None} for turn in messages]
        kind = tuple((turn["role"], bool(turn["content"].strip()), _calls(turn)) for turn in turns), bool(tools)
        if kind not in self._found:
            self._found[kind] = self._try(*kind)
        unread, as_text = self._found[kind]
        if unread is not None:
            return RowError(Reason.TEMPLATE_ERROR, f"chat template: it leaves out {unread}")
        for turn in turns:
            if "tool_calls" in turn:
                turn["tool_calls"] = _with_arguments(json.loads(turn["tool_calls"]), as_text)
        return Conversation(turns, json.loads(tools) if tools else None)

    def _try(self, kind: Kind, has_tools: bool) -> tuple[str | None, bool]:
        """What the template leaves out of a kind of conversation (None: nothing), and whether arguments have to be text.

        A template that refuses the conversation refuses the pair too, with its own words.
        """
        for as_text in (False, True):
            messages, words = _probe(kind, as_text)
            tools = [_tool(words)] if has_tools else None
            text = self._text(messages, tools)
            if text is not None:
                unread = next((what for word, what in words.items() if word not in text), None)
                return unread or self._mistaken(messages, tools, text), as_text
        return None, False

    def _mistaken(self, messages: list[TemplateMessage], tools: list[Any] | None, text: str) -> str | None:
        """What is left out where the template writes what a tool returned like any other turn."""
        if not any(turn["role"] == "tool" for turn in messages):
            return None
        for other in ("assistant", "user"):
            alike = [{"role": other, "content": turn["content"]} if turn["role"] == "tool" else turn for turn in messages]
            if self._text(alike, tools) == text:
                return f"that a turn is a tool's, and writes it like the {other}'s"
        return None

    def _text(self, messages: list[TemplateMessage], tools: list[Any] | None) -> str | None:
        """What the template writes; None where it refuses."""
        options = {"tools": tools} if tools else {}
        try:
            return str(self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **options))
        except Exception:  # templates raise whatever their author wrote
            return None


def _probe(kind: Kind, as_text: bool) -> tuple[list[TemplateMessage], dict[str, str]]:
    """A conversation of a kind made of words of our own, and what each of them stands for."""
    words: dict[str, str] = {}

    def word(what: str) -> str:
        made = f"probe{len(words):03}word"
        words[made] = what
        return made

    messages: list[TemplateMessage] = []
    for role, has_text, calls in kind:
        turn: TemplateMessage = {"role": role, "content": word(f"a turn of the role {role}") if has_text else ""}
        if calls:
            made = [_call(word, number) for number in range(calls)]
            turn["tool_calls"] = _with_arguments(made, as_text)
        if role == "tool":
            turn |= {"name": "tool", "tool_call_id": "call00000"}
        messages.append(turn)
    return messages, words


def _call(word: Callable[[str], str], number: int) -> dict[str, Any]:
    function = {"name": word("calls of tools"), "arguments": {"argument": word("the arguments of calls")}}
    return {"type": "function", "id": f"call{number:05}", "function": function}


def _tool(words: dict[str, str]) -> dict[str, Any]:
    words["probe_tool_word"] = "the tools"
    parameters = {"type": "object", "properties": {"argument": {"type": "string", "description": "text"}}, "required": []}
    return {"type": "function", "function": {"name": "probe_tool_word", "description": "text", "parameters": parameters}}


def _calls(turn: TemplateMessage) -> int:
    return len(json.loads(turn["tool_calls"])) if "tool_calls" in turn else 0


def _with_arguments(calls: list[dict[str, Any]], as_text: bool) -> list[dict[str, Any]]:
    """Calls with their arguments as objects, or as JSON text where a template joins them with text."""
    if not as_text:
        return calls
    return [
        {**call, "function": {**call["function"], "arguments": json.dumps(call["function"]["arguments"], ensure_ascii=False)}}
        for call in calls
    ]
