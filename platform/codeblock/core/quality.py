"""The scale of quality: data comes in 0..1, 0..5, 0..10 or 0..100; ratings and bins are 0..5."""

from __future__ import annotations

SCALE = 5
"""The best quality."""


def factor_to_scale(largest: float) -> float:
    """What a column of quality is multiplied by to lie in 0..5, from its largest value.

    [ours] A column of at most 1 is a share (such as `average_test_score`) and is multiplied by 5; one of at most 5 stays as
    it is; a larger one is divided so that its largest value becomes 5.
    """
    if largest <= 1:
        return float(SCALE)
    return min(1.0, SCALE / largest)


def quality_bin(quality: float, factor: float) -> int:
    """Bin 0..5 [ours]: whole steps reached on the scale, so that only a share of 1.0 is in bin 5."""
    return max(0, min(SCALE, int(quality * factor + 1e-6)))
