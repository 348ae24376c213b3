"""One pair as a page: what is supervised, what each item scored, and why it was kept or dropped.

The page is one HTML file without any request to the network. Characters count Unicode code points of the response.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from codeblock.schema import TokenClass
from codeblock.tables import write_text

Span = tuple[int, int]

BACKGROUND = 0.5
"""A weight up to this share of the largest (1 for a selected token) is a background weight, not a selection."""


@dataclass(frozen=True)
class ItemView:
    """A coding item with its figures. Utility, reach, bridge and priority are None where the strategy uses none."""

    kind: str  # ItemKind
    spans: Sequence[Span]  # characters of the response
    tokens: int
    utility: float | None
    reach: float | None  # 0..1
    bridge: float | None  # 0..1
    priority: float | None
    selected: bool


@dataclass(frozen=True)
class Sample:
    """One pair as an arm sees it. The token lists run over the tokens from the first response token on."""

    title: str
    id: str
    prompt: str
    response: str
    token_spans: Sequence[Span]  # characters of the response; the stop token's lie behind its end
    token_class: Sequence[int]  # TokenClass
    token_weight: Sequence[float]
    token_nll: Sequence[float]  # natural log
    items: Sequence[ItemView]
    edges: Sequence[tuple[int, int]]  # definition, use: indices of items
    gce_q: float = 0.7  # exponent of the generalized cross-entropy by which tokens are shaded


@dataclass(frozen=True)
class _Counts:
    tokens: int
    supervised: int
    background: int
    code: int
    core: int
    items: int
    kept: int


@dataclass(frozen=True)
class _Piece:
    """Characters of one token (or of none: -1)."""

    text: Markup
    token: int
    style: str


def sample_from_row(
    row: Mapping[str, Any],
    weight: Sequence[float],
    token_spans: Sequence[Span],
    *,
    title: str,
    utility: Sequence[float] | None = None,
    priority: Sequence[float] | None = None,
    gce_q: float = 0.7,
) -> Sample:
    """The page's input from a row of `schema.SCORED`.

    weight: [T], as in `schema.SELECTED`. token_spans: one per response token. utility, priority: [I], None for strategies
    that rank no items. An item counts as kept where all of its tokens are supervised.
    """
    start = int(row["response_start"])
    token_item = np.asarray(row["token_item"], dtype=np.int64)
    selected = np.array([level == "on" for level in _levels(weight)])
    items = []
    for index, kind in enumerate(row["item_kind"]):
        flat, own = row["item_spans"][index], token_item == index
        items.append(
            ItemView(
                kind=kind,
                spans=list(zip(flat[::2], flat[1::2], strict=True)),
                tokens=int(own.sum()),
                utility=None if utility is None else float(utility[index]),
                reach=float(row["item_reach"][index]),
                bridge=float(row["item_bridge"][index]),
                priority=None if priority is None else float(priority[index]),
                selected=bool(own.any() and selected[own].all()),
            )
        )
    return Sample(
        title=title,
        id=row["id"],
        prompt="\n\n".join(f"{turn['role']}:\n{turn['content']}" for turn in row["messages"]),
        response=row["response"],
        token_spans=token_spans,
        token_class=row["token_class"][start:],
        token_weight=weight[start:],
        token_nll=row["nll"][start:],
        items=items,
        edges=list(zip(row["edges"][::2], row["edges"][1::2], strict=True)),
        gce_q=gce_q,
    )


def sample_page(sample: Sample) -> str:
    """The page as HTML. Raises ValueError where the token lists differ in length or an item lies outside the response."""
    _check(sample)
    levels = _levels(sample.token_weight)
    stops = [level for level, kind in zip(levels, sample.token_class, strict=True) if kind == TokenClass.STOP]
    template = _templates().get_template("sample.html.j2")
    return template.render(
        sample=sample,
        counts=_counts(sample, levels),
        kinds=Counter(item.kind for item in sample.items),
        runs=_runs(sample, levels),
        stop_level=stops[0] if stops else None,
        prompt=_text(sample.prompt),
        titles=[_item_title(index, item) for index, item in enumerate(sample.items)],
        data=_data(sample),
    )


def pages_index(samples: Sequence[Sample]) -> str:
    """A page that links to the pages of the samples, each named by `page_name`."""
    rows = [(sample, page_name(sample), _counts(sample, _levels(sample.token_weight))) for sample in samples]
    return _templates().get_template("index.html.j2").render(rows=rows)


def page_name(sample: Sample) -> str:
    """File name of a sample's page."""
    return f"{sample.id}.html"


def write_pages(samples: Sequence[Sample], directory: Path) -> list[Path]:
    """Write `index.html` and one page per sample; returns the paths, the index first."""
    pages = {directory / "index.html": pages_index(samples)}
    pages.update({directory / page_name(sample): sample_page(sample) for sample in samples})
    for path, html in pages.items():
        write_text(path, html)
    return list(pages)


@cache
def _templates() -> Environment:
    loader = PackageLoader("codeblock", "report")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def _check(sample: Sample) -> None:
    lengths = {len(sample.token_spans), len(sample.token_class), len(sample.token_weight), len(sample.token_nll)}
    if len(lengths) != 1:
        raise ValueError(f"sample {sample.id}: token lists of different lengths {sorted(lengths)}")
    end = len(sample.response)
    for low, high in (span for item in sample.items for span in item.spans):
        if not 0 <= low <= high <= end:
            raise ValueError(f"sample {sample.id}: item ({low}, {high}) lies outside the response of {end} characters")


def _levels(weights: Sequence[float]) -> list[str]:
    """`on` for a supervised token, `faint` for one with a background weight, nothing for context."""
    edge = BACKGROUND * max([1.0, *weights])
    return ["on" if weight > edge else "faint" if weight > 0 else "" for weight in weights]


def _counts(sample: Sample, levels: Sequence[str]) -> _Counts:
    classes = Counter(sample.token_class)
    return _Counts(
        tokens=len(levels),
        supervised=levels.count("on"),
        background=levels.count("faint"),
        code=classes[TokenClass.CODE] + classes[TokenClass.CORE],
        core=classes[TokenClass.CORE],
        items=len(sample.items),
        kept=sum(item.selected for item in sample.items),
    )


def _runs(sample: Sample, levels: Sequence[str]) -> Iterator[tuple[int, bool, list[_Piece]]]:
    """The response cut into boxes: (item or -1, whether it is the item's first box, pieces). Indentation stays outside."""
    length = len(sample.response)
    token_at = np.full(length, -1)
    for token, (low, high) in enumerate(sample.token_spans):
        token_at[max(low, 0) : max(high, 0)] = token
    item_at = np.full(length, -1)
    for index, item in enumerate(sample.items):
        for low, high in item.spans:
            item_at[low:high] = index
    item_at[_margins(sample.response)] = -1
    seen = {-1}
    cuts = np.flatnonzero((np.diff(item_at) != 0) | (np.diff(token_at) != 0)) + 1
    spans = zip([0, *cuts.tolist()], [*cuts.tolist(), length], strict=True) if length else []
    for index, group in groupby(spans, key=lambda span: int(item_at[span[0]])):
        pieces = [_piece(sample, levels, int(token_at[low]), sample.response[low:high]) for low, high in group]
        yield index, index not in seen, pieces
        seen.add(index)


def _margins(text: str) -> list[int]:
    """Characters of white space at the ends of lines: a box drawn around them would hide the layout of the code."""
    margins, start = [], 0
    for line in text.splitlines(keepends=True):
        left = len(line) - len(line.lstrip())
        right = max(len(line.rstrip()), left)
        margins += [*range(start, start + left), *range(start + right, start + len(line))]
        start += len(line)
    return margins


def _piece(sample: Sample, levels: Sequence[str], token: int, text: str) -> _Piece:
    if token < 0:
        return _Piece(_text(text), -1, "")
    # A shaded indent draws the eye to what nobody can read.
    shade = 0 if text.isspace() else _shade(sample.token_nll[token], sample.gce_q)
    return _Piece(_text(text), token, f"{levels[token]} s{shade}".strip())


def _shade(nll: float, q: float) -> int:
    """Step 0 to 9 of the shade: 1 - p^q, the generalized cross-entropy over its largest value; for q = 0, 1 - p."""
    return 0 if math.isnan(nll) else min(int(10 * -math.expm1(-nll * (q or 1.0))), 9)


def _text(text: str) -> Markup:
    """Escaped so that a browser gives back the same characters: HTML turns a bare carriage return into a line feed."""
    return Markup(str(escape(text)).replace("\r", "&#13;"))


def _item_title(index: int, item: ItemView) -> str:
    figures = [("utility", item.utility), ("reach", item.reach), ("bridge", item.bridge), ("priority", item.priority)]
    lines = [f"item {index}: {item.kind}, {item.tokens} tokens, {'kept' if item.selected else 'dropped'}"]
    lines += [f"{name} {value:.3f}" for name, value in figures if value is not None]
    return "\n".join(lines)


def _data(sample: Sample) -> dict[str, Any]:
    """What the page's script needs to tell about the token and the item under the pointer."""
    return {
        "nll": [None if math.isnan(nll) else round(float(nll), 3) for nll in sample.token_nll],
        "cls": [TokenClass(kind).name.lower() for kind in sample.token_class],
        "weight": [round(float(weight), 4) for weight in sample.token_weight],
        "edges": [list(edge) for edge in sample.edges],
    }
