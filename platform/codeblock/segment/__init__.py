"""Code regions, coding items, core logic leaves and the def-use graph of a response. A plain library."""

from codeblock.segment.regions import find_regions
from codeblock.segment.segmenter import segment, segment_response
from codeblock.segment.structure import reach_and_bridge
from codeblock.segment.types import TEXT, Decided, Item, Region, Segmentation, Span

__all__ = [
    "TEXT",
    "Decided",
    "Item",
    "Region",
    "Segmentation",
    "Span",
    "find_regions",
    "reach_and_bridge",
    "segment",
    "segment_response",
]
