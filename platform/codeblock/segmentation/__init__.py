"""Code regions, coding items, core logic leaves and the def-use graph of a response. A plain library."""

from codeblock.segmentation.regions import find_regions
from codeblock.segmentation.segmenter import segment, segment_response
from codeblock.segmentation.structure import reach_and_bridge
from codeblock.segmentation.types import TEXT, Decided, Item, Region, Segmentation, Span

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
