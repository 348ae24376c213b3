"""Placeholder."""

from typing import Any


def same(name: str, output: Any, expected: Any, inputs: Any, atol: float) -> bool:
    return bool(output == expected)
