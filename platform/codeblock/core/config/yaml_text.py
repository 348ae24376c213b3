"""YAML as configs have it: what YAML allows and nobody means is refused while the text is read."""

from __future__ import annotations

from typing import Any

import yaml


class RefusedError(yaml.YAMLError):
    """Valid YAML that is not taken; the message says where and why."""


def parse(text: str) -> Any:
    """The value of a text. Raises yaml.YAMLError; of it RefusedError for a key that stands twice, an alias inside of what it
    stands for, and more levels than Python can go down."""
    try:
        return yaml.load(text, _Loader)
    except RecursionError as error:
        raise RefusedError("more levels of brackets than can be read; write fewer") from error


def problem(error: yaml.YAMLError) -> str:
    """What is wrong with a text, in one line."""
    if isinstance(error, RefusedError):
        return str(error)
    place = getattr(error, "problem_mark", None)
    where = f"line {place.line + 1}, " if place else ""
    return f"{where}not valid YAML ({getattr(error, 'problem', error)})"


class _Loader(yaml.SafeLoader):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._keys: list[str] = []
        """Keys around the node that is read, the outermost first."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Read one node. `index` is its key where it is a value of a mapping."""
        if self.check_event(yaml.AliasEvent):
            return self._composed_alias(parent, index)
        in_mapping = isinstance(index, yaml.Node)
        if in_mapping:
            self._keys.append(str(index.value))
        node = super().compose_node(parent, index)
        if isinstance(node, yaml.MappingNode):
            self._refuse_twice(node)
        if in_mapping:
            self._keys.pop()
        return node

    def _composed_alias(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]  # the stubs have no types for it
        node = super().compose_node(parent, index)
        if node is not None and node.end_mark is None:  # what has no end yet is around it
            line = event.start_mark.line + 1
            raise RefusedError(f"line {line}, *{event.anchor} stands inside of what it stands for; write what is meant")
        return node

    def _refuse_twice(self, node: yaml.MappingNode) -> None:
        """YAML would take the last one and say nothing of the other."""
        lines: dict[str, int] = {}
        for key, _ in node.value:
            name, line = ".".join([*self._keys, str(key.value)]), key.start_mark.line + 1
            if name in lines:
                raise RefusedError(f"{name} stands on line {lines[name]} and again on line {line}; remove one")
            lines[name] = line
