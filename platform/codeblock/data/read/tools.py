"""Tools and calls of tools in the one form that chat templates read (that of transformers), kept as JSON text.

A tool is `{"type": "function", "function": {"name", "description", "parameters"}}`, a call `{"type": "function", "id",
"function": {"name", "arguments"}}` with arguments as an object.
"""

from __future__ import annotations

import json
from typing import Any

from codeblock.core.errors import RowError
from codeblock.core.schema import Reason


def read_tools(value: Any) -> str | None:
    """The tools of a conversation as JSON, `""` where the list is empty; None where the value is no list of tools.

    Takes a list (also in JSON text, also with each entry in JSON text) of tools with or without their wrapper.
    """
    tools = _decoded(value)
    if isinstance(tools, dict):
        tools = [tools]
    if not isinstance(tools, list):
        return None
    tools = [_decoded(tool) for tool in tools]
    if not all(isinstance(tool, dict) and ("function" in tool or "name" in tool) for tool in tools):
        return None
    wrapped = [tool if "function" in tool else {"type": "function", "function": tool} for tool in tools]
    return json.dumps(wrapped, ensure_ascii=False) if wrapped else ""


def read_calls(value: Any, where: str) -> str:
    """The calls of one turn as JSON. Raises RowError where they are none."""
    calls = _decoded(value)
    if isinstance(calls, dict):
        calls = [calls]
    if not isinstance(calls, list) or not calls:
        raise RowError(Reason.WRONG_TYPE, f"{where}: calls of tools are JSON objects, {value!r:.40} is none")
    return json.dumps([_call(_decoded(call), where) for call in calls], ensure_ascii=False)


def _call(call: Any, where: str) -> dict[str, Any]:
    function = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise RowError(Reason.WRONG_TYPE, f"{where}: a call of a tool has the name of a function, {call!r:.40} has none")
    arguments = _decoded(function.get("arguments", function.get("parameters")))
    made = {"name": function["name"], "arguments": {} if arguments is None else arguments}
    identity = {"id": call["id"]} if isinstance(call.get("id"), str) else {}
    return {"type": "function", **identity, "function": made}


def _decoded(value: Any) -> Any:
    """A value out of its JSON text; text that is no JSON stays as it is."""
    if not isinstance(value, str | bytes):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
