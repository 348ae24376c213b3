"""The page of a sample: one HTML file without any request to the network.

Everything that comes from the data is escaped, in the text by the template and in the script's data by `tojson`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from itertools import islice
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from codeblock.core.schema import ItemKind, TokenClass
from codeblock.report.pages.layout import PageBlock, blocks, line_numbers, plain
from codeblock.report.pages.sample import ArmView, SampleView, check, counts, levels, state

CHUNK = 40
CODES = {"on": "2", "faint": "1", "": "0"}


def sample_page(sample: SampleView) -> str:
    """The page as HTML. Raises ValueError where the sample's lists do not fit together."""
    check(sample)
    stops = [index for index, kind in enumerate(sample.token_class) if kind == TokenClass.STOP]
    kinds = {item.kind for item in sample.items}
    return (
        templates()
        .get_template("sample.html.j2")
        .render(
            sample=sample,
            prompt=plain(sample.prompt),
            chunks=batched(blocks(sample)),
            stop=stops[0] if stops else None,
            levels=levels(sample.arms[0]),
            states=[state(item, outcome) for item, outcome in zip(sample.items, sample.arms[0].outcomes, strict=True)],
            kinds=[str(kind) for kind in ItemKind if kind in kinds],
            counts=[counts(sample, arm) for arm in sample.arms],
            data=_data(sample),
        )
    )


def batched(all_blocks: Iterator[PageBlock]) -> Iterator[list[PageBlock]]:
    """Blocks in chunks, so that a browser lays out only those on the screen."""
    while chunk := list(islice(all_blocks, CHUNK)):
        yield chunk


def page_name(sample: SampleView) -> str:
    """File name of a sample's page."""
    return f"{sample.id}.html"


@cache
def templates() -> Environment:
    """The templates of this package, with everything escaped and unknown names refused."""
    loader = PackageLoader("codeblock", "report/pages")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def _data(sample: SampleView) -> dict[str, Any]:
    """What the page's script needs; positions in the lists are item and token indices."""
    lines = line_numbers(sample)
    return {
        "items": [
            [item.kind, item.tokens, item.core, round(item.reach, 4), round(item.bridge, 4), *lines[index]]
            for index, item in enumerate(sample.items)
        ],
        "edges": [index for edge in sample.edges for index in edge],
        "nll": [None if math.isnan(nll) else round(float(nll), 3) for nll in sample.token_nll],
        "classes": [kind.name.lower() for kind in TokenClass],
        "cls": "".join(str(int(kind)) for kind in sample.token_class),
        "q": sample.gce_q,
        "arms": [_arm(sample, arm) for arm in sample.arms],
    }


def _arm(sample: SampleView, arm: ArmView) -> dict[str, Any]:
    reasons = list(dict.fromkeys(outcome.reason for outcome in arm.outcomes))
    number = {reason: index for index, reason in enumerate(reasons)}
    ordinary = {0.0, 1.0}
    return {
        "name": arm.name,
        "levels": "".join(CODES[level] for level in levels(arm)),
        "odd": {t: round(float(w), 4) for t, w in enumerate(arm.weight) if w not in ordinary},
        "reasons": reasons,
        "outcomes": [
            [state(item, each), each.supervised, _rounded(each.utility), _rounded(each.priority), number[each.reason]]
            for item, each in zip(sample.items, arm.outcomes, strict=True)
        ],
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 4)
