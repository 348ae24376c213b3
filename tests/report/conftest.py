"""Samples for the pages, and the browser that shows them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.browser import chromium as chromium

from codeblock.core.schema import TokenClass
from codeblock.report.pages.sample import ArmView, ItemOutcome, ItemView, SampleView


def words(text: str) -> list[tuple[int, int]]:
    """Words with the white space before them, as tokenizers cut."""
    return [found.span() for found in re.finditer(r"\s*(?:\w+|[^\w\s])|\s+$", text)]


def make_arm(name: str, items: list[ItemView], spans: list[tuple[int, int]], kept: set[int], **figures: bool) -> ArmView:
    """An arm that supervises the tokens of the items `kept`, with the stop token."""
    owner = {at: index for index, item in enumerate(items) for low, high in item.spans for at in range(low, high)}
    owners = [owner.get(high - 1, -1) for _, high in spans]
    outcomes = [
        ItemOutcome(item.tokens, "Kept: reached.", 0.5 + i / 1000, 1.0 + i / 1000)
        if i in kept
        else ItemOutcome(0, f"Below the cut: {name} was spent.", 0.25, 0.125)
        for i, item in enumerate(items)
    ]
    if not figures.get("ranked", True):
        outcomes = [replace(outcome, utility=None, priority=None) for outcome in outcomes]
    selected = [*(owner in kept for owner in owners), True]
    return ArmView(name, name, "trained on", [float(one) for one in selected], selected, outcomes)


def make_sample(response: str, pieces: list[str], kinds: list[str], edges: list[tuple[int, int]], **changes: Any) -> SampleView:
    """A sample whose items are `pieces` of the response, with two arms: `blocks` keeps odd items, `all` every one."""
    spans, items, at = words(response), [], 0
    for piece, kind in zip(pieces, kinds, strict=True):
        start = response.index(piece, at)
        at = start + len(piece)
        tokens = len(words(piece))
        items.append(ItemView(kind, [(start, at)], tokens, tokens, 0.5, 0.25))
    odd = {index for index in range(len(items)) if index % 2}
    arms = [make_arm("blocks", items, spans, odd), make_arm("all", items, spans, set(range(len(items))), ranked=False)]
    sample = SampleView(
        title="pairs <1>.jsonl:7",
        id="abc123",
        language="python",
        prompt="user:\nCompare & print <it>",
        response=response,
        token_spans=[*spans, (len(response), len(response))],
        token_class=[TokenClass.CORE] * len(spans) + [TokenClass.STOP],
        token_nll=[0.1 * (index % 40) for index in range(len(spans))] + [math.nan],
        items=items,
        edges=edges,
        arms=arms,
    )
    return replace(sample, **changes)


HOSTILE = """Sure <b>&amp;</b>:

```python
import os\r
if a < b:
    print('</code></pre></script><script>window.hit=1</script>')
    x = 1; y = '<img src=x onerror="window.hit=2">'
```
"""


@pytest.fixture
def sample() -> SampleView:
    """Four items, one over two lines, two on one line; its text would end a careless page's script."""
    lines = HOSTILE.split("\n")
    pieces = ["import os", "\n".join(lines[4:6]), "x = 1;", lines[6][lines[6].index("y = ") :]]
    return make_sample(HOSTILE, pieces, ["import", "control", "definition", "definition"], [(0, 1), (1, 3), (2, 3)])


@pytest.fixture
def long_sample() -> SampleView:
    """2,000 lines, an item each, 6,000 edges, about 20,000 tokens."""
    pieces = [f"value_{n} = combine(value_{n // 2}, value_{n // 3}, {n})" for n in range(2000)]
    edges = [(n // by, n) for n in range(2000) for by in (2, 3)] + [(max(0, n - 7), n) for n in range(2000)]
    return make_sample("\n".join(pieces) + "\n", pieces, ["definition"] * 2000, edges, id="long")


@pytest.fixture
def build() -> Callable[..., SampleView]:
    """`make_sample`, for tests that bring their own response."""
    return make_sample
